-- The settings that an order was decided by: the worker reads them ahead of its signals, and only the tables' own rows
-- may say at which price, of which type and of what size an order goes out.

-- Why the order must be decided anew, or null. As lt_claim_refusal, which asks with the strategy's row locked.
-- `settings`: {column: value} as decided on; an order type as the exchange calls it.
create or replace function public.lt_settings_refusal(p jsonb, strategy public.lt_strategies)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  paper      public.ft_wallets;
  difference jsonb;
begin
  select * into paper from public.ft_wallets w where w.wallet_id = strategy.ft_wallet_id;
  select jsonb_object_agg(now_has.key, now_has.value) into difference
  -- Every blank that the worker takes from what was typed.
  from (select upper(btrim(strategy.order_type, E' \t\n\r\f\x0b')) as word) typed
  cross join lateral jsonb_each_text(public.lt_exact(jsonb_build_object(
    'order_type', case typed.word when 'IOC' then 'FAK' else typed.word end,
    'slippage_tolerance_pct', strategy.slippage_tolerance_pct,
    'min_order_size_usd', strategy.min_order_size_usd,
    'allocation_method', paper.allocation_method,
    'bet_size', paper.bet_size,
    'bet_allocation_weight', paper.bet_allocation_weight,
    'kelly_fraction', coalesce(nullif(paper.kelly_fraction, 0), 0.25),
    'min_bet', paper.min_bet,
    'max_bet', paper.max_bet))) now_has
  where p -> 'settings' ? now_has.key
    and case when now_has.key in ('order_type', 'allocation_method')
      then now_has.value is distinct from p -> 'settings' ->> now_has.key
      else now_has.value::numeric is distinct from (p -> 'settings' ->> now_has.key)::numeric end;
  if difference is not null then
    return jsonb_build_object('reason', 'strategy_changed', 'value', difference::text, 'limit', (
      select jsonb_object_agg(decided.key, decided.value)::text
      from jsonb_each(p -> 'settings') decided where difference ? decided.key), 'final', false);
  end if;
  return null;
end
$$;
