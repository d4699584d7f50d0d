-- Markets that were resolved for nobody: "50-50" in the exchange's words.
--
-- The platform has no word for it and needs none: an order of such a market is WON or LOST by whether it came to more
-- than it cost, and winning_label says VOID. What a share pays stands here, for capital is computed from that.

create table if not exists public.lt_void_markets (
  condition_id text primary key,
  payout       numeric not null,                      -- dollars for a share of any outcome
  told_at      timestamptz not null default clock_timestamp(),
  constraint lt_void_markets_pays_a_part check (payout > 0 and payout < 1)
);

-- It is said once, and stands: shares that were redeemed for it cannot be redeemed for more.
create or replace trigger lt_void_markets_stay before update or delete or truncate on public.lt_void_markets
  for each statement execute function public.lt_refuse_removal();
