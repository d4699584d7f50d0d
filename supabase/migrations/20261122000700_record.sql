-- What became of an attempt: states, trades, and the platform's row recomputed from them.

-- The only writer of the execution columns. It computes them from the attempts and their trades, never adds to
-- them, so calling it again changes nothing. Returns the platform's word for the order.
create or replace function public.lt_recompute_order(for_lt_order_id text)
returns text
language plpgsql security invoker set search_path = '' set timezone = 'UTC'
as $$
declare
  dust   constant numeric := 0.01;   -- a share or a cent: the exchange's own rounding
  target public.lt_order_attempts;
  sums   record;
  filled numeric;                    -- in the target's unit
  goal   numeric;
  word   text;
begin
  -- Before anything is summed: of two that recompute at once the second then sees what the first one booked.
  perform from public.lt_orders o where o.lt_order_id = for_lt_order_id for no key update;

  -- The order's target is its first attempt's: later ones are for what was left of it.
  select * into target from public.lt_order_attempts a
  where a.lt_order_id = for_lt_order_id order by a.attempt_no limit 1;

  select
    sum(t.shares) as shares, sum(t.notional_usd) as notional_usd, min(t.first_fill_at) as first_fill_at,
    max(t.last_fill_at) as last_fill_at, bool_or(t.closed_at is null) as is_open,
    (array_agg(t.state order by t.attempt_no desc))[1] as last_state
  into sums
  from public.lt_attempt_totals t where t.lt_order_id = for_lt_order_id;

  -- FAK and FOK buy for dollars; everything else is for shares.
  goal := coalesce(target.amount_usd, target.shares);
  filled := case when target.amount_usd is not null then sums.notional_usd else sums.shares end;
  word := case
    when filled > 0 and filled >= goal - dust then 'FILLED'
    when filled > 0 then 'PARTIAL'
    when sums.is_open then 'PENDING'
    when sums.last_state = 'rejected' then 'REJECTED'
    when sums.last_state = 'lost' then 'LOST'
    else 'CANCELLED' end;

  update public.lt_orders o set
    status = word,
    -- An order that came to nothing leaves the open positions, as the platform does it; a late fill brings it
    -- back. A settled outcome is the settlement's, not ours.
    outcome = case when o.outcome in ('OPEN', 'CANCELLED')
      then case when word in ('CANCELLED', 'REJECTED', 'LOST') then 'CANCELLED' else 'OPEN' end
      else o.outcome end,
    executed_price = round(sums.notional_usd / nullif(sums.shares, 0), 6),
    executed_size_usd = case when sums.shares > 0 then round(sums.notional_usd, 2) end,
    shares_bought = case when sums.shares > 0 then sums.shares end,
    -- Of a sale nothing is held. What is left of what purchases brought is a matter of the token: lt_positions.
    shares_remaining = case when target.side = 'SELL' then 0
      when sums.shares > 0 and o.outcome in ('OPEN', 'CANCELLED') then sums.shares else o.shares_remaining end,
    fill_rate = least(round(filled / goal, 4), 1),
    -- Positive is worse than the base price, on either side.
    slippage_bps = round((sums.notional_usd / nullif(sums.shares, 0) / nullif(o.signal_price, 0) - 1) * 10000
      * case target.side when 'BUY' then 1 else -1 end),
    -- The exchange tells when it matched in whole seconds, cut off: no order was filled before it was placed.
    first_fill_at = case when sums.shares > 0 then greatest(sums.first_fill_at, target.sent_at) end,
    fully_filled_at = case when word = 'FILLED' then greatest(sums.last_fill_at, target.sent_at) end,
    order_placed_at = coalesce(target.sent_at, o.order_placed_at),
    execution_latency_ms = coalesce(o.execution_latency_ms, (
      select round(extract(epoch from target.answered_at - d.received_at) * 1000)
      from public.lt_decisions d
      where d.strategy_id = target.strategy_id and d.ft_order_id = target.ft_order_id and d.mode = target.mode)),
    rejection_reason = case when word in ('REJECTED', 'LOST') then (
      select a.note from public.lt_order_attempts a
      where a.lt_order_id = for_lt_order_id order by a.attempt_no desc limit 1) end,
    updated_at = clock_timestamp()
  where o.lt_order_id = for_lt_order_id;
  return word;
end
$$;

-- The moments that were kept and the one that is told, each once and in order, without those up to `after`.
create or replace function public.lt_moments(kept timestamptz[], told timestamptz, after timestamptz)
returns timestamptz[]
language sql immutable security invoker set search_path = ''
as $$
  select coalesce(array_agg(distinct moment order by moment), '{}')
  from unnest(kept || told) moment
  where moment > coalesce(after, '-infinity')
$$;

-- Why an attempt may not be given up yet, or null. The exchange must have said "not found" often enough and over
-- long enough since the body last went out, and no trade may ever have been seen.
create or replace function public.lt_lost_refusal(attempt public.lt_order_attempts, p jsonb)
returns text
language plpgsql stable security invoker set search_path = ''
as $$
declare
  needed  integer := coalesce((p ->> 'lost_after_lookups')::integer, public.lt_setting('lost_after_lookups')::integer);
  at_last timestamptz := attempt.not_found_times[cardinality(attempt.not_found_times)];
  spread  interval := coalesce(at_last - attempt.not_found_since, '0');
  wanted  interval := coalesce(make_interval(secs => (p ->> 'lost_after_s')::numeric),
                               public.lt_setting('lost_after')::interval);
begin
  if exists (select from public.lt_fills f where f.exchange_order_id = attempt.exchange_order_id) then
    return 'it has trades';
  elsif attempt.not_found < needed or spread < wanted then
    return format('%s of %s look-ups said "not found", over %s of %s', attempt.not_found, needed, spread, wanted);
  end if;
  return null;
end
$$;

-- {exchange_order_id, state, note, answer, closed, sent_at, answered_at, lookup, barred, decided_by, fills,
--  lost_after_lookups, lost_after_s}
--   -> {now, state, status, changed, closed, late, sends, not_found, lookups, conflicts, worse, strategy_id, frozen,
--       capital: null where nothing changed}
create or replace function public.lt_record(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
as $$
declare
  before     public.lt_order_attempts;
  attempt    public.lt_order_attempts;
  new_state  text := p ->> 'state';
  sent       timestamptz := (p ->> 'sent_at')::timestamptz;
  answered   timestamptz := (p ->> 'answered_at')::timestamptz;
  lookup     text := p ->> 'lookup';
  posted     boolean;
  looked_up  boolean;
  refusal    text;
  booking    record;
  conflicts  jsonb := '[]';
  worse      jsonb := '[]';
  booked     boolean := false;
  added      boolean := false;
  changed    boolean;
  frozen     text;
  word       text;
begin
  select * into before from public.lt_order_attempts a
  where a.exchange_order_id = p ->> 'exchange_order_id' for no key update;
  if before.exchange_order_id is null then
    raise exception 'no attempt %', p ->> 'exchange_order_id'
      using hint = 'An order that was never claimed is not ours to book.';
  end if;
  if lookup not in ('found', 'not_found') or lookup is not null and answered is null then
    raise exception 'a look-up of attempt % that says % at %', before.exchange_order_id, lookup,
      coalesce(answered::text, 'no time')
      using hint = 'lookup is found or not_found, and answered_at says when.';
  end if;

  -- A no closes the attempt only as long as nobody else may send: whoever took the wallet over may have sent the same
  -- body since, and a no to the one says nothing about the other. The lease is held still until this is committed, so
  -- that a takeover comes before or after.
  if new_state in ('abandoned', 'killed', 'rejected') and new_state <> before.state
     and lookup is null and p ->> 'decided_by' is null
  then
    perform from public.lt_leases l
    where l.wallet_address = before.wallet_address and l.fence = before.fence for share;
    if not found and new_state = 'abandoned' then
      raise exception 'attempt % cannot be abandoned: the lease it was claimed under has passed on',
        before.exchange_order_id
        using hint = 'Whoever holds the wallet now looks it up.';
    elsif not found then
      new_state := case before.state when 'submitting' then 'unknown' else before.state end;
    end if;
  end if;

  -- A POST whose outcome nobody knows takes back nothing that is known: only the rule below does.
  if new_state = 'unknown' and lookup is null and before.state <> 'submitting' and p ->> 'decided_by' is null then
    new_state := before.state;
  end if;

  for booking in
    select
      f.value ->> 'trade_id' as trade_id, public.lt_book_fill(before, f.value) as result,
      ((f.value ->> 'price')::numeric - before.limit_price) * case before.side when 'BUY' then 1 else -1 end > 0 as is_worse
    from jsonb_array_elements(coalesce(p -> 'fills', '[]')) f
  loop
    booked := booked or booking.result in ('booked', 'settled', 'amended');
    added := added or booking.result = 'booked';
    if booking.result = 'conflict' then
      conflicts := conflicts || to_jsonb(booking.trade_id);
    elsif booking.is_worse then
      worse := worse || to_jsonb(booking.trade_id);   -- the exchange never should, and the money is gone all the same
    end if;
  end loop;

  -- A record without a newer POST tells of a look-up. They are counted since the last POST, and by the time of
  -- their answer, so that a record told twice counts once.
  posted := coalesce(sent > coalesce(before.sent_at, '-infinity'), false);
  looked_up := not posted and coalesce(
    answered > coalesce(greatest(before.looked_up_at, before.answered_at), '-infinity'), false);

  update public.lt_order_attempts a set
    state = new_state,
    -- What a human decided stays readable, whatever is looked up later.
    note = case when a.decided_by is null or p ->> 'decided_by' is not null then coalesce(p ->> 'note', a.note)
                else a.note end,
    answer = case when coalesce(p -> 'answer', '{}') = '{}' or sent < a.sent_at then a.answer else p -> 'answer' end,
    decided_by = coalesce(p ->> 'decided_by', a.decided_by),
    barred = a.barred or coalesce((p ->> 'barred')::boolean, false),
    sent_at = greatest(a.sent_at, sent),
    sent_times = public.lt_moments(a.sent_times, sent, null),
    found_at = greatest(a.found_at, case lookup when 'found' then answered end),
    not_found_times = public.lt_moments(a.not_found_times, case lookup when 'not_found' then answered end,
      greatest(a.sent_at, sent, a.found_at, case lookup when 'found' then answered end)),
    -- Of the POST: what a look-up says later has its own time.
    answered_at = case when lookup is null and sent is not null then greatest(a.answered_at, answered)
                       else a.answered_at end,
    late_at = case when added and a.closed_at is not null then clock_timestamp() else a.late_at end,
    lookups = case when posted then 0 when looked_up then a.lookups + 1 else a.lookups end,
    looked_up_at = case when looked_up then answered else a.looked_up_at end,
    closed_at = coalesce(a.closed_at, case
      when new_state in ('killed', 'rejected', 'abandoned', 'expired', 'lost')
        -- These two may still have trades on their way: whoever books the last of them says so.
        or new_state in ('matched', 'cancelled') and coalesce((p ->> 'closed')::boolean, false)
        then clock_timestamp() end)
  where a.exchange_order_id = before.exchange_order_id
  returning * into attempt;

  -- Given up, or known once and doubted again: both by the rule.
  if attempt.state <> before.state and p ->> 'decided_by' is null
     and (attempt.state = 'lost' or attempt.state = 'unknown' and before.state <> 'submitting')
  then
    refusal := public.lt_lost_refusal(attempt, p);
    if refusal is not null then
      raise exception 'attempt % is not % yet: %', attempt.exchange_order_id, attempt.state, refusal
        using hint = 'Go on looking it up; a human may decide earlier with lt_resolve.';
    end if;
  end if;

  if booked or attempt.state <> before.state or attempt.closed_at is distinct from before.closed_at
     or attempt.sent_at is distinct from before.sent_at
  then
    word := public.lt_recompute_order(attempt.lt_order_id);
  else
    select o.status into word from public.lt_orders o where o.lt_order_id = attempt.lt_order_id;
  end if;

  changed := booked or attempt.state <> before.state or attempt.closed_at is distinct from before.closed_at;
  if booked then
    frozen := public.lt_freeze_oversold(attempt.strategy_id, attempt.mode, attempt.token_id);
  end if;

  return jsonb_build_object(
    'now', clock_timestamp(), 'state', attempt.state, 'status', word, 'changed', changed,
    'strategy_id', attempt.strategy_id, 'frozen', frozen,
    'capital', case when changed then
      public.lt_capital_json(public.lt_watch_breaker(attempt.strategy_id, attempt.mode)) end,
    'closed', attempt.closed_at is not null,
    -- Told again it is late again: an alarm must not hang on the one answer that got lost.
    'late', exists (
      select from public.lt_fills f
      where f.exchange_order_id = before.exchange_order_id and f.booked_at > before.closed_at
        and f.trade_id in (select told ->> 'trade_id' from jsonb_array_elements(coalesce(p -> 'fills', '[]')) told)),
    'sends', attempt.sends, 'not_found', attempt.not_found, 'lookups', attempt.lookups, 'conflicts', conflicts,
    'worse', worse);
end
$$;

-- An attempt as answers show it: amounts as text, with the sums of its trades and without its signed body. A view,
-- because a function that is called for each row would double the time of a page.
create or replace view public.lt_attempts_shown with (security_invoker = true) as
select
  a.exchange_order_id,
  to_jsonb(a) - '{signed_body,closed_xid}'::text[] || jsonb_build_object(
    'limit_price', public.lt_text(a.limit_price), 'amount_usd', public.lt_text(a.amount_usd),
    'shares', public.lt_text(a.shares), 'reserve_usd', public.lt_text(a.reserve_usd),
    'reserve_shares', public.lt_text(a.reserve_shares), 'filled_shares', public.lt_text(t.shares),
    'filled_usd', public.lt_text(t.notional_usd), 'final_shares', public.lt_text(t.final_shares)) as shown
from public.lt_order_attempts a
join public.lt_attempt_totals t using (exchange_order_id);

-- {mode, wallets: [address], limit, without: [exchange_order_id]} -> {now, attempts, more}: whatever still wants a
-- look, longest unseen first, but those that the worker means to look at later (`without`): they take nobody's place.
create or replace function public.lt_open_attempts(p jsonb)
returns jsonb
language plpgsql stable security invoker set search_path = '' set timezone = 'UTC'
  set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  page_size integer := least(coalesce((p ->> 'limit')::integer, 200), 1000);
  later     text[] := array(select jsonb_array_elements_text(coalesce(p -> 'without', '[]')));
  attempts  jsonb;
  has_more  boolean;
begin
  with asked as materialized (
    select * from public.lt_wallets_asked(p)
  ), wanted as (
    select a.exchange_order_id, coalesce(a.looked_up_at, a.created_at) as seen_at
    from public.lt_order_attempts a
    where (a.wallet_address, a.mode) in (select * from asked) and a.exchange_order_id in (
      select open.exchange_order_id from asked join public.lt_order_attempts open using (wallet_address, mode)
      where open.closed_at is null
      union
      -- Nobody believes a loss at once, nor a human's word: a fill that comes late is booked all the same.
      select ended.exchange_order_id from asked join public.lt_order_attempts ended using (wallet_address, mode)
      where (ended.state = 'lost' or ended.decided_by is not null)
        and ended.closed_at > now() - public.lt_setting('lost_watch')::interval
      union
      -- Nor that the exchange did nothing with a body which had gone out: asked until it has said so after a while, and
      -- as long as a loss where it says that it has it after all.
      select turned.exchange_order_id from asked join public.lt_order_attempts turned using (wallet_address, mode)
      where turned.state = 'abandoned' and turned.sends > 0
        and turned.closed_at > now() - public.lt_setting('lost_watch')::interval
        and (turned.found_at is not null
          or coalesce(turned.looked_up_at, turned.closed_at) < turned.closed_at + public.lt_setting('unsent_watch')::interval)
      union
      select f.exchange_order_id from public.lt_fills f where f.state = 'provisional')
      and a.exchange_order_id not in (select unnest(later))
    order by seen_at, a.exchange_order_id
    limit page_size + 1
  ), page as (
    select * from wanted order by seen_at, exchange_order_id limit page_size
  )
  select
    coalesce(jsonb_agg(
      s.shown || jsonb_build_object(
        'signed_body', a.signed_body, 'signal_created_at', coalesce(o.created_at, a.created_at))
      order by page.seen_at, page.exchange_order_id), '[]'),
    (select count(*) > page_size from wanted)
  into attempts, has_more
  from page
  join public.lt_order_attempts a using (exchange_order_id)
  join public.lt_attempts_shown s using (exchange_order_id)
  left join public.ft_orders o on o.order_id = a.ft_order_id;

  return jsonb_build_object('now', clock_timestamp(), 'attempts', attempts, 'more', has_more);
end
$$;
