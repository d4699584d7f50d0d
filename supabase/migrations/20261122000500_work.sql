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
-- all of it; older ones are cut at the horizon. Each is cut again where the strategy became a shadow, or ceased to be
-- one: no window is of two modes.
create or replace view public.lt_scope_windows with (security_invoker = true) as
-- now(), not the clock: all counts of one statement must be cut at the same instant.
with horizon as materialized (
  select now() - public.lt_setting('horizon')::interval as starts
)
select
  melted.strategy_id, melted.ft_wallet_id, lower(part) as window_from, upper(part) as window_to,
  melted.newest_scope_id, split.is_shadow
from (
  select
    s.strategy_id, s.ft_wallet_id, range_agg(tstzrange(s.scope_from, s.scope_to)) as parts,
    max(s.scope_id) as newest_scope_id
  from (
    select
      s.scope_id, s.strategy_id, s.ft_wallet_id, s.scope_to,
      case when s.opened_at >= horizon.starts then s.scope_from
           else greatest(s.scope_from, horizon.starts) end as scope_from
    from horizon
    -- Scopes are kept for ever, and read every second: by index, those that are open, or were not long ago.
    join public.lt_scopes s on greatest(coalesce(s.scope_to, 'infinity'), s.opened_at) >= horizon.starts
  ) s
  where s.scope_to is null or s.scope_to > s.scope_from
  group by s.strategy_id, s.ft_wallet_id
) melted
join public.lt_strategies using (strategy_id)   -- a deleted strategy answers for nothing
left join (
  select s.strategy_id, range_agg(tstzrange(s.since, s.until)) as spells
  from public.lt_shadow_spells s group by s.strategy_id
) shadow using (strategy_id)
cross join lateral (values
  (false, melted.parts - coalesce(shadow.spells, '{}')), (true, melted.parts * shadow.spells)
) split (is_shadow, parts)
cross join lateral unnest(split.parts) part;

-- The mode in which a worker decides for a strategy what was inserted at that moment. `in_mode` here and below is the
-- worker's own: on paper it decides everything, live it decides a shadow's signals on paper.
create or replace function public.lt_mode_at(for_strategy_id text, at timestamptz, in_mode text)
returns text
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return case when in_mode = 'live' and exists (
      select from public.lt_shadow_spells s
      where s.strategy_id = for_strategy_id and s.since <= at and at < coalesce(s.until, 'infinity'))
    then 'paper' else in_mode end;
end
$$;

create or replace function public.lt_signal_row(signal public.ft_orders)
returns jsonb
language sql stable security invoker set search_path = ''
as $$
  select public.lt_exact(to_jsonb(signal))
$$;

-- What the pairs of a signal were put off for: {strategy_id: {tries, reason}}.
create or replace function public.lt_deferrals_of(in_ft_order_id uuid, in_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_object_agg(d.strategy_id, jsonb_build_object('tries', d.tries, 'reason', d.reason)), '{}')
    from public.lt_decisions d
    where d.ft_order_id = in_ft_order_id and d.state = 'deferred'
      and d.mode = public.lt_mode_at(d.strategy_id, coalesce(d.signal_at, d.created_at), in_mode));
end
$$;

-- The signals of one scope window that have no decision, from one place of (created_at, order_id) on and up to, but
-- without, another. Asked every second, so nothing is left to the planner's guesses, which are wild until the tables
-- have statistics. A set difference of two ranges of two indexes is linear whatever happens; a join once was
-- quadratic. What it leaves is probed by key, in case a signal's insert time was changed after its decision.
create or replace function public.lt_undecided(
  in_mode text, part public.lt_scope_windows,
  from_at timestamptz, from_id uuid, until_at timestamptz, until_id uuid)
returns table (strategy_id text, ft_order_id uuid, signal_at timestamptz)
language plpgsql stable security invoker set search_path = ''
as $$
#variable_conflict use_column
declare
  least_id  constant uuid := '00000000-0000-0000-0000-000000000000';
  window_to timestamptz := coalesce(part.window_to, 'infinity');
  pair_mode constant text := case when part.is_shadow then 'paper' else in_mode end;
begin
  -- Cut here and not in the query: a scan begins at one bound, and must not begin at the wider one.
  if from_at < part.window_from then
    from_at := part.window_from;
    from_id := least_id;
  end if;
  if until_at >= window_to then
    until_at := window_to;
    until_id := least_id;
  end if;

  return query
  select part.strategy_id, left_over.order_id, left_over.created_at
  from (
    select o.order_id, o.created_at
    from public.ft_orders o
    where o.wallet_id = part.ft_wallet_id
      and (o.created_at, o.order_id) >= (from_at, from_id) and (o.created_at, o.order_id) < (until_at, until_id)
    except
    select d.ft_order_id, d.signal_at
    from public.lt_decisions d
    where d.strategy_id = part.strategy_id and d.mode = pair_mode
      and (d.signal_at, d.ft_order_id) >= (from_at, from_id) and (d.signal_at, d.ft_order_id) < (until_at, until_id)
  ) left_over
  where (select d.state from public.lt_decisions d
         where d.strategy_id = part.strategy_id and d.ft_order_id = left_over.order_id and d.mode = pair_mode) is null;
end
$$;

-- The next deferrals whose time has come, those that are due for longest first, until `places` were found. They are
-- bound by no horizon, nor by a signal that is still there: each must come to its end. A turn goes from its bookmark
-- on to what was due when it began, so each deferral comes once in a turn, and whatever is held up holds up no other.
-- -> {found: [{strategy_id, ft_order_id, signal_at}], bookmark | null at the end of the turn}
create or replace function public.lt_work_deferred(
  in_mode text, only_strategy text, without jsonb, places integer, bookmark jsonb, at timestamptz)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  until_at timestamptz := coalesce((bookmark ->> 'until')::timestamptz, at);
  from_at  timestamptz := coalesce((bookmark ->> 'at')::timestamptz, '-infinity');
  from_strategy text := coalesce(bookmark ->> 'strategy_id', '');
  from_id  uuid := coalesce((bookmark ->> 'id')::uuid, '00000000-0000-0000-0000-000000000000');
  -- Of a strategy that never was a shadow the mode is known: whatever a worker on paper has left costs no question.
  shadows  text[] := array(select distinct s.strategy_id from public.lt_shadow_spells s);
  turn     record;
begin
  select
    coalesce(jsonb_agg(jsonb_build_object(
      'strategy_id', due.strategy_id, 'ft_order_id', due.ft_order_id, 'signal_at', due.signal_at))
      filter (where nth <= places), '[]') as found,
    count(*) > places as has_more,
    jsonb_agg(jsonb_build_object(
      'until', until_at, 'at', due.due_at, 'strategy_id', due.strategy_id, 'id', due.ft_order_id))
      filter (where nth = places) -> 0 as last
  into turn
  from (
    select waiting.*, row_number() over (order by waiting.due_at, waiting.strategy_id, waiting.ft_order_id) as nth
    from (
      select of_mode.*
      from unnest(case in_mode when 'live' then '{live,paper}' else '{paper}' end::text[]) searched (mode)
      cross join lateral (
        select d.strategy_id, d.ft_order_id, coalesce(d.signal_at, d.created_at) as signal_at,
          least(d.retry_at, d.expires_at) as due_at
        from public.lt_decisions d
        where d.state = 'deferred' and d.mode = searched.mode and least(d.retry_at, d.expires_at) <= until_at
          and (least(d.retry_at, d.expires_at), d.strategy_id, d.ft_order_id) > (from_at, from_strategy, from_id)
          and (only_strategy is null or d.strategy_id = only_strategy) and not without ? d.strategy_id
          and d.mode = case when d.strategy_id = any (shadows)
            then public.lt_mode_at(d.strategy_id, coalesce(d.signal_at, d.created_at), in_mode) else in_mode end
          and exists (select from public.lt_strategies s where s.strategy_id = d.strategy_id)
        order by least(d.retry_at, d.expires_at), d.strategy_id, d.ft_order_id
        limit places + 1
      ) of_mode
    ) waiting
  ) due;
  return jsonb_build_object('found', turn.found, 'bookmark', case when turn.has_more then turn.last end);
end
$$;

-- One stretch of the round through the whole horizon: from the bookmark on, wallet after wallet, newest first in
-- each, until about `pairs` of strategy and signal were compared (null: all that there are) or `places` signals
-- were found. -> {found: [{strategy_id, ft_order_id, signal_at}], more, bookmark}. At the end of the round the
-- bookmark has no `scope_id`, or is null.
--
-- A bookmark is no watermark: nothing behind it is taken for done, the next round looks at it again. Wallets come
-- in the order of their newest scope, and a scope that was opened since begins the round anew, so it is first. Their
-- order is the same for every asker: what is not served now must not move the rest to where the bookmark has passed.
-- A wallet that nobody serves is passed, and keeps its place for the next round (`parked`: {ft_wallet_id: place}).
-- `oldest`: nothing that was inserted before is looked for.
create or replace function public.lt_work_round(
  in_mode text, only_strategy text, without jsonb, pairs integer, places integer, bookmark jsonb, oldest timestamptz)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  least_id constant uuid := '00000000-0000-0000-0000-000000000000';
  newest   bigint := (select max(s.scope_id) from public.lt_scopes s);
  goes_on  boolean := coalesce((bookmark ->> 'newest')::bigint = newest, false);
  resumes  boolean := goes_on and bookmark ? 'scope_id';
  parked   jsonb := case when goes_on then bookmark -> 'parked' else '{}' end;
  place    jsonb;
  found    jsonb := '[]';
  has_more boolean;
  followed record;
  stretch  record;
  deepest  record;
  until_at timestamptz;
  until_id uuid;
  most     integer;
begin
  for followed in
    select
      w.ft_wallet_id, max(w.newest_scope_id) as scope_id,
      array_agg(w) filter (where (only_strategy is null or w.strategy_id = only_strategy)
                           and not without ? w.strategy_id) as parts,
      greatest(min(w.window_from), oldest) as starts, max(coalesce(w.window_to, 'infinity')) as ends
    from public.lt_scope_windows w
    group by w.ft_wallet_id
    having not resumes or max(w.newest_scope_id) <= (bookmark ->> 'scope_id')::bigint
    order by max(w.newest_scope_id) desc
  loop
    place := case when resumes and followed.scope_id = (bookmark ->> 'scope_id')::bigint
                  then jsonb_build_object('at', bookmark -> 'at', 'id', bookmark -> 'id')
                  else parked -> followed.ft_wallet_id end;
    if followed.parts is null then
      parked := parked || jsonb_strip_nulls(jsonb_build_object(followed.ft_wallet_id, place));
      continue;
    end if;
    parked := parked - followed.ft_wallet_id;
    until_at := coalesce((place ->> 'at')::timestamptz, followed.ends);
    until_id := coalesce((place ->> 'id')::uuid, least_id);

    -- How deep the pairs reach: the signals are counted once for all strategies that follow the wallet.
    most := case when pairs is not null then greatest(pairs / cardinality(followed.parts), 1) end;
    select * into deepest from (
      select o.created_at, o.order_id, row_number() over (order by o.created_at desc, o.order_id desc) as signals
      from public.ft_orders o
      where o.wallet_id = followed.ft_wallet_id and o.created_at >= followed.starts
        and (o.created_at, o.order_id) < (until_at, until_id)
      order by o.created_at desc, o.order_id desc
      limit most
    ) reached order by signals desc limit 1;
    continue when deepest is null;

    select
      coalesce(jsonb_agg(jsonb_build_object(
        'strategy_id', strategy_id, 'ft_order_id', ft_order_id, 'signal_at', signal_at)) filter (where nth <= places), '[]')
        as found,
      coalesce(max(nth), 0) as signals,
      max(signal_at) filter (where nth = places) as last_at,
      (array_agg(ft_order_id) filter (where nth = places))[1] as last_id
    into stretch
    from (
      select u.*, dense_rank() over (order by u.signal_at desc, u.ft_order_id desc) as nth
      from unnest(followed.parts) part
      cross join lateral public.lt_undecided(
        in_mode, part, deepest.created_at, deepest.order_id, until_at, until_id) u
    ) undecided;

    found := found || stretch.found;
    has_more := stretch.signals > places;
    places := places - stretch.signals;
    pairs := pairs - deepest.signals * cardinality(followed.parts);
    if has_more or pairs <= 0 or deepest.signals = most then
      return jsonb_build_object('found', found, 'more', has_more, 'bookmark', jsonb_build_object(
        'newest', newest, 'scope_id', followed.scope_id, 'parked', parked,
        'at', case when has_more then coalesce(stretch.last_at, until_at) else deepest.created_at end,
        'id', case when has_more then coalesce(stretch.last_id, until_id) else deepest.order_id end));
    end if;
  end loop;
  return jsonb_build_object('found', found, 'more', false, 'bookmark',
    case when parked <> '{}' then jsonb_build_object('newest', newest, 'parked', parked) end);
end
$$;

-- Changes whenever a strategy, its paper wallet, a switch or a scope does: who knows it need not read them again.
-- (These are written in plpgsql because a session plans such a function once, and one in sql at every call.)
create or replace function public.lt_strategies_version()
returns text
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (
    select md5(coalesce(string_agg(row_version, ' ' order by row_version), '')) from (
      select 's' || s.ctid || s.xmin as row_version from public.lt_strategies s
      union all
      select 'w' || w.ctid || w.xmin from public.ft_wallets w
      where w.wallet_id in (select s.ft_wallet_id from public.lt_strategies s)
      union all
      select 'c' || c.control_id from public.lt_controls c where c.cleared_at is null
      union all
      -- A scope is opened, and closed once: the newest and those that are open tell of both.
      (select 'o' || o.scope_id from public.lt_scopes o order by o.scope_id desc limit 1)
      union all
      select 'o' || o.scope_id from public.lt_scopes o where o.scope_to is null
    ) version);
end
$$;

-- {mode, limit, window_s?, pairs?, oldest_s?, bookmark?, strategy_id?, without?: [strategy_id]}
--   -> {now, work: [{signal, strategy_ids, deferrals: {strategy_id: {tries, reason}}}], more, bookmark,
--       strategies_version}
-- Three parts, each with places of its own among the `limit` (2 to 1000), so that none can starve another: deferrals
-- that are due, at most half of them. With `window_s`, all signals that are younger. And of the whole horizon the next
-- stretch of about `pairs` pairs, at least a quarter (none beside a window without `pairs`; all of it without either).
-- Deferrals and horizon go on from `bookmark`. With a window each begins anew at its end; without, the answer has no
-- bookmark when both have come to their ends, and no pair came twice. `more`: work found no place in this answer.
-- `oldest_s`: no signal that is older, but for deferrals; in seconds, because the clock is this one.
-- `without`: strategies that the asker cannot serve now; their work must not take the places of work that it can do.
-- Planned once for a session, by index alone and without a compilation: planning would take longer than the work.
create or replace function public.lt_work(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
  least_id  constant uuid := '00000000-0000-0000-0000-000000000000';
  asked_at  timestamptz := clock_timestamp();
  in_mode   text := p ->> 'mode';
  only_strategy text := p ->> 'strategy_id';
  without   jsonb := coalesce(p -> 'without', '[]');
  places    integer := greatest(least(coalesce((p ->> 'limit')::integer, 200), 1000), 2);
  oldest    timestamptz := asked_at - make_interval(secs => (p ->> 'oldest_s')::numeric);
  since     timestamptz := greatest(asked_at - make_interval(secs => (p ->> 'window_s')::numeric), oldest);
  sweeps    boolean := p ->> 'window_s' is not null;
  marks     jsonb := coalesce(nullif(p -> 'bookmark', 'null'), '{}');
  -- In a walk, a part that has come to its end has the mark null; one that has not begun has none.
  defers    boolean := sweeps or marks -> 'deferred' is distinct from 'null';
  rounds    boolean := case when sweeps then p ? 'pairs' else marks -> 'round' is distinct from 'null' end;
  due       jsonb := '{"found": [], "bookmark": null}';
  young     jsonb := '[]';
  signals   integer := 0;
  most      integer;
  stretch   jsonb := '{"found": [], "more": false, "bookmark": null}';
  work      jsonb;
begin
  if defers then
    due := public.lt_work_deferred(
      in_mode, only_strategy, without, places / 2, nullif(marks -> 'deferred', 'null'), asked_at);
    places := places - jsonb_array_length(due -> 'found');
  end if;

  if sweeps then
    most := places - case when rounds then greatest(places / 4, 1) else 0 end;
    select
      coalesce(jsonb_agg(jsonb_build_object(
        'strategy_id', strategy_id, 'ft_order_id', ft_order_id, 'signal_at', signal_at)) filter (where nth <= most), '[]'),
      coalesce(max(nth), 0)
    into young, signals
    from (
      select u.*, dense_rank() over (order by u.signal_at desc, u.ft_order_id desc) as nth
      from public.lt_scope_windows w
      cross join lateral public.lt_undecided(in_mode, w, since, least_id, 'infinity', least_id) u
      where coalesce(w.window_to, 'infinity') > since
        and (only_strategy is null or w.strategy_id = only_strategy) and not without ? w.strategy_id
    ) ranked;
    places := places - least(signals, most);
  end if;

  if rounds then
    stretch := public.lt_work_round(
      in_mode, only_strategy, without, (p ->> 'pairs')::integer, places, nullif(marks -> 'round', 'null'), oldest);
    if not sweeps and stretch #> '{bookmark,scope_id}' is null then
      stretch := jsonb_set(stretch, '{bookmark}', 'null');   -- a walk has one round
    end if;
  end if;

  select coalesce(jsonb_agg(
    jsonb_build_object(
      -- Of a signal that is gone all that is known: its deferral still has to end.
      'signal', coalesce(public.lt_signal_row(o), jsonb_build_object('order_id', found.ft_order_id, 'created_at', found.signal_at)),
      'strategy_ids', found.strategy_ids, 'deferrals', public.lt_deferrals_of(found.ft_order_id, in_mode))
    order by found.signal_at desc nulls last, found.ft_order_id), '[]')
  into work
  from (
    select ft_order_id, max(signal_at) as signal_at, jsonb_agg(distinct strategy_id order by strategy_id) as strategy_ids
    from jsonb_to_recordset(young || (due -> 'found') || (stretch -> 'found'))
      as pair (strategy_id text, ft_order_id uuid, signal_at timestamptz)
    group by ft_order_id
  ) found
  left join public.ft_orders o on o.order_id = found.ft_order_id;

  return jsonb_build_object(
    'now', asked_at, 'work', work,
    'bookmark', nullif(
      jsonb_build_object('deferred', due -> 'bookmark', 'round', stretch -> 'bookmark'), '{"deferred": null, "round": null}'),
    'more', coalesce(signals > most, false) or due -> 'bookmark' <> 'null' or (stretch ->> 'more')::boolean,
    'strategies_version', public.lt_strategies_version());
end
$$;

-- {mode, ft_order_id} -> {now, signal | null, strategy_ids with work left on it, deferrals: as of lt_work}
create or replace function public.lt_signal(p jsonb)
returns jsonb
language sql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
    'now', clock_timestamp(),
    'signal', (select public.lt_signal_row(o) from public.ft_orders o where o.order_id = public.lt_uuid(p ->> 'ft_order_id')),
    'deferrals', public.lt_deferrals_of(public.lt_uuid(p ->> 'ft_order_id'), p ->> 'mode'),
    'strategy_ids', coalesce((
      select jsonb_agg(w.strategy_id order by w.strategy_id)
      from public.ft_orders o
      join public.lt_scope_windows w
        on w.ft_wallet_id = o.wallet_id
        and o.created_at >= w.window_from and (w.window_to is null or o.created_at < w.window_to)
      left join public.lt_decisions d
        on d.strategy_id = w.strategy_id and d.ft_order_id = o.order_id
        and d.mode = case when w.is_shadow then 'paper' else p ->> 'mode' end
      where o.order_id = public.lt_uuid(p ->> 'ft_order_id')
        and (d.state is null
             or d.state = 'deferred' and least(d.retry_at, d.expires_at) <= clock_timestamp())
    ), '[]'))
$$;

-- {mode, decisions: [{mode?, ...}]} -> {now, written, ignored: unknown, in no scope, or decided in the wrong mode}
-- Skips and deferrals, in batches. A decision that is final is left alone, so a late skip never overwrites an
-- execution; told twice, the same decision is one. A pair that is in no scope gets none - nobody is owed it, and it
-- would stand in the equation as a stray - unless it is deferred already: a deferral comes to its end, and if its
-- signal is gone, to one in the words of the claim. Until a deferral is due only a final word is heard: whoever puts
-- it off once more then does not know that it was, nor how often.
create or replace function public.lt_decide(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  ignored integer;
  written integer;
begin
  if exists (
    select from jsonb_array_elements(p -> 'decisions') d
    where coalesce(d ->> 'state', '') not in ('skipped', 'deferred')
  ) then
    raise exception 'lt_decide writes skipped and deferred only'
      using hint = 'An execution is decided by lt_claim.';
  end if;

  with windows as materialized (
    select * from public.lt_scope_windows
  ), spoken as (
    -- The last word on a pair counts; one order of locking for all callers keeps two batches from a deadlock.
    select distinct on (d.strategy_id, asked.id)
      d.strategy_id, asked.id as order_id, asked.mode, o.created_at, d.retry_at, d.expires_at,
      case when o.order_id is null then 'skipped' else d.state end as state,
      case when o.order_id is null then 'ft_not_open' else d.reason end as reason,
      case when o.order_id is null then 'missing' else d.value end as value,
      case when o.order_id is null then 'OPEN' else d."limit" end as "limit",
      d.snapshot, d.received_at, d.decided_at
    from rows from (jsonb_to_recordset(p -> 'decisions') as (
      strategy_id text, ft_order_id text, mode text, state text, reason text, value text, "limit" text,
      retry_at timestamptz, expires_at timestamptz, snapshot jsonb, received_at timestamptz, decided_at timestamptz
    )) with ordinality d (strategy_id, ft_order_id, mode, state, reason, value, "limit", retry_at, expires_at,
                          snapshot, received_at, decided_at, position)
    cross join lateral (select public.lt_uuid(d.ft_order_id) as id, coalesce(d.mode, p ->> 'mode') as mode) asked
    left join public.ft_orders o on o.order_id = asked.id
    join public.lt_strategies s on s.strategy_id = d.strategy_id
    where exists (
        select from windows w
        where w.strategy_id = d.strategy_id and w.ft_wallet_id = o.wallet_id
          and asked.mode = case when w.is_shadow then 'paper' else p ->> 'mode' end
          and o.created_at >= w.window_from and o.created_at < coalesce(w.window_to, 'infinity'))
      or exists (
        select from public.lt_decisions deferred
        where deferred.strategy_id = d.strategy_id and deferred.ft_order_id = asked.id
          and deferred.mode = asked.mode and deferred.state = 'deferred')
    order by d.strategy_id, asked.id, d.position desc
  ), put as (
    insert into public.lt_decisions as kept (
      strategy_id, ft_order_id, mode, state, reason, value, limit_value, retry_at, expires_at, snapshot,
      signal_at, received_at, decided_at)
    select
      strategy_id, order_id, mode, state, reason, value, "limit",
      case state when 'deferred' then retry_at end, case state when 'deferred' then expires_at end,
      coalesce(snapshot, '{}'), created_at, received_at, decided_at
    from spoken
    on conflict (strategy_id, ft_order_id, mode) do update set
      state = excluded.state, reason = excluded.reason, value = excluded.value, limit_value = excluded.limit_value,
      retry_at = excluded.retry_at, expires_at = excluded.expires_at, snapshot = excluded.snapshot,
      received_at = coalesce(kept.received_at, excluded.received_at), decided_at = excluded.decided_at,
      tries = kept.tries + 1
    where kept.state = 'deferred'
      and (excluded.state <> 'deferred' or least(kept.retry_at, kept.expires_at) <= clock_timestamp())
      and (kept.state, kept.reason, kept.retry_at, kept.decided_at)
          is distinct from (excluded.state, excluded.reason, excluded.retry_at, excluded.decided_at)
    returning 1
  )
  select
    (select count(*) from jsonb_array_elements(p -> 'decisions') d
     where not exists (
       select from spoken s
       where s.strategy_id = d ->> 'strategy_id' and s.order_id = public.lt_uuid(d ->> 'ft_order_id'))),
    (select count(*) from put)
  into ignored, written;

  return jsonb_build_object('now', clock_timestamp(), 'written', written, 'ignored', ignored);
end
$$;
