-- The platform's four tables, with the platform's names, columns and types.
-- Over a running platform only the late columns are added and the one dangerous cascade is defused;
-- in an empty project the tables are made. No value of an existing row is touched.

create table if not exists public.ft_wallets (
  wallet_id                 text primary key,
  config_id                 text not null,
  display_name              text not null,
  description               text,
  detailed_description      text,
  starting_balance          numeric(12,2) not null default 1000,
  current_balance           numeric(12,2) not null default 1000,
  total_pnl                 numeric(12,2) default 0,
  model_threshold           numeric(4,3),
  price_min                 numeric(4,3) default 0,
  price_max                 numeric(4,3) default 1,
  min_edge                  numeric(4,3) default 0,
  use_model                 boolean default true,
  bet_size                  numeric(10,2) not null default 1.20,
  bet_allocation_weight     numeric(4,2) not null default 1.00,
  allocation_method         text not null default 'FIXED',
  kelly_fraction            numeric(4,2) default 0.25,
  min_bet                   numeric(10,2) default 0.50,
  max_bet                   numeric(10,2) default 10.00,
  min_trader_resolved_count integer default 30,
  start_date                timestamptz default now(),
  end_date                  timestamptz default now() + interval '4 days',
  last_sync_time            timestamptz,
  is_active                 boolean default true,
  total_trades              integer default 0,
  open_positions            integer default 0,
  trades_seen               integer default 0,
  trades_skipped            integer default 0,
  created_at                timestamptz default now(),
  updated_at                timestamptz default now()
);

-- The platform added these one by one, some by hand: a copy of it may lack any of them.
alter table public.ft_wallets
  add column if not exists min_conviction            numeric(4,2) default 0,
  add column if not exists market_categories         text[],
  add column if not exists bet_structures            text[],
  add column if not exists min_original_trade_usd    numeric(10,2) default 0,
  add column if not exists max_original_trade_usd    numeric(10,2),
  add column if not exists thesis_tier               text,
  add column if not exists hypothesis                text,
  add column if not exists wr_source                 text default 'GLOBAL',
  add column if not exists dead_market_guard         boolean not null default true,
  add column if not exists dead_market_floor         numeric(6,4) not null default 0.04,
  add column if not exists dead_market_max_drift_pct numeric(5,2) not null default 80.00;

create table if not exists public.ft_orders (
  order_id              uuid primary key default gen_random_uuid(),
  wallet_id             text not null references public.ft_wallets (wallet_id),
  order_type            text default 'FT',
  side                  text,
  market_slug           text,
  condition_id          text,
  market_title          text,
  token_label           text,
  source_trade_id       text,
  trader_address        text,
  entry_price           numeric(6,4),
  size                  numeric(10,2),          -- dollars, not shares
  market_end_time       timestamptz,
  trader_win_rate       numeric(5,4),
  trader_roi            numeric(8,4),
  trader_resolved_count integer,
  model_probability     numeric(5,4),
  edge_pct              numeric(5,4),
  conviction            numeric(6,2),
  outcome               text default 'OPEN',
  winning_label         text,
  pnl                   numeric(10,2),
  order_time            timestamptz not null,   -- when the copied trader traded, not when the row came
  resolved_time         timestamptz,
  created_at            timestamptz default now(),
  constraint ft_orders_wallet_id_source_trade_id_key unique (wallet_id, source_trade_id)
);

create table if not exists public.lt_strategies (
  strategy_id             text primary key,
  ft_wallet_id            text not null references public.ft_wallets (wallet_id),
  user_id                 uuid not null,
  wallet_address          text not null,
  display_name            text not null,
  description             text,
  is_active               boolean not null default false,
  is_paused               boolean not null default false,
  shadow_mode             boolean not null default false,
  launched_at             timestamptz,
  initial_capital         numeric(12,2) not null default 1000,
  available_cash          numeric(12,2) not null default 1000,
  locked_capital          numeric(12,2) not null default 0,
  cooldown_capital        numeric(12,2) not null default 0,
  cooldown_hours          numeric(4,1) default 3.0,
  slippage_tolerance_pct  numeric(5,3) default 3.000,
  order_type              text default 'FOK',
  min_order_size_usd      numeric(12,2) default 1.00,
  max_order_size_usd      numeric(12,2) default 100.00,
  max_position_size_usd   numeric(12,2),
  max_total_exposure_usd  numeric(12,2),
  daily_budget_usd        numeric(12,2),
  max_daily_loss_usd      numeric(12,2),
  circuit_breaker_loss_pct numeric(5,2),        -- percent: 20 means 20 %
  stop_loss_pct           numeric(5,2),
  take_profit_pct         numeric(5,2),
  max_hold_hours          integer,
  daily_spent_usd         numeric(12,2) default 0,
  daily_loss_usd          numeric(12,2) default 0,
  consecutive_losses      integer default 0,
  peak_equity             numeric(12,2) default 1000,
  current_drawdown_pct    numeric(5,4) default 0, -- fraction: 0.2 means 20 %
  circuit_breaker_active  boolean default false,
  last_reset_date         date,
  last_sync_time          timestamptz,
  sync_ft_changes         boolean default true,
  created_at              timestamptz default now(),
  updated_at              timestamptz default now(),
  constraint lt_strategies_user_id_ft_wallet_id_key unique (user_id, ft_wallet_id)
);

create table if not exists public.lt_orders (
  lt_order_id          text primary key default gen_random_uuid()::text,
  strategy_id          text not null,
  user_id              uuid not null,
  ft_order_id          text,
  ft_wallet_id         text not null,
  ft_trader_wallet     text,
  source_trade_id      text not null,
  condition_id         text not null,
  token_id             text not null,
  token_label          text not null,
  market_title         text,
  market_slug          text,
  side                 text not null default 'BUY',
  signal_price         numeric(12,6) not null,
  signal_size_usd      numeric(12,2) not null,  -- our bet, not the paper trade's size
  executed_price       numeric(12,6),
  executed_size_usd    numeric(12,2),
  shares_bought        numeric(18,6),
  shares_remaining     numeric(18,6),
  order_id             text,                    -- the exchange's id
  status               text not null default 'PENDING',
  fill_rate            numeric(5,4),
  slippage_bps         integer,
  outcome              text not null default 'OPEN',
  winning_label        text,
  pnl                  numeric(12,2),
  ft_pnl               numeric(12,2),
  performance_diff_pct numeric(8,4),
  order_placed_at      timestamptz,
  fully_filled_at      timestamptz,
  resolved_at          timestamptz,
  execution_latency_ms integer,
  risk_check_passed    boolean default true,
  risk_check_reason    text,
  rejection_reason     text,
  is_force_test        boolean default false,
  is_shadow            boolean default false,
  created_at           timestamptz default now(),
  updated_at           timestamptz default now(),
  constraint lt_orders_strategy_id_source_trade_id_key unique (strategy_id, source_trade_id)
);

-- Limits that the platform has no column for. NULL is off; for no order at all there is is_paused.
alter table public.lt_strategies
  add column if not exists max_consecutive_losses integer
    constraint lt_strategies_max_consecutive_losses_in_range check (max_consecutive_losses between 1 and 1000),
  add column if not exists max_open_positions     integer
    constraint lt_strategies_max_open_positions_in_range check (max_open_positions between 1 and 100000),
  add column if not exists max_orders_per_minute  integer
    constraint lt_strategies_max_orders_per_minute_in_range check (max_orders_per_minute between 1 and 100000);

alter table public.lt_orders
  add column if not exists order_not_found_count integer not null default 0,
  add column if not exists first_fill_at         timestamptz;

-- The platform's own foreign key of lt_orders cascades: dropping a strategy would drop the record of real
-- orders. Every such cascade becomes a refusal, and a project without the key gets one.
do $$
declare
  cascade_key text;
begin
  for cascade_key in
    select conname from pg_constraint
    where conrelid = 'public.lt_orders'::regclass and confrelid = 'public.lt_strategies'::regclass
      and contype = 'f' and confdeltype <> 'r'
  loop
    execute format('alter table public.lt_orders drop constraint %I', cascade_key);
  end loop;

  if not exists (
    select from pg_constraint
    where conrelid = 'public.lt_orders'::regclass and confrelid = 'public.lt_strategies'::regclass
      and contype = 'f'
  ) then
    -- `not valid`: an orphan that the old cascade left behind must not stop the installation.
    alter table public.lt_orders
      add constraint lt_orders_strategy_is_kept foreign key (strategy_id)
      references public.lt_strategies (strategy_id) on delete restrict not valid;
  end if;
end
$$;

-- auth.users belongs to Supabase and may be absent (a plain PostgreSQL). A platform that has its own
-- foreign key keeps it: what it cascades to ends at lt_orders_strategy_is_kept.
do $$
begin
  if to_regclass('auth.users') is not null and not exists (
    select from pg_constraint
    where conrelid = 'public.lt_strategies'::regclass and confrelid = to_regclass('auth.users')
  ) then
    alter table public.lt_strategies
      add constraint lt_strategies_user_exists foreign key (user_id)
      references auth.users (id) on delete restrict not valid;
  end if;
end
$$;

-- The platform has this index under a name that nobody wrote down: looked for by its columns.
do $$
begin
  if not exists (
    select from pg_index i
    where i.indrelid = 'public.ft_orders'::regclass
      and pg_get_indexdef(i.indexrelid, 1, true) = 'wallet_id' and pg_get_indexdef(i.indexrelid, 2, true) = 'order_time'
  ) then
    create index ft_orders_wallet_order_time_idx on public.ft_orders (wallet_id, order_time desc);
  end if;
end
$$;
create index if not exists ft_orders_condition_id_idx on public.ft_orders (condition_id);
create index if not exists lt_orders_strategy_created_idx on public.lt_orders (strategy_id, created_at desc);
create index if not exists lt_orders_exchange_id_idx on public.lt_orders (order_id) where order_id is not null;
