-- The tables whose changes wake the worker. Realtime reads them from this publication and nowhere else.

do $$
declare
  watched text;
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  foreach watched in array array['ft_orders', 'ft_wallets', 'lt_strategies', 'lt_controls', 'lt_canary'] loop
    if not exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = watched
    ) then
      execute format('alter publication supabase_realtime add table public.%I', watched);
    end if;
  end loop;
end
$$;
