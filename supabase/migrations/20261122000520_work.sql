-- Work left to do: signals in scope without a final decision. There is no watermark, so whatever was lost on
-- the way - an event, a process, a backup - only delays a signal.

create or replace function public.lt_signal_row(signal public.ft_orders)
returns jsonb
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return public.lt_exact(to_jsonb(signal));
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
                           and (without = '[]' or not public.lt_is_without(without, w.strategy_id,
                             case when w.is_shadow then 'paper' else in_mode end))) as parts,
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

-- {mode, limit, window_s?, pairs?, oldest_s?, bookmark?, strategy_id?, without?: [strategy_id | {strategy_id, mode}]}
--   -> {now, work: [{signal, strategy_ids, deferrals: {strategy_id: {tries, reason}}}], more, bookmark,
--       strategies_version}
-- Three parts, each with places of its own among the `limit` (2 to 1000), so that none can starve another: deferrals
-- that are due, at most half of them. With `window_s`, all signals that are younger. And of the whole horizon the next
-- stretch of about `pairs` pairs, at least a quarter (none beside a window without `pairs`; all of it without either).
-- Deferrals and horizon go on from `bookmark`. With a window each begins anew at its end; without, the answer has no
-- bookmark when both have come to their ends, and no pair came twice. `more`: work found no place in this answer.
-- `oldest_s`: no signal that is older, but for deferrals; in seconds, because the clock is this one.
-- `without`: strategies that the asker cannot serve now, or not in that mode; their work must not take the places of work that it can do.
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
        -- Most wallets are quiet most of the time: to ask each for its newest costs less than comparing nothing.
        and (select o.created_at from public.ft_orders o where o.wallet_id = w.ft_wallet_id and o.created_at is not null
             order by o.created_at desc limit 1) >= since
        and (only_strategy is null or w.strategy_id = only_strategy)
        and (without = '[]' or not public.lt_is_without(without, w.strategy_id, case when w.is_shadow then 'paper' else in_mode end))
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

-- {<lt_work>, scope: <lt_scope_open>} -> as lt_work: the work that there would be if that scope were opened. It is
-- opened, looked at, and taken back: whoever only looks sees what whoever means it would see.
create or replace function public.lt_work_preview(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  seen jsonb;
begin
  begin
    perform public.lt_scope_open(p -> 'scope');
    -- Scopes that are taken back have other ids each time, so a bookmark of ours goes by the wallet.
    if p #>> '{bookmark,round,ft_wallet_id}' is not null then
      p := jsonb_set(p, '{bookmark,round}', p #> '{bookmark,round}' || jsonb_build_object(
        'newest', (select max(s.scope_id) from public.lt_scopes s),
        'scope_id', (select max(w.newest_scope_id) from public.lt_scope_windows w
                     where w.ft_wallet_id = p #>> '{bookmark,round,ft_wallet_id}')));
    end if;
    seen := public.lt_work(p);
    if seen #>> '{bookmark,round,scope_id}' is not null then
      seen := jsonb_set(seen, '{bookmark,round,ft_wallet_id}', to_jsonb((
        select w.ft_wallet_id from public.lt_scope_windows w
        group by w.ft_wallet_id having max(w.newest_scope_id) = (seen #>> '{bookmark,round,scope_id}')::bigint)));
    end if;
    raise exception using errcode = 'LT001', message = 'seen enough';
  exception when sqlstate 'LT001' then
    return seen;   -- a variable outlives what is rolled back
  end;
end
$$;

-- {mode, ft_order_id} -> {now, signal | null, strategy_ids with work left on it, deferrals: as of lt_work}
create or replace function public.lt_signal(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return jsonb_build_object(
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
    ), '[]'));
end
$$;
