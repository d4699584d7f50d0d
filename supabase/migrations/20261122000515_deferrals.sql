-- What was put off: each deferral comes to its end, whatever becomes of its signal, its scope or its worker.

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

-- {pairs: [{strategy_id, mode}], reasons, most | null, younger_than_s | null} -> {now, due}
-- What was put off for one of these reasons is due now: what it waited for has come. At most so many, the youngest
-- signals first, and none that is older than that.
create or replace function public.lt_make_due(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  asked_at timestamptz := clock_timestamp();
  since    timestamptz := coalesce(asked_at - make_interval(secs => (p ->> 'younger_than_s')::numeric), '-infinity');
  reasons  text[] := array(select jsonb_array_elements_text(p -> 'reasons'));
  hurried  integer;
begin
  update public.lt_decisions d set retry_at = asked_at
  from (
    select later.strategy_id, later.ft_order_id, later.mode
    from jsonb_to_recordset(p -> 'pairs') asked (strategy_id text, mode text)
    join public.lt_decisions later using (strategy_id, mode)
    where later.state = 'deferred' and later.reason = any (reasons) and later.signal_at > since
      and least(later.retry_at, later.expires_at) > asked_at
    order by later.signal_at desc, later.strategy_id, later.ft_order_id
    limit (p ->> 'most')::integer
    for update of later skip locked
  ) due
  where (d.strategy_id, d.ft_order_id, d.mode) = (due.strategy_id, due.ft_order_id, due.mode);
  get diagnostics hurried = row_count;
  return jsonb_build_object('now', asked_at, 'due', hurried);
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
          and (only_strategy is null or d.strategy_id = only_strategy) and (without = '[]' or not public.lt_is_without(without, d.strategy_id, d.mode))
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
