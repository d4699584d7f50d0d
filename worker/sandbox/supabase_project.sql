-- What a fresh Supabase project has and our migrations rely on: roles, auth helpers, the publication.
-- Since 2026-10-30 a project grants nothing on new tables in public; neither does this file.
-- Safe to run again, and beside another run on the same server (roles belong to the whole server).

do $roles$
declare
  wanted record;
begin
  perform pg_advisory_xact_lock(hashtext('polycopy sandbox roles'));
  for wanted in
    select * from (values
      ('anon',          'nologin noinherit'),
      ('authenticated', 'nologin noinherit'),
      ('service_role',  'nologin noinherit bypassrls'),
      ('authenticator', 'login noinherit')
    ) as role(name, attributes)
  loop
    if not exists (select from pg_roles where rolname = wanted.name) then
      execute format('create role %I %s', wanted.name, wanted.attributes);
    end if;
  end loop;
  grant anon, authenticated, service_role to authenticator;
end
$roles$;

create schema if not exists auth;
create schema if not exists extensions;
grant usage on schema public, auth, extensions to anon, authenticated, service_role;

do $statistics$
begin
  if current_setting('shared_preload_libraries') like '%pg_stat_statements%' then
    create extension if not exists pg_stat_statements schema extensions;
  end if;
end
$statistics$;

create or replace function auth.jwt() returns jsonb
language sql stable
return coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb;

create or replace function auth.uid() returns uuid
language sql stable
return nullif(auth.jwt() ->> 'sub', '')::uuid;

create or replace function auth.role() returns text
language sql stable
return auth.jwt() ->> 'role';

do $publication$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end
$publication$;
