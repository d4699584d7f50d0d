-- Switches: what an operator stops, and lets go on.

-- {scope, action: pause | resume | kill | arm, reason, actor} -> {now, changed, control_ids, stands: {reason, actor,
-- created_at} | null}: of a pause or a kill that was set before, whose reason stays.
-- `resume` clears pauses of that very scope, `arm` kills and freezes; asked twice, a switch is set once. A freeze is set
-- by the ledger and the audit alone: whoever takes his own pause back has not looked at what they found.
create or replace function public.lt_control(p jsonb)
returns jsonb
language plpgsql security invoker set search_path = '' set timezone = 'UTC' set lock_timeout = '2s'
as $$
declare
  asked   text := p ->> 'action';
  touched jsonb;
begin
  if asked in ('pause', 'kill') then
    with set_now as (
      insert into public.lt_controls (scope, action, reason, actor)
      values (p ->> 'scope', asked, coalesce(p ->> 'reason', ''), p ->> 'actor')
      on conflict (scope, action, coalesce(mode, '')) where cleared_at is null do nothing
      returning control_id
    )
    select jsonb_agg(control_id) into touched from set_now;
  elsif asked in ('resume', 'arm') then
    with cleared as (
      update public.lt_controls c set cleared_at = clock_timestamp(), cleared_by = p ->> 'actor'
      where c.scope = p ->> 'scope' and c.cleared_at is null
        and c.action = any (case asked when 'resume' then '{pause}'::text[] else '{kill,freeze}' end)
      returning c.control_id
    )
    select jsonb_agg(control_id) into touched from cleared;
  else
    raise exception 'unknown action %', asked using hint = 'One of pause, resume, kill, arm.';
  end if;
  return jsonb_build_object('now', clock_timestamp(), 'changed', touched is not null,
                            'control_ids', coalesce(touched, '[]'), 'stands', (
    select jsonb_build_object('reason', c.reason, 'actor', c.actor, 'created_at', c.created_at) from public.lt_controls c
    where touched is null and c.scope = p ->> 'scope' and c.action = asked and c.cleared_at is null));
end
$$;
