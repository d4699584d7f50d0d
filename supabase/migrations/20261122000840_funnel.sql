-- What became of the signals of some time, in figures: the funnel, why it is not wider, the platform's own measures, and
-- how long each stage took. One place, so that the command, the web API and the dashboard cannot disagree.
--
-- Signals count by their insert time and orders by the time they were placed, as the platform counts them. Each function
-- loops over the strategies and takes a range of an index for each, as lt_equation does.

-- A share as text with four decimals; null where there is nothing to take it of.
create or replace function public.lt_share(part numeric, whole numeric)
returns text
language sql immutable security invoker set search_path = ''
as $$
  select round(part / nullif(whole, 0), 4)::text
$$;

-- The strategies, and the mode of each, that the figures of a worker of that mode are about: on paper all of them, live
-- also what its shadows do on paper.
create or replace function public.lt_counted_pairs(in_mode text, only_strategy text)
returns table (strategy_id text, mode text, times tstzmultirange)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  return query
  select w.strategy_id, w.pair_mode, range_agg(tstzrange(w.window_from, w.window_to))
  from (
    select t.*, case when t.is_shadow then 'paper' else in_mode end as pair_mode from public.lt_scope_windows t
  ) w
  where only_strategy is null or w.strategy_id = only_strategy
  group by w.strategy_id, w.pair_mode;
end
$$;

-- Why signals were not traded: of each strategy and mode, and of all together (both null).
create or replace function public.lt_reason_counts(in_mode text, since timestamptz, only_strategy text)
returns table (strategy_id text, mode text, state text, reason text, decisions bigint)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  return query
  select d.strategy_id, d.mode, d.state, d.reason, count(*)
  from public.lt_counted_pairs(in_mode, only_strategy) c
  cross join lateral (
    select * from public.lt_decisions k
    where k.strategy_id = c.strategy_id and k.mode = c.mode and k.signal_at >= since and k.signal_at <@ c.times
    offset 0   -- the planner must not begin with the decisions of everybody
  ) d
  where d.state <> 'executed'
  group by grouping sets ((d.strategy_id, d.mode, d.state, d.reason), (d.state, d.reason));
end
$$;

-- What became of the orders that were placed since: of each `strategy` and mode, of each `order_type` (their last
-- attempt's), of each `bucket` of so many seconds since then, and in `total`. `fill_rate_usd`: of the dollars that were bet,
-- so without sales; fill minutes by the platform's own formula; slippage against the signal's price, worse is positive.
create or replace function public.lt_order_counts(
  in_mode text, since timestamptz, only_strategy text, bucket_s numeric default null)
returns table (part text, strategy_id text, mode text, order_type text, bucket integer, counts jsonb)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  return query
  select
    case when grouping(c.mode) = 0 then 'strategy' when grouping(last.order_type) = 0 then 'order_type'
         when grouping(slot.bucket) = 0 then 'bucket' else 'total' end,
    o.strategy_id, c.mode, last.order_type, slot.bucket,
    jsonb_build_object(
      'placed', count(*),
      'by_status', jsonb_build_object(
        'FILLED', count(*) filter (where o.status = 'FILLED'), 'PARTIAL', count(*) filter (where o.status = 'PARTIAL'),
        'PENDING', count(*) filter (where o.status = 'PENDING'), 'CANCELLED', count(*) filter (where o.status = 'CANCELLED'),
        'REJECTED', count(*) filter (where o.status = 'REJECTED'), 'LOST', count(*) filter (where o.status = 'LOST')),
      'filled_share', public.lt_share(count(*) filter (where o.status = 'FILLED'), count(*)),
      'pending_share', public.lt_share(count(*) filter (where o.status = 'PENDING'), count(*)),
      'bet_usd', public.lt_text(coalesce(sum(o.signal_size_usd), 0)),
      'filled_usd', public.lt_text(coalesce(round(sum(o.signal_size_usd * coalesce(o.fill_rate, 0)), 2), 0)),
      'fill_rate_usd', public.lt_share(sum(o.signal_size_usd * coalesce(o.fill_rate, 0)), sum(o.signal_size_usd)),
      'average_fill_minutes',
        -- The exchange tells the time of a trade in whole seconds: it may seem to come before its order.
        round(avg(extract(epoch from greatest(o.fully_filled_at, o.order_placed_at) - o.order_placed_at) / 60)
          filter (where o.fully_filled_at is not null), 2)::text,
      'median_slippage_bps', round((percentile_cont(0.5) within group (order by o.slippage_bps))::numeric, 1)::text,
      'p95_slippage_bps', round((percentile_cont(0.95) within group (order by o.slippage_bps))::numeric, 1)::text)
  from public.lt_counted_pairs(in_mode, only_strategy) c
  join public.lt_orders o on o.strategy_id = c.strategy_id and o.created_at >= since
    and coalesce(o.is_shadow, false) = (c.mode = 'paper') and not coalesce(o.is_force_test, false)
  left join lateral (
    select a.order_type from public.lt_order_attempts a
    where a.lt_order_id = o.lt_order_id order by a.attempt_no desc limit 1
  ) last on true
  cross join lateral (select floor(extract(epoch from o.created_at - since) / bucket_s)::integer as bucket) slot
  group by grouping sets ((o.strategy_id, c.mode), (last.order_type), (slot.bucket), ());
end
$$;

-- How long each stage took, of each executed signal; a stage is called by where it ends. What was put off first is told
-- apart, because its times are those of what it waited for: `decided_late` and `insert_to_sent_late`.
create or replace function public.lt_spans(in_mode text, since timestamptz, only_strategy text)
returns table (stage text, inserted_at timestamptz, took interval)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  return query
  select span.stage, s.inserted_at, span.took
  from public.lt_counted_pairs(in_mode, only_strategy) c
  cross join lateral (
    select * from public.lt_stages k
    where k.strategy_id = c.strategy_id and k.mode = c.mode and k.inserted_at >= since and k.inserted_at <@ c.times
      and k.state = 'executed'
    offset 0   -- as above
  ) s
  cross join lateral (values
    ('inserted', s.inserted_at - nullif(s.traded_at, '-infinity')), ('received', s.received_at - s.inserted_at),
    (case when s.tries > 1 then 'decided_late' else 'decided' end, s.decided_at - s.received_at),
    ('claimed', s.claimed_at - s.decided_at),
    ('sent', s.sent_at - s.claimed_at), ('answered', s.answered_at - s.sent_at),
    ('filled', s.filled_at - s.sent_at), ('settled', s.settled_at - s.filled_at),
    (case when s.tries > 1 then 'insert_to_sent_late' else 'insert_to_sent' end, s.sent_at - s.inserted_at)) span (stage, took)
  where span.took is not null;
end
$$;

-- {count, p50_ms, p95_ms, p99_ms, max_ms} of each stage over the executed signals, and of `insert_to_sent` also in each
-- bucket of so many seconds by the insert time (null: in all of them).
create or replace function public.lt_latency(
  in_mode text, since timestamptz, only_strategy text, bucket_s numeric default null)
returns table (stage text, bucket integer, told jsonb)
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return query
  select span.stage, span.bucket, jsonb_build_object(
    'count', count(*),
    'p50_ms', public.lt_ms(percentile_cont(0.5) within group (order by span.took)),
    'p95_ms', public.lt_ms(percentile_cont(0.95) within group (order by span.took)),
    'p99_ms', public.lt_ms(percentile_cont(0.99) within group (order by span.took)),
    'max_ms', public.lt_ms(max(span.took)))
  from (
    select s.stage, s.took, case when s.stage = 'insert_to_sent'
      then floor(extract(epoch from s.inserted_at - since) / bucket_s)::integer end as bucket
    from public.lt_spans(in_mode, since, only_strategy) s
  ) span
  group by grouping sets ((span.stage), (span.stage, span.bucket))
  having grouping(span.bucket) = 1 or span.bucket is not null;
end
$$;

-- The figures of one strategy and mode, or of all together (both null), beside its counts of the equation.
create or replace function public.lt_funnel_part(equation jsonb, reasons jsonb, orders jsonb)
returns jsonb
language sql immutable security invoker set search_path = ''
as $$
  select equation || jsonb_build_object(
    'executed_share', public.lt_share((equation ->> 'executed')::numeric, (equation ->> 'seen')::numeric),
    'skipped_by', coalesce((
      select jsonb_agg(jsonb_build_object(
        'reason', r ->> 'reason', 'count', r -> 'count',
        'share', public.lt_share((r ->> 'count')::numeric, (equation ->> 'skipped')::numeric))
        order by (r ->> 'count')::bigint desc, r ->> 'reason')
      from jsonb_array_elements(reasons) r where r ->> 'state' = 'skipped'), '[]'),
    'deferred_for', coalesce((
      select jsonb_agg(jsonb_build_object('reason', r ->> 'reason', 'count', r -> 'count')
        order by (r ->> 'count')::bigint desc, r ->> 'reason')
      from jsonb_array_elements(reasons) r where r ->> 'state' = 'deferred'), '[]'),
    'too_old_share', public.lt_share(coalesce((
      select sum((r ->> 'count')::numeric) from jsonb_array_elements(reasons) r
      where r ->> 'state' = 'skipped' and r ->> 'reason' = 'signal_too_old'), 0), (equation ->> 'seen')::numeric),
    'orders', coalesce(orders, '{"placed": 0}'))
$$;

-- The figures by type of order: see lt_funnel. `counted`: strategies of lt_equation; `orders`: rows of lt_order_counts.
create or replace function public.lt_order_types(counted jsonb, orders jsonb, only_strategy text)
returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'order_type', typed.order_type, 'seen', coalesce(seen.seen, 0), 'executed', coalesce(seen.executed, 0),
    'executed_share', public.lt_share(seen.executed, seen.seen), 'orders', coalesce(placed.counts, '{"placed": 0}'))
    order by typed.order_type), '[]')
  from (
    select case upper(s.order_type) when 'IOC' then 'FAK' else upper(s.order_type) end as order_type,
      sum((e ->> 'seen')::numeric) as seen, sum((e ->> 'executed')::numeric) as executed
    from jsonb_array_elements(counted) e
    join public.lt_strategies s on s.strategy_id = e ->> 'strategy_id'
    where only_strategy is null or s.strategy_id = only_strategy
    group by 1
  ) seen
  full join (
    select o ->> 'order_type' as order_type, o -> 'counts' as counts
    from jsonb_array_elements(orders) o where o ->> 'part' = 'order_type'
  ) placed using (order_type)
  cross join lateral (select coalesce(order_type, 'unknown') as order_type) typed
$$;

-- {..., bucket_s?} -> what lt_funnel answers, and buckets: {orders: [{bucket, counts}], sent: [{bucket, told}]}, the same
-- rows cut by time. Both are counted in one go, because that is what costs.
create or replace function public.lt_figures(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  in_mode       text := p ->> 'mode';
  only_strategy text := p ->> 'strategy_id';
  begins        timestamptz := coalesce(
    (p ->> 'since')::timestamptz,
    clock_timestamp() - make_interval(secs => coalesce((p ->> 'window_s')::numeric, 86400)));
  equation      jsonb := public.lt_equation(jsonb_build_object('mode', in_mode, 'since', begins));
  bucket_s      numeric := (p ->> 'bucket_s')::numeric;
  reasons       jsonb;
  orders        jsonb;
  latency       jsonb;
  total         jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_object(
    'strategy_id', r.strategy_id, 'mode', r.mode, 'state', r.state, 'reason', r.reason, 'count', r.decisions)), '[]')
  into reasons from public.lt_reason_counts(in_mode, begins, only_strategy) r;
  select coalesce(jsonb_agg(to_jsonb(o)), '[]')
  into orders from public.lt_order_counts(in_mode, begins, only_strategy, bucket_s) o;
  select coalesce(jsonb_agg(to_jsonb(l)), '[]')
  into latency from public.lt_latency(in_mode, begins, only_strategy, bucket_s) l;

  total := equation -> 'total';
  if only_strategy is not null then
    select jsonb_build_object(
      'seen', coalesce(sum((e ->> 'seen')::bigint), 0), 'executed', coalesce(sum((e ->> 'executed')::bigint), 0),
      'skipped', coalesce(sum((e ->> 'skipped')::bigint), 0), 'deferred', coalesce(sum((e ->> 'deferred')::bigint), 0),
      'undecided', coalesce(sum((e ->> 'undecided')::bigint), 0), 'missed', coalesce(sum((e ->> 'missed')::bigint), 0),
      'holds', coalesce(bool_and((e ->> 'holds')::boolean), true))
    into total
    from jsonb_array_elements(equation -> 'strategies') e where e ->> 'strategy_id' = only_strategy;
  end if;

  return jsonb_build_object(
    'now', clock_timestamp(), 'since', begins, 'mode', in_mode,
    'total', public.lt_funnel_part(
      total,
      coalesce((select jsonb_agg(r) from jsonb_array_elements(reasons) r where r ->> 'mode' is null), '[]'),
      (select o -> 'counts' from jsonb_array_elements(orders) o where o ->> 'part' = 'total')),
    'strategies', coalesce((
      select jsonb_agg(public.lt_funnel_part(
        e,
        coalesce((select jsonb_agg(r) from jsonb_array_elements(reasons) r
                  where (r ->> 'strategy_id', r ->> 'mode') = (e ->> 'strategy_id', e ->> 'mode')), '[]'),
        (select o -> 'counts' from jsonb_array_elements(orders) o
         where o ->> 'part' = 'strategy'
           and (o ->> 'strategy_id', o ->> 'mode') = (e ->> 'strategy_id', e ->> 'mode')))
        order by e ->> 'strategy_id', e ->> 'mode')
      from jsonb_array_elements(equation -> 'strategies') e
      where only_strategy is null or e ->> 'strategy_id' = only_strategy), '[]'),
    'order_types', public.lt_order_types(equation -> 'strategies', orders, only_strategy),
    'latency_ms', coalesce((
      select jsonb_object_agg(l ->> 'stage', l -> 'told')
      from jsonb_array_elements(latency) l where l -> 'bucket' = 'null'), '{}'),
    'markout', public.lt_markout(in_mode, begins, only_strategy),
    'buckets', jsonb_build_object(
      'orders', coalesce((select jsonb_agg(o) from jsonb_array_elements(orders) o where o ->> 'part' = 'bucket'), '[]'),
      'sent', coalesce((select jsonb_agg(l) from jsonb_array_elements(latency) l where l -> 'bucket' <> 'null'), '[]')),
    'unknown_insert_time', equation -> 'unknown_insert_time', 'elsewhere', public.lt_traded_elsewhere(in_mode));
end
$$;

-- {mode, since? | window_s?: 86400, strategy_id?} -> {now, since, mode, total, strategies, order_types, latency_ms,
-- markout: lt_markout, unknown_insert_time, elsewhere: lt_traded_elsewhere}: `total` and each of `strategies` are counts
-- of lt_equation, and beside them executed_share, skipped_by and deferred_for: [{reason, count, share}], too_old_share of
-- what was seen, and orders: lt_order_counts.
--   order_types  [{order_type, seen, executed, executed_share, orders}]: what was seen counts by the type that the strategy
--                orders with now, and orders by the type that they were sent with
create or replace function public.lt_funnel(p jsonb)
returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select public.lt_figures(p - 'bucket_s') - 'buckets'
$$;
