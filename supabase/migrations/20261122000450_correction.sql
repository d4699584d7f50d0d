-- The way back for a human who has looked at what the audit found, and mended it.

-- What a checkpoint must say that believes no other: all entries from zero, its peak counted since the strategy was
-- armed before it (`armed_before`: its own id).
create or replace function public.lt_checkpoint_from_zero(
  of_strategy_id text, in_mode text, armed_before bigint, through bigint,
  out locked_usd numeric, out realised_usd numeric, out unredeemed_usd numeric, out fees_usd numeric,
  out peak_realised_usd numeric)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  armed public.lt_checkpoints;
begin
  select k.* into armed from public.lt_checkpoints k
  where k.strategy_id = of_strategy_id and k.mode = in_mode and k.armed_by is not null and k.checkpoint_id < armed_before
  order by k.checkpoint_id desc limit 1;
  select
    past.locked_usd + since.locked_usd, past.realised_usd + since.realised_usd,
    past.unredeemed_usd + since.unredeemed_usd, past.fees_usd + since.fees_usd,
    past.realised_usd + greatest(since.taken_back_usd, since.peak_usd)
  into locked_usd, realised_usd, unredeemed_usd, fees_usd, peak_realised_usd
  from public.lt_entries_sum(of_strategy_id, in_mode, 0, coalesce(armed.through_entry_seq, 0)) past,
    public.lt_entries_sum(of_strategy_id, in_mode, coalesce(armed.through_entry_seq, 0), through) since;
end
$$;

-- {strategy_id, actor} -> {now, entered, checkpoints: [{mode, through, locked_usd, realised_usd}]}
-- Enters whatever its orders still differ by, and writes a checkpoint from zero for each mode, with the name of whoever
-- asked for it. What was wrong before it stays to be read, and the audit goes on from it. It thaws nothing: whoever
-- has mended a strategy arms it when the next audit is silent.
create or replace function public.lt_correct_capital(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  of_strategy_id text := p ->> 'strategy_id';
  who            text := btrim(p ->> 'actor');
  known          bigint;
  book           record;
  written        jsonb := '[]';
begin
  if coalesce(who, '') = '' then
    raise exception 'capital is corrected by somebody' using hint = 'Give an actor: he is kept with the checkpoint.';
  end if;
  perform pg_catalog.pg_advisory_xact_lock(public.lt_checkpoints_key(of_strategy_id));
  select coalesce(max(e.entry_seq), 0) into known from public.lt_entries e where e.strategy_id = of_strategy_id;
  perform public.lt_enter(past.lt_order_id)
  from (
    select o.lt_order_id from public.lt_orders o where o.strategy_id = of_strategy_id
    union
    select e.lt_order_id from public.lt_entries e where e.strategy_id = of_strategy_id
    order by lt_order_id
  ) past;
  perform pg_catalog.pg_advisory_xact_lock(public.lt_entries_key(of_strategy_id));

  for book in
    insert into public.lt_checkpoints (
      strategy_id, mode, through_entry_seq, locked_usd, realised_usd, unredeemed_usd, fees_usd, peak_realised_usd,
      corrected_by)
    select of_strategy_id, m.mode, m.through, c.*, who
    from (
      select e.mode, max(e.entry_seq) as through from public.lt_entries e
      where e.strategy_id = of_strategy_id group by e.mode order by e.mode
    ) m
    cross join lateral public.lt_checkpoint_from_zero(of_strategy_id, m.mode, 9223372036854775807, m.through) c
    returning *
  loop
    written := written || jsonb_build_object(
      'mode', book.mode, 'through', book.through_entry_seq, 'locked_usd', public.lt_text(book.locked_usd),
      'realised_usd', public.lt_text(book.realised_usd));
  end loop;
  return jsonb_build_object(
    'now', clock_timestamp(), 'checkpoints', written, 'entered', (
      select count(*) from public.lt_entries e where e.strategy_id = of_strategy_id and e.entry_seq > known));
end
$$;
