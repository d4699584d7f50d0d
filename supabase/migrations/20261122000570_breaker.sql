-- The circuit breaker of a strategy: it trips by itself when too much of the highest equity is lost, and stays tripped
-- until a human arms it again.
--
-- That it has tripped is a row of lt_controls, with the reason. The platform's screens read
-- lt_strategies.circuit_breaker_active: a live breaker sets it, and only lt_arm clears it then. What the platform itself
-- sets there stops entries too, until the platform clears it.
--
-- Equity is counted at cost: a position that is open has lost nothing yet. The highest equity is that since lt_arm.

-- What the strategy has lost of its highest equity, in percent (the platform's current_drawdown_pct is a fraction).
create or replace function public.lt_drawdown_pct(capital public.lt_capital_now)
returns numeric
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return case when capital.peak_equity_usd > 0
    then (capital.peak_equity_usd - capital.initial_usd - capital.realised_usd) * 100 / capital.peak_equity_usd
    else 0 end;
end
$$;

create or replace function public.lt_breaker_is_due(strategy public.lt_strategies, capital public.lt_capital_now)
returns boolean
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  -- Multiplied, not divided: a third of the capital is reached exactly.
  return coalesce(
    capital.peak_equity_usd > 0
    and (capital.peak_equity_usd - capital.initial_usd - capital.realised_usd) * 100
        >= strategy.circuit_breaker_loss_pct * capital.peak_equity_usd, false);
end
$$;

-- Called with the strategy's row locked, by whoever finds that it is due.
create or replace function public.lt_trip_breaker(
  strategy public.lt_strategies, in_mode text, capital public.lt_capital_now, finder text)
returns void
language plpgsql security invoker set search_path = ''
as $$
begin
  insert into public.lt_controls (scope, action, mode, reason, actor)
  values (
    'strategy:' || strategy.strategy_id, 'breaker', in_mode,
    format('%s %% of %s USD were lost, the limit is %s %%', round(public.lt_drawdown_pct(capital), 2),
           public.lt_text(capital.peak_equity_usd), public.lt_text(strategy.circuit_breaker_loss_pct)),
    finder)
  on conflict (scope, action, coalesce(mode, '')) where cleared_at is null do nothing;
  if not found then
    return;   -- tripped before
  end if;

  -- The platform's screens are about real money: what is lost on paper is told by lt_controls alone.
  update public.lt_strategies s set
    circuit_breaker_active = true,
    current_drawdown_pct = least(round(public.lt_drawdown_pct(capital) / 100, 4), 9.9999),
    updated_at = clock_timestamp()
  where s.strategy_id = strategy.strategy_id and in_mode = 'live';
end
$$;

-- A screen that clears the column, or the midnight job, arms nothing: until lt_arm it says what is so.
create or replace function public.lt_keep_breaker()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  if exists (
    select from public.lt_controls c
    where c.scope = 'strategy:' || new.strategy_id and c.action = 'breaker' and c.mode = 'live' and c.cleared_at is null
  ) then
    new.circuit_breaker_active := true;
  end if;
  return new;
end
$$;

create or replace trigger lt_strategies_breaker before update of circuit_breaker_active on public.lt_strategies
  for each row when (old.circuit_breaker_active and new.circuit_breaker_active is not true)
  execute function public.lt_keep_breaker();

-- Why the breaker stops an entry, or null. Called with the strategy's row locked; as lt_claim_refusal.
create or replace function public.lt_breaker_refusal(
  strategy public.lt_strategies, in_mode text, capital public.lt_capital_now)
returns jsonb
language plpgsql security invoker set search_path = ''
as $$
declare
  latch public.lt_controls;
begin
  select * into latch from public.lt_controls c
  where c.scope = 'strategy:' || strategy.strategy_id and c.action = 'breaker' and c.mode = in_mode
    and c.cleared_at is null;
  if latch.control_id is not null then
    return jsonb_build_object('reason', 'breaker_active', 'value', latch.reason,
                              'limit', public.lt_text(strategy.circuit_breaker_loss_pct), 'final', true);
  elsif in_mode = 'live' and strategy.circuit_breaker_active then
    -- Why, the platform knows: its numbers need not break our limit.
    return jsonb_build_object('reason', 'breaker_active', 'value', 'set by the platform', 'final', true);
  elsif public.lt_breaker_is_due(strategy, capital) then
    perform public.lt_trip_breaker(strategy, in_mode, capital, 'claim');
    return jsonb_build_object('reason', 'drawdown_breaker', 'value', round(public.lt_drawdown_pct(capital), 2)::text,
                              'limit', public.lt_text(strategy.circuit_breaker_loss_pct), 'final', true);
  end if;
  return null;
end
$$;

-- The capital after something was booked, which may have tripped the breaker. A strategy whose row somebody holds is
-- passed: a claim is at it, and that or the next one finds the same.
create or replace function public.lt_watch_breaker(for_strategy_id text, in_mode text)
returns public.lt_capital_now
language plpgsql security invoker set search_path = ''
as $$
declare
  capital  public.lt_capital_now := public.lt_capital_of(for_strategy_id, in_mode);
  strategy public.lt_strategies;
begin
  select * into strategy from public.lt_strategies s where s.strategy_id = for_strategy_id;
  if public.lt_breaker_is_due(strategy, capital) then
    perform from public.lt_strategies s where s.strategy_id = for_strategy_id for no key update skip locked;
    if found then
      perform public.lt_trip_breaker(strategy, in_mode, capital, 'ledger');
    end if;
  end if;
  return capital;
end
$$;

-- When the strategy was armed last; null: never.
create or replace function public.lt_armed_at(for_strategy_id text, in_mode text)
returns timestamptz
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (
    select k.created_at from public.lt_checkpoints k
    where k.strategy_id = for_strategy_id and k.mode = in_mode and k.armed_by is not null
    order by k.checkpoint_id desc limit 1);
end
$$;

-- {mode, strategy_id, actor} -> {now, had_tripped, capital}: arms the breaker, and counts drawdown and losses in a row
-- anew.
-- From here on the highest equity is what the strategy owns now: whoever arms it has seen what is lost and goes on with
-- the rest. As it was it would trip again at once; at the initial capital it would never forget a loss, or forgive the
-- same one twice. It rises again with every profit. What was lost today still counts for max_daily_loss_usd.
create or replace function public.lt_arm(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  of_strategy_id text := p ->> 'strategy_id';
  in_mode        text := p ->> 'mode';
  who            text := btrim(p ->> 'actor');
  cleared        integer;
begin
  if coalesce(who, '') = '' then
    raise exception 'a strategy is armed by somebody' using hint = 'Give an actor: he is kept with the breaker.';
  end if;
  perform from public.lt_strategies s where s.strategy_id = of_strategy_id for no key update;
  if not found then
    raise exception 'no strategy %', of_strategy_id;
  end if;
  perform public.lt_checkpoint_armed(of_strategy_id, in_mode, who);

  update public.lt_controls c set cleared_at = clock_timestamp(), cleared_by = who
  where c.scope = 'strategy:' || of_strategy_id and c.action = 'breaker' and c.mode = in_mode
    and c.cleared_at is null;
  get diagnostics cleared = row_count;
  if in_mode = 'live' then
    update public.lt_strategies s set
      circuit_breaker_active = false, current_drawdown_pct = 0, updated_at = clock_timestamp()
    where s.strategy_id = of_strategy_id and s.circuit_breaker_active is distinct from false;
  end if;
  return jsonb_build_object(
    'now', clock_timestamp(), 'had_tripped', cleared > 0,
    'capital', public.lt_capital_json(public.lt_capital_of(of_strategy_id, in_mode)));
end
$$;

-- A checkpoint whose peak is what is left. It goes up to a place that nobody is writing before.
create or replace function public.lt_checkpoint_armed(for_strategy_id text, in_mode text, who text)
returns void
language plpgsql security invoker set search_path = ''
as $$
declare
  kept    public.lt_checkpoints;
  through bigint;
begin
  perform pg_catalog.pg_advisory_xact_lock(public.lt_checkpoints_key(for_strategy_id));
  perform pg_catalog.pg_advisory_xact_lock(public.lt_entries_key(for_strategy_id));
  select * into kept from public.lt_checkpoints k
  where k.strategy_id = for_strategy_id and k.mode = in_mode
  order by k.through_entry_seq desc, k.checkpoint_id desc limit 1;
  select coalesce(max(e.entry_seq), 0) into through
  from public.lt_entries e where e.strategy_id = for_strategy_id and e.mode = in_mode;

  insert into public.lt_checkpoints (
    strategy_id, mode, through_entry_seq, locked_usd, realised_usd, unredeemed_usd, fees_usd, peak_realised_usd, armed_by)
  select
    for_strategy_id, in_mode, through, c.locked_usd, c.realised_usd, c.unredeemed_usd, c.fees_usd,
    c.realised_usd, who
  from public.lt_checkpoint_after(for_strategy_id, in_mode, kept, through) c;
end
$$;
