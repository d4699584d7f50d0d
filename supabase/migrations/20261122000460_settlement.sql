-- How a market's end becomes money: once, whoever says it first, and in whatever order it is said.
--
-- The platform resolves lt_orders by itself, row after row. Capital is computed from the outcome and the fills, not
-- from its pnl, so a row that both resolve is resolved once: a second word changes no number and no clock.

-- The moment of the first resolution stands: a second one must not make proceeds cool down anew.
create or replace function public.lt_keep_resolution()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  new.resolved_at := coalesce(
    case when old.outcome in ('WON', 'LOST') then old.resolved_at end, new.resolved_at, clock_timestamp());
  return new;
end
$$;

create or replace trigger lt_orders_resolved_once before update of outcome, resolved_at on public.lt_orders
  for each row when (new.outcome in ('WON', 'LOST')) execute function public.lt_keep_resolution();

-- What an order made, to the cent, if its token pays so much a share.
create or replace function public.lt_pnl(o public.lt_orders, payout numeric)
returns numeric
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (
    select round(case
      when count(*) = 0 then coalesce(o.shares_bought, 0) * payout - coalesce(o.executed_size_usd, o.signal_size_usd)
      else sum(case a.side when 'BUY' then a.shares * payout - a.usd else a.usd - a.shares * payout end) end, 2)
    from public.lt_attempt_totals a where a.lt_order_id = o.lt_order_id
  );
end
$$;

-- The platform's word for the end of an order whose token pays so much a share: of a market that nobody won, whether
-- the order came to less than it had cost.
create or replace function public.lt_word(o public.lt_orders, payout numeric)
returns text
language sql stable security invoker set search_path = ''
as $$
  select case when payout = 1 then 'WON' when payout > 0 and public.lt_pnl(o, payout) >= 0 then 'WON' else 'LOST' end
$$;

-- An order that had its word before is worth what its market pays all the same.
create or replace function public.lt_enter_void()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  perform public.lt_enter(ended.lt_order_id)
  from (
    select o.lt_order_id from public.lt_orders o
    where o.condition_id = new.condition_id and o.outcome in ('WON', 'LOST') order by o.lt_order_id
  ) ended;
  return null;
end
$$;

create or replace trigger lt_void_markets_enter after insert on public.lt_void_markets
  for each row execute function public.lt_enter_void();

-- Purchases and sales of a token end together: a purchase that is paid out for shares that were sold, while the sale
-- still counts them as held, would be paid twice. Whatever somebody else works on at this moment he resolves himself.
create or replace function public.lt_resolve_siblings()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
declare
  told   public.lt_orders := new;
  payout numeric;
begin
  if new.outcome = 'OPEN' then
    -- A late fill brought it back: its token may have ended meanwhile.
    select o.* into told from public.lt_orders o
    where o.condition_id = new.condition_id and o.token_id = new.token_id and o.strategy_id = new.strategy_id
      and o.outcome in ('WON', 'LOST')
      and coalesce(o.is_shadow, false) = coalesce(new.is_shadow, false)
      and (tg_name = 'lt_orders_end_together' or o.resolved_at >= new.created_at)
    limit 1;
    if not found then
      return null;
    end if;
  end if;

  payout := coalesce(
    (select v.payout from public.lt_void_markets v where v.condition_id = told.condition_id),
    case told.outcome when 'WON' then 1 else 0 end);
  with siblings as (
    select o.lt_order_id from public.lt_orders o
    where o.condition_id = told.condition_id and o.token_id = told.token_id and o.strategy_id = told.strategy_id
      and o.outcome = 'OPEN'
      and coalesce(o.is_shadow, false) = coalesce(told.is_shadow, false) and not coalesce(o.is_force_test, false)
      and exists (select from public.lt_order_attempts a where a.lt_order_id = o.lt_order_id)
      and exists (
        select from public.lt_orders s
        where s.condition_id = told.condition_id and s.token_id = told.token_id and s.strategy_id = told.strategy_id
          and s.side = 'SELL'
          and coalesce(s.is_shadow, false) = coalesce(told.is_shadow, false))
    order by o.lt_order_id
    for no key update skip locked
  )
  update public.lt_orders o set
    outcome = public.lt_word(o, payout), winning_label = told.winning_label, resolved_at = told.resolved_at,
    pnl = public.lt_pnl(o, payout), updated_at = clock_timestamp()
  from siblings where o.lt_order_id = siblings.lt_order_id;
  return null;
end
$$;

create or replace trigger lt_orders_end_together after update of outcome on public.lt_orders
  for each row when (
    pg_trigger_depth() = 0 and not coalesce(new.is_force_test, false)
    and (old.outcome = 'OPEN' and new.outcome in ('WON', 'LOST') or old.outcome = 'CANCELLED' and new.outcome = 'OPEN'))
  execute function public.lt_resolve_siblings();

-- Whoever had an order of the token in hand while it ended finds that out with his own last step.
drop trigger if exists lt_orders_end_late on public.lt_orders;
create constraint trigger lt_orders_end_late after update on public.lt_orders
  deferrable initially deferred for each row when (new.outcome = 'OPEN' and not coalesce(new.is_force_test, false))
  execute function public.lt_resolve_siblings();

-- Few of all orders are open, and their markets are asked for all day.
-- A purchase that the platform called off or sold after it had brought shares holds them all the same.
create index if not exists lt_orders_unsettled_market_idx on public.lt_orders (condition_id)
  where outcome = 'OPEN' or (outcome in ('CANCELLED', 'SOLD') and shares_bought > 0);

-- {mode, wallets, limit, after: condition_id} -> {now, markets: [{condition_id, token_id, ends_at, orders}]}
-- Markets with open orders of these wallets, in the order of their ids: a whole page has another one after its last.
-- `token_id`: any of them. `ends_at`: what one of the signals says, null if it does not.
create or replace function public.lt_unsettled_markets(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
  return jsonb_build_object('now', clock_timestamp(), 'markets', coalesce((
    select jsonb_agg(jsonb_build_object(
        'condition_id', m.condition_id, 'token_id', m.token_id, 'orders', m.orders, 'ends_at', (
          select f.market_end_time
          from public.lt_order_attempts a
          join public.ft_orders f on f.order_id = a.ft_order_id
          where a.lt_order_id = m.lt_order_id
          limit 1))
      order by m.condition_id)
    from (
      select o.condition_id, min(o.token_id) as token_id, min(o.lt_order_id) as lt_order_id, count(*) as orders
      from public.lt_orders o
      where (o.outcome = 'OPEN' or (o.outcome in ('CANCELLED', 'SOLD') and o.shares_bought > 0))
        and o.condition_id > coalesce(p ->> 'after', '')
        and coalesce(o.is_shadow, false) = (p ->> 'mode' = 'paper') and not coalesce(o.is_force_test, false)
        and exists (
          select from public.lt_order_attempts a
          where a.lt_order_id = o.lt_order_id
            and a.wallet_address in (select lower(wallet) from jsonb_array_elements_text(p -> 'wallets') wallet))
      group by o.condition_id
      order by o.condition_id
      limit least(greatest(coalesce((p ->> 'limit')::integer, 200), 1), 1000)
    ) m), '[]'));
end
$$;

-- {mode, condition_id, winning_token_id, winning_label, payout, limit}
--   -> {now, won, lost, waiting, contradicted: [lt_order_id], more}
-- The market is closed, and its winner is known or, with `payout` dollars for a share of either outcome, that there is
-- none: every order of it that is open, or that was called off or sold elsewhere
-- and still holds shares, is WON or LOST, compare-and-set on its outcome. A position
-- waits as a whole while one of its fills may still be reversed, or one of its attempts may still trade. Orders that
-- were resolved otherwise before are left as they are, and named. At most `limit` orders (500) at once.
create or replace function public.lt_settle_market(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  on_paper boolean := p ->> 'mode' = 'paper';
  most     integer := least(greatest(coalesce((p ->> 'limit')::integer, 500), 1), 5000);
  ended_at timestamptz := clock_timestamp();   -- of all alike: what was sold is taken off what is paid out
  shared   numeric;                            -- what every share pays, of a market that nobody won
  otherwise jsonb;
  result   jsonb;
begin
  if (p ->> 'winning_token_id' is null) = (p ->> 'payout' is null) then
    raise exception 'market % is settled without a winner', p ->> 'condition_id'
      using hint = 'Only a market that is closed is settled: for the token that won, or for nobody at a payout to all.';
  end if;
  select v.payout into shared from public.lt_void_markets v where v.condition_id = p ->> 'condition_id';
  -- A winner and a void exclude each other: what was said first stands, and a human has to look.
  if (shared is null) = (p ->> 'payout' is not null) then
    select coalesce(jsonb_agg(o.lt_order_id order by o.lt_order_id), '[]') into otherwise
    from (
      select o.lt_order_id from public.lt_orders o
      where o.condition_id = p ->> 'condition_id' and (shared is not null or o.outcome in ('WON', 'LOST'))
        and not coalesce(o.is_force_test, false)
        and exists (select from public.lt_order_attempts a where a.lt_order_id = o.lt_order_id)
      order by o.lt_order_id limit 100
    ) o;
    if otherwise <> '[]' then
      return jsonb_build_object('now', clock_timestamp(), 'won', 0, 'lost', 0, 'waiting', 0,
                                'contradicted', otherwise, 'more', false);
    end if;
  end if;
  if p ->> 'payout' is not null then
    insert into public.lt_void_markets (condition_id, payout)
    values (p ->> 'condition_id', (p ->> 'payout')::numeric) on conflict (condition_id) do nothing;
    select v.payout into shared from public.lt_void_markets v where v.condition_id = p ->> 'condition_id';
  end if;

  with market as materialized (
    select o.lt_order_id, o.strategy_id, o.token_id, o.outcome, ends.payout, public.lt_word(o, ends.payout) as ends,
      o.outcome in ('OPEN', 'CANCELLED', 'SOLD') as is_unsettled,
      o.outcome in ('OPEN', 'CANCELLED', 'SOLD') and (
        -- Of the executor before us a pending row waits for whoever placed it.
        o.status = 'PENDING'
        or exists (
          select from public.lt_order_attempts a
          where a.lt_order_id = o.lt_order_id and (a.closed_at is null or exists (
            select from public.lt_fills f
            where f.exchange_order_id = a.exchange_order_id and f.state = 'provisional')))) as may_move
    from public.lt_orders o
    cross join lateral (
      select coalesce(shared, case when o.token_id = p ->> 'winning_token_id' then 1 else 0 end) as payout
    ) ends
    where o.condition_id = p ->> 'condition_id'
      and (o.outcome in ('OPEN', 'WON', 'LOST')
           or o.outcome in ('CANCELLED', 'SOLD') and o.shares_bought > 0
              and exists (select from public.lt_order_attempts a where a.lt_order_id = o.lt_order_id))
      and coalesce(o.is_shadow, false) = on_paper and not coalesce(o.is_force_test, false)
  ), positions as (
    select strategy_id, token_id from market
    group by strategy_id, token_id having not bool_or(may_move)
  ), ready as (
    select o.lt_order_id, market.ends, market.outcome, market.payout
    from market
    join positions using (strategy_id, token_id)
    join public.lt_orders o using (lt_order_id)
    where market.is_unsettled and o.outcome = market.outcome
    order by o.lt_order_id
    limit most + 1
    for no key update of o
  ), settled as (
    update public.lt_orders o set
      outcome = ready.ends, resolved_at = ended_at, pnl = public.lt_pnl(o, ready.payout),
      winning_label = case when shared is null then p ->> 'winning_label' else 'VOID' end, updated_at = clock_timestamp()
    from (select * from ready order by lt_order_id limit most) ready
    where o.lt_order_id = ready.lt_order_id and o.outcome = ready.outcome
    returning o.outcome
  )
  select jsonb_build_object(
    'won', (select count(*) from settled where outcome = 'WON'),
    'lost', (select count(*) from settled where outcome = 'LOST'),
    'waiting', (select count(*) from market where is_unsettled
                and not exists (select from positions where (positions.strategy_id, positions.token_id)
                                = (market.strategy_id, market.token_id))),
    'contradicted', coalesce((
      select jsonb_agg(c.lt_order_id order by c.lt_order_id)
      from (select lt_order_id from market
            where outcome in ('WON', 'LOST') and outcome <> ends
            order by lt_order_id limit 100) c), '[]'),
    'more', (select count(*) > most from ready))
  into result;

  perform public.lt_watch_breaker(ended.strategy_id, p ->> 'mode')
  from (
    select distinct o.strategy_id from public.lt_orders o
    where o.condition_id = p ->> 'condition_id' and o.resolved_at = ended_at and o.outcome = 'LOST'
  ) ended;
  return result || jsonb_build_object('now', clock_timestamp());
end
$$;

-- {wallet_address, condition_id, redeemed_at, reference} -> {now, redeemed}: the wallet turned its shares of a market
-- into dollars. It may be told before the market is settled here, and as often as one likes.
create or replace function public.lt_redeemed(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  redeemed integer;
begin
  insert into public.lt_redeemed_orders (lt_order_id, redeemed_at, reference)
  select o.lt_order_id, (p ->> 'redeemed_at')::timestamptz, p ->> 'reference'
  from public.lt_orders o
  join public.lt_strategies s using (strategy_id)
  where o.condition_id = p ->> 'condition_id' and not coalesce(o.is_shadow, false)
    -- An order stays with the wallet that placed it, wherever its strategy points now.
    and coalesce((select a.wallet_address from public.lt_order_attempts a where a.lt_order_id = o.lt_order_id limit 1),
                 lower(s.wallet_address)) = lower(p ->> 'wallet_address')
  order by o.lt_order_id
  on conflict (lt_order_id) do nothing;
  get diagnostics redeemed = row_count;
  return jsonb_build_object('now', clock_timestamp(), 'redeemed', redeemed);
end
$$;
