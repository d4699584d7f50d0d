-- The limits of a strategy over state that its claims share. NULL is off. What an order would come to may reach its
-- limit and not pass it; what has happened already (a loss, a streak) trips its limit by reaching it.
--
-- Nothing here is stored: each number is a look-up by an index among what is open or recent, asked only where its
-- limit is set. A day is a UTC day.

-- Whatever of an attempt may still move is in reach of this: open, or closed at some recent time, or traded after that.
create index if not exists lt_order_attempts_recent_idx
  on public.lt_order_attempts (strategy_id, mode, greatest(coalesce(closed_at, 'infinity'), late_at));
create index if not exists lt_orders_placed_idx
  on public.lt_orders (strategy_id, (coalesce(order_placed_at, created_at)));

create index if not exists lt_orders_open_sales_idx
  on public.lt_orders (strategy_id, condition_id) where outcome = 'OPEN' and side = 'SELL';

create or replace function public.lt_today()
returns timestamptz
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return date_trunc('day', clock_timestamp());
end
$$;

-- What entries have cost today, fees included, and what those that are open may still cost. An order that rests over
-- midnight is in both days with what each of them may see of it.
create or replace function public.lt_spent_today_usd(for_strategy_id text, in_mode text)
returns numeric
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_indexonlyscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  today timestamptz := public.lt_today();
begin
  return (
    select coalesce(sum(paid.today_usd + case when a.closed_at is null then greatest(a.reserve_usd - paid.usd, 0) else 0 end), 0)
    from public.lt_order_attempts a
    cross join lateral (
      select
        coalesce(sum(f.price * f.shares + f.fee_usd), 0) as usd,
        coalesce(sum(f.price * f.shares + f.fee_usd) filter (where f.matched_at >= today), 0) as today_usd
      from public.lt_fills f
      where f.exchange_order_id = a.exchange_order_id and f.state <> 'reversed'
    ) paid
    where a.strategy_id = for_strategy_id and a.mode = in_mode and a.side = 'BUY'
      and greatest(coalesce(a.closed_at, 'infinity'), a.late_at) >= today
  ) + (
    -- What the executor before us bought today, or is about to: no attempts of ours, and no force test.
    select coalesce(sum(case when o.status = 'PENDING' then o.signal_size_usd else coalesce(
      o.executed_size_usd, case when o.status in ('FILLED', 'PARTIAL') then o.signal_size_usd end, 0) end), 0)
    from public.lt_orders o
    where o.strategy_id = for_strategy_id and coalesce(o.order_placed_at, o.created_at) >= today and o.side = 'BUY'
      and coalesce(o.is_shadow, false) = (in_mode = 'paper') and not coalesce(o.is_force_test, false)
      and not exists (select from public.lt_order_attempts a where a.lt_order_id = o.lt_order_id));
end
$$;

-- How many orders lost money in a row, counted from the last one on, up to `most`. An order loses when it is resolved or
-- sold for less than it cost; what came out even neither counts nor ends the row, within reason. What was sold before
-- its market lost stands in two orders, so a market that came out even in one moment lost nothing. Arming begins the
-- row anew.
create or replace function public.lt_losing_streak(for_strategy_id text, in_mode text, most integer)
returns integer
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  armed_at timestamptz := coalesce(public.lt_armed_at(for_strategy_id, in_mode), '-infinity');
  moment   timestamptz := 'infinity';
  lost     text[] := '{}';
  closed   record;
begin
  -- From one moment back to the one before, each by its index: the history behind the row is not read.
  for step in 1 .. most + 100 loop
    exit when cardinality(lost) >= most;
    select max(e.at) into moment
    from public.lt_entries e
    where e.strategy_id = for_strategy_id and e.mode = in_mode and e.at < moment and e.at > armed_at;
    exit when moment is null;

    select
      coalesce(bool_or(market.usd > 0), false) as somebody_won,
      coalesce(array_agg(loser) filter (where market.usd < 0 and loser is not null), '{}') as losers
    into closed
    from (
      select o.condition_id, sum(told.usd) as usd, array_agg(told.lt_order_id) filter (where told.usd < 0) as losers
      from (
        select e.lt_order_id, sum(e.realised_usd) as usd
        from public.lt_entries e
        where e.strategy_id = for_strategy_id and e.mode = in_mode and e.at = moment
        group by e.lt_order_id
      ) told
      join public.lt_orders o using (lt_order_id)
      group by o.condition_id
    ) market
    left join lateral unnest(market.losers) loser on true;
    -- An order that was sold in parts lost once.
    lost := lost || array(select unnest(closed.losers) except select unnest(lost));
    exit when closed.somebody_won;
  end loop;
  return least(cardinality(lost), most);
end
$$;

-- Entries that went out in the last minute, further attempts included; exits are not counted.
create or replace function public.lt_orders_last_minute(for_strategy_id text, in_mode text)
returns integer
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  since timestamptz := clock_timestamp() - interval '1 minute';
begin
  return (
    select count(*)
    from public.lt_order_attempts a
    where a.strategy_id = for_strategy_id and a.mode = in_mode and a.side = 'BUY'
      and greatest(coalesce(a.closed_at, 'infinity'), a.late_at) > since and a.created_at > since);
end
$$;

-- In how many other markets something is held or ordered, up to `most`; null is 0. From one market to the next by the
-- index: the orders within a market are read only where some of it was sold. What was not is held for sure.
create or replace function public.lt_positions_elsewhere(
  for_strategy_id text, in_mode text, but_condition_id text, most integer)
returns integer
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  return (
    with recursive markets as (
      select '' as condition_id
      union all
      select (
        select o.condition_id from public.lt_orders o
        where o.strategy_id = for_strategy_id and o.outcome = 'OPEN' and o.condition_id > m.condition_id
          and o.condition_id <> but_condition_id and not coalesce(o.is_force_test, false)
          and coalesce(o.is_shadow, false) = (in_mode = 'paper')
        order by o.condition_id limit 1)
      from markets m where m.condition_id is not null
    )
    select count(*) from (
      select from markets m
      where m.condition_id <> '' and (
        not exists (
          select from public.lt_orders o
          where o.strategy_id = for_strategy_id and o.outcome = 'OPEN' and o.side = 'SELL'
            and o.condition_id = m.condition_id)
        or (
          select sum(h.bought_usd - h.sold_cost_usd + h.reserved_usd) > 0
          from public.lt_positions h
          where h.strategy_id = for_strategy_id and h.mode = in_mode and h.condition_id = m.condition_id))
      limit coalesce(most, 0)) held);
end
$$;

-- A limit that a smaller order might keep.
create or replace function public.lt_too_much(reason text, usd numeric, limit_usd numeric)
returns jsonb
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return jsonb_build_object('reason', reason, 'value', public.lt_text(usd), 'limit', public.lt_text(limit_usd),
                            'final', true, 'money', true);
end
$$;

-- Why an entry would go beyond a limit, or null. Called with the strategy's row locked; as lt_claim_refusal.
-- `spent_usd`: what earlier attempts of the order cost and may cost.
create or replace function public.lt_limits_refusal(
  p jsonb, strategy public.lt_strategies, capital public.lt_capital_now, spent_usd numeric)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  in_mode   text := p ->> 'mode';
  reserve   numeric := (p #>> '{order,reserve_usd}')::numeric;
  market    text := p #>> '{expected,condition_id}';
  lost      numeric;
  spent     numeric;
  streak    integer;
  recent    integer;
  here_usd  numeric;
  elsewhere integer;
begin
  if strategy.max_daily_loss_usd is not null then
    lost := greatest(-capital.realised_today_usd, 0);
    if lost >= strategy.max_daily_loss_usd then
      return jsonb_build_object('reason', 'daily_loss_limit', 'value', public.lt_text(lost),
                                'limit', public.lt_text(strategy.max_daily_loss_usd), 'final', true);
    end if;
  end if;
  if strategy.max_consecutive_losses is not null then
    streak := public.lt_losing_streak(strategy.strategy_id, in_mode, strategy.max_consecutive_losses);
    if streak >= strategy.max_consecutive_losses then
      return jsonb_build_object('reason', 'max_consecutive_losses', 'value', streak::text,
                                'limit', strategy.max_consecutive_losses::text, 'final', true);
    end if;
  end if;
  if strategy.max_orders_per_minute is not null then
    recent := public.lt_orders_last_minute(strategy.strategy_id, in_mode) + 1;
    if recent > strategy.max_orders_per_minute then
      return jsonb_build_object('reason', 'max_orders_per_minute', 'value', recent::text,
                                'limit', strategy.max_orders_per_minute::text, 'final', false);
    end if;
  end if;

  if spent_usd + reserve > strategy.max_order_size_usd then
    return public.lt_too_much('above_max_order_size', spent_usd + reserve, strategy.max_order_size_usd);
  end if;
  if strategy.max_position_size_usd is not null or strategy.max_open_positions is not null then
    -- A position is what is held, or may come to be held, in one market, however many signals built it.
    select coalesce(sum(h.bought_usd - h.sold_cost_usd + h.reserved_usd), 0) into here_usd
    from public.lt_positions h
    where h.strategy_id = strategy.strategy_id and h.mode = in_mode and h.condition_id = market;
    if here_usd + reserve > strategy.max_position_size_usd then
      return public.lt_too_much('max_position_size', here_usd + reserve, strategy.max_position_size_usd);
    end if;
    elsewhere := public.lt_positions_elsewhere(strategy.strategy_id, in_mode, market, strategy.max_open_positions);
    if elsewhere + 1 > strategy.max_open_positions then
      return jsonb_build_object('reason', 'max_open_positions', 'value', (elsewhere + 1)::text,
                                'limit', strategy.max_open_positions::text, 'final', true);
    end if;
  end if;
  if capital.exposure_usd + reserve > strategy.max_total_exposure_usd then
    return public.lt_too_much('max_total_exposure', capital.exposure_usd + reserve, strategy.max_total_exposure_usd);
  end if;
  if strategy.daily_budget_usd is not null then
    spent := public.lt_spent_today_usd(strategy.strategy_id, in_mode);
    if spent + reserve > strategy.daily_budget_usd then
      return public.lt_too_much('daily_budget', spent + reserve, strategy.daily_budget_usd);
    end if;
  end if;
  -- NaN is more than every number, and nobody's money.
  if reserve > capital.available_usd or capital.available_usd = 'NaN' then
    return public.lt_too_much('insufficient_capital', reserve, capital.available_usd);
  end if;
  return null;
end
$$;
