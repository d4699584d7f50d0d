-- Work left to do: signals in scope without a final decision. There is no watermark, so whatever was lost on
-- the way - an event, a process, a backup - only delays a signal.

-- Anything may come in as an id; what is no uuid is nobody's signal, and must not fail a whole batch.
create or replace function public.lt_uuid(id text)
returns uuid
language sql immutable security invoker set search_path = ''
as $$
  select case when id ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' then id::uuid end
$$;

-- The scopes of each strategy and wallet melted into intervals that do not overlap, so that a signal is
-- counted once however often its time was opened. Whoever opened a scope lately (`backfill --since`) meant
-- all of it; older ones are cut at the horizon.
create or replace view public.lt_scope_windows with (security_invoker = true) as
select melted.strategy_id, melted.ft_wallet_id, lower(part) as window_from, upper(part) as window_to
from (
  select s.strategy_id, s.ft_wallet_id, range_agg(tstzrange(s.scope_from, s.scope_to)) as parts
  from (
    select
      s.strategy_id, s.ft_wallet_id, s.scope_to,
      case when s.opened_at >= horizon.starts then s.scope_from
           else greatest(s.scope_from, horizon.starts) end as scope_from
    from public.lt_scopes s
    -- now(), not the clock: all counts of one statement must be cut at the same instant.
    cross join (select now() - public.lt_setting('horizon')::interval as starts) horizon
  ) s
  where s.scope_to is null or s.scope_to > s.scope_from
  group by s.strategy_id, s.ft_wallet_id
) melted
join public.lt_strategies using (strategy_id)   -- a deleted strategy answers for nothing
cross join lateral unnest(melted.parts) part;

create or replace function public.lt_signal_row(signal public.ft_orders)
returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select public.lt_exact(to_jsonb(signal))
$$;

-- Every (strategy, signal) with work left at `at`: never decided, or deferred and due. `since` null: the whole
-- horizon. Asked every second, so nothing is left to the planner's guesses, which are wild until the tables have
-- statistics: window by window, each a range of one index, and per signal one probe of the decisions' key (a
-- scalar subquery stays a probe; `not exists` would become a join, and once was quadratic).
create or replace function public.lt_work_left(
  in_mode text, for_strategy_id text, since timestamptz, at timestamptz)
returns table (strategy_id text, ft_order_id uuid, signal_at timestamptz)
language plpgsql stable security invoker set search_path = ''
as $$
#variable_conflict use_column
declare
  part public.lt_scope_windows;
begin
  for part in
    select w.* from public.lt_scope_windows w
    where (for_strategy_id is null or w.strategy_id = for_strategy_id)
      and (since is null or w.window_to is null or w.window_to > since)
  loop
    return query
    select part.strategy_id, o.order_id, o.created_at
    from public.ft_orders o
    where o.wallet_id = part.ft_wallet_id
      and o.created_at >= greatest(part.window_from, since) and o.created_at < coalesce(part.window_to, 'infinity')
      and (select d.state from public.lt_decisions d
           where d.strategy_id = part.strategy_id and d.ft_order_id = o.order_id and d.mode = in_mode) is null;
  end loop;

  -- Deferrals come from their own small index and are not bound by `since`: each must come to its end.
  return query
  select d.strategy_id, o.order_id, o.created_at
  from public.lt_decisions d
  join public.ft_orders o on o.order_id = d.ft_order_id
  where d.state = 'deferred' and d.mode = in_mode and least(d.retry_at, d.expires_at) <= at
    and (for_strategy_id is null or d.strategy_id = for_strategy_id)
    and exists (select from public.lt_strategies s where s.strategy_id = d.strategy_id);
end
$$;

-- {mode, limit, strategy_id?, window_s?, without?: [strategy_id]} -> {now, work: [{signal, strategy_ids}], more}
-- `window_s` looks only at the newest part of the horizon: a cheap sweep between two whole ones. `without`: strategies
-- that the asker cannot serve now; their work must not take the places of work that it can do.
create or replace function public.lt_work(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  asked_at   timestamptz := clock_timestamp();
  page_size  integer := least(coalesce((p ->> 'limit')::integer, 200), 1000);
  since      timestamptz := asked_at - make_interval(secs => (p ->> 'window_s')::numeric);
  work       jsonb;
  has_more   boolean;
begin
  with due as (
    select w.ft_order_id, w.signal_at, jsonb_agg(w.strategy_id order by w.strategy_id) as strategy_ids
    from public.lt_work_left(p ->> 'mode', p ->> 'strategy_id', since, asked_at) w
    where not coalesce(p -> 'without', '[]') ? w.strategy_id
    group by w.ft_order_id, w.signal_at
    order by w.signal_at desc nulls last, w.ft_order_id
    limit page_size + 1   -- one more than asked for tells whether there is more
  ), page as (
    select * from due order by signal_at desc nulls last, ft_order_id limit page_size
  )
  select
    coalesce(jsonb_agg(
      jsonb_build_object('signal', public.lt_signal_row(o), 'strategy_ids', page.strategy_ids)
      order by page.signal_at desc nulls last, page.ft_order_id), '[]'),
    (select count(*) > page_size from due)
  into work, has_more
  from page join public.ft_orders o on o.order_id = page.ft_order_id;

  return jsonb_build_object('now', asked_at, 'work', work, 'more', has_more);
end
$$;

-- {mode, ft_order_id} -> {now, signal | null, strategy_ids with work left on it}
create or replace function public.lt_signal(p jsonb)
returns jsonb
language sql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'now', clock_timestamp(),
    'signal', (select public.lt_signal_row(o) from public.ft_orders o where o.order_id = public.lt_uuid(p ->> 'ft_order_id')),
    'strategy_ids', coalesce((
      select jsonb_agg(w.strategy_id order by w.strategy_id)
      from public.ft_orders o
      join public.lt_scope_windows w
        on w.ft_wallet_id = o.wallet_id
        and o.created_at >= w.window_from and (w.window_to is null or o.created_at < w.window_to)
      left join public.lt_decisions d
        on d.strategy_id = w.strategy_id and d.ft_order_id = o.order_id and d.mode = p ->> 'mode'
      where o.order_id = public.lt_uuid(p ->> 'ft_order_id')
        and (d.state is null
             or d.state = 'deferred' and least(d.retry_at, d.expires_at) <= clock_timestamp())
    ), '[]'))
$$;

-- {mode, decisions: [...]} -> {now, written, ignored}
-- Skips and deferrals, in batches. A decision that is final is left alone, so a late skip never overwrites an
-- execution; told twice, the same decision is one.
create or replace function public.lt_decide(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  told    integer;
  known   integer;
  written integer;
begin
  if exists (
    select from jsonb_array_elements(p -> 'decisions') d
    where coalesce(d ->> 'state', '') not in ('skipped', 'deferred')
  ) then
    raise exception 'lt_decide writes skipped and deferred only'
      using hint = 'An execution is decided by lt_claim.';
  end if;

  with spoken as (
    -- The last word on a pair counts; one order of locking for all callers keeps two batches from a deadlock.
    select distinct on (d.strategy_id, o.order_id)
      d.strategy_id, o.order_id, o.created_at, d.state, d.reason, d.value, d."limit", d.retry_at, d.expires_at,
      d.snapshot, d.received_at, d.decided_at
    from rows from (jsonb_to_recordset(p -> 'decisions') as (
      strategy_id text, ft_order_id text, state text, reason text, value text, "limit" text,
      retry_at timestamptz, expires_at timestamptz, snapshot jsonb, received_at timestamptz, decided_at timestamptz
    )) with ordinality d (strategy_id, ft_order_id, state, reason, value, "limit", retry_at, expires_at,
                          snapshot, received_at, decided_at, position)
    join public.ft_orders o on o.order_id = public.lt_uuid(d.ft_order_id)
    join public.lt_strategies s on s.strategy_id = d.strategy_id
    order by d.strategy_id, o.order_id, d.position desc
  ), put as (
    insert into public.lt_decisions as kept (
      strategy_id, ft_order_id, mode, state, reason, value, limit_value, retry_at, expires_at, snapshot,
      signal_at, received_at, decided_at)
    select
      strategy_id, order_id, p ->> 'mode', state, reason, value, "limit",
      case state when 'deferred' then retry_at end, case state when 'deferred' then expires_at end,
      coalesce(snapshot, '{}'), created_at, received_at, decided_at
    from spoken
    on conflict (strategy_id, ft_order_id, mode) do update set
      state = excluded.state, reason = excluded.reason, value = excluded.value, limit_value = excluded.limit_value,
      retry_at = excluded.retry_at, expires_at = excluded.expires_at, snapshot = excluded.snapshot,
      received_at = coalesce(kept.received_at, excluded.received_at), decided_at = excluded.decided_at,
      tries = kept.tries + 1
    where kept.state = 'deferred'
      and (kept.state, kept.reason, kept.retry_at, kept.decided_at)
          is distinct from (excluded.state, excluded.reason, excluded.retry_at, excluded.decided_at)
    returning 1
  )
  select
    (select count(*) from jsonb_array_elements(p -> 'decisions')),
    (select count(*)
     from jsonb_array_elements(p -> 'decisions') d
     join public.ft_orders o on o.order_id = public.lt_uuid(d ->> 'ft_order_id')
     join public.lt_strategies s on s.strategy_id = d ->> 'strategy_id'),
    (select count(*) from put)
  into told, known, written;

  return jsonb_build_object('now', clock_timestamp(), 'written', written, 'ignored', told - known);
end
$$;
