-- Checkpoints: sums of entries up to a place, so that capital costs the same however long the past is. And the audit,
-- which computes everything from zero again, a part at a time, and believes neither entries nor checkpoints.

-- The newest entry of a strategy before which none is still being written, or null while somebody is at it all the
-- time. The lock is tried, never waited for: a claim must not queue behind this.
create or replace function public.lt_settled_entry(of_strategy_id text, in_mode text)
returns bigint
language plpgsql security invoker set search_path = ''
as $$
declare
  key    bigint := public.lt_entries_key(of_strategy_id);
  newest bigint;
begin
  for tries in 1..20 loop
    begin
      if pg_catalog.pg_try_advisory_xact_lock(key) then
        select max(e.entry_seq) into newest
        from public.lt_entries e where e.strategy_id = of_strategy_id and e.mode = in_mode;
        -- What is locked in a block is let go with the block, whatever ends it: a cancel leaves nothing behind.
        raise exception using errcode = 'LTOUT';
      end if;
    exception when sqlstate 'LTOUT' then
      return newest;
    end;
    perform pg_catalog.pg_sleep(0.002);
  end loop;
  return null;
end
$$;

-- What whoever writes a checkpoint of a strategy holds.
create or replace function public.lt_checkpoints_key(of_strategy_id text)
returns bigint
language sql immutable security invoker set search_path = ''
as $$
  select pg_catalog.hashtextextended('lt_checkpoints ' || of_strategy_id, 0)
$$;

-- {least, most} -> {now, written}: a checkpoint for each strategy and mode that has `least` entries or more since its
-- last one (100), over at most `most` of them (10000). Called again and again, it comes to the end.
create or replace function public.lt_checkpoint(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  few     integer := greatest(coalesce((p ->> 'least')::integer, 100), 1);
  many    integer := greatest(coalesce((p ->> 'most')::integer, 10000), 1);
  written integer := 0;
  book    record;
  kept    public.lt_checkpoints;
  settled bigint;
  through bigint;
begin
  for book in
    select s.strategy_id, m.mode
    from public.lt_strategies s
    cross join (values ('paper'), ('live')) m (mode)
    where few = (
      select count(*) from (
        select from public.lt_entries e
        where e.strategy_id = s.strategy_id and e.mode = m.mode
          and e.entry_seq > coalesce((
            select max(k.through_entry_seq) from public.lt_checkpoints k
            where k.strategy_id = s.strategy_id and k.mode = m.mode), 0)
        order by e.entry_seq limit few) enough)
    order by s.strategy_id, m.mode
  loop
    -- One writer at a time, so that each checkpoint stands on the one before it.
    continue when not pg_catalog.pg_try_advisory_xact_lock(public.lt_checkpoints_key(book.strategy_id));
    settled := public.lt_settled_entry(book.strategy_id, book.mode);
    select k.* into kept from public.lt_checkpoints k
    where k.strategy_id = book.strategy_id and k.mode = book.mode
    order by k.through_entry_seq desc, k.checkpoint_id desc limit 1;
    select max(e.entry_seq) into through from (
      select e.entry_seq from public.lt_entries e
      where e.strategy_id = book.strategy_id and e.mode = book.mode
        and e.entry_seq > coalesce(kept.through_entry_seq, 0) and e.entry_seq <= settled
      order by e.entry_seq limit many) e;
    continue when through is null;
    -- The entries of one transaction are one step: between them is no peak.
    select max(e.entry_seq) into through from (
      select e.entry_seq, e.entered_at from public.lt_entries e
      where e.strategy_id = book.strategy_id and e.mode = book.mode
        and e.entry_seq >= through and e.entry_seq <= settled
      order by e.entry_seq limit greatest(many, 1000)) e
    where e.entered_at = (select last.entered_at from public.lt_entries last where last.entry_seq = through);

    insert into public.lt_checkpoints (
      strategy_id, mode, through_entry_seq, locked_usd, realised_usd, unredeemed_usd, fees_usd, peak_realised_usd)
    select book.strategy_id, book.mode, through, c.*
    from public.lt_checkpoint_after(book.strategy_id, book.mode, kept, through) c;
    written := written + 1;
  end loop;
  return jsonb_build_object('now', clock_timestamp(), 'written', written);
end
$$;

-- What a checkpoint must say that follows another one (null: none).
create or replace function public.lt_checkpoint_after(
  of_strategy_id text, in_mode text, before public.lt_checkpoints, through bigint,
  out locked_usd numeric, out realised_usd numeric, out unredeemed_usd numeric, out fees_usd numeric,
  out peak_realised_usd numeric)
language sql stable security invoker set search_path = ''
as $$
  select
    coalesce(before.locked_usd, 0) + since.locked_usd, coalesce(before.realised_usd, 0) + since.realised_usd,
    coalesce(before.unredeemed_usd, 0) + since.unredeemed_usd, coalesce(before.fees_usd, 0) + since.fees_usd,
    greatest(coalesce(before.peak_realised_usd, 0) + since.taken_back_usd,
             coalesce(before.realised_usd, 0) + since.peak_usd)
  from public.lt_entries_sum(of_strategy_id, in_mode, coalesce(before.through_entry_seq, 0), through) since
$$;

-- Everything from zero: from orders, attempts and fills alone. It walks the whole past; the audit does it in parts.
create or replace view public.lt_capital_recomputed with (security_invoker = true) as
select
  s.strategy_id, m.mode,
  coalesce(sum(w.locked_usd), 0)     as locked_usd,
  coalesce(sum(w.realised_usd), 0)   as realised_usd,
  coalesce(sum(w.unredeemed_usd), 0) as unredeemed_usd,
  coalesce(sum(w.fees_usd), 0)       as fees_usd,
  coalesce(sum(w.proceeds_usd) filter (
    where w.at > statement_timestamp() - make_interval(secs => coalesce(s.cooldown_hours, 3) * 3600)), 0) as cooling_usd,
  coalesce(sum(w.realised_usd) filter (
    where w.at >= date_trunc('day', statement_timestamp() at time zone 'UTC') at time zone 'UTC'), 0) as realised_today_usd
from public.lt_strategies s
cross join (values ('paper'), ('live')) m (mode)
left join public.lt_order_worth w on w.strategy_id = s.strategy_id and w.mode = m.mode
group by s.strategy_id, m.mode;

-- What is missing where two sums should be one: the columns that are not nought, as text. Null where nothing is.
create or replace function public.lt_missing(
  locked_usd numeric, realised_usd numeric, unredeemed_usd numeric, fees_usd numeric, other text, other_usd numeric)
returns jsonb
language sql immutable security invoker set search_path = ''
as $$
  select jsonb_object_agg(name, trim_scale(amount)::text)
  from (values ('locked_usd', locked_usd), ('realised_usd', realised_usd), ('unredeemed_usd', unredeemed_usd),
               ('fees_usd', fees_usd), (other, other_usd)) missing (name, amount)
  where amount <> 0
$$;

-- The next `most` orders of a strategy whose entries do not add up to what their fills come to, as [{what, mode,
-- missing}]; and the last order that was looked at, null where there are no more.
create or replace function public.lt_audit_orders(
  of_strategy_id text, after_order text, most integer, out differences jsonb, out last_order text)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  with page as materialized (
    select o.lt_order_id from public.lt_orders o
    where o.strategy_id = of_strategy_id and o.lt_order_id > after_order
    order by o.lt_order_id limit most
  ), differing as (
    select d.lt_order_id, d.mode, public.lt_missing(
      sum(d.locked_usd), sum(d.realised_usd), sum(d.unredeemed_usd), sum(d.fees_usd),
      'proceeds_usd', sum(d.proceeds_usd)) as missing
    from (
      select w.lt_order_id, w.strategy_id, w.mode, w.at, w.locked_usd, w.realised_usd, w.proceeds_usd,
        w.unredeemed_usd, w.fees_usd
      from page
      cross join lateral (select * from public.lt_order_worth w where w.lt_order_id = page.lt_order_id) w
      union all
      select e.lt_order_id, e.strategy_id, e.mode, e.at, -e.locked_usd, -e.realised_usd, -e.proceeds_usd,
        -e.unredeemed_usd, -e.fees_usd
      from page join public.lt_entries e using (lt_order_id)
    ) d
    group by d.lt_order_id, d.strategy_id, d.mode, d.at
  )
  select
    coalesce((select jsonb_agg(jsonb_build_object('what', 'order ' || d.lt_order_id || d.why, 'mode', d.mode,
                                                  'missing', coalesce(d.missing, '{}')))
              from (
                select lt_order_id, '' as why, mode, missing from differing where missing is not null
                union all
                select o.lt_order_id, ': its ' || said.name || ' is not a number',
                  case when o.is_shadow then 'paper' else 'live' end, null
                from page join public.lt_orders o using (lt_order_id)
                cross join lateral (values ('signal_size_usd', o.signal_size_usd), ('pnl', o.pnl),
                                           ('executed_size_usd', o.executed_size_usd)) said (name, amount)
                where said.amount = 'NaN'
                order by lt_order_id limit 10) d), '[]'),
    case when count(*) = most then max(page.lt_order_id) end
  into differences, last_order
  from page;
end
$$;

-- The next entries of a strategy, ten for each of `most` orders, as lt_audit_orders: of an order that is not there they
-- come to nothing.
create or replace function public.lt_audit_entries(
  of_strategy_id text, after_seq bigint, most integer, out differences jsonb, out last_seq bigint)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  with page as materialized (
    select e.entry_seq, e.lt_order_id
    from (values ('paper'), ('live')) m (mode)
    cross join lateral (
      select n.entry_seq, n.lt_order_id from public.lt_entries n
      where n.strategy_id = of_strategy_id and n.mode = m.mode and n.entry_seq > after_seq
      order by n.entry_seq limit most * 10
    ) e
    order by e.entry_seq limit most * 10
  ), differing as (
    select e.lt_order_id, e.mode, public.lt_missing(
      -sum(e.locked_usd), -sum(e.realised_usd), -sum(e.unredeemed_usd), -sum(e.fees_usd),
      'proceeds_usd', -sum(e.proceeds_usd)) as missing
    from (
      select distinct page.lt_order_id from page
      where not exists (select from public.lt_orders o where o.lt_order_id = page.lt_order_id)
    ) gone
    join public.lt_entries e using (lt_order_id)
    where e.strategy_id = of_strategy_id
    group by e.lt_order_id, e.mode, e.at
  )
  select
    coalesce((select jsonb_agg(jsonb_build_object('what', 'order ' || d.lt_order_id, 'mode', d.mode, 'missing', d.missing))
              from (select * from differing where missing is not null order by lt_order_id limit 10) d), '[]'),
    case when count(*) = most * 10 then max(page.entry_seq) end
  into differences, last_seq
  from page;
end
$$;

-- The next `most` checkpoints of a strategy, as lt_audit_orders: each is the one before it and the entries between. One
-- that was written to arm the strategy begins its peak anew. The last one that a human had computed from zero
-- (lt_correct_capital) is the first that is looked at, and stands on none.
create or replace function public.lt_audit_checkpoints(
  of_strategy_id text, after_id bigint, most integer, out differences jsonb, out last_id bigint)
language plpgsql stable security invoker set search_path = ''
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
begin
  with page as materialized (
    select k.* from public.lt_checkpoints k
    where k.strategy_id = of_strategy_id and k.checkpoint_id > after_id
      and k.checkpoint_id >= coalesce((
        select max(c.checkpoint_id) from public.lt_checkpoints c
        where c.strategy_id = of_strategy_id and c.mode = k.mode and c.corrected_by is not null), 0)
    order by k.checkpoint_id limit most
  ), differing as (
    select k.checkpoint_id, k.mode, public.lt_missing(
      c.locked_usd - k.locked_usd, c.realised_usd - k.realised_usd, c.unredeemed_usd - k.unredeemed_usd,
      c.fees_usd - k.fees_usd, 'peak_realised_usd',
      case when k.armed_by is null then c.peak_realised_usd else c.realised_usd end - k.peak_realised_usd) as missing
    from page k
    left join lateral (
      select b as row from public.lt_checkpoints b
      where b.strategy_id = k.strategy_id and b.mode = k.mode
        and (b.through_entry_seq, b.checkpoint_id) < (k.through_entry_seq, k.checkpoint_id)
      order by b.through_entry_seq desc, b.checkpoint_id desc limit 1
    ) before on true
    cross join lateral (
      select a.* from public.lt_checkpoint_after(k.strategy_id, k.mode, before.row, k.through_entry_seq) a
      where k.corrected_by is null
      union all
      select z.* from public.lt_checkpoint_from_zero(k.strategy_id, k.mode, k.checkpoint_id, k.through_entry_seq) z
      where k.corrected_by is not null
    ) c
  )
  select
    coalesce((select jsonb_agg(jsonb_build_object(
                'what', 'checkpoint ' || d.checkpoint_id, 'mode', d.mode, 'missing', d.missing))
              from (select * from differing where missing is not null order by checkpoint_id limit 10) d), '[]'),
    case when count(*) = most then max(page.checkpoint_id) end
  into differences, last_id
  from page;
end
$$;

-- {strategy_id} -> {now, strategy_id}: the next one after it (null: after none) that has entries or orders, be it active
-- or not, and after the last one the first.
create or replace function public.lt_audit_next(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC' set enable_seqscan = off
as $$
declare
  told text := coalesce(p ->> 'strategy_id', '');
begin
  return jsonb_build_object('now', clock_timestamp(), 'strategy_id', coalesce(
    least((select min(e.strategy_id) from public.lt_entries e where e.strategy_id > told),
          (select min(o.strategy_id) from public.lt_orders o where o.strategy_id > told)),
    least((select min(e.strategy_id) from public.lt_entries e), (select min(o.strategy_id) from public.lt_orders o))));
end
$$;

-- {strategy_id, orders, bookmark} -> {now, differences: [<=10 {what, mode, missing}], frozen | null, bookmark | null}
-- The next part of the audit of a strategy, in both modes: first its orders, `orders` at a time (500), then its
-- entries, then its checkpoints. Numbers that contradict each other must spend nothing: a difference freezes the
-- strategy, in its mode, until a human has looked.
create or replace function public.lt_audit_capital(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  of_strategy_id text := p ->> 'strategy_id';
  page_size      integer := least(greatest(coalesce((p ->> 'orders')::integer, 500), 1), 5000);
  mark           jsonb := coalesce(nullif(p -> 'bookmark', 'null'), '{"order": ""}');
  audited        record;
  next_mark      jsonb;
  why            text;
begin
  if mark ? 'order' then
    select * into audited from public.lt_audit_orders(of_strategy_id, mark ->> 'order', page_size);
    next_mark := case when audited.last_order is null then jsonb_build_object('entry', 0)
                      else jsonb_build_object('order', audited.last_order) end;
  elsif mark ? 'entry' then
    select * into audited from public.lt_audit_entries(of_strategy_id, (mark ->> 'entry')::bigint, page_size);
    next_mark := case when audited.last_seq is null then jsonb_build_object('checkpoint', 0)
                      else jsonb_build_object('entry', audited.last_seq) end;
  else
    select * into audited
    from public.lt_audit_checkpoints(of_strategy_id, (mark ->> 'checkpoint')::bigint, page_size);
    next_mark := case when audited.last_id is not null then jsonb_build_object('checkpoint', audited.last_id) end;
  end if;

  if audited.differences <> '[]' then
    why := format('capital does not add up: %s (%s)',
                  audited.differences #>> '{0,what}', audited.differences #>> '{0,mode}');
    insert into public.lt_controls (scope, action, mode, reason, actor)
    select distinct on (d ->> 'mode') 'strategy:' || of_strategy_id, 'freeze', d ->> 'mode',
      format('capital does not add up: %s', d ->> 'what'), 'audit'
    from jsonb_array_elements(audited.differences) d
    on conflict (scope, action, coalesce(mode, '')) where cleared_at is null do nothing;
  end if;
  return jsonb_build_object('now', clock_timestamp(), 'differences', audited.differences, 'frozen', why,
                            'bookmark', next_mark);
end
$$;
