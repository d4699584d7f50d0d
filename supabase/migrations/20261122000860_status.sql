-- How trading stands, as the database sees it: who trades, what is switched off, what is open, what waits for a human.
-- Everything here is small (a row for each wallet and strategy) or read by an index over what is open or recent.

-- The switches that hold for a strategy in a mode: [{scope, action, reason, actor, created_at}], the strongest first.
create or replace function public.lt_switches_of(strategy public.lt_strategies, in_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'scope', c.scope, 'action', c.action, 'mode', c.mode, 'reason', c.reason, 'actor', c.actor,
      'created_at', c.created_at) order by array_position('{kill,freeze,pause,breaker}', c.action), c.control_id), '[]')
    from public.lt_controls c
    where c.cleared_at is null and coalesce(c.mode = in_mode, true)
      and c.scope in ('global', 'strategy:' || strategy.strategy_id, 'wallet:' || lower(strategy.wallet_address)));
end
$$;

-- Who trades for a strategy in a mode now, or null.
create or replace function public.lt_worker_of(strategy public.lt_strategies, in_mode text)
returns text
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (
    select l.worker from public.lt_leases l
    where l.wallet_address in (lower(strategy.wallet_address), public.lt_purse(strategy.strategy_id))
      and l.mode = in_mode and l.expires_at > clock_timestamp()
    limit 1);
end
$$;

-- The modes that a look at a strategy is about: the one that is asked about, or all in which something is so now.
create or replace function public.lt_modes_of(strategy public.lt_strategies, asked text, every boolean)
returns setof text
language plpgsql stable security invoker set search_path = ''
as $$
begin
  if every then
    return query
    select own.mode from unnest('{live,paper}'::text[]) own (mode)
    where (own.mode = 'paper' or not strategy.shadow_mode) and public.lt_worker_of(strategy, own.mode) is not null
      or own.mode = 'live' and coalesce(strategy.circuit_breaker_active, false)
      or exists (
        select from public.lt_controls c
        where c.cleared_at is null and c.mode = own.mode and c.scope = 'strategy:' || strategy.strategy_id);
  end if;
  if not found then
    return next asked;
  end if;
end
$$;

-- One word for each strategy, the first that is true: inactive, killed, frozen, paused, breaker, no_worker, trading.
create or replace function public.lt_standing(strategy public.lt_strategies, in_mode text, switches jsonb, worker text)
returns text
language sql immutable security invoker set search_path = ''
as $$
  select case
    when not strategy.is_active then 'inactive'
    when switches @> '[{"action": "kill"}]' then 'killed'
    when switches @> '[{"action": "freeze"}]' then 'frozen'
    when strategy.is_paused or switches @> '[{"action": "pause"}]' then 'paused'
    when switches @> '[{"action": "breaker"}]' or in_mode = 'live' and strategy.circuit_breaker_active then 'breaker'
    when worker is null then 'no_worker'
    else 'trading' end
$$;

-- {mode, scope?, every_mode?: false} -> {now, strategies: [{strategy_id, mode, wallet_address, standing, is_paused,
-- breaker_active, switches, worker}]}: those that a switch of the scope (null: every one) is about, active or switched.
-- `every_mode`: as each stands wherever it is traded, or held by something of that mode alone, and not only in `mode`; a
-- switch holds in both.
create or replace function public.lt_switchboard(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  scope text := coalesce(p ->> 'scope', 'global');
  every boolean := coalesce((p ->> 'every_mode')::boolean, false);
begin
  return jsonb_build_object('now', clock_timestamp(), 'strategies', coalesce((
    select jsonb_agg(jsonb_build_object(
      'strategy_id', s.strategy_id, 'mode', own.mode, 'wallet_address', lower(s.wallet_address),
      'standing', public.lt_standing(s, own.mode, own.switches, own.worker), 'is_paused', s.is_paused,
      'breaker_active', own.switches @> '[{"action": "breaker"}]'
        or own.mode = 'live' and coalesce(s.circuit_breaker_active, false),
      'switches', own.switches, 'worker', own.worker) order by s.strategy_id, own.mode)
    from public.lt_strategies s
    cross join lateral public.lt_modes_of(s, case when s.shadow_mode then 'paper' else p ->> 'mode' end, every) traded (mode)
    cross join lateral (
      select traded.mode, public.lt_switches_of(s, traded.mode) as switches, public.lt_worker_of(s, traded.mode) as worker
    ) own
    where scope = 'strategy:' || s.strategy_id or scope = 'wallet:' || lower(s.wallet_address)
      or scope = 'global' and (s.is_active or own.switches <> '[]')), '[]'));
end
$$;

-- What nobody but a human can mend, or should know of: {what, thing, since, why, fix}. `what` is a closed list:
--   order_unknown  order_stuck  order_lost  fill_late   an order of which the exchange does not tell, or told late
--   killed  breaker  frozen                             a switch that will not go away by itself
--   stranded                                            live shares of a strategy that became a shadow
--   missed                                              signals in scope that were not decided for five seconds
--   no_worker                                           a strategy is active and nobody trades for it
--   other_mode                                          a worker trades in the other mode than the one that is asked about
--   refused                                             the exchange refuses the wallet until a human has acted
--   settings                                            a strategy whose settings stop it
--   foreign_writer                                      another program places orders
create or replace function public.lt_needs_human(in_mode text)
returns table (what text, thing text, since timestamptz, why text, fix text)
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  modes  text[] := case in_mode when 'live' then '{live,paper}' else '{paper}' end;
  lately timestamptz := clock_timestamp() - interval '1 day';
  hourly timestamptz := clock_timestamp() - interval '1 hour';
begin
  return query
  select
    case when a.state = 'unknown' then 'order_unknown' else 'order_stuck' end, a.exchange_order_id, a.state_changed_at,
    format('%s of %s is %s: %s', a.side, a.strategy_id, a.state, coalesce(nullif(a.note, ''), 'no answer')),
    'polycopy-worker resolve ' || a.exchange_order_id
  from public.lt_order_attempts a
  where a.closed_at is null and a.mode = any (modes) and a.state in ('unknown', 'submitting', 'cancelling')
    and greatest(a.state_changed_at, a.sent_at) < clock_timestamp() - interval '2 minutes'
  union all
  select 'order_lost', a.exchange_order_id, a.closed_at,
    format('given up: the exchange does not know the %s of %s', a.side, a.strategy_id),
    'compare the wallet with the exchange''s website'
  from public.lt_order_attempts a
  where a.state = 'lost' and a.mode = any (modes) and a.closed_at > lately
  union all
  select 'fill_late', a.exchange_order_id, f.booked_at,
    format('%s shares of %s were booked after the order was closed', public.lt_text(f.shares), a.strategy_id),
    'compare the wallet with the ledger'
  from public.lt_fills f
  join public.lt_order_attempts a using (exchange_order_id)
  where f.booked_at > lately and f.booked_at > a.closed_at and a.mode = any (modes)
  union all
  select case c.action when 'kill' then 'killed' when 'breaker' then 'breaker' else 'frozen' end, c.scope, c.created_at,
    format('%s (%s)', concat_ws(', ', c.reason, c.mode), c.actor),
    case c.action when 'freeze' then 'compare the wallet with the ledger, then ' else '' end || 'polycopy-worker arm'
      || case split_part(c.scope, ':', 1) when 'strategy' then ' --strategy ' || substr(c.scope, 10)
           when 'wallet' then ' --wallet ' || substr(c.scope, 8) else '' end
  from public.lt_controls c
  where c.cleared_at is null and coalesce(c.mode = any (modes), true)
    and c.action in ('kill', 'breaker', 'freeze')
  union all
  select 'stranded', s.strategy_id, null,
    format('%s live shares of %s (token %s) are held by what is a shadow now: its trader''s sales go to paper, and nothing '
           'sells these before their market ends',
           public.lt_text(h.unsold_shares), coalesce(bought.what, 'a market'), h.token_id),
    format('to have them sold when the trader sells: update lt_strategies set shadow_mode = false where strategy_id = %L, '
           'by which it buys with money again, too; to keep them until the market ends: nothing, it is settled then; to be '
           'rid of them now: sell them on the exchange''s website from wallet %s, and the books go on counting them until '
           'the market ends',
           s.strategy_id, coalesce(bought.wallet_address, lower(s.wallet_address)))
  from public.lt_strategies s
  join public.lt_positions h using (strategy_id)
  left join lateral (
    select format('%s in "%s"', o.token_label, coalesce(nullif(o.market_title, ''), o.condition_id)) as what, a.wallet_address
    from public.lt_order_attempts a join public.lt_orders o using (lt_order_id)
    where a.strategy_id = h.strategy_id and a.token_id = h.token_id and a.mode = 'live' and a.side = 'BUY'
    order by a.created_at desc limit 1
  ) bought on true
  where s.shadow_mode and in_mode = 'live' and h.mode = 'live' and h.unsold_shares > 0.01
  union all
  select 'missed', e ->> 'strategy_id', null, format('%s signals undecided for more than 5 s', e ->> 'missed'),
    'look at the worker''s log'
  from jsonb_array_elements(
    public.lt_equation(jsonb_build_object('mode', in_mode, 'since', lately)) -> 'strategies') e
  where (e ->> 'missed')::bigint > 0
    -- Nobody is to decide in this mode what is traded in the other.
    and not (e ->> 'mode' = in_mode and exists (
      select from public.lt_strategies s
      where s.strategy_id = e ->> 'strategy_id' and public.lt_elsewhere(s, in_mode) is not null))
  union all
  select 'no_worker', s.strategy_id, null, 'it is active, and no worker trades for its wallet',
    'start polycopy-worker run, or look why it has stopped'
  from public.lt_strategies s
  where s.is_active and public.lt_worker_of(s, case when s.shadow_mode then 'paper' else in_mode end) is null
    and public.lt_elsewhere(s, in_mode) is null
  union all
  select 'other_mode', other ->> 'worker', null,
    format('it trades %s in %s mode, and these settings ask about %s mode',
           (select string_agg(id, ', ') from jsonb_array_elements_text(other -> 'strategies') id), other ->> 'mode', in_mode),
    format('ask in its mode: POLYCOPY_MODE=%s polycopy-worker status, or --config with its settings', other ->> 'mode')
  from jsonb_array_elements(public.lt_traded_elsewhere(in_mode)) other
  union all
  select 'refused', d.strategy_id, min(d.created_at), format('%s: %s signals wait', d.reason, count(*)),
    case d.reason when 'geoblocked' then 'run the worker where the exchange allows trading' else 'check the wallet''s key' end
  from public.lt_decisions d
  where d.state = 'deferred' and d.mode = any (modes) and d.reason in ('credentials_refused', 'geoblocked')
  group by d.strategy_id, d.reason
  union all
  select 'settings', d.strategy_id, max(d.updated_at),
    format('%s: %s (%s signals in the last hour)', d.reason, max(d.value), count(*)), 'polycopy-worker check'
  from public.lt_decisions d
  where d.updated_at > hourly and d.mode = any (modes)
    and d.reason in ('strategy_invalid', 'unknown_wallet', 'wallet_not_configured', 'wallet_mismatch')
  group by d.strategy_id, d.reason
  union all
  select 'foreign_writer', 'lt_orders', null, format('%s orders in 5 minutes are not ours', told.count),
    'stop the other executor'
  from (select (public.lt_foreign_writers('{"window_s": 300}') ->> 'count')::integer as count) told
  where told.count > 0;
end
$$;

-- The workers that trade in the other mode for what nobody trades in this one: [{worker, mode, strategies: [id]}].
create or replace function public.lt_traded_elsewhere(in_mode text)
returns jsonb
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(told.other || jsonb_build_object('strategies', told.strategies) order by told.other), '[]')
    from (
      select each.other, jsonb_agg(s.strategy_id order by s.strategy_id) as strategies
      from public.lt_strategies s
      cross join lateral (select public.lt_elsewhere(s, in_mode) as other) each
      where s.is_active and each.other is not null
      group by each.other
    ) told);
end
$$;

-- {} -> {now, strategies: [strategy_id]}: every one that there is, and every one that there was.
create or replace function public.lt_strategy_names(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
begin
  return jsonb_build_object('now', clock_timestamp(), 'strategies', coalesce((
    select jsonb_agg(known.strategy_id order by known.strategy_id) from (
      select s.strategy_id from public.lt_strategies s
      union
      select c.strategy_id from public.lt_scopes c
    ) known), '[]'));
end
$$;

-- {mode} -> {now, mode, standing, leases, controls, wallets, strategies, attempts, deferred, feed, last_hour, elsewhere,
-- needs_human}
--   standing    other_mode where all that is traded is traded in the other mode, down where nobody holds a lease,
--               degraded where something needs a human, else ok
--   elsewhere   lt_traded_elsewhere: who trades in the other mode what nobody trades in this one
--   strategies  as of lt_switchboard, and capital, open_orders
--   attempts    {open, unbooked, unknown, by_state, oldest_open_s, oldest_unbooked_s}: all that are not closed. `open` may
--               still trade, and is what lt_order_list tells as open, `unknown` among it; `unbooked` is over, and not all of
--               its trades were read yet; `by_state` counts both
--   feed        {canary_at, canary_age_s, last_decision_at, last_decision_age_s}
--   last_hour   the counts of lt_equation
create or replace function public.lt_status(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set jit = off set max_parallel_workers_per_gather = 0
as $$
declare
  in_mode    text := p ->> 'mode';
  modes      text[] := case in_mode when 'live' then '{live,paper}' else '{paper}' end;
  now_is     timestamptz := clock_timestamp();
  leases     jsonb;
  attempts   jsonb;
  strategies jsonb;
  needs      jsonb;
  held       integer;
  elsewhere  jsonb := public.lt_traded_elsewhere(in_mode);
  canary_at  timestamptz := (select max(c.sent_at) from public.lt_canary c where c.worker <> 'sweep');
  decided_at timestamptz := (select max(d.updated_at) from public.lt_decisions d);
begin
  select
    coalesce(jsonb_agg(jsonb_build_object(
      'wallet_address', l.wallet_address, 'mode', l.mode, 'worker', l.worker, 'held', l.expires_at > now_is,
      'fence', l.fence, 'expires_at', l.expires_at) order by l.expires_at <= now_is, l.wallet_address), '[]'),
    count(*) filter (where l.expires_at > now_is)
  into leases, held
  from public.lt_leases l where l.mode = any (modes);

  select jsonb_build_object(
    'open', coalesce(sum(open.attempts) filter (where open.is_alive), 0),
    'unbooked', coalesce(sum(open.attempts) filter (where not open.is_alive), 0),
    'unknown', coalesce(sum(open.attempts) filter (where open.state = 'unknown'), 0),
    'by_state', coalesce(jsonb_object_agg(open.state, open.attempts) filter (where open.state is not null), '{}'),
    'oldest_open_s', round(extract(epoch from now_is - min(open.oldest) filter (where open.is_alive)), 1)::text,
    'oldest_unbooked_s', round(extract(epoch from now_is - min(open.oldest) filter (where not open.is_alive)), 1)::text)
  into attempts
  from (
    select a.state, public.lt_attempt_is_alive(a.state) as is_alive, count(*) as attempts, min(a.created_at) as oldest
    from public.lt_order_attempts a where a.closed_at is null and a.mode = any (modes) group by a.state
  ) open;

  select coalesce(jsonb_agg(s || jsonb_build_object(
    'capital', public.lt_capital_json(public.lt_capital_of(s ->> 'strategy_id', s ->> 'mode')),
    'open_orders', (
      select count(*) from public.lt_order_attempts a
      where a.strategy_id = s ->> 'strategy_id' and a.mode = s ->> 'mode'
        and greatest(coalesce(a.closed_at, 'infinity'), a.late_at) = 'infinity'   -- it is open; as in the index
        and public.lt_attempt_is_alive(a.state)))), '[]')
  into strategies
  from jsonb_array_elements(public.lt_switchboard(jsonb_build_object('mode', in_mode)) -> 'strategies') s;

  select coalesce(jsonb_agg(to_jsonb(n) order by n.since nulls last, n.what, n.thing), '[]')
  into needs from public.lt_needs_human(in_mode) n;

  return jsonb_build_object(
    'now', now_is, 'mode', in_mode,
    'standing', case
      when elsewhere <> '[]' and not jsonb_path_exists(strategies, '$[*] ? (@.worker != null)') then 'other_mode'
      when held = 0 then 'down' when needs <> '[]' then 'degraded' else 'ok' end,
    'leases', leases,
    'controls', coalesce((
      select jsonb_agg(to_jsonb(c) order by c.control_id) from public.lt_controls c
      where c.cleared_at is null and coalesce(c.mode = any (modes), true)), '[]'),
    'wallets', coalesce((
      select jsonb_agg(jsonb_build_object(
        'wallet_address', w.wallet_address, 'mode', w.mode, 'collateral_usd', public.lt_text(w.collateral_usd),
        'as_of', w.as_of, 'age_s', round(extract(epoch from now_is - w.as_of), 1)::text) order by w.wallet_address, w.mode)
      from public.lt_wallets w where w.mode = any (modes)), '[]'),
    'strategies', strategies, 'attempts', attempts,
    'deferred', (select count(*) from public.lt_decisions d where d.state = 'deferred' and d.mode = any (modes)),
    'feed', jsonb_build_object(
      'canary_at', canary_at, 'canary_age_s', round(extract(epoch from now_is - canary_at), 1)::text,
      'last_decision_at', decided_at, 'last_decision_age_s', round(extract(epoch from now_is - decided_at), 1)::text),
    'last_hour', public.lt_equation(jsonb_build_object('mode', in_mode, 'since', now_is - interval '1 hour')) -> 'total',
    'elsewhere', elsewhere, 'needs_human', needs);
end
$$;
