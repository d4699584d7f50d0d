-- Trades: each is booked once, and is of the order that it is told of.

-- Writes one trade. Trades only move forward: what is final or reversed stays, and older news is ignored.
-- Returns 'booked', 'settled', 'amended', 'known', or 'conflict' when the news contradicts what stands, or the order.
create or replace function public.lt_book_fill(attempt public.lt_order_attempts, fill jsonb)
returns text
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  told public.lt_fills := jsonb_populate_record(null::public.lt_fills, fill);
  kept public.lt_fills;
begin
  if (told.side, told.token_id) is distinct from (attempt.side, attempt.token_id) then
    return 'conflict';
  end if;
  insert into public.lt_fills (
    trade_id, exchange_order_id, role, side, token_id, price, shares, fee_usd, state, matched_at, settled_at)
  values (
    told.trade_id, attempt.exchange_order_id, told.role, told.side, told.token_id, told.price, told.shares,
    coalesce(told.fee_usd, 0), told.state, told.matched_at,
    case when told.state <> 'provisional' then clock_timestamp() end)
  on conflict (exchange_order_id, trade_id, role) do nothing;
  if found then
    return 'booked';
  end if;

  select * into kept from public.lt_fills f
  where f.exchange_order_id = attempt.exchange_order_id and f.trade_id = told.trade_id and f.role = told.role;
  if kept.state <> 'provisional' then
    return case
      when told.state = 'provisional' or told.state = kept.state and (
        kept.state = 'reversed' or (told.price, told.shares, coalesce(told.fee_usd, kept.fee_usd))
          = (kept.price, kept.shares, kept.fee_usd)) then 'known'
      else 'conflict' end;
  end if;
  -- A fee, and sometimes a size, is known only once the trade is mined.
  if (told.state, told.price, told.shares, coalesce(told.fee_usd, kept.fee_usd))
     is not distinct from (kept.state, kept.price, kept.shares, kept.fee_usd)
  then
    return 'known';
  end if;
  update public.lt_fills f
  set state = told.state, price = told.price, shares = told.shares, fee_usd = coalesce(told.fee_usd, f.fee_usd),
      settled_at = case when told.state <> 'provisional' then clock_timestamp() end
  where f.fill_seq = kept.fill_seq;
  return case when told.state = kept.state then 'amended' else 'settled' end;
end
$$;
