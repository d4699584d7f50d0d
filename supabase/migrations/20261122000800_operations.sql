-- What keeps the worker running and honest: leases, balances, switches, scope, the equation, self-checks.

-- {wallet_address, mode, worker, ttl_s} -> {now, held: true, fence, expires_at}
--                                        | {now, held: false, holder, holder_mode, expires_at}
create or replace function public.lt_lease(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '5s'
as $$
declare
  wallet text := lower(p ->> 'wallet_address');
  ttl    interval := make_interval(secs => (p ->> 'ttl_s')::numeric);
  lease  public.lt_leases;
begin
  -- A claim holds a share of this row: a takeover waits for it and then finds the attempt that it wrote.
  insert into public.lt_leases as l (wallet_address, mode, worker, fence, expires_at)
  values (wallet, p ->> 'mode', p ->> 'worker', 1, clock_timestamp() + ttl)
  on conflict (wallet_address) do update set
    fence = case when (l.worker, l.mode) = (excluded.worker, excluded.mode) then l.fence else l.fence + 1 end,
    taken_at = case when (l.worker, l.mode) = (excluded.worker, excluded.mode) then l.taken_at else clock_timestamp() end,
    mode = excluded.mode, worker = excluded.worker, expires_at = clock_timestamp() + ttl
  where (l.worker, l.mode) = (excluded.worker, excluded.mode) or l.expires_at <= clock_timestamp()
  returning * into lease;

  if lease.wallet_address is not null then
    return jsonb_build_object('now', clock_timestamp(), 'held', true, 'fence', lease.fence, 'expires_at', lease.expires_at);
  end if;
  select * into lease from public.lt_leases l where l.wallet_address = wallet;
  return jsonb_build_object('now', clock_timestamp(), 'held', false, 'holder', lease.worker,
                            'holder_mode', lease.mode, 'expires_at', lease.expires_at);
end
$$;

-- {wallets: [address], mode, worker, ttl_s} -> {now, leases: [{wallet_address, <as lt_lease>}]}
-- Renews what the worker has, and tells who has the rest. What is free, or is being claimed on at this moment, is not
-- in the answer: lt_lease takes it. One claim that takes its time must not hold up the leases of other wallets.
create or replace function public.lt_leases(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '5s'
as $$
declare
  asked  text[] := array(select lower(wallet) from jsonb_array_elements_text(p -> 'wallets') wallet);
  ttl    interval := make_interval(secs => (p ->> 'ttl_s')::numeric);
  leases jsonb;
begin
  with ours as (
    select l.wallet_address from public.lt_leases l
    where l.wallet_address = any (asked) and (l.worker, l.mode) = (p ->> 'worker', p ->> 'mode')
    for no key update skip locked
  ), renewed as (
    update public.lt_leases l set expires_at = clock_timestamp() + ttl
    from ours where l.wallet_address = ours.wallet_address
    returning l.wallet_address, l.fence, l.expires_at
  )
  select jsonb_agg(told.lease) into leases from (
    select to_jsonb(r) || '{"held": true}' as lease from renewed r
    union all
    select jsonb_build_object('wallet_address', l.wallet_address, 'held', false, 'holder', l.worker,
                              'holder_mode', l.mode, 'expires_at', l.expires_at)
    from public.lt_leases l
    where l.wallet_address = any (asked) and (l.worker, l.mode) <> (p ->> 'worker', p ->> 'mode')
      and l.expires_at > clock_timestamp()
  ) told;
  return jsonb_build_object('now', clock_timestamp(), 'leases', coalesce(leases, '[]'));
end
$$;

-- {wallet_address, worker, fence} -> {now, released}. The row stays: its fence must never be given out again.
create or replace function public.lt_lease_release(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '5s'
as $$
begin
  update public.lt_leases l set expires_at = clock_timestamp()
  where l.wallet_address = lower(p ->> 'wallet_address') and l.worker = p ->> 'worker'
    and l.fence = (p ->> 'fence')::bigint and l.expires_at > clock_timestamp();
  return jsonb_build_object('now', clock_timestamp(), 'released', found);
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
  select lower(b.wallet_address), p ->> 'mode', b.collateral_usd, b.as_of
  from jsonb_to_recordset(p -> 'balances') as b (wallet_address text, collateral_usd numeric, as_of timestamptz)
  order by 1   -- one order of locking for all callers
  on conflict (wallet_address, mode) do update set collateral_usd = excluded.collateral_usd, as_of = excluded.as_of
  where w.as_of is null or w.as_of <= excluded.as_of;
  get diagnostics applied = row_count;
  return jsonb_build_object('now', clock_timestamp(), 'applied', applied);
end
$$;

-- {scope, action: pause | resume | kill | arm, reason, actor} -> {now, changed, control_ids}
-- `resume` clears pauses of that very scope, `arm` kills; asked twice, a switch is set once.
create or replace function public.lt_control(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  asked   text := p ->> 'action';
  touched jsonb;
begin
  if asked in ('pause', 'kill') then
    with set_now as (
      insert into public.lt_controls (scope, action, reason, actor)
      values (p ->> 'scope', asked, coalesce(p ->> 'reason', ''), p ->> 'actor')
      on conflict (scope, action, coalesce(mode, '')) where cleared_at is null do nothing
      returning control_id
    )
    select jsonb_agg(control_id) into touched from set_now;
  elsif asked in ('resume', 'arm') then
    with cleared as (
      update public.lt_controls c set cleared_at = clock_timestamp(), cleared_by = p ->> 'actor'
      where c.scope = p ->> 'scope' and c.cleared_at is null
        and c.action = case asked when 'resume' then 'pause' else 'kill' end
      returning c.control_id
    )
    select jsonb_agg(control_id) into touched from cleared;
  else
    raise exception 'unknown action %', asked using hint = 'One of pause, resume, kill, arm.';
  end if;
  return jsonb_build_object('now', clock_timestamp(), 'changed', touched is not null,
                            'control_ids', coalesce(touched, '[]'));
end
$$;

-- {strategy_id | null for all active, since, reason} -> {now, opened}
create or replace function public.lt_scope_open(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  opened integer;
begin
  -- Bounded at now: what comes later belongs to the scope that activation opened, or to none.
  insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, scope_to, reason)
  select s.strategy_id, s.ft_wallet_id, (p ->> 'since')::timestamptz, clock_timestamp(),
    coalesce(p ->> 'reason', 'backfill')
  from public.lt_strategies s
  where case when p ->> 'strategy_id' is null then s.is_active else s.strategy_id = p ->> 'strategy_id' end
  order by s.strategy_id;
  get diagnostics opened = row_count;
  return jsonb_build_object('now', clock_timestamp(), 'opened', opened);
end
$$;

-- {<lt_work>, scope: <lt_scope_open>} -> as lt_work: the work that there would be if that scope were opened. It is
-- opened, looked at, and taken back: whoever only looks sees what whoever means it would see.
create or replace function public.lt_work_preview(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  seen jsonb;
begin
  begin
    perform public.lt_scope_open(p -> 'scope');
    -- Scopes that are taken back have other ids each time, so a bookmark of ours goes by the wallet.
    if p #>> '{bookmark,round,ft_wallet_id}' is not null then
      p := jsonb_set(p, '{bookmark,round}', p #> '{bookmark,round}' || jsonb_build_object(
        'newest', (select max(s.scope_id) from public.lt_scopes s),
        'scope_id', (select max(w.newest_scope_id) from public.lt_scope_windows w
                     where w.ft_wallet_id = p #>> '{bookmark,round,ft_wallet_id}')));
    end if;
    seen := public.lt_work(p);
    if seen #>> '{bookmark,round,scope_id}' is not null then
      seen := jsonb_set(seen, '{bookmark,round,ft_wallet_id}', to_jsonb((
        select w.ft_wallet_id from public.lt_scope_windows w
        group by w.ft_wallet_id having max(w.newest_scope_id) = (seen #>> '{bookmark,round,scope_id}')::bigint)));
    end if;
    raise exception using errcode = 'LT001', message = 'seen enough';
  exception when sqlstate 'LT001' then
    return seen;   -- a variable outlives what is rolled back
  end;
end
$$;

-- {mode, since?} -> {now, strategies: [of each strategy and mode], total, unknown_insert_time, holds}
--
-- seen and undecided are counted over ft_orders; executed, skipped and deferred over lt_decisions alone. A
-- decision that vanished makes a signal undecided, one that strayed in has no signal: either way it shows.
create or replace function public.lt_equation(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  in_mode   text := p ->> 'mode';
  since     timestamptz := (p ->> 'since')::timestamptz;
  counted   jsonb;
  summed    jsonb;
  timeless  bigint;
begin
  with windows as materialized (
    select w.*, case when w.is_shadow then 'paper' else in_mode end as mode from public.lt_scope_windows w
  ), signals as (
    select w.strategy_id, w.mode, count(*) as seen
    from windows w
    join public.ft_orders o on o.wallet_id = w.ft_wallet_id
      and o.created_at >= greatest(w.window_from, since) and o.created_at < coalesce(w.window_to, 'infinity')
    group by w.strategy_id, w.mode
  ), undecided_pairs as (
    -- A set difference, as in lt_work: a probe per signal takes the planner's guess of an index, and without
    -- statistics that is the wrong one and quadratic.
    select w.strategy_id, w.mode, o.order_id
    from windows w
    join public.ft_orders o on o.wallet_id = w.ft_wallet_id
      and o.created_at >= greatest(w.window_from, since) and o.created_at < coalesce(w.window_to, 'infinity')
    except
    select d.strategy_id, d.mode, d.ft_order_id from public.lt_decisions d
  ), undecided as (
    select u.strategy_id, u.mode, count(*) as undecided,
      count(*) filter (where o.created_at < clock_timestamp() - interval '5 seconds') as missed
    from undecided_pairs u
    join public.ft_orders o using (order_id)
    group by u.strategy_id, u.mode
  ), decided as (
    select d.strategy_id, d.mode,
      count(*) filter (where d.state = 'executed') as executed,
      count(*) filter (where d.state = 'skipped')  as skipped,
      count(*) filter (where d.state = 'deferred') as deferred
    from public.lt_decisions d
    left join (
      select w.strategy_id, w.mode, range_agg(tstzrange(w.window_from, w.window_to)) as times
      from windows w group by w.strategy_id, w.mode
    ) scope using (strategy_id, mode)
    where (d.mode = in_mode or scope.times is not null)
      -- Pairs seeded from before our time are decided but were never in scope. A decision without a time, or of a
      -- strategy that never had a scope, is nobody's: it counts, so that it is seen.
      and (d.signal_at is null or d.signal_at <@ scope.times and (since is null or d.signal_at >= since)
           or d.reason <> 'already_executed'
              and not exists (select from public.lt_scopes s where s.strategy_id = d.strategy_id))
    group by d.strategy_id, d.mode
  ), counts as (
    select strategy_id, mode, coalesce(seen, 0) as seen, coalesce(executed, 0) as executed,
      coalesce(skipped, 0) as skipped, coalesce(deferred, 0) as deferred,
      coalesce(undecided, 0) as undecided, coalesce(missed, 0) as missed
    from (select strategy_id, mode from windows union select strategy_id, mode from decided) known
    left join signals using (strategy_id, mode)
    left join undecided using (strategy_id, mode)
    left join decided using (strategy_id, mode)
  )
  select
    coalesce(jsonb_agg(to_jsonb(c) || jsonb_build_object(
      'holds', c.seen = c.executed + c.skipped + c.deferred + c.undecided and c.missed = 0) order by c.strategy_id, c.mode), '[]'),
    jsonb_build_object(
      'seen', coalesce(sum(c.seen), 0), 'executed', coalesce(sum(c.executed), 0), 'skipped', coalesce(sum(c.skipped), 0),
      'deferred', coalesce(sum(c.deferred), 0), 'undecided', coalesce(sum(c.undecided), 0),
      'missed', coalesce(sum(c.missed), 0),
      'holds', coalesce(bool_and(c.seen = c.executed + c.skipped + c.deferred + c.undecided and c.missed = 0), true))
  into counted, summed
  from counts c;

  -- Without an insert time a signal is in nobody's scope; all that can be done is to say how many there are.
  select count(*) into timeless
  from public.ft_orders o
  where o.created_at is null and o.wallet_id in (select s.ft_wallet_id from public.lt_scopes s);

  return jsonb_build_object('now', clock_timestamp(), 'strategies', counted, 'total', summed,
                            'unknown_insert_time', timeless);
end
$$;

-- {window_s} -> {now, count, orders: [<=100]}: orders that another program placed lately. The old executor tries a
-- refused order again in the row that it has, so a new order may stand in an old row.
create or replace function public.lt_foreign_writers(p jsonb)
returns jsonb
language sql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
  with foreign_rows as (
    select o.lt_order_id, o.strategy_id, o.source_trade_id, o.order_id, o.status, o.is_force_test, o.created_at,
      o.order_placed_at
    from public.lt_orders o
    where greatest(o.created_at, o.order_placed_at) > now() - make_interval(secs => (p ->> 'window_s')::numeric)
      and not exists (select from public.lt_order_attempts a where a.lt_order_id = o.lt_order_id)
  )
  select jsonb_build_object(
    'now', clock_timestamp(),
    'count', (select count(*) from foreign_rows),
    'orders', coalesce((
      select jsonb_agg(to_jsonb(r) order by greatest(r.created_at, r.order_placed_at) desc)
      from (select * from foreign_rows order by greatest(created_at, order_placed_at) desc limit 100) r), '[]'))
$$;

-- {now, strategies: [{<columns>, ft_wallet, controls, shadow_spells, capital}]} of every active strategy. The capital
-- is that of the mode in which it trades now; a worker on paper takes every strategy for a shadow, from the beginning.
create or replace function public.lt_strategies_load(p_mode text)
returns jsonb
language sql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'now', clock_timestamp(),
    'strategies', coalesce(jsonb_agg(
      public.lt_exact(to_jsonb(s))
      || jsonb_build_object(
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
$$;

-- {worker} -> {now, canary_id}. The rows of the last hour are enough.
create or replace function public.lt_canary_send(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  sent bigint;
begin
  delete from public.lt_canary c where c.sent_at < clock_timestamp() - interval '1 hour';
  insert into public.lt_canary (worker) values (p ->> 'worker') returning canary_id into sent;
  return jsonb_build_object('now', clock_timestamp(), 'canary_id', sent);
end
$$;

-- The shape that the platform asked for, per strategy and minute. A view, so that it cannot disagree with the
-- decisions.
create or replace view public.lt_execution_log with (security_invoker = true) as
select
  strategy_id, mode, minute as "timestamp",
  sum(decisions)::integer as ft_orders_checked,
  coalesce(sum(decisions) filter (where state = 'executed'), 0)::integer as executed,
  coalesce(jsonb_object_agg(reason, decisions) filter (where state = 'skipped'), '{}') as skip_reasons
from (
  select d.strategy_id, d.mode, date_trunc('minute', d.updated_at) as minute, d.state, d.reason, count(*) as decisions
  from public.lt_decisions d
  group by d.strategy_id, d.mode, minute, d.state, d.reason
) by_reason
group by strategy_id, mode, minute;

-- {now, schema_version, role, problems: [{thing, problem, fix}]}: what must be right before money moves.
create or replace function public.lt_worker_check(p_mode text)
returns jsonb
language sql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
  with watched (name) as (
    values ('ft_orders'), ('ft_wallets'), ('lt_strategies'), ('lt_controls'), ('lt_canary')
  ), ours as (
    select c.oid, c.relname as name, c.relowner, c.relacl, c.relrowsecurity
    from pg_catalog.pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      and (c.relname like 'lt\_%' or c.relname in ('ft_orders', 'ft_wallets'))
  ), problems (thing, problem, fix) as (
    select w.name, 'is not in publication supabase_realtime: its events never come',
      format('alter publication supabase_realtime add table public.%I', w.name)
    from watched w
    where not exists (
      select from pg_catalog.pg_publication_tables t
      where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = w.name)
    union all
    select w.name, 'has no primary key: Realtime drops its events', format('add a primary key to public.%I', w.name)
    from watched w
    where not exists (
      select from pg_catalog.pg_index i where i.indrelid = to_regclass('public.' || w.name) and i.indisprimary)
    union all
    select o.name, format('role %s may not %s it', current_user, wanted.privilege),
      format('grant %s on public.%I to service_role', wanted.privilege, o.name)
    from ours o cross join (values ('select'), ('insert'), ('update')) wanted (privilege)
    where not pg_catalog.has_table_privilege(o.oid, wanted.privilege)
    union all
    select o.name, 'has row security switched off', format('alter table public.%I enable row level security', o.name)
    from ours o where not o.relrowsecurity
    union all
    select o.name, format('role %s may %s it, and a row there moves money', who.rolname, given.privilege_type),
      format('revoke all on public.%I from %I', o.name, who.rolname)
    from ours o
    cross join lateral pg_catalog.aclexplode(o.relacl) given
    join (select oid, rolname from pg_catalog.pg_roles where not rolsuper and not rolbypassrls
          union all select 0, 'public') who on who.oid = given.grantee
    where given.privilege_type <> 'SELECT' and given.grantee <> o.relowner
    union all
    select i.relname, 'is an index that was not finished: it is not used',
      format('drop index concurrently public.%I, then apply the migrations again', i.relname)
    from pg_catalog.pg_index x
    join pg_catalog.pg_class i on i.oid = x.indexrelid
    where x.indrelid in (select oid from ours) and not x.indisvalid
    union all
    select 'ft_orders', 'has no index on (wallet_id, created_at, order_id): each sweep reads all of it',
      'create index concurrently ft_orders_wallet_created_idx on public.ft_orders (wallet_id, created_at, order_id)'
    where to_regclass('public.ft_orders_wallet_created_idx') is null
  )
  select jsonb_build_object(
    'now', clock_timestamp(),
    'schema_version', public.lt_setting('schema_version'),
    'role', current_user,
    'problems', coalesce((
      select jsonb_agg(jsonb_build_object('thing', thing, 'problem', problem, 'fix', fix) order by thing, problem)
      from problems), '[]'))
$$;
