-- When only a human can say what became of an order: the evidence shown, the decision taken and kept.

-- What a human may make of an attempt now; empty where nothing is in doubt. From `submitting` he goes by way of
-- `unknown`, as a look-up would. What is over and still waits for trades may only be closed as it is.
create or replace function public.lt_resolutions(attempt public.lt_order_attempts)
returns text[]
language sql stable security invoker set search_path = ''
as $$
  select coalesce(array_agg(choice order by choice), '{}')
  from unnest('{lost,killed,rejected,cancelled,matched}'::text[]) choice
  where attempt.closed_at is null
    -- Whoever sends it or works on it has had the time to say so.
    and coalesce(attempt.resend_at, '-infinity') < clock_timestamp() - interval '1 minute'
    and (attempt.state = 'unknown'
      or attempt.state in ('submitting', 'cancelling', 'matched', 'cancelled')
        and greatest(attempt.state_changed_at, attempt.sent_at) < clock_timestamp() - interval '1 minute')
    and (choice = attempt.state
      or exists (select from public.lt_attempt_transitions() t where (t."from", t."to") = (attempt.state, choice))
      or attempt.state = 'submitting'
        and exists (select from public.lt_attempt_transitions() t where (t."from", t."to") = ('unknown', choice)))
$$;

-- {mode, exchange_order_id} -> {now, why, over}: why the body must not go out once more, empty if it may. A leave is
-- noted before it is given: no human ends the attempt while somebody may be sending it. What is over or barred gets no
-- leave, and nothing does that lt_claim would refuse by now for what a human, the breaker or its trader has done: if it was
-- sent before, look-ups find it.
create or replace function public.lt_resend(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  attempt public.lt_order_attempts;
  is_over boolean;
  why     text;
begin
  select * into attempt from public.lt_order_attempts a
  where a.exchange_order_id = p ->> 'exchange_order_id' and a.mode = p ->> 'mode' for no key update;
  if attempt.exchange_order_id is null then
    raise exception 'no % attempt %', p ->> 'mode', p ->> 'exchange_order_id'
      using hint = 'Only what was claimed may be sent.';
  end if;
  is_over := attempt.closed_at is not null or attempt.barred or attempt.state not in ('submitting', 'unknown');
  if is_over then
    why := case when attempt.barred and attempt.closed_at is null then 'its body is barred'
                else format('it is %s', attempt.state) end;
  else
    select case
      when switch.scope is not null then format('%s of %s', switch.action, switch.scope)
      when s.strategy_id is null then 'its strategy is gone'
      when s.is_paused then 'its strategy is paused'
      when not s.is_active then 'its strategy is off'
      when signal.outcome is distinct from 'OPEN' then format('its signal is %s', coalesce(signal.outcome, 'gone'))
      when attempt.side = 'BUY' and public.lt_is_left(attempt.ft_order_id) then 'its trader has sold' end
    into why
    from (values (attempt.strategy_id)) own (strategy_id)
    left join public.lt_strategies s using (strategy_id)
    left join public.ft_orders signal on signal.order_id = attempt.ft_order_id
    left join lateral (
      select c.action, c.scope from public.lt_controls c
      where c.cleared_at is null and (c.action <> 'breaker' or attempt.side = 'BUY') and coalesce(c.mode = attempt.mode, true)
        and c.scope in ('global', 'strategy:' || attempt.strategy_id, 'wallet:' || attempt.wallet_address,
                        'wallet:' || lower(s.wallet_address))
      limit 1) switch on true;
  end if;
  if why is null then
    update public.lt_order_attempts a set resend_at = clock_timestamp()
    where a.exchange_order_id = attempt.exchange_order_id;
  end if;
  return jsonb_build_object('now', clock_timestamp(), 'why', coalesce(why, ''), 'over', is_over);
end
$$;

-- {mode, exchange_order_id} -> {now, attempts: [<=10 {attempt, order, strategy, signal, fills, others, reservation,
-- resolutions}]}. The id may be cut off after six digits or more: then all that begin so are shown.
create or replace function public.lt_attempt(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  asked  text := p ->> 'exchange_order_id';
  prefix text := '0x' || substring(lower(asked) from '^(?:0x)?([0-9a-f]{6,})$');
  found  jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_object(
      'attempt', (select v.shown from public.lt_attempts_shown v where v.exchange_order_id = a.exchange_order_id),
      'order', public.lt_exact(to_jsonb(o)),
      'strategy', public.lt_exact(to_jsonb(s)),
      'signal', public.lt_exact(to_jsonb(f)),
      'fills', coalesce((
        select jsonb_agg(to_jsonb(x) || jsonb_build_object(
          'price', public.lt_text(x.price), 'shares', public.lt_text(x.shares), 'fee_usd', public.lt_text(x.fee_usd))
          order by x.fill_seq)
        from public.lt_fills x where x.exchange_order_id = a.exchange_order_id), '[]'),
      'others', coalesce((
        select jsonb_agg(v.shown order by b.attempt_no)
        from public.lt_order_attempts b
        join public.lt_attempts_shown v using (exchange_order_id)
        where b.ft_order_id = a.ft_order_id and b.strategy_id = a.strategy_id and b.mode = a.mode
          and b.exchange_order_id <> a.exchange_order_id), '[]'),
      'reservation', jsonb_build_object(
        'usd', public.lt_text(t.reserved_usd), 'shares', public.lt_text(t.reserved_shares)),
      'resolutions', to_jsonb(public.lt_resolutions(a))) order by a.exchange_order_id), '[]')
  into found
  from (
    select * from public.lt_order_attempts named
    where named.mode = p ->> 'mode'
      and (named.exchange_order_id = asked
        -- As a range, because a language's collation has no index for prefixes.
        or named.exchange_order_id between prefix and prefix || 'g' and starts_with(named.exchange_order_id, prefix))
    order by named.exchange_order_id
    limit 10
  ) named
  join public.lt_order_attempts a using (exchange_order_id)
  join public.lt_attempt_totals t using (exchange_order_id)
  join public.lt_orders o on o.lt_order_id = a.lt_order_id
  left join public.lt_strategies s on s.strategy_id = a.strategy_id
  left join public.ft_orders f on f.order_id = a.ft_order_id;

  return jsonb_build_object('now', clock_timestamp(), 'attempts', found);
end
$$;

-- {mode, exchange_order_id, state, reason, actor, closed?} -> the answer of lt_record and {was}.
-- lost, killed, rejected and cancelled free what was reserved; matched keeps it until the trades are booked, unless
-- `closed` says that there are no more. Its body never goes out again, and what it traded after all is booked late.
create or replace function public.lt_resolve(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  chosen  text := p ->> 'state';
  actor   text := btrim(p ->> 'actor');
  note    text := format('resolved by %s: %s', actor, btrim(p ->> 'reason'));
  attempt public.lt_order_attempts;
  choices text[];
begin
  if coalesce(actor, '') = '' or coalesce(btrim(p ->> 'reason'), '') = '' then
    raise exception 'a decision needs an actor and a reason'
      using hint = 'They are kept with the attempt: whoever reads it later asks why.';
  end if;
  select * into attempt from public.lt_order_attempts a
  where a.exchange_order_id = p ->> 'exchange_order_id' and a.mode = p ->> 'mode' for no key update;
  if attempt.exchange_order_id is null then
    raise exception 'no % attempt %', p ->> 'mode', p ->> 'exchange_order_id'
      using hint = 'Give the whole id: lt_attempt finds it by its beginning.';
  end if;

  -- A decision whose answer was lost is taken once more as it is.
  if (attempt.state, attempt.decided_by, attempt.note) is distinct from (chosen, actor, note) then
    choices := public.lt_resolutions(attempt);
    if chosen is null or chosen <> all (choices) then
      raise exception 'attempt % is % and cannot be resolved to %', attempt.exchange_order_id, attempt.state, chosen
        using hint = case when choices = '{}' then 'Nothing is in doubt about it, or somebody sent it within the last minute.'
                          else 'Possible now: ' || array_to_string(choices, ', ') || '.' end;
    end if;
  end if;
  if attempt.state = 'submitting' and not exists (
    select from public.lt_attempt_transitions() t where (t."from", t."to") = (attempt.state, chosen)
  ) then
    perform public.lt_record(jsonb_build_object('exchange_order_id', attempt.exchange_order_id, 'state', 'unknown'));
  end if;
  return public.lt_record(jsonb_build_object(
      'exchange_order_id', attempt.exchange_order_id, 'state', chosen, 'note', note, 'decided_by', actor,
      'barred', true,
      'closed', coalesce((p ->> 'closed')::boolean, chosen = 'cancelled')))
    || jsonb_build_object('was', attempt.state);
end
$$;
