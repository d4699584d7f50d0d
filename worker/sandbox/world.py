"""A whole trading world on one machine: a Supabase project, an exchange, followers with wallets, and the worker.

Everything the worker talks to is reached over real sockets through its ordinary settings; nothing in it knows that
the world is small.
"""

import json
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import psycopg
from eth_account import Account

from worker.sandbox.exchange.remote import RemoteExchange
from worker.sandbox.gateway.pacing import DeliveryMode
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox


@dataclass(frozen=True, slots=True)
class Follower:
    """A live strategy: which paper wallet it follows, with whose money, and how it orders."""

    strategy_id: str
    ft_wallet_id: str
    wallet: int  # index of the trading wallet that it uses
    order_type: str
    slippage_pct: Decimal


FOLLOWERS = (
    Follower("LT_MOMENTUM_FAST", "FT_MOMENTUM", 0, "FAK", Decimal("3.0")),
    Follower("LT_MOMENTUM_WHOLE", "FT_MOMENTUM", 1, "FOK", Decimal("5.0")),
    Follower("LT_VALUE_PATIENT", "FT_VALUE", 0, "GTC", Decimal("1.0")),
)


@dataclass(frozen=True, slots=True)
class Wallet:
    address: str
    key: str = field(repr=False)

    @classmethod
    def new(cls) -> "Wallet":
        key = "0x" + secrets.token_hex(32)
        return cls(Account.from_key(key).address.lower(), key)


@dataclass(frozen=True, slots=True)
class World:
    supabase: SupabaseSandbox
    exchange: RemoteExchange
    wallets: Sequence[Wallet]
    followers: Sequence[Follower]

    def worker_environment(self) -> dict[str, str]:
        """The settings that point the production worker at this world, in live mode."""
        named = [
            {"address": wallet.address, "type": "eoa", "key": f"env:WALLET_KEY_{number}"}
            for number, wallet in enumerate(self.wallets)
        ]
        return {
            "SUPABASE_URL": self.supabase.url,
            "SUPABASE_SERVICE_ROLE_KEY": self.supabase.service_role_key,
            "POLYCOPY_MODE": "live",
            "POLYCOPY_ENDPOINTS__PORT": "off",  # several workers, and several worlds, share this machine
            "POLYCOPY_WALLETS": json.dumps(named),
            **{f"WALLET_KEY_{number}": wallet.key for number, wallet in enumerate(self.wallets)},
            "POLYCOPY_EXCHANGE__CLOB_URL": self.exchange.http_url,
            "POLYCOPY_EXCHANGE__GAMMA_URL": self.exchange.http_url,
            "POLYCOPY_EXCHANGE__DATA_URL": self.exchange.http_url,
            "POLYCOPY_EXCHANGE__USER_WS_URL": f"{self.exchange.ws_url}/ws/user",
            "POLYCOPY_EXCHANGE__MARKET_WS_URL": f"{self.exchange.ws_url}/ws/market",
        }


@asynccontextmanager
async def open_world(
    *,
    seed: int = 0,
    markets: int = 8,
    recording: Path | None = None,
    replay_speed: float = 1.0,
    delivery: DeliveryMode = DeliveryMode.IMMEDIATE,
    timing: GatewayTiming | None = None,
    followers: Sequence[Follower] = FOLLOWERS,
    bet_usd: Decimal = Decimal(10),
    deposit_usd: Decimal = Decimal(100_000),
    mined_after_s: float = 2.0,
    confirmed_after_s: float = 3.0,
    postgres: Postgres | None = None,
    template: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[World]:
    """Starts everything but the worker, telling `say` of each part; takes it down at exit.

    `mined_after_s`, `confirmed_after_s`: how long a trade stays in each state before the next one.
    `timing`, `postgres`, `template`: see `SupabaseSandbox`.
    """
    arguments = ["--seed", str(seed), "--markets", "0" if recording else str(markets)]
    arguments += ["--mined-after-s", str(mined_after_s), "--confirmed-after-s", str(confirmed_after_s)]
    if recording:
        arguments += ["--recording", str(recording), "--speed", str(replay_speed)]
    async with AsyncExitStack() as stack:
        say("starting PostgreSQL, PostgREST and the gateway ...")
        supabase = await stack.enter_async_context(
            SupabaseSandbox.start(
                delivery=delivery, timing=timing, seed=seed, postgres=postgres, template=template
            )
        )
        say("starting the exchange ...")
        exchange = await stack.enter_async_context(RemoteExchange.spawn(*arguments))
        wallets = [Wallet.new() for _ in range(max(follower.wallet for follower in followers) + 1)]
        for wallet in wallets:
            await exchange.fund(wallet.address, deposit_usd)
        world = World(supabase, exchange, wallets, followers)
        await _settle_in(world, bet_usd=bet_usd, capital_usd=deposit_usd / (2 * len(followers)))
        yield world


async def _settle_in(world: World, *, bet_usd: Decimal, capital_usd: Decimal) -> None:
    """What the platform would have in its tables: paper wallets, users, and the strategies that follow."""
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        for ft_wallet_id in dict.fromkeys(follower.ft_wallet_id for follower in world.followers):
            await database.execute(
                """
                insert into public.ft_wallets (
                  wallet_id, config_id, display_name, bet_size, allocation_method, min_bet, max_bet,
                  start_date, end_date
                ) values (%s, %s, %s, %s, 'FIXED', 1, 1000, now(), now() + interval '1 day')
                """,
                (ft_wallet_id, ft_wallet_id.lower(), ft_wallet_id.title(), bet_usd),
            )
        for follower in world.followers:
            user_id = uuid.uuid4()
            await database.execute("insert into auth.users (id) values (%s)", (user_id,))
            await database.execute(
                """
                insert into public.lt_strategies (
                  strategy_id, ft_wallet_id, user_id, wallet_address, display_name, is_active,
                  initial_capital, order_type, slippage_tolerance_pct
                ) values (%s, %s, %s, %s, %s, true, %s, %s, %s)
                """,
                (
                    follower.strategy_id,
                    follower.ft_wallet_id,
                    user_id,
                    world.wallets[follower.wallet].address,
                    follower.strategy_id.replace("_", " ").title(),
                    capital_usd,
                    follower.order_type,
                    follower.slippage_pct,
                ),
            )
