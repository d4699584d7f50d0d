"""What a wallet owns: by the ledger's trades and by the exchange's accounts, to the last unit of either.

Dollars move in whole millionths, so what changes hands for shares may be a millionth less than their price, once for
each order that was met: the ledger has price and shares, and never more than that apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tests.chaos.evidence import Evidence, Row
from worker.orders.lifecycle import FillState
from worker.sandbox.world import World

_MILLIONTH = Decimal("0.000001")
_MET_MOST = 20  # orders that one trade meets: the crowd quotes six levels
_USD = "USD"


async def balances_apart(
    world: World, evidence: Evidence, told: Sequence[Row], deposit_usd: Decimal
) -> list[str]:
    """One line for every difference. `told`: the rows of `lt_wallets`, as the worker last read them."""
    lines = list(_fills_apart(evidence))
    expected = _expected(evidence, deposit_usd)
    seen_usd = {row["wallet_address"]: row["collateral_usd"] for row in told}
    for wallet in world.wallets:
        owned = await world.exchange.read("balances", address=wallet.address)
        theirs = defaultdict(Decimal, {asset: Decimal(amount) for asset, amount in owned.items()})
        lines += _apart(wallet.address, expected[wallet.address], theirs, seen_usd.get(wallet.address))
    return lines


def _apart(
    wallet: str,
    ours: Mapping[str, Decimal],
    theirs: defaultdict[str, Decimal],
    seen_usd: Decimal | None,
) -> Iterable[str]:
    for asset in sorted(ours.keys() | theirs.keys()):
        if theirs[asset] != ours.get(asset, 0):
            yield f"wallet {wallet[:10]} has {theirs[asset]} of {asset[:8]}, by its trades {ours.get(asset, 0)}"
    if seen_usd != theirs[_USD]:
        yield f"wallet {wallet[:10]} has {theirs[_USD]} USD, the worker last saw {seen_usd}"


def _expected(evidence: Evidence, deposit_usd: Decimal) -> Mapping[str, defaultdict[str, Decimal]]:
    """Wallet -> asset -> amount: the deposit, and the trades of the ledger that are final."""
    attempts = {row["exchange_order_id"]: row for row in evidence.attempts}
    moved = _moved_usd(evidence)
    owned: defaultdict[str, defaultdict[str, Decimal]] = defaultdict(
        lambda: defaultdict(Decimal, {_USD: deposit_usd})
    )
    for fill in evidence.fills:
        attempt = attempts[fill["exchange_order_id"]]
        if fill["state"] != FillState.FINAL:
            continue
        sign = 1 if fill["side"] == "BUY" else -1
        usd = moved.get((fill["exchange_order_id"], fill["trade_id"], fill["role"]), Decimal(0))
        owned[attempt["wallet_address"]][_USD] -= sign * usd + fill["fee_usd"]
        owned[attempt["wallet_address"]][attempt["token_id"]] += sign * fill["shares"]
    return owned


def _fills_apart(evidence: Evidence) -> Iterable[str]:
    """Trades whose price and shares are not what changed hands for them."""
    moved = _moved_usd(evidence)
    for fill in evidence.fills:
        usd = moved.get((fill["exchange_order_id"], fill["trade_id"], fill["role"]))
        if usd is not None and abs(fill["price"] * fill["shares"] - usd) > _MET_MOST * _MILLIONTH:
            yield f"trade {fill['trade_id'][:8]}: {fill['shares']} at {fill['price']} cost {usd} USD"


def _moved_usd(evidence: Evidence) -> Mapping[tuple[str, str, str], Decimal]:
    """By the exchange: (order, trade, role) -> dollars for the shares, without the fee."""
    return {
        (order["id"], fill["trade"], fill["role"]): Decimal(fill["usd"])
        for order in evidence.orders.values()
        for fill in order["fills"]
    }
