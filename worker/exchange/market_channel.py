"""The exchange's market channel: what is bid and offered for a few tokens, heard as it changes. No key, no account.

A wake-up, never the truth: it may miss and repeat, and says nothing of the time before it was connected. The connection
is opened for the first token that somebody wants to hear of, and left when nobody wants any. Whoever listens begins
again after an error (`quotes` raises `ExchangeUnreachable`), and the tokens are asked for anew.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from worker.errors import ExchangeUnreachable
from worker.orders.market import Quote
from worker.orders.numbers import exact_decimal
from worker.orders.terms import TokenId

_PING_EVERY_S = 10.0  # the exchange's own rule; it leaves those who are silent
_SILENT_AFTER_S = 25.0
_CONNECT_WITHIN_S = 10.0


class MarketChannel:
    def __init__(self, url: str) -> None:
        self._url = url
        self._wanted: frozenset[TokenId] = frozenset()
        self._changed = asyncio.Event()

    def follow(self, tokens: Collection[TokenId]) -> None:
        """From now on these tokens, and no others."""
        if self._wanted != (wanted := frozenset(tokens)):
            self._wanted = wanted
            self._changed.set()

    async def quotes(self) -> AsyncIterator[Quote]:
        """Until cancelled. Raises `ExchangeUnreachable` when the connection fails."""
        while True:
            while not self._wanted:
                self._changed.clear()
                await self._changed.wait()
            try:
                async with asyncio.timeout(_CONNECT_WITHIN_S):
                    socket = await connect(self._url, ping_interval=None, max_queue=None, compression=None)
                async with socket:
                    async for quote in self._listen(socket):
                        yield quote
            except (OSError, TimeoutError, WebSocketException) as error:
                raise ExchangeUnreachable(
                    f"The market channel is lost: {str(error) or type(error).__name__}."
                ) from error

    async def _listen(self, socket: ClientConnection) -> AsyncIterator[Quote]:
        """Ends when nothing is wanted any more."""
        asked: frozenset[TokenId] = frozenset()
        loop = asyncio.get_running_loop()
        heard_s = pinged_s = loop.time()
        hearing = asyncio.ensure_future(socket.recv())
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            while True:
                asked = await self._ask(socket, asked)
                if not asked:
                    return
                wait_s = max(pinged_s + _PING_EVERY_S - loop.time(), 0)
                done, _ = await asyncio.wait(
                    {hearing, changed}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                if changed in done:
                    self._changed.clear()
                    changed = asyncio.ensure_future(self._changed.wait())
                if hearing in done:
                    heard_s = loop.time()
                    frame = hearing.result()
                    hearing = asyncio.ensure_future(socket.recv())
                    for quote in quotes_of(frame):
                        yield quote
                if loop.time() - pinged_s >= _PING_EVERY_S:
                    if loop.time() - heard_s > _SILENT_AFTER_S:
                        raise TimeoutError("it says nothing, not even PONG")
                    pinged_s = loop.time()
                    await socket.send("PING")
        finally:
            for task in (hearing, changed):
                task.cancel()
            await asyncio.gather(hearing, changed, return_exceptions=True)

    async def _ask(self, socket: ClientConnection, asked: frozenset[TokenId]) -> frozenset[TokenId]:
        wanted = self._wanted
        if new := wanted - asked:
            first = {"type": "market", "initial_dump": True} if not asked else {"operation": "subscribe"}
            await socket.send(json.dumps({**first, "assets_ids": sorted(new)}))
        if (old := asked - wanted) and wanted:
            await socket.send(json.dumps({"operation": "unsubscribe", "assets_ids": sorted(old)}))
        return wanted


def quotes_of(frame: str | bytes) -> Iterator[Quote]:
    """What a frame says of the best prices; of whatever else it may say, nothing."""
    try:
        said = json.loads(frame)
    except ValueError:  # PONG
        return
    for event in said if isinstance(said, list) else [said]:
        if not isinstance(event, Mapping):
            continue
        match event.get("event_type"):
            case "book":
                bids, asks = _prices(event.get("bids")), _prices(event.get("asks"))
                yield from _quote(event, max(bids, default=None), min(asks, default=None))
            case "price_change":
                for change in event.get("price_changes") or ():
                    if isinstance(change, Mapping):
                        yield from _quote(change, _price(change, "best_bid"), _price(change, "best_ask"))


def _quote(event: Mapping[str, Any], bid: Decimal | None, ask: Decimal | None) -> Iterator[Quote]:
    if isinstance(token := event.get("asset_id"), str):
        yield Quote(TokenId(token), bid, ask)


def _prices(levels: Any) -> list[Decimal]:
    rows = levels if isinstance(levels, list) else []
    return [price for row in rows if isinstance(row, Mapping) and (price := _price(row, "price")) is not None]


def _price(row: Mapping[str, Any], name: str) -> Decimal | None:
    """An empty side reads "0" or "1"."""
    price = exact_decimal(row.get(name))
    return price if price is not None and 0 < price < 1 else None
