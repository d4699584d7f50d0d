-- Who may do what. A row in ft_orders spends money, so nobody but service_role writes there or in lt_*.
--
-- The platform's policies are removed where they let others in, not merely joined by stricter ones: policies
-- are alternatives, and its "Service role full access" names no role. Grants are taken back as well, those
-- included that a project gives by default, because a table without row security obeys grants alone.

-- Closes everything of ours and the platform's four tables. Later migrations call it again for what they add.
create or replace procedure public.lt_close_access()
language plpgsql security invoker set search_path = ''
as $$
declare
  item record;
begin
  -- Policies by which somebody else might write, whatever they are called.
  for item in
    select p.tablename, p.policyname from pg_catalog.pg_policies p
    where p.schemaname = 'public' and (p.tablename like 'lt\_%' or p.tablename in ('ft_orders', 'ft_wallets'))
      and p.cmd <> 'SELECT' and p.roles <> '{service_role}'
  loop
    execute format('drop policy %I on public.%I', item.policyname, item.tablename);
  end loop;
  -- Of strategies and orders a user sees his own and nothing else, so those read policies are ours alone.
  for item in
    select p.tablename, p.policyname from pg_catalog.pg_policies p
    where p.schemaname = 'public' and p.tablename in ('lt_strategies', 'lt_orders')
      and p.cmd = 'SELECT' and p.roles <> '{service_role}'
  loop
    execute format('drop policy %I on public.%I', item.policyname, item.tablename);
  end loop;

  for item in
    select c.oid, c.relname, c.relkind from pg_catalog.pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
      and (c.relname like 'lt\_%' or c.relname in ('ft_orders', 'ft_wallets'))
  loop
    if item.relkind <> 'v' then
      execute format('alter table public.%I enable row level security', item.relname);
    end if;
    execute format('revoke all on public.%I from public, anon, authenticated', item.relname);
    execute format('grant %s on public.%I to service_role',
                   case item.relkind when 'v' then 'select' else 'select, insert, update, delete' end, item.relname);
  end loop;

  -- Roles that a project made itself: they keep reading, they stop writing.
  for item in
    select distinct c.relname, r.rolname
    from pg_catalog.pg_class c
    cross join lateral (
      select a.grantee, a.privilege_type from pg_catalog.aclexplode(c.relacl) a
      union all
      select a.grantee, a.privilege_type from pg_catalog.pg_attribute t
      cross join lateral pg_catalog.aclexplode(t.attacl) a where t.attrelid = c.oid
    ) given
    join pg_catalog.pg_roles r on r.oid = given.grantee
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
      and (c.relname like 'lt\_%' or c.relname in ('ft_orders', 'ft_wallets'))
      and given.privilege_type <> 'SELECT' and r.oid <> c.relowner
      and not r.rolsuper and not r.rolbypassrls and r.rolname <> 'service_role'
  loop
    execute format('revoke insert, update, delete, truncate, references, trigger on public.%I from %I',
                   item.relname, item.rolname);
  end loop;

  for item in
    select c.relname from pg_catalog.pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'S' and c.relname like 'lt\_%'
  loop
    execute format('revoke all on sequence public.%I from public, anon, authenticated', item.relname);
    execute format('grant usage, select on sequence public.%I to service_role', item.relname);
  end loop;

  for item in
    select p.oid::regprocedure as signature from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname like 'lt\_%'
  loop
    execute format('revoke all on routine %s from public, anon, authenticated', item.signature);
    execute format('grant execute on routine %s to service_role', item.signature);
  end loop;

  -- What may be read: one's own strategies and orders, and whatever the platform itself had opened to read.
  if to_regprocedure('auth.uid()') is not null then
    create policy lt_strategies_read_own on public.lt_strategies for select to authenticated
      using ((select auth.uid()) = user_id);
    create policy lt_orders_read_own on public.lt_orders for select to authenticated
      using ((select auth.uid()) = user_id);
  end if;
  for item in
    select distinct p.tablename, opened.role
    from pg_catalog.pg_policies p
    cross join lateral unnest(case when 'public' = any (p.roles) then '{anon,authenticated}'::name[] else p.roles end)
      opened (role)
    where p.schemaname = 'public' and p.cmd = 'SELECT' and opened.role in ('anon', 'authenticated')
      and (p.tablename like 'lt\_%' or p.tablename in ('ft_orders', 'ft_wallets'))
  loop
    execute format('grant select on public.%I to %I', item.tablename, item.role);
  end loop;
end
$$;

call public.lt_close_access();
