-- What may become of a row: the transition table, and the triggers that hold every writer to it.
-- They bind service_role and the owner too: a repair by hand has to argue with them first.

-- The one table of legal moves; worker/orders/lifecycle.py holds the same and a test compares them.
create or replace function public.lt_attempt_transitions()
returns table ("from" text, "to" text)
language sql immutable security invoker set search_path = ''
as $$
  values
    ('submitting', 'live'), ('submitting', 'delayed'), ('submitting', 'matched'), ('submitting', 'unmatched'),
    ('submitting', 'killed'), ('submitting', 'rejected'), ('submitting', 'unknown'), ('submitting', 'abandoned'),
    ('submitting', 'cancelled'), ('submitting', 'expired'),

    ('delayed', 'live'), ('delayed', 'unmatched'), ('delayed', 'unknown'), ('delayed', 'matched'),
    ('delayed', 'killed'), ('delayed', 'rejected'), ('delayed', 'cancelling'), ('delayed', 'cancelled'),
    ('delayed', 'expired'),

    ('unmatched', 'live'), ('unmatched', 'unknown'), ('unmatched', 'matched'),
    ('unmatched', 'killed'), ('unmatched', 'rejected'), ('unmatched', 'cancelling'), ('unmatched', 'cancelled'),
    ('unmatched', 'expired'),

    ('live', 'unknown'), ('live', 'matched'), ('live', 'killed'), ('live', 'rejected'),
    ('live', 'cancelling'), ('live', 'cancelled'), ('live', 'expired'),

    ('cancelling', 'live'), ('cancelling', 'unknown'), ('cancelling', 'matched'), ('cancelling', 'rejected'),
    ('cancelling', 'cancelled'), ('cancelling', 'expired'),

    ('unknown', 'live'), ('unknown', 'delayed'), ('unknown', 'unmatched'), ('unknown', 'matched'),
    ('unknown', 'killed'), ('unknown', 'rejected'), ('unknown', 'cancelling'), ('unknown', 'cancelled'),
    ('unknown', 'expired'), ('unknown', 'lost'),

    -- What came late after all: it is booked, but its money was given out again, so it never lives on.
    ('lost', 'matched'), ('lost', 'cancelled')
$$;

-- Which states may still turn into a fill: the exchange has the order, or may have it.
create or replace function public.lt_attempt_is_alive(state text)
returns boolean
language sql immutable security invoker set search_path = ''
as $$
  select state in ('submitting', 'live', 'delayed', 'unmatched', 'unknown', 'cancelling')
$$;

create or replace function public.lt_guard_attempt()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    -- Anything else would mean that the order went out before it was written down.
    if new.state <> 'submitting' or new.closed_at is not null then
      raise exception 'attempt % must begin as submitting, was %', new.exchange_order_id, new.state
        using hint = 'Only lt_claim writes attempts.';
    end if;
    return new;
  end if;

  if new.state <> old.state then
    if not exists (
      select from public.lt_attempt_transitions() t where t."from" = old.state and t."to" = new.state
    ) then
      raise exception 'attempt % cannot go from % to %', old.exchange_order_id, old.state, new.state
        using hint = 'Look the order up and record what the exchange says; legal moves: lt_attempt_transitions().';
    end if;
    new.state_changed_at := clock_timestamp();
  end if;

  -- Only the identical body is ever sent again, and what was reserved for it stays what it was.
  if (new.exchange_order_id, new.lt_order_id, new.strategy_id, new.ft_order_id, new.wallet_address, new.mode,
      new.attempt_no, new.order_type, new.side, new.token_id, new.condition_id, new.limit_price, new.amount_usd,
      new.shares, new.reserve_usd, new.reserve_shares, new.exchange_version, new.signed_body, new.expires_at,
      new.created_at)
     is distinct from
     (old.exchange_order_id, old.lt_order_id, old.strategy_id, old.ft_order_id, old.wallet_address, old.mode,
      old.attempt_no, old.order_type, old.side, old.token_id, old.condition_id, old.limit_price, old.amount_usd,
      old.shares, old.reserve_usd, old.reserve_shares, old.exchange_version, old.signed_body, old.expires_at,
      old.created_at)
  then
    raise exception 'attempt %: what was signed and reserved is immutable', old.exchange_order_id;
  end if;
  if old.closed_at is not null and new.closed_at is distinct from old.closed_at then
    raise exception 'attempt % was closed at % and stays closed', old.exchange_order_id, old.closed_at;
  end if;
  new.closed_xid := case when old.closed_at is not null then old.closed_xid
                         when new.closed_at is not null then pg_current_xact_id() end;
  return new;
end
$$;

create or replace trigger lt_order_attempts_guard before insert or update on public.lt_order_attempts
  for each row execute function public.lt_guard_attempt();

create or replace function public.lt_guard_fill()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  if old.state <> 'provisional' then
    raise exception 'fill % of trade % is % and stays so', old.fill_seq, old.trade_id, old.state;
  end if;
  if (new.fill_seq, new.trade_id, new.exchange_order_id, new.role, new.side, new.token_id, new.booked_at, new.booked_xid)
     is distinct from
     (old.fill_seq, old.trade_id, old.exchange_order_id, old.role, old.side, old.token_id, old.booked_at, old.booked_xid)
  then
    raise exception 'fill % of trade % cannot become another trade', old.fill_seq, old.trade_id;
  end if;
  return new;
end
$$;

create or replace trigger lt_fills_guard before update on public.lt_fills
  for each row execute function public.lt_guard_fill();

create or replace function public.lt_guard_decision()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  if old.state <> 'deferred' then
    raise exception 'decision (%, %, %) is % and final', old.strategy_id, old.ft_order_id, old.mode, old.state;
  end if;
  if (new.strategy_id, new.ft_order_id, new.mode) is distinct from (old.strategy_id, old.ft_order_id, old.mode) then
    raise exception 'decision (%, %, %) cannot move to another pair', old.strategy_id, old.ft_order_id, old.mode;
  end if;
  -- One entry per spell of a reason, however many tries it took: no writer can forget it, and no pair can flood it.
  if (new.state, new.reason) is distinct from (old.state, old.reason) then
    new.history := old.history || jsonb_build_object(
      'reason', old.reason, 'value', old.value, 'limit', old.limit_value, 'tries', old.tries, 'until', old.updated_at);
  else
    new.history := old.history;
  end if;
  new.updated_at := clock_timestamp();
  return new;
end
$$;

create or replace trigger lt_decisions_guard before update on public.lt_decisions
  for each row execute function public.lt_guard_decision();

create or replace function public.lt_guard_scope()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  -- A scope says which signals were ours to answer for. Closing it once is the only change it knows.
  if old.scope_to is not null
     or (new.scope_id, new.strategy_id, new.ft_wallet_id, new.scope_from, new.reason, new.opened_at)
        is distinct from
        (old.scope_id, old.strategy_id, old.ft_wallet_id, old.scope_from, old.reason, old.opened_at)
  then
    raise exception 'scope % of % is immutable', old.scope_id, old.strategy_id
      using hint = 'Open another interval with lt_scope_open.';
  end if;
  return new;
end
$$;

create or replace trigger lt_scopes_guard before update on public.lt_scopes
  for each row execute function public.lt_guard_scope();

create or replace function public.lt_guard_spell()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  if old.until is not null
     or (new.spell_id, new.strategy_id, new.since) is distinct from (old.spell_id, old.strategy_id, old.since)
  then
    raise exception 'shadow spell % of % is immutable', old.spell_id, old.strategy_id
      using hint = 'What was on paper stays on paper: update lt_strategies.shadow_mode for what comes.';
  end if;
  return new;
end
$$;

create or replace trigger lt_shadow_spells_guard before update on public.lt_shadow_spells
  for each row execute function public.lt_guard_spell();

-- The old executor upserts by (strategy, source trade) and would put its own id over ours: the real order
-- behind the old id would then belong to nobody.
create or replace function public.lt_guard_order_id()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  if old.order_id is not null and new.order_id is distinct from old.order_id then
    raise exception 'order_id of lt_orders % is set and immutable: % was to become %',
      old.lt_order_id, old.order_id, new.order_id;
  end if;
  return new;
end
$$;

create or replace trigger lt_orders_order_id_guard before update of order_id on public.lt_orders
  for each row execute function public.lt_guard_order_id();

-- The platform's own job cancels what was pending for long. What may still trade, or has traded, stays open: limits,
-- positions and settlement find it by that word.
create or replace function public.lt_keep_open()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  if exists (
    select from public.lt_order_attempts a
    where a.lt_order_id = new.lt_order_id and (a.closed_at is null or exists (
      select from public.lt_fills f where f.exchange_order_id = a.exchange_order_id and f.state <> 'reversed'))
  ) then
    new.outcome := old.outcome;
    new.status := old.status;
    new.rejection_reason := old.rejection_reason;
  end if;
  return new;
end
$$;

create or replace trigger lt_orders_stay_open before update of outcome on public.lt_orders
  for each row when (old.outcome = 'OPEN' and new.outcome = 'CANCELLED')
  execute function public.lt_keep_open();

create or replace function public.lt_refuse_removal()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  raise exception '% of % is refused: rows of money and scope are kept', tg_op, tg_table_name;
end
$$;

-- Decisions may be pruned once they are older than the horizon, but never emptied as a whole.
create or replace trigger lt_decisions_stay before truncate on public.lt_decisions
  for each statement execute function public.lt_refuse_removal();

do $$
declare
  ledger text;
begin
  foreach ledger in array array['lt_scopes', 'lt_shadow_spells', 'lt_order_attempts', 'lt_fills', 'lt_checkpoints'] loop
    execute format(
      'create or replace trigger %I before delete or truncate on public.%I
         for each statement execute function public.lt_refuse_removal()', ledger || '_stay', ledger);
  end loop;
end
$$;

-- Activation decides what is in scope; pausing does not (a paused signal gets its recorded skip).
create or replace function public.lt_follow_activation()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
declare
  was_following boolean := tg_op <> 'INSERT' and old.is_active;
  is_following  boolean := tg_op <> 'DELETE' and new.is_active;
  reason        text := case when tg_op = 'DELETE' then 'deleted' when not is_following then 'deactivated' else 'activated' end;
begin
  if was_following and is_following then
    if new.ft_wallet_id = old.ft_wallet_id then
      return null;
    end if;
    reason := 'wallet changed';
  end if;

  if was_following then
    update public.lt_scopes s
    set scope_to = greatest(clock_timestamp(), s.scope_from)
    where s.strategy_id = old.strategy_id and s.scope_to is null;
  end if;
  if is_following then
    insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, reason)
    values (new.strategy_id, new.ft_wallet_id,
            clock_timestamp() - public.lt_setting('backfill_max_age')::interval, reason);
  end if;
  return null;
end
$$;

create or replace trigger lt_strategies_scope after insert or delete or update of is_active, ft_wallet_id
  on public.lt_strategies for each row execute function public.lt_follow_activation();

-- What is inserted while shadow_mode is set belongs to paper. A strategy that comes as a shadow was never anything else.
create or replace function public.lt_follow_shadow()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
declare
  was_shadow boolean := tg_op <> 'INSERT' and old.shadow_mode;
  is_shadow  boolean := tg_op <> 'DELETE' and new.shadow_mode;
begin
  if was_shadow and not is_shadow then
    update public.lt_shadow_spells s
    set until = greatest(clock_timestamp(), s.since)
    where s.strategy_id = old.strategy_id and s.until is null;
  elsif is_shadow and not was_shadow then
    insert into public.lt_shadow_spells (strategy_id, since)
    values (new.strategy_id, case tg_op when 'INSERT' then '-infinity' else clock_timestamp() end);
  end if;
  return null;
end
$$;

create or replace trigger lt_strategies_shadow after insert or delete or update of shadow_mode
  on public.lt_strategies for each row execute function public.lt_follow_shadow();
