-- What each order has come to, and the entries that tell it.
--
-- lt_order_worth computes it from the order, its attempts and its fills alone. lt_enter writes what that differs by
-- from what was entered before, so that entries are only appended, and add up to the same whatever happens in
-- whatever order: told twice nothing is entered, and what is taken back is entered with the opposite sign.
--
-- Average cost: a SELL frees the average of what was paid for the shares that were confirmed when it was booked.

create or replace view public.lt_order_worth with (security_invoker = true) as
select
  o.strategy_id, case when o.is_shadow then 'paper' else 'live' end as mode, o.lt_order_id,
  part.at, part.locked_usd, part.realised_usd, part.proceeds_usd, part.fees_usd,
  -- Winners of the live account stay shares until somebody redeems them.
  case when part.is_payout and (o.outcome = 'WON' or t.attempts > 0) and not coalesce(o.is_shadow, false)
            and not exists (select from public.lt_redeemed_orders r where r.lt_order_id = o.lt_order_id)
       then part.proceeds_usd else 0 end as unredeemed_usd
from public.lt_orders o
cross join lateral (
  select
    count(*)                                                        as attempts,
    coalesce(sum(a.reserved_usd) filter (where a.side = 'BUY'), 0)  as reserved_usd,
    coalesce(sum(a.usd) filter (where a.side = 'BUY'), 0) - coalesce(sum(a.cost_usd), 0) as cost_usd,
    coalesce(sum(case a.side when 'BUY' then a.shares else -a.shares end), 0)            as shares,
    coalesce(sum(a.fees_usd), 0)                                    as fees_usd,
    -- The platform's own word for how it ended, but of a market that nobody won; what it has no price for stays at cost.
    case when o.outcome in ('WON', 'LOST') then coalesce(
      (select v.payout from public.lt_void_markets v where v.condition_id = o.condition_id),
      case o.outcome when 'WON' then 1 else 0 end) end              as payout
  from public.lt_attempt_totals a where a.lt_order_id = o.lt_order_id
) t
-- NaN is no number: it would stand in every sum for ever. The audit names the order (lt_audit_orders).
cross join lateral (
  select coalesce(nullif(o.signal_size_usd, 'NaN'), 0) as bet_usd, nullif(o.executed_size_usd, 'NaN') as spent_usd,
    nullif(o.pnl, 'NaN') as pnl_usd
) said
cross join lateral (
  select                                                            -- what it may still cost, and what it cost
    null::timestamptz as at,
    t.reserved_usd + case when t.payout is null then t.cost_usd else 0 end as locked_usd,
    0::numeric as realised_usd, 0::numeric as proceeds_usd, t.fees_usd, false as is_payout
  where t.attempts > 0
  union all
  select o.resolved_at, 0, t.shares * t.payout - t.cost_usd, t.shares * t.payout, 0, true
  where t.attempts > 0 and t.payout is not null
  union all
  select
    f.matched_at, 0, f.price * f.shares - f.fee_usd - f.cost_usd, f.price * f.shares - f.fee_usd, 0, false
  from public.lt_order_attempts a
  join public.lt_fills f using (exchange_order_id)
  where o.side = 'SELL' and a.lt_order_id = o.lt_order_id and f.side = 'SELL' and f.state <> 'reversed'
  union all
  select                                                            -- a row of the executor before us
    null,
    case o.status when 'PENDING' then said.bet_usd
                  when 'FILLED' then coalesce(said.spent_usd, said.bet_usd)
                  when 'PARTIAL' then coalesce(said.spent_usd, said.bet_usd) else 0 end,
    0, 0, 0, false
  where t.attempts = 0 and o.outcome = 'OPEN'
  union all
  select o.resolved_at, 0, said.pnl_usd, greatest(coalesce(said.spent_usd, 0) + said.pnl_usd, 0), 0, true
  where t.attempts = 0 and o.outcome <> 'OPEN' and said.pnl_usd is not null
) part
where not coalesce(o.is_force_test, false);

-- What is held while entries are written, and let go by nobody before its transaction ends: a checkpoint goes up to a
-- place that nobody is writing before.
create or replace function public.lt_entries_key(of_strategy_id text)
returns bigint
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return pg_catalog.hashtextextended('lt_entries ' || of_strategy_id, 0);
end
$$;

-- What the peak loses (nought or less) when an order takes back `gained_usd` that it had entered: the peak is what it
-- would have been without it. What stood higher before the order's money came stays. Whoever armed the strategy since has
-- begun its peak with the money in it.
create or replace function public.lt_peak_taken_back(
  of_strategy_id text, in_mode text, for_lt_order_id text, came_at timestamptz, gained_usd numeric)
returns numeric
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  capital public.lt_capital_now := public.lt_capital_of(of_strategy_id, in_mode);
  first   bigint;
  kept    public.lt_checkpoints;
  before  numeric;
begin
  select min(e.entry_seq) into first from public.lt_entries e
  where e.lt_order_id = for_lt_order_id and e.strategy_id = of_strategy_id and e.mode = in_mode
    and e.at is not distinct from came_at and e.realised_usd <> 0;
  if first is null or capital.strategy_id is null then
    return 0;
  end if;
  if exists (
    select from public.lt_checkpoints k
    where k.strategy_id = of_strategy_id and k.mode = in_mode and k.armed_by is not null and k.through_entry_seq >= first
  ) then
    return -gained_usd;
  end if;

  select * into kept from public.lt_checkpoints k
  where k.strategy_id = of_strategy_id and k.mode = in_mode and k.through_entry_seq < first
  order by k.through_entry_seq desc, k.checkpoint_id desc limit 1;
  select greatest(coalesce(kept.peak_realised_usd, 0) + s.taken_back_usd, coalesce(kept.realised_usd, 0) + s.peak_usd)
  into before
  from public.lt_entries_sum(of_strategy_id, in_mode, coalesce(kept.through_entry_seq, 0), first - 1) s;
  return -least(gained_usd, greatest(capital.peak_equity_usd - capital.initial_usd - before, 0));
end
$$;

-- Enters what the order differs by from its entries. Under the order's lock: of two that enter at once, the second
-- then sees what the first one entered.
create or replace function public.lt_enter(for_lt_order_id text)
returns void
language plpgsql security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  perform from public.lt_orders o where o.lt_order_id = for_lt_order_id for no key update;
  -- Of every strategy that is entered: an order that is gone, or was moved, takes its entries back where they stand.
  perform pg_catalog.pg_advisory_xact_lock_shared(public.lt_entries_key(entered.strategy_id))
  from (
    select o.strategy_id from public.lt_orders o where o.lt_order_id = for_lt_order_id
    union
    select e.strategy_id from public.lt_entries e where e.lt_order_id = for_lt_order_id
    order by strategy_id
  ) entered;

  insert into public.lt_entries (
    strategy_id, mode, lt_order_id, at, locked_usd, realised_usd, proceeds_usd, unredeemed_usd, fees_usd, peak_usd)
  select
    d.strategy_id, d.mode, for_lt_order_id, d.at, sum(d.locked_usd), sum(d.realised_usd), sum(d.proceeds_usd),
    sum(d.unredeemed_usd), sum(d.fees_usd),
    -- A loss that grows takes nothing back: it is a loss, and counts from the peak.
    case when sum(d.realised_usd) < 0 and sum(d.gained_usd) > 0
      then public.lt_peak_taken_back(d.strategy_id, d.mode, for_lt_order_id, d.at,
                                     least(-sum(d.realised_usd), sum(d.gained_usd))) else 0 end
  from (
    select w.strategy_id, w.mode, w.at, w.locked_usd, w.realised_usd, w.proceeds_usd, w.unredeemed_usd, w.fees_usd,
      0 as gained_usd
    from public.lt_order_worth w where w.lt_order_id = for_lt_order_id
    union all
    select e.strategy_id, e.mode, e.at, -e.locked_usd, -e.realised_usd, -e.proceeds_usd, -e.unredeemed_usd, -e.fees_usd,
      e.realised_usd
    from public.lt_entries e where e.lt_order_id = for_lt_order_id
  ) d
  group by d.strategy_id, d.mode, d.at
  having (sum(d.locked_usd), sum(d.realised_usd), sum(d.proceeds_usd), sum(d.unredeemed_usd), sum(d.fees_usd))
         <> (0, 0, 0, 0, 0)
  order by d.at nulls first;
end
$$;

-- Whoever writes an order, an attempt, a fill or a redemption enters it: the platform's own programs too.
create or replace function public.lt_enter_order()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  perform public.lt_enter(case tg_op when 'DELETE' then old.lt_order_id else new.lt_order_id end);
  return null;
end
$$;

create or replace function public.lt_enter_fill()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  perform public.lt_enter(a.lt_order_id)
  from public.lt_order_attempts a where a.exchange_order_id = new.exchange_order_id;
  return null;
end
$$;

-- A new order waits for the end of its transaction: by then its attempt tells what it reserves.
drop trigger if exists lt_orders_enter_new on public.lt_orders;
create constraint trigger lt_orders_enter_new after insert on public.lt_orders
  deferrable initially deferred for each row execute function public.lt_enter_order();
create or replace trigger lt_orders_enter_changed after update on public.lt_orders
  for each row when (
    (old.strategy_id, old.is_shadow, old.is_force_test, old.status, old.outcome, old.pnl, old.resolved_at,
     old.signal_size_usd, old.executed_size_usd)
    is distinct from
    (new.strategy_id, new.is_shadow, new.is_force_test, new.status, new.outcome, new.pnl, new.resolved_at,
     new.signal_size_usd, new.executed_size_usd))
  execute function public.lt_enter_order();
create or replace trigger lt_orders_enter_gone after delete on public.lt_orders
  for each row execute function public.lt_enter_order();
create or replace trigger lt_order_attempts_enter after insert or update of closed_at on public.lt_order_attempts
  for each row execute function public.lt_enter_order();
create or replace trigger lt_fills_enter after insert or update on public.lt_fills
  for each row execute function public.lt_enter_fill();
create or replace trigger lt_redeemed_orders_enter after insert on public.lt_redeemed_orders
  for each row execute function public.lt_enter_order();

-- What had been paid for the shares of a sale, at the average of those that were confirmed and not sold yet.
create or replace function public.lt_cost_of_sale()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
declare
  -- Booked before, and amended now: its own shares are held again.
  own_shares numeric := case when tg_op = 'UPDATE' then old.shares else 0 end;
  own_usd    numeric := case when tg_op = 'UPDATE' then old.cost_usd else 0 end;
  held       record;
begin
  select p.confirmed_shares - p.sold_shares + own_shares as shares, p.confirmed_usd - p.sold_cost_usd + own_usd as usd
  into held
  from public.lt_order_attempts a
  join public.lt_positions p
    on p.strategy_id = a.strategy_id and p.mode = a.mode and p.condition_id = a.condition_id and p.token_id = a.token_id
  where a.exchange_order_id = new.exchange_order_id;

  new.cost_usd := case
    when held.shares > new.shares then round(held.usd * new.shares / held.shares, 6)
    else greatest(coalesce(held.usd, 0), 0) end;
  return new;
end
$$;

create or replace trigger lt_fills_cost_booked before insert on public.lt_fills
  for each row when (new.side = 'SELL') execute function public.lt_cost_of_sale();
create or replace trigger lt_fills_cost_amended before update of shares on public.lt_fills
  for each row when (new.side = 'SELL' and new.shares <> old.shares) execute function public.lt_cost_of_sale();

-- Appended, and neither rewritten nor removed.
do $$
declare
  ledger text;
begin
  foreach ledger in array array['lt_entries', 'lt_checkpoints', 'lt_redeemed_orders'] loop
    execute format(
      'create or replace trigger %I before update or delete or truncate on public.%I
         for each statement execute function public.lt_refuse_removal()', ledger || '_stay', ledger);
  end loop;
end
$$;

-- What was there before the entries: told as it happened, so that its peaks and its days are its own. Returns how many
-- entries it took.
create or replace function public.lt_enter_history()
returns bigint
language plpgsql security invoker set search_path = ''
as $$
declare
  entered bigint;
begin
  insert into public.lt_entries (
    strategy_id, mode, lt_order_id, at, locked_usd, realised_usd, proceeds_usd, unredeemed_usd, fees_usd, entered_at)
  select
    w.strategy_id, w.mode, w.lt_order_id, w.at, sum(w.locked_usd), sum(w.realised_usd), sum(w.proceeds_usd),
    sum(w.unredeemed_usd), sum(w.fees_usd), coalesce(w.at, now())
  from public.lt_order_worth w
  where not exists (select from public.lt_entries e where e.lt_order_id = w.lt_order_id)
  group by w.strategy_id, w.mode, w.lt_order_id, w.at
  having (sum(w.locked_usd), sum(w.realised_usd), sum(w.proceeds_usd), sum(w.unredeemed_usd), sum(w.fees_usd))
         <> (0, 0, 0, 0, 0)
  order by coalesce(w.at, now()), w.lt_order_id;
  get diagnostics entered = row_count;
  return entered;
end
$$;

select public.lt_enter_history();
