-- The signal of a claim: what was decided on came over a socket, and only the table's own row may move money.

-- Why the signal must not be executed as it was decided, or null. As lt_claim_refusal, which asks.
create or replace function public.lt_signal_refusal(p jsonb, strategy public.lt_strategies)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  side       text := p #>> '{order,side}';
  signal     public.ft_orders;
  difference jsonb;
  twin       text;
begin
  select * into signal from public.ft_orders o where o.order_id = (p ->> 'ft_order_id')::uuid;
  if signal.order_id is null or signal.outcome is distinct from 'OPEN' then
    return jsonb_build_object('reason', 'ft_not_open', 'value', coalesce(signal.outcome, 'missing'),
                              'limit', 'OPEN', 'final', signal.order_id is not null);
  end if;
  select jsonb_object_agg(now_has.key, now_has.value) into difference
  from jsonb_each(jsonb_build_object(
    'wallet_id', signal.wallet_id, 'side', signal.side, 'condition_id', signal.condition_id,
    'token_label', signal.token_label, 'entry_price', signal.entry_price, 'size', signal.size,
    -- What a bet rests on. A number that cannot be what it says was no number to whoever decided.
    'trader_win_rate', case when signal.trader_win_rate between 0 and 1 then signal.trader_win_rate end,
    'edge_pct', case when signal.edge_pct between -1 and 1 then signal.edge_pct end,
    'conviction', case when signal.conviction >= 0 and signal.conviction <> 'NaN' then signal.conviction end,
    'model_probability', case when signal.model_probability between 0 and 1 then signal.model_probability end
  )) now_has
  where case when now_has.key in ('wallet_id', 'side', 'condition_id', 'token_label')
    then now_has.value #>> '{}' is distinct from p -> 'expected' ->> now_has.key
    else (now_has.value #>> '{}')::numeric is distinct from (p -> 'expected' ->> now_has.key)::numeric end;
  if difference is not null then
    return jsonb_build_object('reason', 'signal_changed', 'value', public.lt_exact(difference)::text,
                              'limit', (p -> 'expected')::text, 'final', false);
  end if;
  if side is distinct from signal.side then
    raise exception 'a % order for the % signal %', side, signal.side, signal.order_id
      using hint = 'An order takes the side of its signal.';
  end if;
  if signal.wallet_id <> strategy.ft_wallet_id then
    return jsonb_build_object('reason', 'strategy_inactive', 'value', signal.wallet_id,
                              'limit', strategy.ft_wallet_id, 'final', true);
  end if;
  if p ->> 'lt_order_id' is null then
    twin := public.lt_duplicate_of(signal, strategy.strategy_id, p ->> 'mode');
    if twin is not null then
      return jsonb_build_object('reason', 'duplicate_signal', 'value', twin, 'final', true);
    end if;
  end if;
  return null;
end
$$;

-- How a source_trade_id was made: the platform's two intakes name one trade differently.
create or replace function public.lt_id_scheme(source_trade_id text)
returns text
language sql immutable security invoker set search_path = ''
as $$
  select case
    when source_trade_id ~* '^0x[0-9a-f]{64}$' then 'transaction'
    when source_trade_id like 'agg-%' then 'aggregate'
    when source_trade_id like '%-%' then 'synthetic'
    else 'trade' end
$$;

-- The signal that the strategy has executed for the same trade under an id of another scheme, or null. Under
-- one scheme two rows are two trades, however alike: one transaction may hold several fills.
create or replace function public.lt_duplicate_of(signal public.ft_orders, for_strategy_id text, in_mode text)
returns text
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (select twin.order_id::text
  from public.ft_orders twin
  where twin.wallet_id = signal.wallet_id
    and twin.order_time between signal.order_time - interval '5 seconds' and signal.order_time + interval '5 seconds'
    -- Not by the index of condition_id: a popular market has a signal a second, ten seconds of a wallet few.
    and coalesce(twin.condition_id, '') = signal.condition_id
    and twin.order_id <> signal.order_id and twin.side = signal.side and twin.token_label = signal.token_label
    and lower(twin.trader_address) = lower(signal.trader_address) and twin.entry_price = signal.entry_price
    and public.lt_id_scheme(twin.source_trade_id) <> public.lt_id_scheme(signal.source_trade_id)
    and exists (
      select from public.lt_decisions d
      where d.strategy_id = for_strategy_id and d.ft_order_id = twin.order_id and d.mode = in_mode
        and d.state = 'executed')
  limit 1);
end
$$;

-- Why the signal must not be traded in the mode of the claim, or null. It is decided in the mode that it was inserted
-- in, whichever the strategy has come to since; and what was inserted for money is not traded once there is to be none.
create or replace function public.lt_shadow_refusal(p jsonb, strategy public.lt_strategies)
returns jsonb
language plpgsql stable security invoker set search_path = ''
as $$
declare
  in_mode   text := p ->> 'mode';
  pair_mode text;
begin
  pair_mode := public.lt_mode_at(
    strategy.strategy_id, (select o.created_at from public.ft_orders o where o.order_id = (p ->> 'ft_order_id')::uuid),
    coalesce(p ->> 'worker_mode', in_mode));
  if in_mode <> pair_mode then
    return jsonb_build_object('reason', 'strategy_changed', 'value', jsonb_build_object('mode', pair_mode)::text,
                              'limit', jsonb_build_object('mode', in_mode)::text, 'final', false);
  elsif in_mode = 'live' and strategy.shadow_mode then
    return jsonb_build_object('reason', 'shadow_mode', 'final', true);
  end if;
  return null;
end
$$;
