"""Paper signals as the platform writes them: a trader's trade, marked up, inserted into `ft_orders`.

Two sources of trades: a seeded trader who takes the best offer of a random market, and the prints of a recording.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from worker.sandbox.exchange.remote import RemoteExchange

# The paper side books every trade 0.3 % worse than it was, in four decimals (ft_orders.entry_price).
PAPER_MARKUP = Decimal("1.003")
_FOUR_PLACES = Decimal("0.0001")
_DEAREST = Decimal("0.9999")
_SELL_SHARE = 0.1
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Trade:
    """What the copied trader did."""

    condition: str
    outcome: str
    side: str
    price: Decimal
    market: str


def signal_row(trade: Trade, *, ft_wallet_id: str, size_usd: Decimal) -> dict[str, Any]:
    """The row that the platform would insert for this trade; numerics as text."""
    marked_up = (trade.price * PAPER_MARKUP).quantize(_FOUR_PLACES, ROUND_HALF_UP)
    return {
        "order_id": str(uuid.uuid4()),
        "wallet_id": ft_wallet_id,
        "side": trade.side,
        "market_title": trade.market,
        "condition_id": trade.condition,
        "token_label": trade.outcome,
        "source_trade_id": "0x" + uuid.uuid4().hex * 2,
        "trader_address": "0x" + "ab" * 20,
        "entry_price": str(min(marked_up, _DEAREST)),
        "size": str(size_usd),
        "order_time": datetime.now(UTC).isoformat(),
    }


async def random_trades(
    exchange: RemoteExchange, *, rate_per_s: float, seed: int
) -> AsyncGenerator[Trade, None]:
    """One trade every `1 / rate_per_s` seconds: mostly a buy at the best offer, sometimes a sale."""
    source = random.Random(seed)
    markets: Sequence[dict[str, Any]] = await exchange.read("markets")
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        market = source.choice(markets)
        index = source.randrange(2)
        book = await exchange.book(market["tokens"][index])
        side = "SELL" if source.random() < _SELL_SHARE else "BUY"
        levels = book["bids"] if side == "SELL" else book["asks"]
        if levels:
            prices = [Decimal(level["price"]) for level in levels]
            price = max(prices) if side == "SELL" else min(prices)
            yield Trade(market["condition"], market["outcomes"][index], side, price, market["question"])
        due_s += 1 / rate_per_s
        await asyncio.sleep(max(0.0, due_s - loop.time()))


async def recorded_trades(exchange: RemoteExchange) -> AsyncGenerator[Trade, None]:
    """Every print of the replay from now on, as it comes."""
    places = {
        token: (market["condition"], outcome, market["question"])
        for market in await exchange.read("markets")
        for token, outcome in zip(market["tokens"], market["outcomes"], strict=True)
    }
    seen = max((entry["number"] + 1 for entry in await exchange.read("prints")), default=0)
    while True:
        for entry in await exchange.read("prints", since=seen):
            seen = entry["number"] + 1
            condition, outcome, question = places[entry["token"]]
            yield Trade(condition, outcome, entry["side"], Decimal(entry["price"]), question)
        await asyncio.sleep(_POLL_S)
