-- One worker at a time trades for a wallet: leases, each with a fence that is never given out again.

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
  ttl    interval := make_interval(secs => (p ->> 'ttl_s')::numeric);
  leases jsonb;
begin
  with ours as (
    select l.wallet_address from public.lt_wallets_asked(p) asked
    join public.lt_leases l using (wallet_address)
    where (l.worker, l.mode) = (p ->> 'worker', asked.mode)
    for no key update of l skip locked
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
    from public.lt_wallets_asked(p) asked
    join public.lt_leases l using (wallet_address)
    where (l.worker, l.mode) <> (p ->> 'worker', asked.mode)
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
