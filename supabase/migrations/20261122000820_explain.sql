-- The story of one signal, for whoever asks why: what each strategy made of it, when, from which numbers, and what
-- became of its order. Reads only. Whatever shows a latency takes its moments from lt_stages.

-- The moments of each attempt. All are by the database's clock, as each worker keeps it; `filled_at` is when the first
-- trade was booked here, because the exchange tells the time of a trade in whole seconds.
create or replace view public.lt_attempt_stages with (security_invoker = true) as
select
  a.exchange_order_id, a.lt_order_id, a.strategy_id, a.ft_order_id, a.mode, a.attempt_no, f.order_time as traded_at,
  f.created_at as inserted_at, a.received_at, a.decided_at, a.prepared_at, a.created_at as claimed_at,
  a.sent_times[1] as sent_at, a.answered_at, traded.filled_at,
  case when a.closed_at is not null then traded.settled_at end as settled_at
from public.lt_order_attempts a
left join public.ft_orders f on f.order_id = a.ft_order_id
cross join lateral (
  select min(t.booked_at) as filled_at, case when bool_and(t.state <> 'provisional') then max(t.settled_at) end as settled_at
  from public.lt_fills t
  where t.exchange_order_id = a.exchange_order_id and t.state <> 'reversed'
) traded;

-- The moments of each decision, and of the first attempt that it led to; filled and settled are those of all its attempts.
create or replace view public.lt_stages with (security_invoker = true) as
select
  d.strategy_id, d.ft_order_id, d.mode, d.state, d.updated_at,
  f.order_time as traded_at, d.signal_at as inserted_at, d.received_at, d.decided_at, d.prepared_at, d.claimed_at,
  attempts.sent_at, attempts.answered_at, attempts.filled_at, attempts.settled_at, d.tries
from public.lt_decisions d
left join public.ft_orders f on f.order_id = d.ft_order_id
cross join lateral (
  select
    min(a.sent_at) filter (where a.attempt_no = 1) as sent_at,
    min(a.answered_at) filter (where a.attempt_no = 1) as answered_at, min(a.filled_at) as filled_at,
    case when bool_and(a.settled_at is not null) filter (where a.filled_at is not null) then max(a.settled_at) end as settled_at
  from public.lt_attempt_stages a
  where a.ft_order_id = d.ft_order_id and a.strategy_id = d.strategy_id and a.mode = d.mode
) attempts;

create or replace function public.lt_ms(span interval)
returns text
language sql immutable security invoker set search_path = ''
as $$
  select round(extract(epoch from span) * 1000, 1)::text
$$;

-- The stages that were reached: [{stage, at, after_ms: since the stage before, since_insert_ms}].
create or replace function public.lt_timeline(moments public.lt_stages)
returns jsonb
language sql immutable security invoker set search_path = '' set timezone = 'UTC'
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'stage', reached.stage, 'at', reached.at, 'after_ms', public.lt_ms(reached.at - reached.before),
    'since_insert_ms', public.lt_ms(reached.at - moments.inserted_at)) order by reached.position), '[]')
  from (
    select known.*, lag(known.at) over (order by known.position) as before
    from (values
      (1, 'traded', moments.traded_at), (2, 'inserted', moments.inserted_at), (3, 'received', moments.received_at),
      (4, 'decided', moments.decided_at), (5, 'prepared', moments.prepared_at), (6, 'claimed', moments.claimed_at),
      (7, 'sent', moments.sent_at), (8, 'answered', moments.answered_at), (9, 'filled', moments.filled_at),
      (10, 'settled', moments.settled_at)) known (position, stage, at)
    where known.at is not null and known.at not in ('infinity', '-infinity')
  ) reached
$$;

-- The signals that may be meant, at most ten: by the id of the signal, of the platform's order or of the exchange's, each
-- whole or by its first six digits or more.
create or replace function public.lt_signal_ids(asked text)
returns uuid[]
language plpgsql stable security invoker set search_path = ''
as $$
declare
  digits  text := substring(lower(asked) from '^0x([0-9a-f]{6,64})$');
  prefix  text := substring(replace(lower(asked), '-', '') from '^[0-9a-f]{6,32}$');
  found   uuid[];
begin
  if digits is not null then
    return array(
      select distinct a.ft_order_id from public.lt_order_attempts a
      -- As a range, because a language's collation has no index for prefixes.
      where a.exchange_order_id between '0x' || digits and '0x' || digits || 'g'
        and starts_with(a.exchange_order_id, '0x' || digits)
      limit 10);
  elsif prefix is null then
    return '{}';
  end if;
  select array_agg(named.id) into found from (
    select o.order_id as id from public.ft_orders o
    where o.order_id between rpad(prefix, 32, '0')::uuid and rpad(prefix, 32, 'f')::uuid
    union
    -- A decision outlives its signal.
    select d.ft_order_id from public.lt_decisions d
    where d.ft_order_id between rpad(prefix, 32, '0')::uuid and rpad(prefix, 32, 'f')::uuid
    limit 10
  ) named;
  if found is null and length(prefix) = 32 then
    found := array(
      select public.lt_uuid(o.ft_order_id) from public.lt_orders o where o.lt_order_id = lower(asked));
  end if;
  return coalesce(array_remove(found, null), '{}');
end
$$;

-- Why a strategy has no decision on a signal: {why, in_scope, since, until, is_active, worker, lease_until, elsewhere}.
--   no_insert_time   the row does not say when it was inserted: in nobody's scope
--   waiting          in scope, and the wallet's worker has yet to decide it
--   no_worker        in scope, and nobody trades for the strategy
--   other_mode       in scope, and whoever trades for the strategy does so in the other mode: `elsewhere`
--   beyond_horizon   in a scope once, and longer ago than undecided work is looked for
--   before_scope     inserted before the strategy was activated (less the look-back); `since`: from when on it answers
--   after_scope      inserted after it was deactivated, or pointed at another paper wallet: at `until`
--   never_active     the strategy follows the paper wallet and was never activated on it
create or replace function public.lt_why_undecided(
  strategy public.lt_strategies, signal public.ft_orders, in_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  is_in   boolean;
  scopes  record;
  lease   public.lt_leases;
  other   jsonb := public.lt_elsewhere(strategy, in_mode);
begin
  is_in := exists (
    select from public.lt_scope_windows w
    where w.strategy_id = strategy.strategy_id and w.ft_wallet_id = signal.wallet_id
      and signal.created_at >= w.window_from and signal.created_at < coalesce(w.window_to, 'infinity'));
  select
    min(s.scope_from) as since, nullif(max(coalesce(s.scope_to, 'infinity')), 'infinity') as until, count(*) as scopes,
    bool_or(signal.created_at >= s.scope_from and signal.created_at < coalesce(s.scope_to, 'infinity')) as was_in
  into scopes
  from public.lt_scopes s
  where s.strategy_id = strategy.strategy_id and s.ft_wallet_id = signal.wallet_id;
  select * into lease from public.lt_leases l
  where l.wallet_address in (lower(strategy.wallet_address), public.lt_purse(strategy.strategy_id))
    and l.mode = in_mode and l.expires_at > clock_timestamp()
  limit 1;

  return jsonb_build_object(
    'why', case
      when signal.created_at is null then 'no_insert_time'
      when is_in and lease.worker is null then case when other is null then 'no_worker' else 'other_mode' end
      when is_in then 'waiting'
      when scopes.scopes = 0 then 'never_active'
      when scopes.was_in then 'beyond_horizon'
      when signal.created_at < scopes.since then 'before_scope'
      else 'after_scope' end,
    'in_scope', is_in, 'since', scopes.since, 'until', scopes.until, 'is_active', strategy.is_active,
    'worker', lease.worker, 'lease_until', lease.expires_at, 'elsewhere', other);
end
$$;

-- What a strategy trades from on paper, where a live worker has it trade beside its money: worker/orders/paper.py.
create or replace function public.lt_purse(strategy_id text)
returns text
language sql immutable security invoker set search_path = ''
as $$
  select left('0x7061706572' || encode(sha256(convert_to(strategy_id, 'UTF8')), 'hex'), 42)
$$;

-- Who trades for a strategy now, where nobody does so in this mode, and somebody in the other: {worker, mode}, else null.
-- A shadow is traded on paper, by a worker of either mode.
create or replace function public.lt_elsewhere(strategy public.lt_strategies, in_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = ''
as $$
declare
  other  text := case in_mode when 'live' then 'paper' else 'live' end;
  worker text;
begin
  if strategy.shadow_mode or public.lt_worker_of(strategy, in_mode) is not null then
    return null;
  end if;
  worker := public.lt_worker_of(strategy, other);
  return case when worker is not null then jsonb_build_object('worker', worker, 'mode', other) end;
end
$$;

-- The attempts for a pair, the first one first, each with its trades. The signed body is in none of them.
create or replace function public.lt_attempts_of(for_strategy_id text, for_ft_order_id uuid, in_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return (
    select coalesce(jsonb_agg(v.shown || jsonb_build_object('fills', coalesce((
        select jsonb_agg(to_jsonb(x) || jsonb_build_object(
          'price', public.lt_text(x.price), 'shares', public.lt_text(x.shares), 'fee_usd', public.lt_text(x.fee_usd),
          'cost_usd', public.lt_text(x.cost_usd)) order by x.fill_seq)
        from public.lt_fills x where x.exchange_order_id = a.exchange_order_id), '[]')) order by a.attempt_no), '[]')
    from public.lt_order_attempts a
    join public.lt_attempts_shown v using (exchange_order_id)
    where a.ft_order_id = for_ft_order_id and a.strategy_id = for_strategy_id and a.mode = in_mode);
end
$$;

-- {mode, ft_order_id} -> {now, ft_order_ids, signal | null, strategies, followed}
--   ft_order_ids  what may be meant; the rest is told where that is one signal
--   strategies    [{strategy_id, mode, state, reason, value, limit, tries, retry_at, expires_at, history, snapshot,
--                   undecided: lt_why_undecided | null, timeline, order | null, attempts, strategy | null}] of every
--                 decision, and of every strategy that follows or followed the paper wallet. `state` is executed, skipped,
--                 deferred, undecided or out_of_scope
--   followed      where no strategy follows its paper wallet: the paper wallets that active strategies follow
create or replace function public.lt_explain(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  ids        uuid[] := public.lt_signal_ids(btrim(p ->> 'ft_order_id'));
  in_mode    text := p ->> 'mode';
  signal     public.ft_orders;
  strategies jsonb;
begin
  if cardinality(ids) <> 1 then
    return jsonb_build_object('now', clock_timestamp(), 'ft_order_ids', to_jsonb(ids), 'signal', null,
                              'strategies', '[]'::jsonb, 'followed', '[]'::jsonb);
  end if;
  select * into signal from public.ft_orders o where o.order_id = ids[1];

  with decided as (
    select d.strategy_id, d.mode from public.lt_decisions d where d.ft_order_id = ids[1]
  ), following as (
    select s.strategy_id, public.lt_mode_at(s.strategy_id, signal.created_at, in_mode) as mode
    from public.lt_strategies s
    where s.ft_wallet_id = signal.wallet_id or exists (
      select from public.lt_scopes c where c.strategy_id = s.strategy_id and c.ft_wallet_id = signal.wallet_id)
  ), pairs as (
    select * from decided
    union
    -- Decided in one mode it is told of in the other only where somebody trades in that.
    select f.* from following f
    where not exists (select from decided d where d.strategy_id = f.strategy_id)
      or exists (
        select from public.lt_strategies s
        join public.lt_leases l on l.wallet_address in (lower(s.wallet_address), public.lt_purse(s.strategy_id))
        where s.strategy_id = f.strategy_id and l.mode = f.mode and l.expires_at > clock_timestamp())
  )
  select coalesce(jsonb_agg(jsonb_build_object(
      'strategy_id', pairs.strategy_id, 'mode', pairs.mode,
      'state', coalesce(d.state, case when (missing.told ->> 'in_scope')::boolean then 'undecided' else 'out_of_scope' end),
      'reason', d.reason, 'value', d.value, 'limit', d.limit_value, 'tries', d.tries, 'retry_at', d.retry_at,
      'expires_at', d.expires_at, 'history', coalesce(d.history, '[]'), 'snapshot', coalesce(d.snapshot, '{}'),
      'undecided', missing.told,
      'timeline', coalesce(
        (select public.lt_timeline(t) from public.lt_stages t
         where t.strategy_id = d.strategy_id and t.ft_order_id = d.ft_order_id and t.mode = d.mode), '[]'),
      'order', (
        select public.lt_exact(to_jsonb(o)) from public.lt_orders o
        where o.strategy_id = pairs.strategy_id and o.ft_order_id = ids[1]::text
          and coalesce(o.is_shadow, false) = (pairs.mode = 'paper') and not coalesce(o.is_force_test, false)
        order by o.created_at limit 1),
      'attempts', public.lt_attempts_of(pairs.strategy_id, ids[1], pairs.mode),
      'strategy', public.lt_exact(to_jsonb(s))) order by pairs.strategy_id, pairs.mode), '[]')
  into strategies
  from pairs
  left join public.lt_decisions d
    on d.strategy_id = pairs.strategy_id and d.ft_order_id = ids[1] and d.mode = pairs.mode
  left join public.lt_strategies s on s.strategy_id = pairs.strategy_id
  left join lateral (
    select public.lt_why_undecided(s, signal, pairs.mode) as told where d.strategy_id is null
  ) missing on true;

  return jsonb_build_object(
    'now', clock_timestamp(), 'ft_order_ids', to_jsonb(ids),
    'signal', case when signal.order_id is not null then public.lt_signal_row(signal) end,
    'strategies', strategies,
    'followed', case when strategies <> '[]' then '[]'::jsonb else coalesce((
      select jsonb_agg(distinct s.ft_wallet_id) from public.lt_strategies s where s.is_active), '[]') end);
end
$$;
