-- What the platform's own pages ask for, in their words: the audit of the executions, the orders of one strategy, and a
-- sweep that is asked for. The figures are those of the funnel and of the orders' list; what is added is who and which.

-- The newest signals of a strategy in a mode since then that were skipped, or that are still to be decided:
-- [{ft_order_id, market, order_time, inserted_at, price, size_usd, hours_before_sync, state, reason, value, limit}]
create or replace function public.lt_samples(
  in_mode text, pair_mode text, of_strategy public.lt_strategies, since timestamptz, skipped boolean, most integer)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  least_id constant uuid := '00000000-0000-0000-0000-000000000000';
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'ft_order_id', newest.ft_order_id, 'market', left(o.market_title, 60),
      'order_time', nullif(nullif(o.order_time, '-infinity'), 'infinity'), 'inserted_at', newest.signal_at,
      'price', public.lt_text(o.entry_price), 'size_usd', public.lt_text(o.size),
      'hours_before_sync', case when isfinite(o.order_time) then
        floor(extract(epoch from of_strategy.last_sync_time - o.order_time) / 3600)::integer end,
      'state', newest.state, 'reason', newest.reason, 'value', newest.value, 'limit', newest.limit_value)
      order by newest.signal_at desc, newest.ft_order_id), '[]')
    from (
      select * from (
        (select d.ft_order_id, d.signal_at, d.state, d.reason, d.value, d.limit_value from public.lt_decisions d
         where d.strategy_id = of_strategy.strategy_id and d.mode = pair_mode and d.signal_at >= since
           and d.state = case when skipped then 'skipped' else 'deferred' end
         order by d.signal_at desc limit most)
        union all
        select u.ft_order_id, u.signal_at, 'undecided', null, null, null
        from public.lt_scope_windows w
        cross join lateral public.lt_undecided(in_mode, w, since, least_id, 'infinity', least_id) u
        where not skipped and w.strategy_id = of_strategy.strategy_id
          and pair_mode = case when w.is_shadow then 'paper' else in_mode end
      ) any_of_them order by signal_at desc, ft_order_id limit most
    ) newest
    left join public.ft_orders o on o.order_id = newest.ft_order_id);
end
$$;

-- {mode, since? | window_s?: 86400, strategy_id?, samples?: 5} -> as lt_funnel, and in each of `strategies` also
-- ft_wallet_id, last_sync_time, sample_skipped and sample_eligible: lt_samples.
create or replace function public.lt_execution_audit(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  in_mode text := p ->> 'mode';
  most    integer := least(coalesce((p ->> 'samples')::integer, 5), 50);
  funnel  jsonb := public.lt_funnel(p);
  since   timestamptz := (funnel ->> 'since')::timestamptz;
begin
  return funnel || jsonb_build_object('strategies', coalesce((
    select jsonb_agg(told.part || jsonb_build_object(
      'ft_wallet_id', s.ft_wallet_id, 'last_sync_time', s.last_sync_time,
      'sample_skipped', public.lt_samples(in_mode, told.part ->> 'mode', s, since, true, most),
      'sample_eligible', public.lt_samples(in_mode, told.part ->> 'mode', s, since, false, most)) order by told.nth)
    from jsonb_array_elements(funnel -> 'strategies') with ordinality told (part, nth)
    left join public.lt_strategies s on s.strategy_id = told.part ->> 'strategy_id'), '[]'));
end
$$;

-- {mode, strategy_id, limit?: 100} -> {now, strategy, open_orders, closed_orders, failed_orders, pending_orders, more, stats}
-- Every order of the strategy stands in one of the four lists, each the newest first, so that none hides another:
--   pending   it may still trade          failed   rejected, lost, or closed without a trade
--   closed    its market ended, or sold   open     it traded, and its outcome is open
-- `strategy` is null where there is none of that name. `stats` are of all orders, not of those that are listed; what only
-- the market can tell (unrealized_pnl, and with it total_pnl) is null. Slippage is in per cent of the signal's price.
create or replace function public.lt_strategy_orders(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  of_strategy text := p ->> 'strategy_id';
  modes text[] := case p ->> 'mode' when 'live' then '{live,paper}' else '{paper}' end;
  most  integer := least(coalesce((p ->> 'limit')::integer, 100), 500);
  lists jsonb;
  stats jsonb;
begin
  with own as materialized (
    select o as told, o.created_at, o.lt_order_id, o.status, o.outcome, o.fill_rate, o.slippage_bps,
      o.signal_size_usd, o.executed_size_usd, o.execution_latency_ms, o.pnl,
      case
        when o.status = 'PENDING' or o.lt_order_id = any (alive.orders) then 'pending'
        when o.status in ('REJECTED', 'CANCELLED', 'LOST') then 'failed'
        when o.outcome <> 'OPEN' then 'closed'
        else 'open' end as part
    from public.lt_orders o
    cross join (
      select array(
        select a.lt_order_id from public.lt_order_attempts a
        where a.closed_at is null and a.strategy_id = of_strategy and a.mode = any (modes)
          and public.lt_attempt_is_alive(a.state)) as orders
    ) alive
    where o.strategy_id = of_strategy and case when o.is_shadow then 'paper' else 'live' end = any (modes)
      and not coalesce(o.is_force_test, false)
  ), listed as (
    select l.part, jsonb_agg(public.lt_order_told(l.told) order by l.created_at desc, l.lt_order_id) as orders
    from (select n.*, row_number() over (partition by n.part order by n.created_at desc, n.lt_order_id) as nth from own n) l
    where l.nth <= most
    group by l.part
  )
  select
    (select coalesce(jsonb_object_agg(l.part, l.orders), '{}') from listed l),
    jsonb_build_object(
      'attempts', count(*), 'total_trades', count(*) filter (where n.fill_rate > 0),
      'filled', count(*) filter (where n.status = 'FILLED'), 'partial', count(*) filter (where n.status = 'PARTIAL'),
      'failed', count(*) filter (where n.part = 'failed'), 'pending', count(*) filter (where n.part = 'pending'),
      'open_positions', count(*) filter (where n.part = 'open'),
      'closed_positions', count(*) filter (where n.part = 'closed'),
      'won', count(*) filter (where n.outcome = 'WON'), 'lost', count(*) filter (where n.outcome = 'LOST'),
      'win_rate', public.lt_share(count(*) filter (where n.outcome = 'WON'), count(*) filter (where n.outcome in ('WON', 'LOST'))),
      'realized_pnl', public.lt_text(coalesce(sum(n.pnl) filter (where n.outcome <> 'OPEN'), 0)),
      'unrealized_pnl', null, 'total_pnl', null,
      'avg_trade_size', round(avg(n.executed_size_usd) filter (where n.fill_rate > 0), 2)::text,
      'total_signal_usd', public.lt_text(coalesce(sum(n.signal_size_usd), 0)),
      'total_executed_usd', public.lt_text(coalesce(sum(n.executed_size_usd) filter (where n.fill_rate > 0), 0)),
      'fill_rate_pct', round(100.0 * count(*) filter (where n.status = 'FILLED') / nullif(count(*), 0), 2)::text,
      'dollar_fill_rate_pct', round(
        100 * sum(n.signal_size_usd * coalesce(n.fill_rate, 0)) / nullif(sum(n.signal_size_usd), 0), 2)::text,
      'avg_fill_rate', round(avg(coalesce(n.fill_rate, 0)), 4)::text,
      'avg_slippage_pct', round((percentile_cont(0.5) within group (order by n.slippage_bps))::numeric / 100, 3)::text,
      'max_slippage_pct', round(max(n.slippage_bps) / 100.0, 3)::text,
      'avg_latency_ms', round(avg(n.execution_latency_ms), 1)::text)
  into lists, stats from own n;

  return jsonb_build_object(
    'now', clock_timestamp(),
    'strategy', (
      select jsonb_build_object(
        'strategy_id', s.strategy_id, 'display_name', s.display_name, 'ft_wallet_id', s.ft_wallet_id,
        'is_active', s.is_active, 'is_paused', s.is_paused, 'shadow_mode', s.shadow_mode, 'order_type', s.order_type)
      from public.lt_strategies s where s.strategy_id = of_strategy),
    'open_orders', coalesce(lists -> 'open', '[]'), 'closed_orders', coalesce(lists -> 'closed', '[]'),
    'failed_orders', coalesce(lists -> 'failed', '[]'), 'pending_orders', coalesce(lists -> 'pending', '[]'),
    'more', (stats ->> 'open_positions')::bigint > most or (stats ->> 'closed_positions')::bigint > most
      or (stats ->> 'failed')::bigint > most or (stats ->> 'pending')::bigint > most,
    'stats', stats);
end
$$;

-- {} -> {now, asked_at, workers}: wakes every worker up to a sweep, over the feed and over LISTEN. It would have come by
-- itself within `sweep.every_s`. `workers`: how many hold a lease.
create or replace function public.lt_ask_sweep(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  asked_at timestamptz := clock_timestamp();
begin
  insert into public.lt_canary (worker) values ('sweep');
  if pg_notification_queue_usage() < 0.5 then   -- as lt_tell_signal
    perform pg_notify('lt_signals', 'sweep');
  end if;
  return jsonb_build_object(
    'now', clock_timestamp(), 'asked_at', asked_at,
    'workers', (select count(distinct l.worker) from public.lt_leases l where l.expires_at > asked_at));
end
$$;

-- {mode, asked_at} -> {now, left, strategies: [{strategy_id, executed, sold, skipped, deferred, errors, reasons}]}: what
-- was decided since then on signals that were inserted before, of every strategy that answers for any. `left`: work of
-- before then that is not done yet, orders included whose answer is still awaited. `errors`: executions that the exchange
-- refused, or lost.
create or replace function public.lt_swept(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  least_id constant uuid := '00000000-0000-0000-0000-000000000000';
  in_mode  text := p ->> 'mode';
  asked_at timestamptz := (p ->> 'asked_at')::timestamptz;
  left_now bigint;
  done     jsonb;
begin
  select
    (select count(*) from public.lt_scope_windows w
     cross join lateral public.lt_undecided(in_mode, w, '-infinity', least_id, asked_at, least_id))
    + (select count(*) from public.lt_counted_pairs(in_mode, null) c
       join public.lt_decisions d on d.strategy_id = c.strategy_id and d.mode = c.mode and d.state = 'deferred'
         and least(d.retry_at, d.expires_at) <= asked_at)
    + (select count(*) from public.lt_counted_pairs(in_mode, null) c
       join public.lt_order_attempts a on a.strategy_id = c.strategy_id and a.mode = c.mode
         and a.closed_at is null and a.state = 'submitting' and a.created_at >= asked_at)
  into left_now;

  select coalesce(jsonb_agg(to_jsonb(told) order by told.strategy_id), '[]')
  into done
  from (
    select counted.strategy_id,
      coalesce(sum(counted.decisions) filter (where counted.state = 'executed'), 0) as executed,
      coalesce(sum(counted.sold), 0) as sold, coalesce(sum(counted.errors), 0) as errors,
      coalesce(sum(counted.decisions) filter (where counted.state = 'skipped'), 0) as skipped,
      coalesce(sum(counted.decisions) filter (where counted.state = 'deferred'), 0) as deferred,
      coalesce(jsonb_object_agg(counted.reason, counted.decisions) filter (where counted.state <> 'executed'), '{}')
        as reasons
    from (
      select c.strategy_id, d.state, d.reason, count(d.strategy_id) as decisions,
        count(*) filter (where o.side = 'SELL') as sold, count(*) filter (where o.status in ('REJECTED', 'LOST')) as errors
      from public.lt_counted_pairs(in_mode, null) c
      left join public.lt_decisions d on d.strategy_id = c.strategy_id and d.mode = c.mode
        and d.updated_at >= asked_at and d.signal_at < asked_at
      left join public.lt_orders o on d.state = 'executed' and o.strategy_id = d.strategy_id
        and o.ft_order_id = d.ft_order_id::text and coalesce(o.is_shadow, false) = (d.mode = 'paper')
      group by c.strategy_id, d.state, d.reason
    ) counted
    group by counted.strategy_id
  ) told;
  return jsonb_build_object('now', clock_timestamp(), 'left', left_now, 'strategies', done);
end
$$;
