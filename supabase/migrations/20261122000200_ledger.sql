-- The worker's own tables: what was in scope, what was decided, what was sent, what was filled.
-- Rows of money are appended and moved forward, never rewritten or removed (the triggers are in the next file).

create table if not exists public.lt_config (
  key   text primary key,
  value text not null,
  constraint lt_config_key_is_a_word check (key ~ '^[a-z][a-z_]*$')
);

insert into public.lt_config (key, value) values
  ('schema_version',   '1'),
  ('backfill_max_age', '24 hours'),  -- how far back an activated strategy looks
  ('horizon',          '7 days'),    -- how far back undecided work is looked for
  ('retention',        '30 days'),   -- how long skips and marks are kept, a day longer than the horizon at least
  ('lost_after_lookups', '6'),       -- how many look-ups must have said "not found" ...
  ('lost_after',       '10 minutes'), -- ... over how long, before an order may be given up
  ('lost_watch',       '24 hours'),  -- how long an order that was given up is still asked for
  ('unsent_watch',     '10 minutes'), -- how long one whose body went out is, though the exchange did nothing with it
  ('redemption',       'platform')   -- who redeems winners: the platform, or 'recorded': see lt_redeemed_orders
on conflict (key) do update set value = excluded.value where lt_config.key = 'schema_version';

create or replace function public.lt_setting(setting text)
returns text
language plpgsql stable security invoker set search_path = ''
as $$
begin
  return (select c.value from public.lt_config c where c.key = setting);
end
$$;

-- Which signals a strategy answers for: intervals over ft_orders.created_at. The wallet is part of the row
-- because a strategy may be pointed at another one, and must not inherit the other's past.
create table if not exists public.lt_scopes (
  scope_id     bigint generated always as identity primary key,
  strategy_id  text not null,
  ft_wallet_id text not null,
  scope_from   timestamptz not null,
  scope_to     timestamptz,          -- null: still open
  reason       text not null,
  opened_at    timestamptz not null default clock_timestamp(),
  constraint lt_scopes_end_after_start check (scope_to >= scope_from)
);
create index if not exists lt_scopes_strategy_idx on public.lt_scopes (strategy_id, ft_wallet_id);
create index if not exists lt_scopes_open_idx on public.lt_scopes (scope_id) where scope_to is null;
create index if not exists lt_scopes_lately_idx
  on public.lt_scopes (greatest(coalesce(scope_to, 'infinity'), opened_at));

-- When a strategy trades on paper only (lt_strategies.shadow_mode), by the insert time of its signals. A signal stays
-- in the mode that it was inserted in: the switch moves none from paper to money, nor back.
create table if not exists public.lt_shadow_spells (
  spell_id    bigint generated always as identity primary key,
  strategy_id text not null,
  since       timestamptz not null,
  until       timestamptz,           -- null: still a shadow
  constraint lt_shadow_spells_end_after_start check (until >= since)
);
create index if not exists lt_shadow_spells_strategy_idx on public.lt_shadow_spells (strategy_id);
create unique index if not exists lt_shadow_spells_open_idx on public.lt_shadow_spells (strategy_id) where until is null;

-- One row per (strategy, signal, mode). No foreign key: a decision outlives what it was about.
create table if not exists public.lt_decisions (
  strategy_id text not null,
  ft_order_id uuid not null,
  mode        text not null,
  state       text not null,
  reason      text not null,
  value       text,                  -- the number that failed ...
  limit_value text,                  -- ... and the limit it met
  retry_at    timestamptz,
  expires_at  timestamptz,
  tries       integer not null default 1,
  history     jsonb not null default '[]',  -- what it was deferred for before, oldest first
  snapshot    jsonb not null default '{}',
  signal_at   timestamptz,           -- ft_orders.created_at, so that decisions are counted without ft_orders
  received_at timestamptz,
  decided_at  timestamptz,
  prepared_at timestamptz,
  claimed_at  timestamptz,
  created_at  timestamptz not null default clock_timestamp(),
  updated_at  timestamptz not null default clock_timestamp(),
  constraint lt_decisions_pkey primary key (strategy_id, ft_order_id, mode),
  constraint lt_decisions_mode_known check (mode in ('paper', 'live')),
  constraint lt_decisions_state_known check (state in ('deferred', 'skipped', 'executed')),
  constraint lt_decisions_reason_given check (reason <> ''),
  constraint lt_decisions_tries_positive check (tries > 0),
  constraint lt_decisions_deferral_ends check (state <> 'deferred' or least(retry_at, expires_at) is not null)
);
create index if not exists lt_decisions_deferred_idx
  on public.lt_decisions (mode, least(retry_at, expires_at), strategy_id, ft_order_id) where state = 'deferred';
create index if not exists lt_decisions_strategy_signal_at_idx
  on public.lt_decisions (strategy_id, mode, signal_at, ft_order_id) include (state);
create index if not exists lt_decisions_ft_order_idx on public.lt_decisions (ft_order_id);
create index if not exists lt_decisions_timeless_idx on public.lt_decisions (strategy_id) where signal_at is null;
create index if not exists lt_decisions_updated_idx on public.lt_decisions (updated_at);

-- One row per signed order. It is committed as `submitting` before the first byte goes out.
create table if not exists public.lt_order_attempts (
  exchange_order_id text primary key,
  lt_order_id       text not null,
  strategy_id       text not null,
  ft_order_id       uuid not null,
  wallet_address    text not null,
  mode              text not null,
  attempt_no        integer not null,
  state             text not null default 'submitting',
  order_type        text not null,
  side              text not null,
  token_id          text not null,
  condition_id      text not null,
  limit_price       numeric not null,
  amount_usd        numeric,         -- the target of an order in dollars ...
  shares            numeric,         -- ... or of one in shares
  reserve_usd       numeric not null,
  reserve_shares    numeric not null,
  exchange_version  text not null,
  signed_body       text not null,
  expires_at        timestamptz,
  worker            text not null,
  fence             bigint not null,
  lookups           integer not null default 0,
  note              text,
  answer            jsonb not null default '{}',
  created_at        timestamptz not null default clock_timestamp(),
  sent_at           timestamptz,     -- the last POST
  answered_at       timestamptz,
  looked_up_at      timestamptz,
  state_changed_at  timestamptz not null default clock_timestamp(),
  closed_at         timestamptz,     -- the reservation is held until then
  closed_xid        xid8,            -- the transaction that closed it, whatever is written to the row later
  constraint lt_order_attempts_order_is_kept foreign key (lt_order_id)
    references public.lt_orders (lt_order_id) on delete restrict,
  constraint lt_order_attempts_number_once unique (lt_order_id, attempt_no),
  constraint lt_order_attempts_id_given check (exchange_order_id <> ''),
  constraint lt_order_attempts_body_given check (signed_body <> ''),
  constraint lt_order_attempts_wallet_lower_case check (wallet_address = lower(wallet_address)),
  constraint lt_order_attempts_mode_known check (mode in ('paper', 'live')),
  constraint lt_order_attempts_state_known check (state in (
    'submitting', 'live', 'delayed', 'matched', 'unmatched', 'killed', 'rejected', 'unknown', 'abandoned',
    'cancelling', 'cancelled', 'expired', 'lost')),
  constraint lt_order_attempts_type_known check (order_type in ('FAK', 'FOK', 'GTC', 'GTD')),
  constraint lt_order_attempts_side_known check (side in ('BUY', 'SELL')),
  constraint lt_order_attempts_price_is_probability check (limit_price > 0 and limit_price < 1),
  constraint lt_order_attempts_target_given check (
    num_nonnulls(amount_usd, shares) = 1 and coalesce(amount_usd, shares) > 0
    and (side = 'BUY' or amount_usd is null)),
  constraint lt_order_attempts_reserve_not_negative check (reserve_usd >= 0 and reserve_shares >= 0),
  constraint lt_order_attempts_reserve_covers_order check (
    case side when 'BUY' then reserve_usd >= coalesce(amount_usd, shares * limit_price)
              else reserve_shares >= shares end),
  constraint lt_order_attempts_alive_is_open check (
    closed_at is null
    or state not in ('submitting', 'live', 'delayed', 'unmatched', 'unknown', 'cancelling'))
);
-- What recovery must know and cannot derive. Moments are kept, and counts are made of them: in whatever order they
-- are told, and however often, they come to the same.
alter table public.lt_order_attempts
  add column if not exists sent_times      timestamptz[] not null default '{}',  -- each POST of the body
  add column if not exists not_found_times timestamptz[] not null default '{}',  -- since the last POST or find
  add column if not exists found_at        timestamptz,                          -- the exchange last knew it then
  add column if not exists barred          boolean not null default false,       -- this body must never go again
  add column if not exists decided_by      text,                                 -- the human who ended a doubt
  add column if not exists resend_at       timestamptz,                          -- the body may have gone again then
  add column if not exists called_off      text,                                 -- why it was last asked to be cancelled
  add column if not exists late_at         timestamptz,                          -- a trade was booked after it was closed
  add column if not exists received_at     timestamptz,                          -- it was begun: of the first, the signal came
  add column if not exists decided_at      timestamptz,
  add column if not exists prepared_at     timestamptz,
  add column if not exists sends           integer generated always as (cardinality(sent_times)) stored,
  add column if not exists not_found       integer generated always as (cardinality(not_found_times)) stored,
  add column if not exists not_found_since timestamptz generated always as (not_found_times[1]) stored;
-- Never twice: while one order of ours may still be alive on the exchange, no second one is written.
create unique index if not exists lt_order_attempts_one_alive_idx on public.lt_order_attempts (lt_order_id)
  where state in ('submitting', 'live', 'delayed', 'unmatched', 'unknown', 'cancelling');
create index if not exists lt_order_attempts_open_idx
  on public.lt_order_attempts (wallet_address, mode) where closed_at is null;
create index if not exists lt_order_attempts_watched_idx
  on public.lt_order_attempts (wallet_address, mode, closed_at) where state = 'lost' or decided_by is not null;
-- Hashed, as some below: a look-up by id then costs the same however many there are.
create index if not exists lt_order_attempts_order_idx on public.lt_order_attempts using hash (lt_order_id);
create index if not exists lt_order_attempts_ft_order_idx on public.lt_order_attempts (ft_order_id);

-- One row per trade of ours. The only place money facts come from.
create table if not exists public.lt_fills (
  fill_seq          bigint generated always as identity primary key,
  trade_id          text not null,
  exchange_order_id text not null,
  role              text not null,
  side              text not null,
  token_id          text not null,
  price             numeric not null,
  shares            numeric not null,
  fee_usd           numeric not null default 0,
  cost_usd          numeric not null default 0,   -- of a SELL: what had been paid for its shares
  state             text not null default 'provisional',
  matched_at        timestamptz not null,
  booked_at         timestamptz not null default clock_timestamp(),
  booked_xid        xid8 not null default pg_current_xact_id(),   -- the transaction that booked it
  settled_at        timestamptz,
  constraint lt_fills_attempt_is_kept foreign key (exchange_order_id)
    references public.lt_order_attempts (exchange_order_id) on delete restrict,
  constraint lt_fills_booked_once unique (exchange_order_id, trade_id, role),
  constraint lt_fills_role_known check (role in ('TAKER', 'MAKER')),
  constraint lt_fills_side_known check (side in ('BUY', 'SELL')),
  constraint lt_fills_state_known check (state in ('provisional', 'final', 'reversed')),
  constraint lt_fills_price_is_probability check (price > 0 and price < 1),
  constraint lt_fills_shares_positive check (shares > 0),
  constraint lt_fills_settled_when_not_provisional check ((state = 'provisional') = (settled_at is null))
);
create index if not exists lt_fills_order_idx on public.lt_fills using hash (exchange_order_id);
create index if not exists lt_fills_provisional_idx on public.lt_fills (exchange_order_id) where state = 'provisional';
create index if not exists lt_fills_settled_idx on public.lt_fills (settled_at) where settled_at is not null;

-- What an order is worth, told once more whenever it changes: each entry is what stands now less what was entered
-- before (20261122000400). Entries that share an order and an `at` add up to what the order has come to there.
create table if not exists public.lt_entries (
  entry_seq      bigint generated always as identity primary key,
  strategy_id    text not null,
  mode           text not null,
  lt_order_id    text not null,
  at             timestamptz,                         -- when the money came back; null: it has not
  locked_usd     numeric not null,
  realised_usd   numeric not null,
  proceeds_usd   numeric not null,                    -- cools down from `at` on
  unredeemed_usd numeric not null,                    -- the part of it that is still shares of a winner
  fees_usd       numeric not null,
  peak_usd       numeric not null default 0,          -- what the peak loses with it: it had counted what is taken back
  entered_at     timestamptz not null default now(),  -- the entries of one transaction are one step
  constraint lt_entries_mode_known check (mode in ('paper', 'live'))
);
create index if not exists lt_entries_strategy_idx on public.lt_entries (strategy_id, mode, entry_seq);
create index if not exists lt_entries_order_idx on public.lt_entries using hash (lt_order_id);
create index if not exists lt_entries_at_idx
  on public.lt_entries (strategy_id, mode, at) include (realised_usd, proceeds_usd, unredeemed_usd) where at is not null;

-- Sums of entries, so that capital need not be computed from the beginning of time.
create table if not exists public.lt_checkpoints (
  checkpoint_id     bigint generated always as identity primary key,
  strategy_id       text not null,
  mode              text not null,
  through_entry_seq bigint not null,
  locked_usd        numeric not null,
  realised_usd      numeric not null,
  unredeemed_usd    numeric not null,
  fees_usd          numeric not null,
  peak_realised_usd numeric not null,                 -- peak equity less the initial capital, since it was armed
  armed_by          text,                             -- who armed the strategy here (lt_arm); null: nobody
  corrected_by      text,                             -- who had it computed from zero (lt_correct_capital); null: nobody
  created_at        timestamptz not null default clock_timestamp(),
  constraint lt_checkpoints_mode_known check (mode in ('paper', 'live')),
  constraint lt_checkpoints_peak_covers_now check (peak_realised_usd >= realised_usd)
);
create unique index if not exists lt_checkpoints_entry_once_idx
  on public.lt_checkpoints (strategy_id, mode, through_entry_seq) where armed_by is null and corrected_by is null;
create index if not exists lt_checkpoints_latest_idx
  on public.lt_checkpoints (strategy_id, mode, through_entry_seq, checkpoint_id);
create index if not exists lt_checkpoints_armed_idx
  on public.lt_checkpoints (strategy_id, mode, checkpoint_id) where armed_by is not null;

-- Orders whose winning shares were turned into dollars.
create table if not exists public.lt_redeemed_orders (
  lt_order_id text primary key,
  redeemed_at timestamptz not null,
  reference   text not null,                          -- the transaction, or whoever says so
  booked_at   timestamptz not null default clock_timestamp(),
  constraint lt_redeemed_orders_order_is_kept foreign key (lt_order_id)
    references public.lt_orders (lt_order_id) on delete restrict
);

-- What the exchange said a wallet holds. Also the row that claims of one wallet queue behind.
create table if not exists public.lt_wallets (
  wallet_address text not null,
  mode           text not null,
  collateral_usd numeric,            -- null: not seen yet
  as_of          timestamptz,
  constraint lt_wallets_pkey primary key (wallet_address, mode),
  constraint lt_wallets_address_lower_case check (wallet_address = lower(wallet_address)),
  constraint lt_wallets_mode_known check (mode in ('paper', 'live')),
  constraint lt_wallets_collateral_not_negative check (collateral_usd >= 0),
  constraint lt_wallets_seen_at_a_time check ((collateral_usd is null) = (as_of is null))
);

-- Who may submit for a wallet, and in which mode: one at a time.
create table if not exists public.lt_leases (
  wallet_address text primary key,
  mode           text not null,
  worker         text not null,
  fence          bigint not null,
  expires_at     timestamptz not null,
  taken_at       timestamptz not null default clock_timestamp(),
  constraint lt_leases_address_lower_case check (wallet_address = lower(wallet_address)),
  constraint lt_leases_mode_known check (mode in ('paper', 'live')),
  constraint lt_leases_worker_given check (worker <> ''),
  constraint lt_leases_fence_positive check (fence > 0)
);

-- The switches: pause and kill are an operator's, a breaker closes by itself. Active while cleared_at is null.
create table if not exists public.lt_controls (
  control_id bigint generated always as identity primary key,
  scope      text not null,
  action     text not null,
  mode       text,                   -- of a breaker or a freeze: whose money it is about; null: it holds in both
  reason     text not null,
  actor      text not null,
  created_at timestamptz not null default clock_timestamp(),
  cleared_at timestamptz,
  cleared_by text,
  constraint lt_controls_scope_known check (scope ~ '^(global|strategy:.+|wallet:0x[0-9a-f]+)$'),
  constraint lt_controls_action_known check (action in ('pause', 'kill', 'freeze', 'breaker')),
  constraint lt_controls_mode_known check (mode in ('paper', 'live')),
  constraint lt_controls_latch_of_strategy check ((action in ('freeze', 'breaker')) = (mode is not null)
    and (mode is null or starts_with(scope, 'strategy:'))),
  constraint lt_controls_cleared_by_somebody check ((cleared_at is null) = (cleared_by is null))
);
create unique index if not exists lt_controls_active_idx
  on public.lt_controls (scope, action, coalesce(mode, '')) where cleared_at is null;

-- What was bid and offered some time after a trade, for mark-outs (20261122000830). Of a token and not of a trade: trades of
-- one moment share it. Null: nobody bid, or offered.
create table if not exists public.lt_market_snapshots (
  token_id text not null,
  taken_at timestamptz not null,
  best_bid numeric,
  best_ask numeric,
  mid      numeric generated always as ((best_bid + best_ask) / 2) stored,
  constraint lt_market_snapshots_pkey primary key (token_id, taken_at),
  constraint lt_market_snapshots_bid_is_probability check (best_bid between 0 and 1),
  constraint lt_market_snapshots_ask_is_probability check (best_ask between 0 and 1)
);
create index if not exists lt_market_snapshots_taken_idx on public.lt_market_snapshots (taken_at);

-- A row a worker writes to see it come back through Realtime when the market is quiet.
create table if not exists public.lt_canary (
  canary_id bigint generated always as identity primary key,
  worker    text not null,
  sent_at   timestamptz not null default clock_timestamp()
);
create index if not exists lt_canary_sent_at_idx on public.lt_canary (sent_at);

-- What the claim looks up in the platform's table.
create index if not exists lt_orders_strategy_ft_order_idx
  on public.lt_orders (strategy_id, ft_order_id) where ft_order_id is not null;
create index if not exists lt_orders_open_idx
  on public.lt_orders (strategy_id, condition_id, token_id) where outcome = 'OPEN';
create index if not exists lt_orders_condition_idx on public.lt_orders (condition_id);
create index if not exists lt_orders_id_idx on public.lt_orders using hash (lt_order_id);
create index if not exists lt_orders_strategy_order_idx on public.lt_orders (strategy_id, lt_order_id);
create index if not exists lt_orders_created_idx on public.lt_orders (created_at);
