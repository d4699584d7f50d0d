-- A notice of every inserted signal, for workers that listen on a direct connection (SUPABASE_DB_URL): a tenth of a
-- millisecond after the commit. Without a listener a notice costs nothing and goes nowhere.

create or replace function public.lt_tell_signal()
returns trigger
language plpgsql security invoker set search_path = ''
as $$
begin
  -- A full queue of notices would refuse the commit, and with it the platform's row: one that fills up, because some
  -- session listens and never reads, gets no more of ours. The sweep finds every signal without a notice.
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify('lt_signals', new.order_id::text);
  end if;
  return null;
end
$$;

create or replace trigger lt_signals_tell after insert on public.ft_orders
  for each row execute function public.lt_tell_signal();

call public.lt_close_access();
