-- What the market did after our trades, and the figures of lt_funnel over time. Nothing is counted by another formula here:
-- the buckets of a series are cut out of the same rows, so they add up to the funnel that stands beside them.

-- What the market did after our trades (lt_marks), so many seconds later: by type of order, and of all together (null).
--   [{order_type, after_s, count: trades that were marked, median_bps, mean_bps, usd: of all their shares}]
create or replace function public.lt_markout(in_mode text, since timestamptz, only_strategy text)
returns jsonb
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'order_type', told.order_type, 'after_s', told.after_s, 'count', told.trades,
      'median_bps', round(told.median_bps, 1)::text, 'mean_bps', round(told.mean_bps, 1)::text,
      'usd', public.lt_text(told.usd)) order by told.order_type nulls first, told.after_s), '[]')
    from (
      select a.order_type, m.after_s, count(*) as trades,
        (percentile_cont(0.5) within group (order by m.markout_bps))::numeric as median_bps,
        avg(m.markout_bps) as mean_bps, sum(m.markout_usd) as usd
      from public.lt_counted_pairs(in_mode, only_strategy) c
      join public.lt_orders o on o.strategy_id = c.strategy_id and o.created_at >= since
        and coalesce(o.is_shadow, false) = (c.mode = 'paper') and not coalesce(o.is_force_test, false)
      join public.lt_order_attempts a on a.lt_order_id = o.lt_order_id
      join public.lt_marks m on m.exchange_order_id = a.exchange_order_id and m.mid is not null
      group by grouping sets ((a.order_type, m.after_s), (m.after_s))
    ) told);
end
$$;

-- The signals by bucket: how many were in scope, and what became of them.
create or replace function public.lt_signal_buckets(in_mode text, since timestamptz, only_strategy text, bucket_s numeric)
returns table (bucket integer, seen bigint, executed bigint, skipped bigint, deferred bigint)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  return query
  select counted.bucket, sum(counted.seen)::bigint, sum(counted.executed)::bigint, sum(counted.skipped)::bigint,
    sum(counted.deferred)::bigint
  from (
    select floor(extract(epoch from o.created_at - since) / bucket_s)::integer as bucket, count(*) as seen, 0 as executed, 0 as skipped,
      0 as deferred
    from public.lt_scope_windows w
    cross join lateral (
      select f.created_at from public.ft_orders f
      where f.wallet_id = w.ft_wallet_id
        and f.created_at >= greatest(w.window_from, since) and f.created_at < coalesce(w.window_to, 'infinity')
      offset 0   -- as in lt_reason_counts
    ) o
    where only_strategy is null or w.strategy_id = only_strategy
    group by 1
    union all
    select floor(extract(epoch from d.signal_at - since) / bucket_s)::integer, 0, count(*) filter (where d.state = 'executed'),
      count(*) filter (where d.state = 'skipped'), count(*) filter (where d.state = 'deferred')
    from public.lt_counted_pairs(in_mode, only_strategy) c
    cross join lateral (
      select k.signal_at, k.state from public.lt_decisions k
      where k.strategy_id = c.strategy_id and k.mode = c.mode and k.signal_at >= since and k.signal_at <@ c.times
      offset 0   -- as above
    ) d
    group by 1
  ) counted
  group by counted.bucket;
end
$$;

-- {mode, since? | window_s?: 86400, buckets?: 48, strategy_id?} -> {now, since, mode, bucket_s, series, funnel}: `funnel`
-- is the answer of lt_funnel since the same moment.
--   series  [{at, seen, executed, skipped, deferred, executed_share, orders: lt_order_counts, sent_count, sent_p50_ms,
--             sent_p99_ms}] of every bucket, empty ones too: signals by their insert time, orders by the time they were
--           placed, and from insert to wire by the insert time
create or replace function public.lt_metrics(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  in_mode       text := p ->> 'mode';
  only_strategy text := p ->> 'strategy_id';
  now_is        timestamptz := clock_timestamp();
  begins        timestamptz := coalesce(
    (p ->> 'since')::timestamptz, now_is - make_interval(secs => coalesce((p ->> 'window_s')::numeric, 86400)));
  buckets       integer := greatest(least(coalesce((p ->> 'buckets')::integer, 48), 500), 1);
  bucket_s      numeric := greatest(round(extract(epoch from now_is - begins) / buckets, 3), 1);
  figures       jsonb;
  series        jsonb;
begin
  figures := public.lt_figures(jsonb_build_object(
    'mode', in_mode, 'since', begins, 'strategy_id', only_strategy, 'bucket_s', bucket_s));
  with signals as (
    select * from public.lt_signal_buckets(in_mode, begins, only_strategy, bucket_s)
  ), orders as (
    select (o ->> 'bucket')::integer as bucket, o -> 'counts' as counts
    from jsonb_array_elements(figures -> 'buckets' -> 'orders') o
  ), sent as (
    select (l ->> 'bucket')::integer as bucket, l -> 'told' as told
    from jsonb_array_elements(figures -> 'buckets' -> 'sent') l
  )
  select jsonb_agg(jsonb_build_object(
    'at', begins + make_interval(secs => bucket * bucket_s),
    'seen', coalesce(signals.seen, 0), 'executed', coalesce(signals.executed, 0),
    'skipped', coalesce(signals.skipped, 0), 'deferred', coalesce(signals.deferred, 0),
    'executed_share', public.lt_share(signals.executed, signals.seen),
    'orders', coalesce(orders.counts, '{"placed": 0}'), 'sent_count', coalesce(sent.told -> 'count', '0'),
    'sent_p50_ms', sent.told -> 'p50_ms', 'sent_p99_ms', sent.told -> 'p99_ms') order by bucket)
  into series
  from generate_series(0, floor(extract(epoch from clock_timestamp() - begins) / bucket_s)::integer) bucket
  left join signals using (bucket)
  left join orders using (bucket)
  left join sent using (bucket);

  return jsonb_build_object(
    'now', clock_timestamp(), 'since', begins, 'mode', in_mode, 'bucket_s', public.lt_text(bucket_s), 'series', series,
    'funnel', figures - 'buckets');
end
$$;
