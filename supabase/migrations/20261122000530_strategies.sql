-- The strategies as a worker holds them: all of them at once, and a mark by which it knows that it has the newest.

-- Changes whenever a strategy, its paper wallet, a switch or a scope does: who knows it need not read them again.
-- (These are written in plpgsql because a session plans such a function once, and one in sql at every call.)
create or replace function public.lt_strategies_version()
returns text
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (
    select md5(coalesce(string_agg(row_version, ' ' order by row_version), '')) from (
      select 's' || s.ctid || s.xmin as row_version from public.lt_strategies s
      union all
      select 'w' || w.ctid || w.xmin from public.ft_wallets w
      where w.wallet_id in (select s.ft_wallet_id from public.lt_strategies s)
      union all
      select 'c' || c.control_id from public.lt_controls c where c.cleared_at is null
      union all
      -- A scope is opened, and closed once: the newest and those that are open tell of both.
      (select 'o' || o.scope_id from public.lt_scopes o order by o.scope_id desc limit 1)
      union all
      select 'o' || o.scope_id from public.lt_scopes o where o.scope_to is null
    ) version);
end
$$;

-- {now, strategies: [{<columns>, ft_wallet, controls, shadow_spells, capital}]} of every active strategy. The capital
-- is that of the mode in which it trades now; a worker on paper takes every strategy for a shadow, from the beginning.
create or replace function public.lt_strategies_load(p_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return (
    select jsonb_build_object(
      'now', clock_timestamp(),
      'strategies', coalesce(jsonb_agg(
        public.lt_exact(to_jsonb(s))
        || jsonb_build_object(
          -- The platform's column is about real money, and empty where nothing ever set it.
          'circuit_breaker_active', coalesce(s.circuit_breaker_active, false) and p_mode = 'live' and not s.shadow_mode,
          'ft_wallet', public.lt_exact(to_jsonb(w)),
          'controls', coalesce((
            select jsonb_agg(distinct c.action order by c.action) from public.lt_controls c
            where c.cleared_at is null
              and c.scope in ('global', 'strategy:' || s.strategy_id, 'wallet:' || lower(s.wallet_address))
              and coalesce(c.mode = case when s.shadow_mode then 'paper' else p_mode end, true)), '[]'),
          'shadow_spells', case when p_mode = 'paper' then '[{"since": null, "until": null}]' else coalesce((
            select jsonb_agg(jsonb_build_object('since', nullif(t.since, '-infinity'), 'until', t.until) order by t.since)
            from public.lt_shadow_spells t where t.strategy_id = s.strategy_id), '[]') end,
          'capital', public.lt_capital_json(
            public.lt_capital_of(s.strategy_id, case when s.shadow_mode then 'paper' else p_mode end)))
        order by s.strategy_id), '[]'))
    from public.lt_strategies s
    left join public.ft_wallets w on w.wallet_id = s.ft_wallet_id
    -- A strategy that was deactivated may still have signals to be decided, if only to say why they are not traded.
    where s.is_active or exists (select from public.lt_scope_windows o where o.strategy_id = s.strategy_id)
  );
end
$$;
