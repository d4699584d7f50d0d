"""What else a day is made of: strategies of every type of order, signals by the hundred, and an exchange that misbehaves.

Nobody says here what a signal comes to. Whoever looks afterwards, however he looks, has to count the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice
from typing import Any, Final

from tests.day.situations import MAX_AGE_S, SITUATIONS, Purse
from tests.e2e.conftest import Town
from tests.support.eventually import eventually
from worker.sandbox.exchange.fault_catalogue import CATALOGUE, FaultName
from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.world import Follower

SIGNALS: Final = 300  # of the whole day
SHADOW: Final = "LT_DAY_SHADOW"
TAKERS: Final = "FT_DAY_TAKERS"
RESTERS: Final = "FT_DAY_RESTERS"
NOBODYS: Final = "FT_DAY_NOBODY"  # no strategy follows it
FOLLOWERS: Final = (
    Follower("LT_DAY_FAK", TAKERS, Purse.DAY.value, "FAK", Decimal(3)),
    Follower("LT_DAY_IOC", TAKERS, Purse.DAY.value, "IOC", Decimal(5)),  # the platform's word
    Follower("LT_DAY_FOK", TAKERS, Purse.DAY.value, "FOK", Decimal(3)),
    Follower(SHADOW, TAKERS, Purse.DAY.value, "FAK", Decimal(3)),
    Follower("LT_DAY_GTC", RESTERS, Purse.DAY.value, "GTC", Decimal(1)),
    Follower("LT_DAY_GTD", RESTERS, Purse.DAY.value, "GTD", Decimal(1)),
)
# What an order that never arrived comes to is known within moments.
SETTINGS: Final = {
    "POLYCOPY_PENDING__SENDS_MOST": "1",
    "POLYCOPY_PENDING__LOST_AFTER_LOOKUPS": "2",
    "POLYCOPY_PENDING__LOST_AFTER_S": "1",
}
# Those that orders come to; some take their time.
ENDS: Final = frozenset({"live", "matched", "killed", "cancelled", "rejected", "lost"})
F = FaultName
# Each strikes one request, whoever's it is. Those that shut the door of a wallet have situations of their own, and who
# waits for an answer that never comes waits for longer than the day lasts.
FAULTS: Final = frozenset(FaultName) - {
    F.CLOUDFLARE_BLOCK, F.UNAUTHORIZED, F.RATE_LIMITED, F.RESTARTING, F.POST_ONLY, F.CANCEL_ONLY, F.DISABLED,
    F.REFUSED_WITH_SUCCESS, F.WRONG_ID, F.HANG_BEFORE, F.HANG_AFTER, F.CANCEL_DROP_AFTER,
}  # fmt: skip

AT_ORDERS: Final = {name for name in FAULTS if CATALOGUE[name].method == "POST"}

_BET_USD: Final = Decimal(10)
_ASK: Final = "0.50"
_BID: Final = "0.48"
_SCARCE_SHARES: Final = "30"  # an order and a half
_TOO_OLD: Final = timedelta(seconds=2 * MAX_AGE_S)
_WIN_RATE: Final = "0.99"
_TAKEN, _RESTED, _SCARCE, _BARE, _SOLD = 18, 8, 6, 4, 3  # signals
# What is wrong with the signals that make the hundreds full; the first is the platform's old complaint.
_WRONG: Final[Sequence[Mapping[str, Any]]] = (
    {"created_at": _TOO_OLD},
    {"created_at": _TOO_OLD},
    {"outcome": "LOST"},
    {"entry_price": "0"},
    {"token_label": "Neither"},
    {"trader_win_rate": "0.50"},
    {"wallet_id": NOBODYS},
    {"entry_price": "0.9999"},
)


async def play_traffic(town: Town) -> None:
    """Every decision over it is made when this returns, though not every order has come to its end: `all_ends`."""
    exchange = town.world.exchange
    await town.database.execute(b"insert into public.ft_wallets (wallet_id, config_id, display_name, start_date, end_date)"
                                b" values (%s, '', '', now(), now())", (NOBODYS,))  # fmt: skip
    plenty, bare = await _market(town, "plenty", "100000"), await _market(town, "bare", "0")
    await exchange.call("fates", fails=0.2, retries=0.2)
    taken = [_row(TAKERS, plenty) for _ in range(_TAKEN)]
    rested = [
        *(_row(RESTERS, plenty) for _ in range(_RESTED)),
        *(_row(RESTERS, bare) for _ in range(_BARE)),
    ]
    for paper in (TAKERS, RESTERS):
        scarce = [
            await _market(town, f"scarce {number}, {paper}", _SCARCE_SHARES) for number in range(_SCARCE)
        ]
        rested += [_row(paper, market) for market in scarce]
    wrong = _wrong(plenty, SIGNALS - _of_situations() - len(taken) - len(rested) - _SOLD)
    for name in sorted(FAULTS):
        await exchange.inflict(name)
    await town.insert(taken)
    await eventually(lambda: _all_struck(town), within_s=90, every_s=0.1)
    await town.insert([*rested, *wrong])
    await eventually(lambda: _all_decided(town), within_s=90, every_s=0.1)
    await town.insert([_row(TAKERS, plenty, side="SELL", entry_price=_BID) for _ in range(_SOLD)])
    await eventually(lambda: _all_decided(town), within_s=90, every_s=0.1)
    # Whatever faults come later are meant for somebody else: no order of these may meet them.
    await town.database.execute(
        b"update public.lt_strategies set is_paused = true where strategy_id like 'LT_DAY%'"
    )


async def _all_struck(town: Town) -> bool:
    """None is left for an order that may rest, which some of them would let rest."""
    return (await town.world.exchange.faults_struck()).keys() >= AT_ORDERS


async def all_ends(town: Town) -> bool:
    rows = await town.rows("select distinct state from public.lt_order_attempts")
    return {row["state"] for row in rows} >= ENDS


def _of_situations() -> int:
    """Their signals: one for each, and those that go before them or knock at the closed doors."""
    before = sum(one.earlier is not None for one in SITUATIONS)
    knocking = {one.purse for one in SITUATIONS if one.door is not None}
    return len(SITUATIONS) + before + len(knocking)


async def _market(town: Town, name: str, shares: str) -> Trade:
    exchange = town.world.exchange
    listed = await exchange.call("market", name=name)
    token = listed["tokens"][0]
    await exchange.quote(token, "SELL", _ASK, shares)
    await exchange.quote(token, "BUY", _BID, "100000")
    return Trade(listed["condition"], listed["outcomes"][0], "BUY", Decimal(_ASK), name)


def _row(paper: str, trade: Trade, **changes: Any) -> dict[str, Any]:
    row = signal_row(trade, ft_wallet_id=paper, size_usd=_BET_USD)
    return {**row, "trader_win_rate": _WIN_RATE, "created_at": datetime.now(UTC), **changes}


def _wrong(trade: Trade, count: int) -> Iterator[dict[str, Any]]:
    """The last of them does not say when it was inserted: it is nobody's, and is only counted."""
    papers = cycle((TAKERS, RESTERS, TAKERS))
    for paper, wrong in zip(papers, islice(cycle(_WRONG), count - 1), strict=False):
        row = _row(paper, trade, **wrong)
        if wrong.get("created_at") is _TOO_OLD:
            row["created_at"] = datetime.now(UTC) - _TOO_OLD
        yield row
    yield _row(TAKERS, trade, created_at=None)


async def _all_decided(town: Town) -> bool:
    missing = await town.rows(
        """
        select s.strategy_id, o.side, o.market_title, o.entry_price, o.token_label, o.outcome
        from public.ft_orders o join public.lt_strategies s on s.ft_wallet_id = o.wallet_id
        where o.created_at is not null
          and not exists (select from public.lt_decisions d
                          where (d.strategy_id, d.ft_order_id) = (s.strategy_id, o.order_id))
        """
    )
    assert not missing, f"{len(missing)} undecided: {missing[:5]}"
    return True
