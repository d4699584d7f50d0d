-- The running platform's tables as our migrations meet them: its columns, its cascades, its open policies, its
-- default grants - and some rows.

alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;

create table public.ft_wallets (
  wallet_id text primary key, config_id text not null, display_name text not null, description text,
  detailed_description text, starting_balance decimal(12,2) not null default 1000,
  current_balance decimal(12,2) not null default 1000, total_pnl decimal(12,2) default 0,
  model_threshold decimal(4,3), price_min decimal(4,3) default 0, price_max decimal(4,3) default 1,
  min_edge decimal(4,3) default 0, use_model boolean default true,
  bet_size decimal(10,2) not null default 1.20, bet_allocation_weight decimal(4,2) not null default 1.00,
  allocation_method text not null default 'FIXED', kelly_fraction decimal(4,2) default 0.25,
  min_bet decimal(10,2) default 0.50, max_bet decimal(10,2) default 10.00,
  min_trader_resolved_count int default 30, start_date timestamptz default now(),
  end_date timestamptz default now() + interval '4 days', last_sync_time timestamptz,
  is_active boolean default true, total_trades int default 0, open_positions int default 0,
  trades_seen int default 0, trades_skipped int default 0,
  created_at timestamptz default now(), updated_at timestamptz default now()
);

create table public.ft_orders (
  order_id uuid primary key default gen_random_uuid(),
  wallet_id text not null references public.ft_wallets (wallet_id) on delete cascade,
  order_type text default 'FT', side text, market_slug text, condition_id text, market_title text,
  token_label text, source_trade_id text, trader_address text, entry_price decimal(6,4), size decimal(10,2),
  market_end_time timestamptz, trader_win_rate decimal(5,4), trader_roi decimal(8,4), trader_resolved_count int,
  model_probability decimal(5,4), edge_pct decimal(5,4), conviction decimal(6,2), outcome text default 'OPEN',
  winning_label text, pnl decimal(10,2), order_time timestamptz not null, resolved_time timestamptz,
  created_at timestamptz default now(), exit_price numeric, close_reason text,
  unique (wallet_id, source_trade_id)
);
create index on public.ft_orders (wallet_id, outcome);
create index on public.ft_orders (wallet_id, order_time desc);

create table public.lt_strategies (
  strategy_id text primary key,
  ft_wallet_id text not null references public.ft_wallets (wallet_id),
  user_id uuid not null references auth.users (id) on delete cascade,
  wallet_address text not null, display_name text not null, description text,
  is_active boolean not null default false, is_paused boolean not null default false,
  shadow_mode boolean not null default false, launched_at timestamptz,
  initial_capital numeric(12,2) not null default 1000, available_cash numeric(12,2) not null default 1000,
  locked_capital numeric(12,2) not null default 0, cooldown_capital numeric(12,2) not null default 0,
  cooldown_hours numeric(4,1) default 3.0, slippage_tolerance_pct numeric(5,3) default 3.000,
  order_type text default 'FOK', min_order_size_usd numeric(12,2) default 1.00,
  max_order_size_usd numeric(12,2) default 100.00, max_position_size_usd numeric(12,2),
  max_total_exposure_usd numeric(12,2), daily_budget_usd numeric(12,2), max_daily_loss_usd numeric(12,2),
  circuit_breaker_loss_pct numeric(5,2), stop_loss_pct numeric(5,2), take_profit_pct numeric(5,2),
  max_hold_hours int, daily_spent_usd numeric(12,2) default 0, daily_loss_usd numeric(12,2) default 0,
  consecutive_losses int default 0, peak_equity numeric(12,2) default 1000,
  current_drawdown_pct numeric(5,4) default 0, circuit_breaker_active boolean default false,
  last_reset_date date, last_sync_time timestamptz, sync_ft_changes boolean default true,
  created_at timestamptz default now(), updated_at timestamptz default now(),
  unique (user_id, ft_wallet_id)
);

create table public.lt_orders (
  lt_order_id text primary key default gen_random_uuid()::text,
  strategy_id text not null references public.lt_strategies (strategy_id) on delete cascade,
  user_id uuid not null, ft_order_id text, ft_wallet_id text not null, ft_trader_wallet text,
  source_trade_id text not null, condition_id text not null, token_id text not null, token_label text not null,
  market_title text, market_slug text, side text not null default 'BUY', signal_price numeric(12,6) not null,
  signal_size_usd numeric(12,2) not null, executed_price numeric(12,6), executed_size_usd numeric(12,2),
  shares_bought numeric(18,6), shares_remaining numeric(18,6), order_id text,
  status text not null default 'PENDING', fill_rate numeric(5,4), slippage_bps int,
  outcome text not null default 'OPEN', winning_label text, pnl numeric(12,2), ft_pnl numeric(12,2),
  performance_diff_pct numeric(8,4), order_placed_at timestamptz, fully_filled_at timestamptz,
  resolved_at timestamptz, execution_latency_ms int, risk_check_passed boolean default true,
  risk_check_reason text, rejection_reason text, is_force_test boolean default false,
  is_shadow boolean default false, created_at timestamptz default now(), updated_at timestamptz default now(),
  unique (strategy_id, source_trade_id)
);

create table public.lt_cooldown_queue (
  id bigserial primary key,
  strategy_id text not null references public.lt_strategies (strategy_id) on delete cascade,
  lt_order_id text references public.lt_orders (lt_order_id) on delete set null,
  amount numeric(12,2) not null, available_at timestamptz not null,
  created_at timestamptz default now(), released_at timestamptz
);

alter table public.ft_wallets enable row level security;
alter table public.ft_orders enable row level security;
alter table public.lt_strategies enable row level security;
alter table public.lt_orders enable row level security;

create policy "Public read ft_wallets" on public.ft_wallets for select using (true);
create policy "Public read ft_orders" on public.ft_orders for select using (true);
-- Named after service_role, granted to everybody.
create policy "Service role full access" on public.ft_wallets for all using (true) with check (true);
create policy "Service role full access" on public.ft_orders for all using (true) with check (true);
create policy "Service role full access" on public.lt_strategies for all using (true) with check (true);
create policy "Service role access" on public.lt_orders for all to service_role using (true) with check (true);
create policy "Anyone may look" on public.lt_orders for select using (true);
create policy "Users pause" on public.lt_strategies for update to authenticated using (auth.uid() = user_id);

insert into auth.users (id) values
  ('00000000-0000-4000-8000-000000000001'), ('00000000-0000-4000-8000-000000000002');
insert into public.ft_wallets (wallet_id, config_id, display_name) values ('FT_OLD', 'old', 'Old');
insert into public.lt_strategies (strategy_id, ft_wallet_id, user_id, wallet_address, display_name, is_active) values
  ('LT_OLD', 'FT_OLD', '00000000-0000-4000-8000-000000000001', '0xABABABABABABABABABABABABABABABABABABABAB', 'Old', true),
  ('LT_OFF', 'FT_OLD', '00000000-0000-4000-8000-000000000002', '0xABABABABABABABABABABABABABABABABABABABAB', 'Off', false);
insert into public.ft_orders (order_id, wallet_id, side, condition_id, token_label, source_trade_id, entry_price, size, order_time) values
  ('00000000-0000-4000-a000-000000000001', 'FT_OLD', 'BUY', '0xc1', 'Yes', 'by-id', 0.5015, 6, now()),
  ('00000000-0000-4000-a000-000000000002', 'FT_OLD', 'BUY', '0xc1', 'Yes', 'by-trade', 0.5015, 6, now()),
  ('00000000-0000-4000-a000-000000000003', 'FT_OLD', 'BUY', '0xc1', 'Yes', 'tested', 0.5015, 6, now()),
  ('00000000-0000-4000-a000-000000000004', 'FT_OLD', 'BUY', '0xc1', 'Yes', 'new', 0.5015, 6, now());
insert into public.lt_orders (lt_order_id, strategy_id, user_id, ft_order_id, ft_wallet_id, source_trade_id, condition_id,
  token_id, token_label, signal_price, signal_size_usd, executed_size_usd, shares_bought, order_id, status, is_force_test)
values
  ('old-1', 'LT_OLD', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-a000-000000000001', 'FT_OLD', 'by-id',
   '0xc1', '1', 'Yes', 0.5, 6, 5.50, 11, '0xold1', 'FILLED', false),
  ('old-2', 'LT_OLD', '00000000-0000-4000-8000-000000000001', 'not a uuid', 'FT_OLD', 'by-trade',
   '0xc1', '1', 'Yes', 0.5, 7, null, null, '0xold2', 'PENDING', false),
  ('old-3', 'LT_OLD', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-a000-000000000003', 'FT_OLD', 'tested',
   '0xc1', '1', 'Yes', 0.5, 5, 5, 10, '0xold3', 'FILLED', true),
  ('old-4', 'LT_OLD', '00000000-0000-4000-8000-000000000001', null, 'FT_OLD', 'signal is gone',
   '0xc1', '1', 'Yes', 0.5, 6, null, null, null, 'REJECTED', false);
update public.lt_orders set outcome = 'CANCELLED' where lt_order_id = 'old-4';
