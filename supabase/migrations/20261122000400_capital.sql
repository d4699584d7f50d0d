-- Capital is computed from what orders came to (lt_entries) since the last checkpoint, and stored nowhere.
--
-- Old-executor rows (no attempt of ours) count by their own columns: PENDING by the bet, FILLED and PARTIAL
-- by what was spent. Force tests are nobody's capital.

-- Numbers with a fraction as text, the rest as it is: JSON floats lose money, integers are exact.
create or replace function public.lt_exact(r jsonb)
returns jsonb
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return (
    select jsonb_object_agg(
      key,
      case when jsonb_typeof(value) = 'number' and value::text like '%.%' then to_jsonb(value::text) else value end)
    from jsonb_each(r)
  );
end
$$;

-- A numeric column's value must be text even where it has no fraction (100, not 100.00).
create or replace function public.lt_text(n numeric)
returns text
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return case when n = trunc(n, 2) then n::numeric(38,2) else trim_scale(n) end::text;
end
$$;

-- Every attempt with the sum of its fills that stand. `usd` is what moved with fees: paid for a BUY,
-- received for a SELL; `cost_usd` what had been paid for what was sold. `reserved_usd` is what the attempt may still cost beyond its fills.
create or replace view public.lt_attempt_totals with (security_invoker = true) as
select
  a.exchange_order_id, a.lt_order_id, a.strategy_id, a.ft_order_id, a.wallet_address, a.mode, a.attempt_no,
  a.state, a.side, a.token_id, a.condition_id, a.closed_at,
  f.shares, f.notional_usd, f.fees_usd, f.usd, f.cost_usd, f.final_shares, f.settled_usd, f.first_fill_at,
  f.last_fill_at,
  case when a.closed_at is null then greatest(a.reserve_usd - f.usd, 0) else 0 end       as reserved_usd,
  case when a.closed_at is null then greatest(a.reserve_shares - f.shares, 0) else 0 end as reserved_shares
from public.lt_order_attempts a
cross join lateral (
  select
    coalesce(sum(t.shares), 0)                                                      as shares,
    coalesce(sum(t.price * t.shares), 0)                                            as notional_usd,
    coalesce(sum(t.fee_usd), 0)                                                     as fees_usd,
    coalesce(sum(t.price * t.shares + case t.side when 'BUY' then t.fee_usd else -t.fee_usd end), 0) as usd,
    coalesce(sum(t.cost_usd), 0)                                                    as cost_usd,
    coalesce(sum(t.shares) filter (where t.state = 'final'), 0)                     as final_shares,
    coalesce(sum(t.price * t.shares + t.fee_usd) filter (where t.state = 'final'), 0) as settled_usd,
    min(t.matched_at)                                                               as first_fill_at,
    max(t.matched_at)                                                               as last_fill_at
  from public.lt_fills t
  where t.exchange_order_id = a.exchange_order_id and t.state <> 'reversed'
) f;

-- The entries of a strategy after one place and up to another (null: all that there are), summed. `peak_usd`: the most
-- that their realised sum ever came to, from one transaction to the next, without what was taken back since:
-- `taken_back_usd` (nought or less), which a peak of before has lost, too.
create or replace function public.lt_entries_sum(
  for_strategy_id text, in_mode text, after_seq bigint, through_seq bigint,
  out locked_usd numeric, out realised_usd numeric, out unredeemed_usd numeric, out fees_usd numeric,
  out peak_usd numeric, out taken_back_usd numeric)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  select
    coalesce(sum(e.locked_usd), 0), coalesce(sum(e.realised_usd), 0), coalesce(sum(e.unredeemed_usd), 0),
    coalesce(sum(e.fees_usd), 0), greatest(max(e.running_usd), 0) + coalesce(sum(e.peak_usd), 0),
    coalesce(sum(e.peak_usd), 0)
  into locked_usd, realised_usd, unredeemed_usd, fees_usd, peak_usd, taken_back_usd
  from (
    select e.*, sum(e.realised_usd - e.peak_usd) over (order by e.entered_at) as running_usd
    from public.lt_entries e
    where e.strategy_id = for_strategy_id and e.mode = in_mode
      and e.entry_seq > after_seq and (through_seq is null or e.entry_seq <= through_seq)
  ) e;
end
$$;

-- What each order brought and may still bring, over orders that are not resolved.
create or replace view public.lt_order_positions with (security_invoker = true) as
select
  o.lt_order_id, o.strategy_id, o.condition_id, o.token_id, o.ft_wallet_id, o.ft_trader_wallet, o.ft_order_id, o.created_at,
  case when o.is_shadow then 'paper' else 'live' end as mode,
  case when t.attempts > 0 then t.bought_shares
       when o.status in ('FILLED', 'PARTIAL') then coalesce(o.shares_bought, 0) else 0 end     as bought_shares,
  case when t.attempts > 0 then t.bought_usd
       when o.status in ('FILLED', 'PARTIAL') then coalesce(o.executed_size_usd, o.signal_size_usd)
       else 0 end                                                                              as bought_usd,
  case when t.attempts > 0 then t.confirmed_shares
       when o.status in ('FILLED', 'PARTIAL') then coalesce(o.shares_remaining, o.shares_bought, 0)
       else 0 end                                                                              as confirmed_shares,
  case when t.attempts > 0 then t.confirmed_usd
       when o.status in ('FILLED', 'PARTIAL') then coalesce(o.executed_size_usd, o.signal_size_usd)
       else 0 end                                                                              as confirmed_usd,
  case when t.attempts > 0 then t.reserved_usd
       when o.status = 'PENDING' then o.signal_size_usd else 0 end                             as reserved_usd,
  t.sold_shares, t.sold_usd, t.sold_cost_usd, t.selling_shares
from public.lt_orders o
cross join lateral (
  select
    count(*)                                                        as attempts,
    coalesce(sum(a.shares) filter (where a.side = 'BUY'), 0)        as bought_shares,
    coalesce(sum(a.usd) filter (where a.side = 'BUY'), 0)           as bought_usd,
    coalesce(sum(a.final_shares) filter (where a.side = 'BUY'), 0)  as confirmed_shares,
    coalesce(sum(a.settled_usd) filter (where a.side = 'BUY'), 0)   as confirmed_usd,
    coalesce(sum(a.shares) filter (where a.side = 'SELL'), 0)       as sold_shares,
    coalesce(sum(a.usd) filter (where a.side = 'SELL'), 0)          as sold_usd,
    coalesce(sum(a.cost_usd), 0)                                    as sold_cost_usd,
    coalesce(sum(a.reserved_usd) filter (where a.side = 'BUY'), 0)  as reserved_usd,
    coalesce(sum(a.reserved_shares) filter (where a.side = 'SELL'), 0) as selling_shares
  from public.lt_attempt_totals a where a.lt_order_id = o.lt_order_id
) t
where o.outcome = 'OPEN' and not coalesce(o.is_force_test, false);

-- What a strategy holds and may still come to hold, per token.
create or replace view public.lt_positions with (security_invoker = true) as
select
  strategy_id, mode, condition_id, token_id,
  sum(bought_shares)                                                 as bought_shares,
  sum(bought_usd)                                                    as bought_usd,
  sum(sold_shares)                                                   as sold_shares,
  sum(sold_usd)                                                      as sold_usd,
  sum(sold_cost_usd)                                                 as sold_cost_usd,
  sum(reserved_usd)                                                  as reserved_usd,
  sum(confirmed_shares)                                              as confirmed_shares,
  sum(confirmed_usd)                                                 as confirmed_usd,
  sum(bought_shares) - sum(sold_shares) - sum(selling_shares)        as unsold_shares,
  sum(confirmed_shares) - sum(sold_shares) - sum(selling_shares)     as sellable_shares
from public.lt_order_positions
group by strategy_id, mode, condition_id, token_id;

-- available = initial + realised - locked - cooldown - awaiting redemption.
--
-- What comes back cools down for the strategy's cooldown_hours and is available then. Where redemptions are recorded
-- (lt_config 'redemption'), a live winner awaits its own first: until then it does not cool down, it is not there.
-- The wallet's real balance is checked apart from this, at each claim. Equity is counted at cost: initial + realised.
create or replace view public.lt_capital_now with (security_invoker = true) as
select
  c.*,
  c.initial_usd + c.realised_usd - c.locked_usd - c.cooldown_usd - c.awaiting_redeem_usd as available_usd,
  c.locked_usd as exposure_usd
from (
  select
    s.strategy_id, m.mode,
    s.initial_capital                               as initial_usd,
    coalesce(kept.realised_usd, 0) + since.realised_usd as realised_usd,
    coalesce(kept.locked_usd, 0) + since.locked_usd     as locked_usd,
    coalesce(cooling.proceeds_usd, 0)
      - case when redemption.awaited then coalesce(cooling.unredeemed_usd, 0) else 0 end as cooldown_usd,
    case when redemption.awaited then coalesce(kept.unredeemed_usd, 0) + since.unredeemed_usd else 0 end
                                                    as awaiting_redeem_usd,
    s.initial_capital + greatest(
      coalesce(kept.peak_realised_usd, 0) + since.taken_back_usd,
      coalesce(kept.realised_usd, 0) + since.peak_usd) as peak_equity_usd,
    coalesce(today.realised_usd, 0)                 as realised_today_usd,
    coalesce(kept.fees_usd, 0) + since.fees_usd     as fees_usd
  from public.lt_strategies s
  cross join (values ('paper'), ('live')) m (mode)
  cross join lateral (select public.lt_setting('redemption') = 'recorded' and m.mode = 'live' as awaited) redemption
  left join lateral (
    select k.* from public.lt_checkpoints k
    where k.strategy_id = s.strategy_id and k.mode = m.mode
    order by k.through_entry_seq desc, k.checkpoint_id desc limit 1
  ) kept on true
  cross join lateral public.lt_entries_sum(s.strategy_id, m.mode, coalesce(kept.through_entry_seq, 0), null) since
  cross join lateral (
    select sum(e.proceeds_usd) as proceeds_usd, sum(e.unredeemed_usd) as unredeemed_usd
    from public.lt_entries e
    where e.strategy_id = s.strategy_id and e.mode = m.mode
      -- Not the clock, which moves within a statement: an index cannot be searched for it.
      and e.at > statement_timestamp() - make_interval(secs => coalesce(s.cooldown_hours, 3) * 3600)
  ) cooling
  cross join lateral (
    select sum(e.realised_usd) as realised_usd from public.lt_entries e
    where e.strategy_id = s.strategy_id and e.mode = m.mode
      and e.at >= date_trunc('day', statement_timestamp() at time zone 'UTC') at time zone 'UTC'
  ) today
) c;

-- The numbers of an answer, after `spend_usd` more has been reserved. A strategy that is gone owns nothing.
create or replace function public.lt_capital_json(capital public.lt_capital_now, spend_usd numeric default 0)
returns jsonb
language plpgsql volatile security invoker set search_path = ''
as $$
begin
  return jsonb_build_object(
    'as_of', clock_timestamp(),   -- the younger one of two that are told is the one to believe
    'initial_usd', public.lt_text(coalesce(capital.initial_usd, 0)),
    'realised_usd', public.lt_text(coalesce(capital.realised_usd, 0)),
    'locked_usd', public.lt_text(coalesce(capital.locked_usd, 0) + spend_usd),
    'cooldown_usd', public.lt_text(coalesce(capital.cooldown_usd, 0)),
    'awaiting_redeem_usd', public.lt_text(coalesce(capital.awaiting_redeem_usd, 0)),
    'available_usd', public.lt_text(coalesce(capital.available_usd, 0) - spend_usd),
    'exposure_usd', public.lt_text(coalesce(capital.exposure_usd, 0) + spend_usd),
    'peak_equity_usd', public.lt_text(coalesce(capital.peak_equity_usd, 0)),
    'realised_today_usd', public.lt_text(coalesce(capital.realised_today_usd, 0)));
end
$$;

-- In plpgsql, here and in whatever else a claim calls: it keeps its plan for the session, where a SQL function
-- would plan these views anew each time.
create or replace function public.lt_capital_of(for_strategy_id text, in_mode text)
returns public.lt_capital_now
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  capital public.lt_capital_now;
begin
  select * into capital from public.lt_capital_now c where c.strategy_id = for_strategy_id and c.mode = in_mode;
  return capital;
end
$$;

-- {mode, strategy_id} -> {now, capital}
create or replace function public.lt_capital(p jsonb)
returns jsonb
language sql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'now', clock_timestamp(),
    'capital', public.lt_capital_json(public.lt_capital_of(p ->> 'strategy_id', p ->> 'mode')))
$$;
