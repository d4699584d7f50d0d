-- What was decided on a signal, beside executions: those are decided by the claim.

-- Anything may come in as an id; what is no uuid is nobody's signal, and must not fail a whole batch.
create or replace function public.lt_uuid(id text)
returns uuid
language plpgsql immutable security invoker set search_path = ''
as $$
begin
  return case when id ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' then id::uuid end;
end
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

-- The shape that the platform asked for, of each strategy and minute in which it decided: of the two modes together. A
-- view, so that it cannot disagree with the decisions.
create or replace view public.lt_execution_log with (security_invoker = true) as
select
  strategy_id, minute as "timestamp",
  sum(decisions)::integer as ft_orders_checked,
  coalesce(sum(decisions) filter (where state = 'executed'), 0)::integer as executed,
  coalesce(jsonb_object_agg(reason, decisions) filter (where state = 'skipped'), '{}') as skip_reasons
from (
  select d.strategy_id, date_trunc('minute', d.updated_at) as minute, d.state, d.reason, count(*) as decisions
  from public.lt_decisions d
  group by d.strategy_id, minute, d.state, d.reason
) by_reason
group by strategy_id, minute;
