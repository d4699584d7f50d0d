-- The wallet: strategies share it, and its balance on the exchange is the last word on what they may spend.

-- Why the wallet cannot pay for an entry, or null. Called with the wallet's row locked; as lt_claim_refusal.
create or replace function public.lt_wallet_refusal(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  wallet    text := lower(p ->> 'wallet_address');
  reserve   numeric := (p #>> '{order,reserve_usd}')::numeric;
  balance   public.lt_wallets;
  spendable numeric;
begin
  select * into balance from public.lt_wallets w where w.wallet_address = wallet and w.mode = p ->> 'mode';
  if balance.as_of is null
     or balance.as_of < clock_timestamp() - make_interval(secs => coalesce((p ->> 'balance_max_age_s')::numeric, 60))
  then
    return jsonb_build_object('reason', 'wallet_balance_unknown', 'value', balance.as_of,
                              'limit', p ->> 'balance_max_age_s', 'final', false);
  end if;
  spendable := balance.collateral_usd - public.lt_wallet_claims_usd(wallet, balance.mode, balance.as_of);
  if reserve > spendable then
    return jsonb_build_object('reason', 'wallet_insufficient_balance', 'value', public.lt_text(reserve),
                              'limit', public.lt_text(spendable), 'final', true, 'money', true);
  end if;
  return null;
end
$$;

-- What a balance seen at `as_of` does not show yet: open reservations, and fills that had not settled then.
-- Of an open attempt's reservation the part that had settled is in the balance already.
create or replace function public.lt_wallet_claims_usd(wallet text, in_mode text, as_of timestamptz)
returns numeric
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  -- Small index scans, not a walk through the history of the wallet: what is open, and what moved since.
  return (
    select coalesce(sum(greatest(a.reserve_usd - filled.seen_usd, filled.unseen_usd)), 0)
    from public.lt_order_attempts a
    cross join lateral (
      select
        coalesce(sum(f.price * f.shares + f.fee_usd) filter (where f.settled_at <= lt_wallet_claims_usd.as_of), 0) as seen_usd,
        coalesce(sum(f.price * f.shares + f.fee_usd)
          filter (where f.settled_at is null or f.settled_at > lt_wallet_claims_usd.as_of), 0)                     as unseen_usd
      from public.lt_fills f where f.exchange_order_id = a.exchange_order_id and f.state <> 'reversed'
    ) filled
    where a.wallet_address = lt_wallet_claims_usd.wallet and a.mode = in_mode and a.closed_at is null and a.side = 'BUY'
  ) + (
    select coalesce(sum(f.price * f.shares + f.fee_usd), 0)
    from (
      select * from public.lt_fills f where f.state = 'provisional'
      union all
      select * from public.lt_fills f where f.settled_at > lt_wallet_claims_usd.as_of and f.state = 'final'
    ) f
    join public.lt_order_attempts a using (exchange_order_id)
    where a.wallet_address = lt_wallet_claims_usd.wallet and a.mode = in_mode and a.closed_at is not null
      and a.side = 'BUY');
end
$$;

-- The wallets that a worker asks about (`wallets`), each with its mode: one call serves those of money and the purses of
-- shadows. A purse shows that it is one, `mode` is the worker's own (worker/orders/paper.py).
create or replace function public.lt_mode_of(wallet text, in_mode text)
returns text
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return case when starts_with(wallet, '0x7061706572') then 'paper' else in_mode end;
end
$$;

create or replace function public.lt_wallets_asked(p jsonb)
returns table (wallet_address text, mode text)
language plpgsql stable security invoker rows 20 set search_path = ''
as $$
begin
  return query
  select lower(asked.wallet), public.lt_mode_of(lower(asked.wallet), p ->> 'mode')
  from jsonb_array_elements_text(p -> 'wallets') asked (wallet);
end
$$;

-- {mode, balances: [{wallet_address, collateral_usd, as_of}]} -> {now, applied}: news that is older than what is
-- known is dropped.
create or replace function public.lt_wallets_seen(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  applied integer;
begin
  insert into public.lt_wallets as w (wallet_address, mode, collateral_usd, as_of)
  -- A clock that is ahead must not outdate all that is seen after it.
  select lower(b.wallet_address), public.lt_mode_of(lower(b.wallet_address), p ->> 'mode'), b.collateral_usd,
    least(b.as_of, clock_timestamp())
  from jsonb_to_recordset(p -> 'balances') as b (wallet_address text, collateral_usd numeric, as_of timestamptz)
  order by 1   -- one order of locking for all callers
  on conflict (wallet_address, mode) do update set collateral_usd = excluded.collateral_usd, as_of = excluded.as_of
  where w.as_of is null or w.as_of <= excluded.as_of;
  get diagnostics applied = row_count;
  return jsonb_build_object('now', clock_timestamp(), 'applied', applied);
end
$$;
