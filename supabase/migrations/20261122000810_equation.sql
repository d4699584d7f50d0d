-- The equation: every signal in scope was executed, skipped or deferred, or is undecided and young.

-- {mode, since?} -> {now, strategies: [of each strategy and mode], total, unknown_insert_time, holds}
--
-- seen and undecided are counted over ft_orders; executed, skipped and deferred over lt_decisions alone. A
-- decision that vanished makes a signal undecided, one that strayed in has no signal: either way it shows.
-- What is planned is a loop over windows, and for each a range of an index: the planner guesses thousands of windows,
-- reads whole tables for them, and compiles for seconds.
create or replace function public.lt_equation(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  in_mode   text := p ->> 'mode';
  since     timestamptz := (p ->> 'since')::timestamptz;
  counted   jsonb;
  summed    jsonb;
  timeless  bigint;
begin
  with windows as materialized (
    select w.*, case when w.is_shadow then 'paper' else in_mode end as mode from public.lt_scope_windows w
  ), signals as (
    select w.strategy_id, w.mode, count(*) as seen
    from windows w
    join public.ft_orders o on o.wallet_id = w.ft_wallet_id
      and o.created_at >= greatest(w.window_from, since) and o.created_at < coalesce(w.window_to, 'infinity')
    group by w.strategy_id, w.mode
  ), scopes as materialized (
    select w.strategy_id, w.mode, range_agg(tstzrange(w.window_from, w.window_to)) as times
    from windows w group by w.strategy_id, w.mode
  ), scoped as materialized (
    -- By the range of an index: what was decided before `since` is not read.
    select s.strategy_id, s.mode, d.ft_order_id, d.state
    from scopes s
    cross join lateral (
      select d.ft_order_id, d.state from public.lt_decisions d
      where d.strategy_id = s.strategy_id and d.mode = s.mode
        and d.signal_at >= greatest(lower(s.times), since) and d.signal_at < coalesce(upper(s.times), 'infinity')
        and d.signal_at <@ s.times
    ) d
  ), undecided_pairs as (
    -- A set difference, as in lt_work: a probe per signal takes the planner's guess of an index, and without
    -- statistics that is the wrong one and quadratic. What it leaves is probed by key, as there.
    select left_over.* from (
      select w.strategy_id, w.mode, o.order_id
      from windows w
      join public.ft_orders o on o.wallet_id = w.ft_wallet_id
        and o.created_at >= greatest(w.window_from, since) and o.created_at < coalesce(w.window_to, 'infinity')
      except
      select d.strategy_id, d.mode, d.ft_order_id from scoped d
    ) left_over
    where (select d.state from public.lt_decisions d
           where d.strategy_id = left_over.strategy_id and d.ft_order_id = left_over.order_id
             and d.mode = left_over.mode) is null
  ), undecided as (
    select u.strategy_id, u.mode, count(*) as undecided,
      count(*) filter (where o.created_at < clock_timestamp() - interval '5 seconds') as missed
    from undecided_pairs u
    join public.ft_orders o using (order_id)
    group by u.strategy_id, u.mode
  ), decided as (
    -- Pairs seeded from before our time are decided but were never in scope. A decision without a time, or of a
    -- strategy that never had a scope, is nobody's: it counts, so that it is seen (the latter while it is news).
    select d.strategy_id, d.mode,
      count(*) filter (where d.state = 'executed') as executed,
      count(*) filter (where d.state = 'skipped')  as skipped,
      count(*) filter (where d.state = 'deferred') as deferred
    from (
      select d.strategy_id, d.mode, d.state from scoped d
      union all
      select d.strategy_id, d.mode, d.state from public.lt_decisions d
      where d.signal_at is null
        and (d.mode = in_mode or exists (select from scopes s where (s.strategy_id, s.mode) = (d.strategy_id, d.mode)))
      union all
      select d.strategy_id, d.mode, d.state from public.lt_decisions d
      where d.updated_at >= coalesce(since, '-infinity') and d.signal_at is not null and d.mode = in_mode
        and d.reason <> 'already_executed'
        and not exists (select from public.lt_scopes s where s.strategy_id = d.strategy_id)
    ) d
    group by d.strategy_id, d.mode
  ), counts as (
    select strategy_id, mode, coalesce(seen, 0) as seen, coalesce(executed, 0) as executed,
      coalesce(skipped, 0) as skipped, coalesce(deferred, 0) as deferred,
      coalesce(undecided, 0) as undecided, coalesce(missed, 0) as missed
    from (select strategy_id, mode from windows union select strategy_id, mode from decided) known
    left join signals using (strategy_id, mode)
    left join undecided using (strategy_id, mode)
    left join decided using (strategy_id, mode)
  )
  select
    coalesce(jsonb_agg(to_jsonb(c) || jsonb_build_object(
      'holds', c.seen = c.executed + c.skipped + c.deferred + c.undecided and c.missed = 0) order by c.strategy_id, c.mode), '[]'),
    jsonb_build_object(
      'seen', coalesce(sum(c.seen), 0), 'executed', coalesce(sum(c.executed), 0), 'skipped', coalesce(sum(c.skipped), 0),
      'deferred', coalesce(sum(c.deferred), 0), 'undecided', coalesce(sum(c.undecided), 0),
      'missed', coalesce(sum(c.missed), 0),
      'holds', coalesce(bool_and(c.seen = c.executed + c.skipped + c.deferred + c.undecided and c.missed = 0), true))
  into counted, summed
  from counts c;

  -- Without an insert time a signal is in nobody's scope; all that can be done is to say how many there are.
  select count(*) into timeless
  from public.ft_orders o
  where o.created_at is null and o.wallet_id in (select s.ft_wallet_id from public.lt_scopes s);

  return jsonb_build_object('now', clock_timestamp(), 'strategies', counted, 'total', summed,
                            'unknown_insert_time', timeless);
end
$$;
