-- Mark-outs: what a trade was worth to the market a minute and five minutes after it. What is stored is the book of a
-- token at a moment (lt_market_snapshots); which trades it is for follows from token and time.

-- How long after a trade it is marked, and how much later a look still counts.
create or replace function public.lt_mark_times()
returns table (after_s integer, patience_s integer)
language sql immutable security invoker set search_path = ''
as $$
  values (60, 30), (300, 60)
$$;

-- Every trade that stands, at each of these times. `mid` and what follows from it are null before the time, and where
-- nobody looked or nobody quoted. Positive is good: the market went our way, by basis points of the price and in dollars.
create or replace view public.lt_marks with (security_invoker = true) as
select
  f.fill_seq, f.exchange_order_id, a.lt_order_id, a.strategy_id, a.ft_order_id, a.mode, f.side, f.token_id, f.price,
  f.shares, f.matched_at, m.after_s, seen.mid, seen.taken_at,
  round((seen.mid - f.price) * way.sign / f.price * 10000, 1) as markout_bps,
  round((seen.mid - f.price) * way.sign * f.shares, 4)        as markout_usd
from public.lt_fills f
join public.lt_order_attempts a using (exchange_order_id)
cross join public.lt_mark_times() m
cross join lateral (select case f.side when 'BUY' then 1 else -1 end as sign) way
left join lateral (
  select s.mid, s.taken_at from public.lt_market_snapshots s
  where s.token_id = f.token_id and s.taken_at >= f.matched_at + make_interval(secs => m.after_s)
    and s.taken_at < f.matched_at + make_interval(secs => m.after_s + m.patience_s)
  order by s.taken_at limit 1
) seen on true
where f.state <> 'reversed';

-- {mode, wallets, limit} -> {now, token_ids, next_in_s | null}: tokens that these wallets traded and whose book should be
-- looked at now, the most pressing first; and how long until the next one should be.
create or replace function public.lt_marks_due(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  asked_at timestamptz := clock_timestamp();
  longest  interval := (select make_interval(secs => max(t.after_s + t.patience_s)) from public.lt_mark_times() t);
  tokens   jsonb;
  next_at  timestamptz;
begin
  with wanted as (
    select f.token_id, moment.at, moment.at + make_interval(secs => m.patience_s) as until
    from public.lt_fills f
    join public.lt_order_attempts a using (exchange_order_id)
    join public.lt_wallets_asked(p) w on (w.wallet_address, w.mode) = (a.wallet_address, a.mode)
    cross join public.lt_mark_times() m
    cross join lateral (select f.matched_at + make_interval(secs => m.after_s) as at) moment
    -- By the index over what was booked lately: nothing is booked before it was matched, give or take two clocks.
    where f.booked_at > asked_at - longest - interval '10 seconds' and f.state <> 'reversed'
      and moment.at + make_interval(secs => m.patience_s) > asked_at
      and not exists (
        select from public.lt_market_snapshots s
        where s.token_id = f.token_id and s.taken_at >= moment.at
          and s.taken_at < moment.at + make_interval(secs => m.patience_s))
  )
  select
    (select coalesce(jsonb_agg(pressing.token_id order by pressing.until), '[]')
     from (select wanted.token_id, min(wanted.until) as until from wanted where wanted.at <= asked_at
           group by wanted.token_id order by min(wanted.until)
           limit least(greatest(coalesce((p ->> 'limit')::integer, 20), 1), 200)) pressing),
    (select min(wanted.at) from wanted where wanted.at > asked_at)
  into tokens, next_at;
  return jsonb_build_object(
    'now', asked_at, 'token_ids', tokens, 'next_in_s', round(extract(epoch from next_at - asked_at), 3)::text);
end
$$;

-- {marks: [{token_id, taken_at, best_bid | null, best_ask | null}]} -> {now, written}. Told twice, a look is one.
create or replace function public.lt_mark(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  written integer;
begin
  insert into public.lt_market_snapshots (token_id, taken_at, best_bid, best_ask)
  select m.token_id, m.taken_at, m.best_bid, m.best_ask
  from jsonb_to_recordset(p -> 'marks') m (token_id text, taken_at timestamptz, best_bid numeric, best_ask numeric)
  order by m.token_id, m.taken_at   -- one order of locking for all callers
  on conflict (token_id, taken_at) do nothing;
  get diagnostics written = row_count;
  return jsonb_build_object('now', clock_timestamp(), 'written', written);
end
$$;
