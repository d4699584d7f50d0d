-- Orders and events in the order in which they happened: what a table, a tail or a stream shows.

create index if not exists lt_fills_booked_idx on public.lt_fills (booked_at);

-- An order as everybody is told of it: its row, and of its last attempt what it is now, its type and its limit.
create or replace function public.lt_order_told(n public.lt_orders)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  last record;
begin
  select a.state, a.attempt_no, a.order_type, a.limit_price, a.note, a.closed_at into last
  from public.lt_order_attempts a where a.lt_order_id = n.lt_order_id order by a.attempt_no desc limit 1;

  return jsonb_build_object(
    'lt_order_id', n.lt_order_id, 'ft_order_id', n.ft_order_id, 'strategy_id', n.strategy_id, 'order_id', n.order_id,
    'mode', case when n.is_shadow then 'paper' else 'live' end, 'order_type', last.order_type, 'side', n.side,
    'market_title', n.market_title, 'token_label', n.token_label, 'status', n.status, 'outcome', n.outcome,
    'state', last.state, 'attempts', last.attempt_no, 'limit_price', public.lt_text(last.limit_price),
    'signal_price', public.lt_text(n.signal_price), 'signal_size_usd', public.lt_text(n.signal_size_usd),
    'executed_price', public.lt_text(n.executed_price), 'executed_size_usd', public.lt_text(n.executed_size_usd),
    'shares_bought', public.lt_text(n.shares_bought), 'fill_rate', n.fill_rate::text, 'slippage_bps', n.slippage_bps,
    'execution_latency_ms', n.execution_latency_ms, 'order_placed_at', n.order_placed_at,
    'first_fill_at', n.first_fill_at, 'fully_filled_at', n.fully_filled_at, 'created_at', n.created_at,
    'pending_s', case when last.closed_at is null and public.lt_attempt_is_alive(last.state)
      then round(extract(epoch from clock_timestamp() - n.created_at), 1)::text end,
    'why', coalesce(n.rejection_reason, case when n.status in ('REJECTED', 'CANCELLED', 'LOST') then last.note end),
    'pnl', public.lt_text(n.pnl));
end
$$;

-- {mode, which: all | open | failed, strategy_id?, since? | window_s?: 86400, limit?: 50} -> {now, since, orders, more}:
-- the newest first. `open`: an attempt may still trade, however old the order is. `failed`: REJECTED, CANCELLED or LOST, with why.
create or replace function public.lt_order_list(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  in_mode       text := p ->> 'mode';
  only_strategy text := p ->> 'strategy_id';
  which         text := coalesce(p ->> 'which', 'all');
  most          integer := least(coalesce((p ->> 'limit')::integer, 50), 500);
  modes         text[] := case in_mode when 'live' then '{live,paper}' else '{paper}' end;
  begins        timestamptz := coalesce(
    (p ->> 'since')::timestamptz,
    clock_timestamp() - make_interval(secs => coalesce((p ->> 'window_s')::numeric, 86400)));
  wanted        text[];
  orders        jsonb;
begin
  if which not in ('all', 'open', 'failed') then
    raise exception 'unknown orders %', which using hint = 'One of all, open, failed.';
  elsif which = 'open' then
    wanted := array(
      select a.lt_order_id from public.lt_order_attempts a
      where a.closed_at is null and a.mode = any (modes)
        and public.lt_attempt_is_alive(a.state)
        and (only_strategy is null or a.strategy_id = only_strategy));
  end if;

  with newest as (
    select o as told from public.lt_orders o
    where case which when 'open' then o.lt_order_id = any (wanted) else o.created_at >= begins end
      and (which <> 'failed' or o.status in ('REJECTED', 'CANCELLED', 'LOST'))
      and (only_strategy is null or o.strategy_id = only_strategy)
      and case when o.is_shadow then 'paper' else 'live' end = any (modes)
      and not coalesce(o.is_force_test, false)
    order by o.created_at desc, o.lt_order_id limit most + 1
  )
  select coalesce(jsonb_agg(public.lt_order_told(n.told) order by (n.told).created_at desc, (n.told).lt_order_id), '[]')
  into orders from newest n;

  return jsonb_build_object(
    'now', clock_timestamp(), 'since', begins,
    'orders', case when jsonb_array_length(orders) > most then orders - most else orders end,
    'more', jsonb_array_length(orders) > most);
end
$$;

-- The transaction that wrote a row version, widened: a row keeps the lower half of its number, and all that still have to
-- be told apart lie within half a turn of the `next` one.
create or replace function public.lt_xid8(row_xmin xid, next xid8)
returns xid8
language sql immutable security invoker set search_path = ''
as $$
  select case
    when widened.id - next::text::bigint > 2147483648 then widened.id - 4294967296
    when next::text::bigint - widened.id > 2147483648 then widened.id + 4294967296
    else widened.id end::text::xid8
  from (select (next::text::bigint >> 32 << 32) + row_xmin::text::bigint as id) widened
$$;

-- {mode, cursor?, back_s?: 0, strategy_id?, limit?: 200} -> {now, events: [{event, at, key, strategy_id, ft_order_id, ...}],
-- page, cursor, more}: what happened since the cursor was given, each event once. Without one: since `back_s` seconds ago.
-- `page` with the `at` and `key` of one of its events as `after` is a cursor too: of whoever heard no further than that. A
-- cursor with the `upto` and `as_of` of another one's page tells what happened until that look, and no more.
--
-- There is no watermark here either. A cursor holds the snapshot of the look before, and new is what that look could not
-- see: a decision that is stamped early and committed late is told all the same. What is compared is the transaction of the
-- event and not of the row's last version: a fee that becomes known, or a look-up after the end, tells nothing once more.
-- The stamps only bound what is read; a transaction that writes here and lasts for more than a minute would be told late or
-- never, and none does.
--   order.decided  a decision was made or made anew: state, reason, value, limit
--   fill.booked    a trade: side, price, shares, state, exchange_order_id
--   fill.settled   it is final, or reversed
--   order.closed   an order ended without a trade: state (killed, rejected, ...), note
create or replace function public.lt_feed(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  only_strategy text := p ->> 'strategy_id';
  modes   text[] := case p ->> 'mode' when 'live' then '{live,paper}' else '{paper}' end;
  most    integer := least(coalesce((p ->> 'limit')::integer, 200), 1000);
  mark    jsonb := p -> 'cursor';
  seen    pg_snapshot := (mark ->> 'seen')::pg_snapshot;      -- null: everything is new
  upto    pg_snapshot := coalesce((mark ->> 'upto')::pg_snapshot, pg_current_snapshot());
  as_of   timestamptz := coalesce((mark ->> 'as_of')::timestamptz, clock_timestamp());   -- when `upto` was taken
  next    xid8 := pg_snapshot_xmax(pg_current_snapshot());
  here    bigint := next::text::bigint;
  unseen  bigint := here - pg_snapshot_xmin(seen)::text::bigint;   -- what was written longer ago, `seen` has seen
  begins  timestamptz := coalesce(
    (mark ->> 'from')::timestamptz,
    clock_timestamp() - make_interval(secs => coalesce((p ->> 'back_s')::numeric, 0)));
  after   jsonb := nullif(mark -> 'after', 'null');
  bounds  jsonb := jsonb_build_object('seen', seen::text, 'upto', upto::text, 'as_of', as_of, 'from', begins);
  events  jsonb;
  last    jsonb;
begin
  begins := greatest(begins, (after ->> 'at')::timestamptz);   -- what comes before it was told: no page reads it again
  with happened as (
    select 'order.decided' as event, d.updated_at as at, d.strategy_id, d.mode, d.ft_order_id, d.xmin as written,
      'd' || d.strategy_id || d.ft_order_id as key,
      jsonb_build_object('state', d.state, 'reason', d.reason, 'value', d.value, 'limit', d.limit_value,
                         'tries', d.tries, 'retry_at', d.retry_at) as told
    from public.lt_decisions d
    where d.updated_at >= begins and d.mode = any (modes)
    union all
    select 'fill.booked', f.booked_at, a.strategy_id, a.mode, a.ft_order_id,
      case when f.booked_xid < next then f.booked_xid::xid else f.xmin end,   -- else it was booked before a restore
      'f' || f.fill_seq,
      jsonb_build_object('exchange_order_id', f.exchange_order_id, 'side', f.side, 'price', public.lt_text(f.price),
                         'shares', public.lt_text(f.shares), 'fee_usd', public.lt_text(f.fee_usd), 'state', f.state)
    from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)
    where f.booked_at >= begins and f.settled_at is null and a.mode = any (modes)
    union all
    select 'fill.settled', f.settled_at, a.strategy_id, a.mode, a.ft_order_id, f.xmin, 's' || f.fill_seq,
      jsonb_build_object('exchange_order_id', f.exchange_order_id, 'side', f.side, 'price', public.lt_text(f.price),
                         'shares', public.lt_text(f.shares), 'fee_usd', public.lt_text(f.fee_usd), 'state', f.state)
    from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)
    where f.settled_at >= begins and a.mode = any (modes)
    union all
    select 'order.closed', a.closed_at, a.strategy_id, a.mode, a.ft_order_id, a.written, 'c' || a.exchange_order_id,
      jsonb_build_object('exchange_order_id', a.exchange_order_id, 'state', a.state, 'note', a.note)
    from public.lt_strategies s
    cross join lateral (
      select c.*, case when c.closed_xid < next then c.closed_xid::xid else c.xmin end as written
      from public.lt_order_attempts c
      where c.strategy_id = s.strategy_id and c.mode = any (modes)
        and greatest(coalesce(c.closed_at, 'infinity'), c.late_at) >= begins   -- as in its index
      offset 0   -- a strategy at a time, whatever the planner believes: that index begins with it
    ) a
    where a.closed_at >= begins
      and not exists (select from public.lt_fills f where f.exchange_order_id = a.exchange_order_id)
  ), page as (
    select h.* from happened h
    where (only_strategy is null or h.strategy_id = only_strategy)
      and (seen is null or (here - h.written::text::bigint) & 4294967295 <= unseen)   -- cheap, and leaves little
      and (seen is null or not pg_visible_in_snapshot(public.lt_xid8(h.written, next), seen))
      and pg_visible_in_snapshot(public.lt_xid8(h.written, next), upto)
      and (after is null or (h.at, h.key) > ((after ->> 'at')::timestamptz, after ->> 'key'))
    order by h.at, h.key limit most + 1
  )
  select
    coalesce(jsonb_agg(jsonb_build_object(
      'event', page.event, 'at', page.at, 'key', page.key, 'strategy_id', page.strategy_id, 'mode', page.mode,
      'ft_order_id', page.ft_order_id, 'market_title', o.market_title, 'token_label', o.token_label, 'side', o.side,
      'entry_price', public.lt_text(o.entry_price)) || page.told order by page.at, page.key), '[]'),
    jsonb_agg(jsonb_build_object('at', page.at, 'key', page.key) order by page.at, page.key)
  into events, last
  from page left join public.ft_orders o on o.order_id = page.ft_order_id;

  if jsonb_array_length(events) > most then
    return jsonb_build_object(
      'now', clock_timestamp(), 'events', events - most, 'more', true, 'page', bounds,
      'cursor', bounds || jsonb_build_object('after', last -> (most - 1)));
  end if;
  return jsonb_build_object(
    'now', clock_timestamp(), 'events', events, 'more', false, 'page', bounds,
    'cursor', jsonb_build_object('seen', upto::text, 'from', as_of - interval '1 minute'));
end
$$;
