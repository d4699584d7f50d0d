-- How a worker finds out that something is wrong: with the schema, with the feed, or that it is not alone.

-- {} -> {now}: what a connection is kept open with, because it asks for nothing.
create or replace function public.lt_clock()
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return jsonb_build_object('now', clock_timestamp());
end
$$;

-- {now, schema_version, role, problems: [{thing, problem, fix}]}: what must be right before money moves.
create or replace function public.lt_worker_check(p_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return (
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
  );
end
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
