-- A further attempt of an order: for what the ones before it have left of its target, and for no more than that.

-- Asked every now and then for what came to its end lately, and is not what its order was for.
create index if not exists lt_order_attempts_ended_idx
  on public.lt_order_attempts (wallet_address, mode, closed_at)
  where state in ('killed', 'matched', 'cancelled', 'rejected');

-- Those that never went out, because the exchange's door was shut: no attempt of theirs was used up.
create index if not exists lt_order_attempts_unsent_idx
  on public.lt_order_attempts (wallet_address, mode, closed_at) where state = 'abandoned';

-- Whether the exchange refused it for a tick that the market has no more. The note begins with the answer's name.
create or replace function public.lt_is_off_tick(attempt public.lt_order_attempts)
returns boolean
language sql immutable security invoker set search_path = ''
as $$
  select attempt.state = 'rejected' and split_part(coalesce(attempt.note, ''), ':', 1) = 'tick_size'
$$;

-- What the attempts of an order have come to, in the unit of its target: dollars of a FAK or FOK BUY, else shares. What
-- the exchange refused, or never saw, was for nothing, unless a trade of it stands after all. The target is the first
-- one's that it took; where it took none, the first one's.
--   in_dollars: the target's unit; reserve_usd: what that attempt might cost
create or replace function public.lt_order_progress(
  for_lt_order_id text,
  out attempts integer, out target numeric, out filled numeric, out reserve_usd numeric, out spent_usd numeric,
  out in_dollars boolean)
language plpgsql stable security invoker set search_path = '' set enable_seqscan = off
as $$
begin
  select
    count(*) filter (where a.was_taken), (array_agg(a.target order by a.was_taken desc, a.attempt_no))[1],
    coalesce(sum(case when a.in_dollars then a.notional_usd else a.filled end), 0),
    (array_agg(a.reserve_usd order by a.was_taken desc, a.attempt_no))[1], coalesce(sum(a.usd), 0),
    (array_agg(a.in_dollars order by a.was_taken desc, a.attempt_no))[1]
  into attempts, target, filled, reserve_usd, spent_usd, in_dollars
  from (
    select
      one.attempt_no, coalesce(one.amount_usd, one.shares) as target, one.amount_usd is not null as in_dollars,
      one.reserve_usd, t.shares as filled, t.notional_usd, t.usd,
      one.state not in ('rejected', 'abandoned') or t.shares > 0 as was_taken
    from public.lt_order_attempts one
    join public.lt_attempt_totals t using (exchange_order_id)
    where one.lt_order_id = for_lt_order_id
  ) a;
end
$$;

-- Whether the trader of that purchase has sold of it since: nobody goes on buying what he is leaving.
create or replace function public.lt_is_left(bought_ft_order_id uuid)
returns boolean
language plpgsql stable security invoker set search_path = '' set enable_seqscan = off
as $$
begin
  return exists (
    select from public.ft_orders bought
    join public.ft_orders sold
      on sold.condition_id = bought.condition_id and sold.wallet_id = bought.wallet_id and sold.side = 'SELL'
      and sold.order_time >= bought.order_time
      and lower(sold.trader_address) is not distinct from lower(bought.trader_address)
      and lower(btrim(sold.token_label)) = lower(btrim(bought.token_label))
    where bought.order_id = bought_ft_order_id);
end
$$;

-- What stands against a further attempt, or null: one before it that may still trade, or may have; an order that is
-- settled; an attempt that whoever decided did not know of; a purchase whose trader has sold since; or a target that it
-- would go beyond. Called by the claim,
-- with its locks held, so of two that would go on with an order the second finds the first one's attempt.
create or replace function public.lt_further_refusal(p jsonb)
returns text
language plpgsql stable security invoker set search_path = ''
as $$
declare
  further  constant text := p ->> 'lt_order_id';
  progress record;
  standing text;
  cost_usd numeric;
begin
  select coalesce(a.exchange_order_id, o.outcome) into standing
  from public.lt_orders o
  left join public.lt_order_attempts a on a.lt_order_id = o.lt_order_id
    and (a.closed_at is null or a.state = 'lost' or a.state = 'abandoned' and (a.sends > 0 or a.barred)
      or a.decided_by is not null)
  where o.lt_order_id = further and (a.exchange_order_id is not null or o.outcome not in ('OPEN', 'CANCELLED'))
  limit 1;
  if standing is not null then
    return standing;
  end if;

  select a.exchange_order_id into standing
  from public.lt_order_attempts a
  where a.lt_order_id = further and a.attempt_no > (p ->> 'after_attempt')::integer
  limit 1;
  if standing is not null then
    return standing;
  end if;

  if p #>> '{order,side}' = 'BUY' and public.lt_is_left((p ->> 'ft_order_id')::uuid) then
    return 'its trader has sold';
  end if;

  progress := public.lt_order_progress(further);
  -- The strategy's type may have changed since, and its unit with it.
  if progress.in_dollars is distinct from (p #>> '{order,amount_usd}' is not null) then
    return format('its target is in %s', case when progress.in_dollars then 'dollars' else 'shares' end);
  end if;
  -- Of which nothing was taken, all of the bet is there: on a coarser tick it may cost some cents more.
  select case when progress.attempts > 0 then progress.reserve_usd
              else greatest(progress.reserve_usd, o.signal_size_usd) end
  into cost_usd from public.lt_orders o where o.lt_order_id = further;
  if p #>> '{order,side}' is distinct from 'SELL'
     and (progress.spent_usd + (p #>> '{order,reserve_usd}')::numeric <= cost_usd) is not true
  then
    return format('%s of %s USD is spent', public.lt_text(progress.spent_usd), public.lt_text(cost_usd));
  end if;
  -- And at a lower price it buys more shares.
  if (progress.attempts > 0 or progress.in_dollars or p #>> '{order,side}' = 'SELL') is true
     and (progress.filled + coalesce((p #>> '{order,amount_usd}')::numeric, (p #>> '{order,shares}')::numeric)
          <= progress.target) is not true
  then
    return format('%s of %s is filled', public.lt_text(progress.filled), public.lt_text(progress.target));
  end if;
  return null;
end
$$;

-- {mode, wallets, limit, without: [lt_order_id], retakes_most, fresh_s, reprices_most, reprice_within_s, unsent_s}
--   -> {now, remainders}: orders whose last attempt came to its end with something of the target left, longest ended
-- first. The end may be a refusal for the tick, once: whoever was to decide anew (worker/handlers/ticks.py) may not have.
-- Those that take at once (FAK, FOK) while their signal is fresh; those that rest (GTC, GTD) if it was called off
-- to be priced anew, for so long after it was over (`closed_at`: a further attempt that never went out renews nothing).
-- And an order of which nothing ever went out (`is_unsent`), unless it was stopped (`barred`): it is as if it had not been tried. The signal of every one
-- must be younger than `unsent_s`. Whatever process sent them: there is no other memory of it.
create or replace function public.lt_remainders(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan
as $$
declare
  dust      constant numeric := 0.01;
  asked_at  timestamptz := clock_timestamp();
  page_size integer := least(coalesce((p ->> 'limit')::integer, 200), 1000);
  later     text[] := array(select jsonb_array_elements_text(coalesce(p -> 'without', '[]')));
  fresh     timestamptz := asked_at - make_interval(secs => (p ->> 'fresh_s')::numeric);
  lately    timestamptz := asked_at - make_interval(secs => (p ->> 'reprice_within_s')::numeric);
  unsent    timestamptz := asked_at - make_interval(secs => (p ->> 'unsent_s')::numeric);
begin
  return jsonb_build_object('now', asked_at, 'remainders', (
    select coalesce(jsonb_agg(jsonb_build_object(
        'lt_order_id', a.lt_order_id, 'strategy_id', a.strategy_id, 'mode', a.mode, 'wallet_address', a.wallet_address,
        'order_type', a.order_type, 'side', a.side, 'token_id', a.token_id,
        'base_price', public.lt_text(a.signal_price), 'limit_price', public.lt_text(a.limit_price),
        'in_dollars', a.amount_usd is not null, 'left', public.lt_text(a.target - a.filled),
        'left_usd', public.lt_text(a.reserve_usd_first - a.spent_usd),
        'attempt_no', a.attempt_no, 'attempts', a.attempts, 'closed_at', a.over_at,
        'is_off_tick', a.state = 'rejected', 'is_unsent', a.is_unsent,
        'signal', public.lt_signal_row(f)) order by a.closed_at, a.lt_order_id), '[]')
    from (
      select ended.*, o.signal_price, done.attempts, due.target, due.is_unsent, due.over_at, done.filled, done.spent_usd,
        coalesce(done.reserve_usd, ended.reserve_usd) as reserve_usd_first
      from public.lt_wallets_asked(p) asked
      cross join lateral (
        select * from (
          select * from public.lt_order_attempts a
          where (a.wallet_address, a.mode) = (asked.wallet_address, asked.mode)
            and a.state in ('killed', 'matched', 'cancelled', 'rejected') and a.closed_at > least(fresh, lately)
          union all
          select * from public.lt_order_attempts a
          where (a.wallet_address, a.mode) = (asked.wallet_address, asked.mode)
            and a.state = 'abandoned' and a.closed_at > unsent
        ) one
        where not exists (
          select from public.lt_order_attempts younger
          where younger.lt_order_id = one.lt_order_id and younger.attempt_no > one.attempt_no)
        offset 0   -- the planner must not add up an order for each of its attempts
      ) ended
      join public.lt_orders o on o.lt_order_id = ended.lt_order_id
      cross join lateral public.lt_order_progress(ended.lt_order_id) done
      cross join lateral (
        select coalesce(done.target, ended.amount_usd, ended.shares) as target,
          ended.state = 'rejected' as is_refused, ended.state = 'abandoned' and done.attempts = 0 as is_unsent,
          case when ended.state <> 'abandoned' then ended.closed_at else coalesce((
            select max(other.closed_at) from public.lt_order_attempts other
            where other.lt_order_id = ended.lt_order_id and other.state <> 'abandoned'), ended.closed_at) end as over_at
      ) due
      where ended.decided_by is null and ended.lt_order_id <> all (later)
        and case when due.is_unsent then true when ended.order_type in ('FAK', 'FOK')
          then done.attempts <= (p ->> 'retakes_most')::integer
          else (due.is_refused or ended.state = 'abandoned' or ended.called_off = 'reprice') and due.over_at > lately
            and done.attempts <= (p ->> 'reprices_most')::integer end
        and not exists (
          select from public.lt_order_attempts other
          where other.lt_order_id = ended.lt_order_id
            and (other.closed_at is null or other.state = 'lost'
                 or other.state = 'abandoned' and (other.sends > 0 or other.barred) or other.decided_by is not null))
        and (not due.is_refused or public.lt_is_off_tick(ended) and not exists (
          select from public.lt_order_attempts other
          where other.lt_order_id = ended.lt_order_id and other.attempt_no < ended.attempt_no
            and public.lt_is_off_tick(other)))
        and due.target - done.filled > dust and o.outcome in ('OPEN', 'CANCELLED')
        -- What is taken on paper still stands on the real book, and would be taken once more.
        and (ended.mode = 'live' or done.filled = 0)
        and exists (
          select from public.ft_orders f
          where f.order_id = ended.ft_order_id and f.created_at > unsent
            and (due.is_unsent or ended.order_type not in ('FAK', 'FOK') or f.created_at > fresh))
        and (ended.side = 'SELL' or not public.lt_is_left(ended.ft_order_id))
      order by ended.closed_at, ended.lt_order_id
      limit page_size
    ) a
    join public.ft_orders f on f.order_id = a.ft_order_id));
end
$$;

-- {mode, wallets, limit, without: [exchange_order_id], older_than_s, paused: whether a pause calls off too}
--   -> {now, resting}: orders that stand on the book, and should not (`halt`: the switch, or a
-- sale of its trader), or for long.
create or replace function public.lt_resting(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan
as $$
declare
  asked_at  timestamptz := clock_timestamp();
  page_size integer := least(coalesce((p ->> 'limit')::integer, 200), 1000);
  later     text[] := array(select jsonb_array_elements_text(coalesce(p -> 'without', '[]')));
  before    timestamptz := asked_at - make_interval(secs => (p ->> 'older_than_s')::numeric);
begin
  return jsonb_build_object('now', asked_at, 'resting', (
    select coalesce(jsonb_agg(jsonb_build_object(
        'exchange_order_id', a.exchange_order_id, 'strategy_id', a.strategy_id, 'mode', a.mode,
        'wallet_address', a.wallet_address, 'condition_id', a.condition_id, 'token_id', a.token_id, 'side', a.side,
        'limit_price', public.lt_text(a.limit_price), 'base_price', public.lt_text(a.signal_price),
        'attempts', (public.lt_order_progress(a.lt_order_id)).attempts, 'halt', a.halt)
      order by a.halt is null, a.created_at, a.exchange_order_id), '[]')
    from (
      select stands.*, o.signal_price, halted.action as halt
      from public.lt_wallets_asked(p) asked
      join public.lt_order_attempts stands using (wallet_address, mode)
      join public.lt_orders o on o.lt_order_id = stands.lt_order_id
      left join lateral (
        select c.action from (
          -- A switch of the wallet holds for the purses of those that name it.
          select case c.action when 'freeze' then 'pause' else c.action end as action from public.lt_controls c
          where c.cleared_at is null and c.action <> 'breaker' and coalesce(c.mode = stands.mode, true)
            and c.scope in ('global', 'strategy:' || stands.strategy_id, 'wallet:' || stands.wallet_address, (
              select 'wallet:' || lower(s.wallet_address) from public.lt_strategies s
              where s.strategy_id = stands.strategy_id))
          union all
          select 'pause' from public.lt_strategies s where s.strategy_id = stands.strategy_id and s.is_paused
          union all
          -- His sale waits for it.
          select 'sale' where stands.side = 'BUY' and public.lt_is_left(stands.ft_order_id)
        ) c
        where c.action <> 'pause' or (p ->> 'paused')::boolean
        order by c.action = 'kill' desc
        limit 1
      ) halted on true
      where stands.closed_at is null and stands.state in ('live', 'unmatched', 'delayed')
        and stands.exchange_order_id <> all (later)
        and (halted.action is not null
             or stands.state <> 'delayed' and stands.order_type in ('GTC', 'GTD') and stands.created_at < before)
      order by halted.action is null, stands.created_at, stands.exchange_order_id
      limit page_size
    ) a));
end
$$;

-- {mode, exchange_order_id, why} -> {now, allowed}: notes that the exchange is about to be asked to cancel the order, and
-- why. What becomes of it is told by a look-up; what is left of it after a `reprice` may be tried again.
create or replace function public.lt_call_off(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
begin
  update public.lt_order_attempts a set called_off = p ->> 'why', state = 'cancelling'
  where a.exchange_order_id = p ->> 'exchange_order_id' and a.mode = p ->> 'mode'
    and a.closed_at is null and a.state in ('live', 'unmatched', 'delayed');
  return jsonb_build_object('now', clock_timestamp(), 'allowed', found);
end
$$;
