-- Which signals are ours: the times for which each strategy answers for a wallet, and the mode of each time.

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

-- Whether `without` names the strategy, or the pairs of it that are in that mode: a worker may hold its wallet and not its
-- purse.
create or replace function public.lt_is_without(without jsonb, for_strategy_id text, pair_mode text)
returns boolean
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return without ? for_strategy_id
    or without @> jsonb_build_array(jsonb_build_object('strategy_id', for_strategy_id, 'mode', pair_mode));
end
$$;

-- {strategy_id | null for all active, since, reason} -> {now, opened}
create or replace function public.lt_scope_open(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  opened integer;
begin
  -- Bounded at now: what comes later belongs to the scope that activation opened, or to none.
  insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, scope_to, reason)
  select s.strategy_id, s.ft_wallet_id, (p ->> 'since')::timestamptz, clock_timestamp(),
    coalesce(p ->> 'reason', 'backfill')
  from public.lt_strategies s
  where case when p ->> 'strategy_id' is null then s.is_active else s.strategy_id = p ->> 'strategy_id' end
  order by s.strategy_id;
  get diagnostics opened = row_count;
  return jsonb_build_object('now', clock_timestamp(), 'opened', opened);
end
$$;
