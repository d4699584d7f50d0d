-- The claim: one transaction between a decision and its order. Whoever is granted may send; nobody else.
--
-- PostgreSQL runs this under READ COMMITTED, where each statement of a plpgsql function sees what was
-- committed before that statement. So everything read after the locks below is as fresh as the locks: two
-- claims of a wallet or a strategy never judge the same dollar.

-- Why a claim must not be granted, or null. Called with the wallet's and the strategy's row locked.
--   reason, value, limit: the refusal's words, the number that failed and the limit it met
--   final:   the pair is decided by it; false leaves the pair as work
--   money:   smaller numbers might pass (protocol: may be decided again once)
create or replace function public.lt_claim_refusal(
  p jsonb, strategy public.lt_strategies, capital public.lt_capital_now, spent_usd numeric)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  now_is     timestamptz := clock_timestamp();
  in_mode    text := p ->> 'mode';
  wallet     text := lower(p ->> 'wallet_address');
  side       text := p #>> '{order,side}';
  buys       boolean := side is distinct from 'SELL';   -- an exit is never blocked by a limit
  lease      public.lt_leases;
  switch     public.lt_controls;
  decision   public.lt_decisions;
  refusal    jsonb;
  twin       text;
  sold       public.ft_orders;
  shares     record;
begin
  -- Shared, so that a takeover of the lease waits for this claim and then finds the attempt it wrote.
  select * into lease from public.lt_leases l where l.wallet_address = wallet for share;
  if lease.expires_at is null or lease.expires_at <= now_is
     or (lease.worker, lease.fence, lease.mode) is distinct from (p ->> 'worker', (p ->> 'fence')::bigint, in_mode)
  then
    return jsonb_build_object('reason', 'lease_lost', 'value', lease.worker || ' ' || lease.fence,
                              'limit', lease.expires_at, 'final', false);
  end if;

  select * into switch from public.lt_controls c
  where c.cleared_at is null and c.action <> 'breaker' and coalesce(c.mode = in_mode, true)
    and c.scope in ('global', 'strategy:' || strategy.strategy_id, 'wallet:' || lower(strategy.wallet_address))
  order by array_position('{kill,freeze,pause}', c.action), c.control_id
  limit 1;
  if switch.action = 'kill' then
    return jsonb_build_object('reason', 'kill_switch', 'value', switch.scope, 'limit', switch.reason, 'final', true);
  elsif switch.action in ('freeze', 'pause') then
    return jsonb_build_object('reason', 'strategy_paused', 'value', switch.scope, 'limit', switch.reason, 'final', true);
  elsif strategy.is_paused then
    return jsonb_build_object('reason', 'strategy_paused', 'value', 'strategy', 'final', true);
  elsif not strategy.is_active then
    -- What came after the deactivation is out of scope: nobody owes it a decision, and it gets none.
    return jsonb_build_object('reason', 'strategy_inactive', 'final', exists (
      select from public.ft_orders o
      join public.lt_scope_windows w
        on w.ft_wallet_id = o.wallet_id and o.created_at >= w.window_from
        and (w.window_to is null or o.created_at < w.window_to)
      where o.order_id = (p ->> 'ft_order_id')::uuid and w.strategy_id = strategy.strategy_id));
  end if;

  select * into decision from public.lt_decisions d
  where d.strategy_id = strategy.strategy_id and d.ft_order_id = (p ->> 'ft_order_id')::uuid and d.mode = in_mode;
  if p ->> 'lt_order_id' is null then
    if decision.state = 'executed' then
      return jsonb_build_object('reason', 'already_executed', 'value', decision.reason, 'final', false);
    elsif decision.state = 'skipped' then
      return jsonb_build_object('reason', decision.reason, 'value', decision.value,
                                'limit', decision.limit_value, 'final', false);
    end if;
    -- A row without a decision: another program's, or a backup older than the order.
    select coalesce(o.order_id, o.lt_order_id) into twin from public.lt_orders o
    where o.strategy_id = strategy.strategy_id and o.ft_order_id = p ->> 'ft_order_id'
      and coalesce(o.is_shadow, false) = (in_mode = 'paper') and not coalesce(o.is_force_test, false)
    limit 1;
  else
    twin := public.lt_further_refusal(p);
  end if;
  if twin is not null then
    return jsonb_build_object('reason', 'already_executed', 'value', twin, 'final', true, 'state', 'executed');
  end if;

  refusal := coalesce(public.lt_signal_refusal(p, strategy), public.lt_shadow_refusal(p, strategy));
  if refusal is not null then
    return refusal;
  end if;
  -- On paper it trades from a purse of its own (worker/orders/paper.py).
  if lower(strategy.wallet_address) is distinct from wallet
     and not (in_mode = 'paper' and starts_with(wallet, '0x7061706572'))
  then
    return jsonb_build_object('reason', 'wallet_mismatch', 'value', wallet,
                              'limit', lower(strategy.wallet_address), 'final', true);
  end if;

  refusal := public.lt_settings_refusal(p, strategy);
  if refusal is not null then
    return refusal;
  end if;

  if not buys then
    -- Only shares that are ours for good: a provisional fill may still be reversed.
    select * into sold from public.ft_orders o where o.order_id = (p ->> 'ft_order_id')::uuid;
    select * into shares
    from public.lt_shares_behind(sold, strategy.strategy_id, in_mode, p #>> '{order,token_id}');
    if shares.held_shares < (p #>> '{order,reserve_shares}')::numeric then
      return jsonb_build_object('reason', 'sell_no_position', 'value', p #>> '{order,reserve_shares}',
                                'limit', public.lt_text(shares.held_shares), 'final', true);
    end if;
    -- Another sale has taken of the shares that this one was made a part of, or they are not settled, or more may still
    -- come: later.
    if shares.settled_shares < (p #>> '{order,reserve_shares}')::numeric then
      return jsonb_build_object('reason', 'position_unsettled', 'value', p #>> '{order,reserve_shares}',
                                'limit', public.lt_text(shares.settled_shares), 'final', false);
    elsif shares.unsold_shares < (p #>> '{order,unsold_shares}')::numeric then
      return jsonb_build_object('reason', 'position_unsettled', 'value', p #>> '{order,unsold_shares}',
                                'limit', public.lt_text(shares.unsold_shares), 'final', false);
    elsif p ->> 'lt_order_id' is null and public.lt_purchase_awaited(
      sold, strategy.strategy_id, in_mode, coalesce(p ->> 'worker_mode', in_mode))
    then
      return jsonb_build_object('reason', 'position_unsettled', 'value', p #>> '{order,reserve_shares}',
                                'limit', 'a purchase is open', 'final', false);
    end if;
    return null;
  end if;

  return coalesce(
    public.lt_breaker_refusal(strategy, in_mode, capital),
    public.lt_limits_refusal(p, strategy, capital, spent_usd), public.lt_wallet_refusal(p));
end
$$;

-- The protocol's claim, keys as in worker/database/claims.py. Its statements are all look-ups by key, so one plan
-- serves every argument: planning five times over would cost a new session more than the claims themselves.
create or replace function public.lt_claim(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  wallet         text := lower(p ->> 'wallet_address');
  in_mode        text := p ->> 'mode';
  pair_strategy  text := p ->> 'strategy_id';
  pair_signal    uuid := (p ->> 'ft_order_id')::uuid;
  strategy       public.lt_strategies;
  attempt        public.lt_order_attempts;
  capital        public.lt_capital_now;
  refusal        jsonb;
  recorded       boolean := false;
  again          boolean;
  claimed_order  text := p ->> 'lt_order_id';
  next_no        integer := 1;
  spent_usd      numeric := 0;
begin
  -- Wallet first, then strategy: every claim takes its locks in this order, so no two wait for each other.
  perform from public.lt_wallets w where w.wallet_address = wallet and w.mode = in_mode for no key update;
  if not found then
    insert into public.lt_wallets (wallet_address, mode) values (wallet, in_mode) on conflict do nothing;
    perform from public.lt_wallets w where w.wallet_address = wallet and w.mode = in_mode for no key update;
  end if;
  select * into strategy from public.lt_strategies s where s.strategy_id = pair_strategy for no key update;
  if strategy.strategy_id is null then
    return jsonb_build_object('now', clock_timestamp(), 'granted', false, 'reason', 'strategy_inactive',
                              'value', 'missing', 'limit', null, 'recorded', false,
                              'capital', public.lt_capital_json(capital));
  end if;

  capital := public.lt_capital_of(pair_strategy, in_mode);

  -- A claim whose answer was lost is asked again with the same id and gets the same answer.
  select * into attempt from public.lt_order_attempts a
  where a.exchange_order_id = p #>> '{attempt,exchange_order_id}';
  if attempt.exchange_order_id is not null then
    if (attempt.strategy_id, attempt.ft_order_id, attempt.mode, attempt.wallet_address)
       is distinct from (pair_strategy, pair_signal, in_mode, wallet)
    then
      raise exception 'order id % was claimed for (%, %, %) before', attempt.exchange_order_id,
        attempt.strategy_id, attempt.ft_order_id, attempt.mode
        using hint = 'Sign a new order: an id belongs to one pair.';
    end if;
    return jsonb_build_object(
      'now', clock_timestamp(), 'granted', true, 'replayed', true, 'lt_order_id', attempt.lt_order_id,
      'attempt_no', attempt.attempt_no, 'capital', public.lt_capital_json(capital));
  end if;

  if claimed_order is not null then
    select max(t.attempt_no) + 1, sum(t.usd + t.reserved_usd) into next_no, spent_usd
    from public.lt_attempt_totals t
    where t.lt_order_id = claimed_order and t.strategy_id = pair_strategy and t.ft_order_id = pair_signal
      and t.mode = in_mode;
    if next_no is null then
      raise exception 'order % has no attempt for (%, %, %)', claimed_order, pair_strategy, pair_signal, in_mode
        using hint = 'The first attempt of a pair is claimed without lt_order_id.';
    end if;
  end if;

  refusal := public.lt_claim_refusal(p, strategy, capital, spent_usd);
  if refusal is not null then
    again := coalesce((refusal ->> 'money')::boolean and (p ->> 'may_redecide')::boolean, false);
    if (refusal ->> 'final')::boolean and not again then
      recorded := public.lt_conclude(p, coalesce(refusal ->> 'state', 'skipped'), refusal ->> 'reason', refusal ->> 'value', refusal ->> 'limit');
    end if;
    return jsonb_build_object(
      'now', clock_timestamp(), 'granted', false, 'reason', refusal -> 'reason', 'value', refusal -> 'value',
      'limit', refusal -> 'limit', 'recorded', recorded, 'again', again, 'capital', public.lt_capital_json(capital));
  end if;

  if claimed_order is null then
    claimed_order := public.lt_insert_order(p, strategy);
    perform public.lt_conclude(p, 'executed', 'executed', null, null);
  end if;

  insert into public.lt_order_attempts (
    exchange_order_id, lt_order_id, strategy_id, ft_order_id, wallet_address, mode, attempt_no, order_type, side,
    token_id, condition_id, limit_price, amount_usd, shares, reserve_usd, reserve_shares, exchange_version,
    signed_body, expires_at, worker, fence, received_at, decided_at, prepared_at)
  select
    p #>> '{attempt,exchange_order_id}', claimed_order, pair_strategy, pair_signal, wallet, in_mode, next_no,
    o.order_type, o.side, o.token_id, p #>> '{expected,condition_id}', o.limit_price, o.amount_usd, o.shares,
    o.reserve_usd, o.reserve_shares, p #>> '{attempt,exchange_version}', p #>> '{attempt,signed_body}',
    o.expires_at, p ->> 'worker', (p ->> 'fence')::bigint, t.received_at, t.decided_at, t.prepared_at
  from jsonb_to_record(p -> 'order') as o (
    order_type text, side text, token_id text, limit_price numeric, amount_usd numeric, shares numeric,
    reserve_usd numeric, reserve_shares numeric, expires_at timestamptz)
  cross join jsonb_to_record(coalesce(p -> 'stages', '{}')) as t (
    received_at timestamptz, decided_at timestamptz, prepared_at timestamptz);
  if next_no > 1 then
    perform public.lt_recompute_order(claimed_order);   -- pending once more, and holding capital
  end if;

  return jsonb_build_object(
    'now', clock_timestamp(), 'granted', true, 'replayed', false, 'lt_order_id', claimed_order,
    'attempt_no', next_no,
    'capital', public.lt_capital_json(capital, (p #>> '{order,reserve_usd}')::numeric));
end
$$;

-- The decision that a claim comes to. False where a final one stands already.
create or replace function public.lt_conclude(
  p jsonb, new_state text, new_reason text, new_value text, new_limit text)
returns boolean
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  insert into public.lt_decisions as kept (
    strategy_id, ft_order_id, mode, state, reason, value, limit_value, snapshot, signal_at,
    received_at, decided_at, prepared_at, claimed_at)
  select
    p ->> 'strategy_id', o.order_id, p ->> 'mode', new_state, new_reason, new_value, new_limit,
    coalesce(p -> 'snapshot', '{}'), o.created_at, (p #>> '{stages,received_at}')::timestamptz,
    (p #>> '{stages,decided_at}')::timestamptz, (p #>> '{stages,prepared_at}')::timestamptz, clock_timestamp()
  from public.ft_orders o where o.order_id = (p ->> 'ft_order_id')::uuid
  on conflict (strategy_id, ft_order_id, mode) do update set
    state = excluded.state, reason = excluded.reason, value = excluded.value, limit_value = excluded.limit_value,
    retry_at = null, expires_at = null, snapshot = excluded.snapshot,
    received_at = coalesce(kept.received_at, excluded.received_at), decided_at = excluded.decided_at,
    prepared_at = excluded.prepared_at, claimed_at = excluded.claimed_at, tries = kept.tries + 1
  where kept.state = 'deferred';
  return found;
end
$$;

-- The platform's row of a granted claim. The columns of execution stay empty until trades fill them.
create or replace function public.lt_insert_order(p jsonb, strategy public.lt_strategies)
returns text
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  signal   public.ft_orders;
  trade_id text;
  made     text;
begin
  select * into signal from public.ft_orders o where o.order_id = (p ->> 'ft_order_id')::uuid;
  -- Unique per strategy in the platform's table, where paper and live rows meet; null in some signals.
  trade_id := coalesce(signal.source_trade_id, 'ft:' || signal.order_id);
  if p ->> 'mode' = 'paper' then
    trade_id := 'paper:' || trade_id;
  end if;
  if exists (
    select from public.lt_orders o where o.strategy_id = strategy.strategy_id and o.source_trade_id = trade_id
  ) then
    -- A force test borrowed the id, or the strategy met the trade through another paper wallet.
    trade_id := case p ->> 'mode' when 'paper' then 'paper:ft:' else 'ft:' end || signal.order_id;
  end if;

  insert into public.lt_orders (
    strategy_id, user_id, ft_order_id, ft_wallet_id, ft_trader_wallet, source_trade_id, condition_id, token_id,
    token_label, market_title, market_slug, side, signal_price, signal_size_usd, order_id, status, outcome,
    order_placed_at, risk_check_passed, is_force_test, is_shadow)
  values (
    strategy.strategy_id, strategy.user_id, signal.order_id::text, signal.wallet_id, signal.trader_address, trade_id,
    signal.condition_id, p #>> '{order,token_id}', coalesce(signal.token_label, ''), signal.market_title,
    signal.market_slug, p #>> '{order,side}', (p #>> '{order,base_price}')::numeric,
    (p #>> '{order,bet_usd}')::numeric, p #>> '{attempt,exchange_order_id}', 'PENDING', 'OPEN',
    clock_timestamp(), true, false, p ->> 'mode' = 'paper')
  returning lt_order_id into made;
  return made;
end
$$;
