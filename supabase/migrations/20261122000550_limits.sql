-- The limits of a strategy over state that its claims share. NULL is off; reached exactly is still inside.

-- Why an entry would go beyond a limit, or null. Called with the strategy's row locked; as lt_claim_refusal.
-- `spent_usd`: what earlier attempts of the order cost and may cost.
create or replace function public.lt_limits_refusal(
  p jsonb, strategy public.lt_strategies, capital public.lt_capital_now, spent_usd numeric)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  reserve   numeric := (p #>> '{order,reserve_usd}')::numeric;
  in_market numeric;
begin
  if spent_usd + reserve > strategy.max_order_size_usd then
    return jsonb_build_object('reason', 'above_max_order_size', 'value', public.lt_text(spent_usd + reserve),
                              'limit', public.lt_text(strategy.max_order_size_usd), 'final', true, 'money', true);
  end if;
  if strategy.max_position_size_usd is not null then
    -- A position is what is held in one market, however many signals built it.
    select coalesce(sum(h.bought_usd - h.sold_cost_usd + h.reserved_usd), 0) into in_market
    from public.lt_positions h
    where h.strategy_id = strategy.strategy_id and h.mode = p ->> 'mode'
      and h.condition_id = p #>> '{expected,condition_id}';
    if in_market + reserve > strategy.max_position_size_usd then
      return jsonb_build_object('reason', 'max_position_size', 'value', public.lt_text(in_market + reserve),
                                'limit', public.lt_text(strategy.max_position_size_usd), 'final', true, 'money', true);
    end if;
  end if;
  if capital.exposure_usd + reserve > strategy.max_total_exposure_usd then
    return jsonb_build_object('reason', 'max_total_exposure', 'value', public.lt_text(capital.exposure_usd + reserve),
                              'limit', public.lt_text(strategy.max_total_exposure_usd), 'final', true, 'money', true);
  elsif reserve > capital.available_usd then
    return jsonb_build_object('reason', 'insufficient_capital', 'value', public.lt_text(reserve),
                              'limit', public.lt_text(capital.available_usd), 'final', true, 'money', true);
  end if;
  return null;
end
$$;
