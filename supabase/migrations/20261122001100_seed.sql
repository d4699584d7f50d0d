-- Taking over from the old executor: what it placed counts as done, and strategies that run today get a scope.

-- Its lt_orders name the signal by id where they can, and always by paper wallet and source trade. Rows of the
-- worker itself have attempts and decisions of their own; a force test borrowed a signal and decided nothing.
insert into public.lt_decisions (
  strategy_id, ft_order_id, mode, state, reason, value, signal_at, decided_at, claimed_at)
select distinct on (o.strategy_id, signal.order_id, coalesce(o.is_shadow, false))
  o.strategy_id, signal.order_id, case when o.is_shadow then 'paper' else 'live' end, 'executed', 'already_executed', coalesce(o.order_id, o.lt_order_id),
  signal.created_at, o.created_at, o.order_placed_at
from public.lt_orders o
cross join lateral (
  select f.order_id, f.created_at from public.ft_orders f where f.order_id = public.lt_uuid(o.ft_order_id)
  union all
  select f.order_id, f.created_at from public.ft_orders f
  where f.wallet_id = o.ft_wallet_id and f.source_trade_id = o.source_trade_id
) signal
where not coalesce(o.is_force_test, false)
  and not exists (select from public.lt_order_attempts a where a.lt_order_id = o.lt_order_id)
order by o.strategy_id, signal.order_id, coalesce(o.is_shadow, false), o.created_at
on conflict (strategy_id, ft_order_id, mode) do nothing;

insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, reason)
select s.strategy_id, s.ft_wallet_id, clock_timestamp() - public.lt_setting('backfill_max_age')::interval, 'installed'
from public.lt_strategies s
where s.is_active
  and not exists (
    select from public.lt_scopes open
    where open.strategy_id = s.strategy_id and open.ft_wallet_id = s.ft_wallet_id and open.scope_to is null);

-- What is a shadow today was one as far back as anybody looks.
insert into public.lt_shadow_spells (strategy_id, since)
select s.strategy_id, '-infinity' from public.lt_strategies s
where s.shadow_mode and not exists (select from public.lt_shadow_spells t where t.strategy_id = s.strategy_id);

-- PostgREST answers from what it knew when it started.
notify pgrst, 'reload schema';
