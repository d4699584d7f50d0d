-- What a SELL rests on: the strategy's shares of an outcome, and what the trader had of it on paper.

-- Paper shares of one trader in one outcome as they were just before the sale `sold`: what was bought and is open, and
-- what earlier sales took of that. A size is dollars: its own price makes shares of it (protocol.md "Capital").
-- A purchase that the paper side closed as SOLD since the trader's sale was open when he made it. One trade under two
-- ids counts once, as it is executed once.
-- Of two ids it is the one of the sale's own scheme that counts. One pass over what he traded since his oldest purchase
-- that was open then: whoever trades thousands of times at one price is sold for as fast as anybody.
create or replace function public.lt_paper_before(sold public.ft_orders, out bought_shares numeric, out sold_shares numeric)
language plpgsql stable security invoker set search_path = ''
as $$
declare
  its_scheme text := public.lt_id_scheme(sold.source_trade_id);
begin
  with same as materialized (
    select
      o.order_id, o.side, o.order_time, o.created_at, o.entry_price, o.size / nullif(o.entry_price, 0) as shares,
      public.lt_id_scheme(o.source_trade_id) = its_scheme as in_its_scheme
    from public.ft_orders o
    where o.condition_id = sold.condition_id and o.wallet_id = sold.wallet_id and o.order_time <= sold.order_time
      and lower(o.trader_address) is not distinct from lower(sold.trader_address)
      and lower(btrim(o.token_label)) = lower(btrim(sold.token_label))
      and (o.side = 'SELL' or o.outcome = 'OPEN' or o.outcome = 'SOLD' and o.resolved_time >= sold.order_time)
  ), opened as (
    select min(o.order_time) as since from same o where o.side = 'BUY' and o.shares > 0
  ), told as (
    -- No frame of seconds: PostgreSQL would walk back and forth in it for every row.
    select
      o.*,
      max(o.order_time) filter (where o.in_its_scheme)
        over (partition by o.side, o.entry_price order by o.order_time) as twin_before,
      min(o.order_time) filter (where o.in_its_scheme)
        over (partition by o.side, o.entry_price order by o.order_time desc) as twin_after
    from same o
    where o.order_time >= (select opened.since from opened)
  )
  select
    round(coalesce(sum(o.shares) filter (where o.side = 'BUY' and o.shares > 0), 0), 12),
    round(coalesce(sum(o.shares) filter (where o.side = 'SELL'
      and (o.order_time, o.created_at, o.order_id) < (sold.order_time, sold.created_at, sold.order_id)), 0), 12)
  into bought_shares, sold_shares
  from told o
  where o.in_its_scheme
    or coalesce(o.order_time - o.twin_before > interval '5 seconds', true)
    and coalesce(o.twin_after - o.order_time > interval '5 seconds', true);
end
$$;

-- Whether the trader bought before that sale what may still bring shares: the strategy has still to decide on it (after
-- an outage the sale is met first), or its order is open. `worker_mode` as `in_mode` of lt_mode_at.
create or replace function public.lt_purchase_awaited(
  sold public.ft_orders, for_strategy_id text, in_mode text, worker_mode text)
returns boolean
language plpgsql stable security invoker set search_path = '' set enable_seqscan = off
as $$
begin
  return exists (
    select from public.lt_order_attempts a
    join public.ft_orders o on o.order_id = a.ft_order_id
    where a.closed_at is null and a.strategy_id = for_strategy_id and a.mode = in_mode and a.side = 'BUY'
      and o.condition_id = sold.condition_id and o.wallet_id = sold.wallet_id
      and lower(o.trader_address) is not distinct from lower(sold.trader_address)
      and lower(btrim(o.token_label)) = lower(btrim(sold.token_label)) and o.order_time <= sold.order_time
  ) or exists (
    select from public.ft_orders o
    join public.lt_scope_windows w
      on w.strategy_id = for_strategy_id and w.ft_wallet_id = o.wallet_id
      and o.created_at >= w.window_from and o.created_at < coalesce(w.window_to, 'infinity')
      and in_mode = case when w.is_shadow then 'paper' else worker_mode end
    left join public.lt_decisions d
      on d.strategy_id = for_strategy_id and d.ft_order_id = o.order_id and d.mode = in_mode
    where o.condition_id = sold.condition_id and o.wallet_id = sold.wallet_id and o.side = 'BUY' and o.outcome = 'OPEN'
      and lower(o.trader_address) is not distinct from lower(sold.trader_address)
      and lower(btrim(o.token_label)) = lower(btrim(sold.token_label)) and o.order_time <= sold.order_time
      and coalesce(d.state, 'deferred') = 'deferred');
end
$$;

-- The strategy's shares that a sale is of: what it bought on the signals of that paper wallet and trader up to the sale,
-- less what its sales on his signals have sold, or have for sale. A later sale that was executed first took of these
-- the part that they were of his purchases until then. Never more than there is of the token.
--   held_shares: of the token, those for sale included
create or replace function public.lt_shares_behind(
  sold public.ft_orders, for_strategy_id text, in_mode text, of_token_id text,
  out unsold_shares numeric, out settled_shares numeric, out held_shares numeric)
language plpgsql stable security invoker set search_path = '' set enable_seqscan = off
as $$
begin
  with traded as materialized (
    select
      h.bought_shares, h.confirmed_shares, h.sold_shares, h.selling_shares,
      h.ft_wallet_id = sold.wallet_id
        and lower(h.ft_trader_wallet) is not distinct from lower(sold.trader_address) as is_his,
      coalesce((
        select f.order_time from public.ft_orders f where f.order_id = public.lt_uuid(h.ft_order_id)
      ), h.created_at) as traded_at
    from public.lt_order_positions h
    where h.strategy_id = for_strategy_id and h.mode = in_mode and h.condition_id = sold.condition_id
      and h.token_id = of_token_id
  ), his as (
    select
      t.*, t.traded_at <= sold.order_time as is_before,
      sum(t.bought_shares) over (order by t.traded_at) as bought_by_then
    from traded t where t.is_his
  ), before as (
    select coalesce(sum(h.bought_shares), 0) as bought, coalesce(sum(h.confirmed_shares), 0) as confirmed
    from his h where h.is_before
  ), gone as (
    select round(coalesce(sum((h.sold_shares + h.selling_shares)
      * case when h.is_before then 1 else coalesce(before.bought / nullif(h.bought_by_then, 0), 0) end), 0), 6) as shares
    from his h cross join before
  ), whole as (
    select
      coalesce(sum(t.bought_shares - t.sold_shares), 0) as held, coalesce(sum(t.selling_shares), 0) as selling,
      coalesce(sum(t.confirmed_shares - t.sold_shares), 0) as confirmed
    from traded t
  )
  select
    least(before.bought - gone.shares, whole.held - whole.selling),
    least(before.confirmed - gone.shares, whole.confirmed - whole.selling), whole.held
  into unsold_shares, settled_shares, held_shares
  from before, gone, whole;
end
$$;

-- {mode, worker_mode?, strategy_id, ft_order_id, token_id}
--   -> {now, unsold_shares, settled_shares, buying, selling, paper_bought_shares, paper_sold_shares}
create or replace function public.lt_holdings(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  in_mode  text := p ->> 'mode';
  sold     public.ft_orders;
  held     record;
  paper    record;
begin
  select * into sold from public.ft_orders o where o.order_id = public.lt_uuid(p ->> 'ft_order_id');
  select * into paper from public.lt_paper_before(sold);
  select * into held from public.lt_shares_behind(sold, p ->> 'strategy_id', in_mode, p ->> 'token_id');

  return jsonb_build_object(
    'now', clock_timestamp(),
    'unsold_shares', public.lt_text(held.unsold_shares),
    'settled_shares', public.lt_text(held.settled_shares),
    'buying', public.lt_purchase_awaited(
      sold, p ->> 'strategy_id', in_mode, coalesce(p ->> 'worker_mode', in_mode)),
    'selling', exists (
      select from public.lt_order_attempts a
      where a.closed_at is null and a.strategy_id = p ->> 'strategy_id' and a.mode = in_mode
        and a.token_id = p ->> 'token_id' and a.side = 'SELL'),
    'paper_bought_shares', paper.bought_shares::text, 'paper_sold_shares', paper.sold_shares::text);
end
$$;

-- More shares were sold than were ever bought: the books contradict the exchange, and nobody knows what is held. The
-- strategy is frozen in this mode until a human has looked. Returns why, or null while all is well.
create or replace function public.lt_freeze_oversold(for_strategy_id text, in_mode text, of_token_id text)
returns text
language plpgsql security invoker set search_path = ''
as $$
declare
  dust  constant numeric := 0.01;
  short numeric;
  why   text;
begin
  select h.sold_shares - h.bought_shares into short
  from public.lt_positions h
  where h.strategy_id = for_strategy_id and h.mode = in_mode and h.token_id = of_token_id
    and h.sold_shares - h.bought_shares > dust;
  if short is null then
    return null;
  end if;
  why := format('%s shares of %s more were sold than bought (%s)', public.lt_text(short), of_token_id, in_mode);
  insert into public.lt_controls (scope, action, mode, reason, actor)
  values ('strategy:' || for_strategy_id, 'freeze', in_mode, why, 'ledger')
  on conflict (scope, action, coalesce(mode, '')) where cleared_at is null do nothing;
  return why;
end
$$;
