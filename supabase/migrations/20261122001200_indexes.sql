-- no-transaction
-- ft_orders holds hundreds of thousands of rows and is written to all day, so its indexes are built without locking the
-- table; PostgreSQL forbids that inside a transaction, hence a file of its own.

-- Of every sweep.
create index concurrently if not exists ft_orders_wallet_created_idx
  on public.ft_orders (wallet_id, created_at, order_id);

-- Whether a trader has sold, asked of each order that rests or is tried again: a popular market has thousands of signals.
create index concurrently if not exists ft_orders_sales_idx
  on public.ft_orders (condition_id, wallet_id, order_time) where side = 'SELL';
