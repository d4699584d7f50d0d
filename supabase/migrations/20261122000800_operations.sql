-- The equation: every signal in scope was executed, skipped or deferred, or is undecided and young.

-- {mode, since?} -> {now, strategies: [of each strategy and mode], total, unknown_insert_time, holds}
--
-- seen and undecided are counted over ft_orders; executed, skipped and deferred over lt_decisions alone. A
-- decision that vanished makes a signal undecided, one that strayed in has no signal: either way it shows.
create or replace function public.lt_equation(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
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
  ), undecided_pairs as (
    -- A set difference, as in lt_work: a probe per signal takes the planner's guess of an index, and without
    -- statistics that is the wrong one and quadratic.
    select w.strategy_id, w.mode, o.order_id
    from windows w
    join public.ft_orders o on o.wallet_id = w.ft_wallet_id
      and o.created_at >= greatest(w.window_from, since) and o.created_at < coalesce(w.window_to, 'infinity')
    except
    select d.strategy_id, d.mode, d.ft_order_id from public.lt_decisions d
  ), undecided as (
    select u.strategy_id, u.mode, count(*) as undecided,
      count(*) filter (where o.created_at < clock_timestamp() - interval '5 seconds') as missed
    from undecided_pairs u
    join public.ft_orders o using (order_id)
    group by u.strategy_id, u.mode
  ), decided as (
    select d.strategy_id, d.mode,
      count(*) filter (where d.state = 'executed') as executed,
      count(*) filter (where d.state = 'skipped')  as skipped,
      count(*) filter (where d.state = 'deferred') as deferred
    from public.lt_decisions d
    left join (
      select w.strategy_id, w.mode, range_agg(tstzrange(w.window_from, w.window_to)) as times
      from windows w group by w.strategy_id, w.mode
    ) scope using (strategy_id, mode)
    where (d.mode = in_mode or scope.times is not null)
      -- Pairs seeded from before our time are decided but were never in scope. A decision without a time, or of a
      -- strategy that never had a scope, is nobody's: it counts, so that it is seen.
      and (d.signal_at is null or d.signal_at <@ scope.times and (since is null or d.signal_at >= since)
           or d.reason <> 'already_executed'
              and not exists (select from public.lt_scopes s where s.strategy_id = d.strategy_id))
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
