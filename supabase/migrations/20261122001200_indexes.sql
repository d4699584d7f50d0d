-- no-transaction
-- The index of every sweep. ft_orders holds hundreds of thousands of rows and is written to all day, so it is
-- built without locking the table; PostgreSQL forbids that inside a transaction, hence a file of its own.

create index concurrently if not exists ft_orders_wallet_created_idx
  on public.ft_orders (wallet_id, created_at, order_id);
