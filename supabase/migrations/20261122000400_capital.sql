-- Capital is computed from fills, reservations and resolved orders, and stored nowhere.
--
-- Old-executor rows (no attempt of ours) count by their own columns: PENDING by the bet, FILLED and PARTIAL
-- by what was spent. Force tests are nobody's capital.

-- Numbers with a fraction as text, the rest as it is: JSON floats lose money, integers are exact.
create or replace function public.lt_exact(r jsonb)
returns jsonb
language sql immutable security invoker set search_path = ''
as $$
  select jsonb_object_agg(
    key,
    case when jsonb_typeof(value) = 'number' and value::text like '%.%' then to_jsonb(value::text) else value end)
  from jsonb_each(r)
$$;

-- A numeric column's value must be text even where it has no fraction (100, not 100.00).
create or replace function public.lt_text(n numeric)
returns text
language sql immutable security invoker set search_path = ''
as $$
  select case when n = trunc(n, 2) then n::numeric(38,2) else trim_scale(n) end::text
$$;

-- Every attempt with the sum of its fills that stand. `usd` is what moved with fees: paid for a BUY,
-- received for a SELL. `reserved_usd` is what the attempt may still cost beyond its fills.
create or replace view public.lt_attempt_totals with (security_invoker = true) as
select
  a.exchange_order_id, a.lt_order_id, a.strategy_id, a.ft_order_id, a.wallet_address, a.mode, a.attempt_no,
  a.state, a.side, a.token_id, a.condition_id, a.closed_at,
  f.shares, f.notional_usd, f.fees_usd, f.usd, f.final_shares, f.settled_usd, f.first_fill_at, f.last_fill_at,
  case when a.closed_at is null then greatest(a.reserve_usd - f.usd, 0) else 0 end       as reserved_usd,
  case when a.closed_at is null then greatest(a.reserve_shares - f.shares, 0) else 0 end as reserved_shares
from public.lt_order_attempts a
cross join lateral (
  select
    coalesce(sum(t.shares), 0)                                                      as shares,
    coalesce(sum(t.price * t.shares), 0)                                            as notional_usd,
    coalesce(sum(t.fee_usd), 0)                                                     as fees_usd,
    coalesce(sum(t.price * t.shares + case t.side when 'BUY' then t.fee_usd else -t.fee_usd end), 0) as usd,
    coalesce(sum(t.shares) filter (where t.state = 'final'), 0)                     as final_shares,
    coalesce(sum(t.price * t.shares + t.fee_usd) filter (where t.state = 'final'), 0) as settled_usd,
    min(t.matched_at)                                                               as first_fill_at,
    max(t.matched_at)                                                               as last_fill_at
  from public.lt_fills t
  where t.exchange_order_id = a.exchange_order_id and t.state <> 'reversed'
) f;

-- What a strategy holds and may still come to hold, per token, over orders that are not resolved.
-- Average cost: selling a share frees the average of what was paid for one.
create or replace view public.lt_positions with (security_invoker = true) as
select
  strategy_id, mode, condition_id, token_id,
  sum(bought_shares)                                                 as bought_shares,
  sum(bought_usd)                                                    as bought_usd,
  sum(sold_shares)                                                   as sold_shares,
  sum(sold_usd)                                                      as sold_usd,
  sum(reserved_usd)                                                  as reserved_usd,
  sum(bought_shares) - sum(sold_shares) - sum(selling_shares)        as unsold_shares,
  sum(confirmed_shares) - sum(sold_shares) - sum(selling_shares)     as sellable_shares,
  sum(cooling_usd)                                                   as cooling_usd,
  round(sum(bought_usd) * least(coalesce(sum(sold_shares) / nullif(sum(bought_shares), 0), 0), 1), 6)
                                                                     as sold_cost_usd
from (
  select
    o.strategy_id, o.condition_id, o.token_id,
    case when o.is_shadow then 'paper' else 'live' end as mode,
    case when t.attempts > 0 then t.bought_shares
         when o.status in ('FILLED', 'PARTIAL') then coalesce(o.shares_bought, 0) else 0 end     as bought_shares,
    case when t.attempts > 0 then t.bought_usd
         when o.status in ('FILLED', 'PARTIAL') then coalesce(o.executed_size_usd, o.signal_size_usd)
         else 0 end                                                                              as bought_usd,
    case when t.attempts > 0 then t.confirmed_shares
         when o.status in ('FILLED', 'PARTIAL') then coalesce(o.shares_remaining, o.shares_bought, 0)
         else 0 end                                                                              as confirmed_shares,
    case when t.attempts > 0 then t.reserved_usd
         when o.status = 'PENDING' then o.signal_size_usd else 0 end                             as reserved_usd,
    t.sold_shares, t.sold_usd, t.selling_shares,
    case when t.last_sold_at > clock_timestamp() - make_interval(secs => s.cooldown_hours * 3600)
         then t.sold_usd else 0 end                                                              as cooling_usd
  from public.lt_orders o
  join public.lt_strategies s using (strategy_id)
  cross join lateral (
    select
      count(*)                                                        as attempts,
      coalesce(sum(a.shares) filter (where a.side = 'BUY'), 0)        as bought_shares,
      coalesce(sum(a.usd) filter (where a.side = 'BUY'), 0)           as bought_usd,
      coalesce(sum(a.final_shares) filter (where a.side = 'BUY'), 0)  as confirmed_shares,
      coalesce(sum(a.shares) filter (where a.side = 'SELL'), 0)       as sold_shares,
      coalesce(sum(a.usd) filter (where a.side = 'SELL'), 0)          as sold_usd,
      coalesce(sum(a.reserved_usd) filter (where a.side = 'BUY'), 0)  as reserved_usd,
      coalesce(sum(a.reserved_shares) filter (where a.side = 'SELL'), 0) as selling_shares,
      max(a.last_fill_at) filter (where a.side = 'SELL')              as last_sold_at
    from public.lt_attempt_totals a where a.lt_order_id = o.lt_order_id
  ) t
  where o.outcome = 'OPEN' and not coalesce(o.is_force_test, false)
) o
group by strategy_id, mode, condition_id, token_id;

-- available = initial + realised - locked - cooldown - awaiting redemption.
--
-- A winner's money cools down for the strategy's cooldown_hours and is available then; until redemptions are
-- recorded nothing awaits one. The wallet's real balance is checked apart from this, at each claim.
create or replace view public.lt_capital_now with (security_invoker = true) as
select
  c.*,
  c.initial_usd + c.realised_usd - c.locked_usd - c.cooldown_usd - c.awaiting_redeem_usd as available_usd,
  c.locked_usd as exposure_usd
from (
  select
    s.strategy_id, m.mode,
    s.initial_capital                      as initial_usd,
    resolved.pnl_usd + held.sold_pnl_usd   as realised_usd,
    held.locked_usd,
    resolved.cooling_usd + held.cooling_usd as cooldown_usd,
    0::numeric                             as awaiting_redeem_usd
  from public.lt_strategies s
  cross join (values ('paper'), ('live')) m (mode)
  cross join lateral (
    select
      coalesce(sum(p.bought_usd - p.sold_cost_usd + p.reserved_usd), 0) as locked_usd,
      coalesce(sum(p.sold_usd - p.sold_cost_usd), 0)                    as sold_pnl_usd,
      coalesce(sum(p.cooling_usd), 0)                                   as cooling_usd
    from public.lt_positions p where p.strategy_id = s.strategy_id and p.mode = m.mode
  ) held
  cross join lateral (
    select
      coalesce(sum(o.pnl), 0) as pnl_usd,
      coalesce(sum(greatest(coalesce(o.executed_size_usd, 0) + o.pnl, 0)) filter (
        where o.resolved_at > clock_timestamp() - make_interval(secs => s.cooldown_hours * 3600)), 0) as cooling_usd
    from public.lt_orders o
    where o.strategy_id = s.strategy_id and o.outcome <> 'OPEN' and o.pnl is not null
      and coalesce(o.is_shadow, false) = (m.mode = 'paper') and not coalesce(o.is_force_test, false)
  ) resolved
) c;

-- The seven numbers of an answer, after `spend_usd` more has been reserved. A strategy that is gone owns nothing.
create or replace function public.lt_capital_json(capital public.lt_capital_now, spend_usd numeric default 0)
returns jsonb
language sql immutable security invoker set search_path = ''
as $$
  select jsonb_build_object(
    'initial_usd', public.lt_text(coalesce(capital.initial_usd, 0)),
    'realised_usd', public.lt_text(coalesce(capital.realised_usd, 0)),
    'locked_usd', public.lt_text(coalesce(capital.locked_usd, 0) + spend_usd),
    'cooldown_usd', public.lt_text(coalesce(capital.cooldown_usd, 0)),
    'awaiting_redeem_usd', public.lt_text(coalesce(capital.awaiting_redeem_usd, 0)),
    'available_usd', public.lt_text(coalesce(capital.available_usd, 0) - spend_usd),
    'exposure_usd', public.lt_text(coalesce(capital.exposure_usd, 0) + spend_usd))
$$;

-- In plpgsql, here and in whatever else a claim calls: it keeps its plan for the session, where a SQL function
-- would plan these views anew each time.
create or replace function public.lt_capital_of(for_strategy_id text, in_mode text)
returns public.lt_capital_now
language plpgsql stable security invoker set search_path = ''
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
