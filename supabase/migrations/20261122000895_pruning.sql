-- What is forgotten: skips and marks that are older than the retention, a few at a time. Executions stay, with whatever led
-- to them: they belong to orders, and no row of money is ever removed. Nor is a skip of a signal that some scope still
-- covers (`backfill --since` may reach further back than the retention): without it the signal would be work again.

create index if not exists lt_decisions_skipped_idx on public.lt_decisions (updated_at) where state = 'skipped';

-- {limit: 1000} -> {now, decisions, marks, more}: how many were removed of each, at most `limit`.
create or replace function public.lt_prune(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  most      integer := least(greatest(coalesce((p ->> 'limit')::integer, 1000), 1), 10000);
  before    timestamptz := clock_timestamp() - greatest(
    public.lt_setting('retention')::interval, public.lt_setting('horizon')::interval + interval '1 day');
  decisions integer;
  marks     integer;
begin
  with scopes as materialized (
    select w.strategy_id, range_agg(tstzrange(w.window_from, w.window_to)) as times
    from public.lt_scope_windows w group by w.strategy_id
  ), old as (
    select d.strategy_id, d.ft_order_id, d.mode from public.lt_decisions d
    where d.state = 'skipped' and d.updated_at < before and d.signal_at < before
      and not exists (select from scopes s where s.strategy_id = d.strategy_id and d.signal_at <@ s.times)
    order by d.updated_at limit most
    for update skip locked
  )
  delete from public.lt_decisions d using old
  where (d.strategy_id, d.ft_order_id, d.mode) = (old.strategy_id, old.ft_order_id, old.mode);
  get diagnostics decisions = row_count;

  with old as (
    select s.token_id, s.taken_at from public.lt_market_snapshots s
    where s.taken_at < before order by s.taken_at limit most
    for update skip locked
  )
  delete from public.lt_market_snapshots s using old where (s.token_id, s.taken_at) = (old.token_id, old.taken_at);
  get diagnostics marks = row_count;

  return jsonb_build_object('now', clock_timestamp(), 'decisions', decisions, 'marks', marks,
                            'more', greatest(decisions, marks) = most);
end
$$;
