"""Who owns what: balances, allowances, and what open orders and unsettled trades hold back.

The ledger moves only when a trade is mined. Until then the outgoing side is held as "matched" and the
incoming side does not exist yet, which is why a fast BUY then SELL meets "not enough balance".
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NewType

from worker.sandbox.exchange.orders import Address, TokenId
from worker.sandbox.exchange.refusals import RefusedError
from worker.sandbox.exchange.units import Micro

Asset = NewType("Asset", str)

USD = Asset("USD")
HOUSE = Address(f"0x{0x5E5:040x}")  # liquidity of the simulation; may go negative
FEES = Address(f"0x{0xFEE5:040x}")
ESCROW = Address(f"0x{0xC7F5:040x}")  # the dollar behind every minted set
UNLIMITED = 2**256 - 1


def asset_of(token: TokenId) -> Asset:
    return Asset(token)


@dataclass(frozen=True, slots=True)
class Holding:
    """One asset of one account: on chain, held by open orders, held by trades not mined yet."""

    balance: Micro
    in_orders: Micro
    in_matches: Micro

    @property
    def available(self) -> Micro:
        return self.balance - self.in_orders - self.in_matches


@dataclass(frozen=True, slots=True)
class Transfer:
    """A movement on the ledger that happens when its trade is mined."""

    address: Address
    asset: Asset
    amount: Micro


@dataclass(slots=True)
class _Account:
    balance: defaultdict[Asset, Micro] = field(default_factory=lambda: defaultdict(int))
    in_orders: defaultdict[Asset, Micro] = field(default_factory=lambda: defaultdict(int))
    in_matches: defaultdict[Asset, Micro] = field(default_factory=lambda: defaultdict(int))
    allowances: dict[tuple[Asset, str], int] = field(default_factory=dict)


class Accounts:
    def __init__(self) -> None:
        self._accounts: defaultdict[Address, _Account] = defaultdict(_Account)

    def deposit(self, address: str, asset: Asset, amount: Micro) -> None:
        self._accounts[Address(address.lower())].balance[asset] += amount

    def set_balance(self, address: str, asset: Asset, amount: Micro) -> None:
        self._accounts[Address(address.lower())].balance[asset] = amount

    def set_allowance(self, address: str, asset: Asset, spender: str, amount: Micro) -> None:
        """Allowances are unlimited until set. For shares, 0 means: not approved."""
        self._accounts[Address(address.lower())].allowances[asset, spender.lower()] = amount

    def allowance(self, address: Address, asset: Asset, spender: str) -> int:
        return self._accounts[address].allowances.get((asset, spender.lower()), UNLIMITED)

    def holding(self, address: str, asset: Asset) -> Holding:
        account = self._accounts[Address(address.lower())]
        return Holding(account.balance[asset], account.in_orders[asset], account.in_matches[asset])

    def require(self, address: Address, asset: Asset, amount: Micro, *, spender: str) -> None:
        """Refuses an order the account cannot pay for, in the venue's words."""
        held = self.holding(address, asset)
        if held.available < amount:
            parts = [f"balance: {held.balance}"]
            if held.in_orders:
                parts.append(f"sum of active orders: {held.in_orders}")
            if held.in_matches:
                parts.append(f"sum of matched orders: {held.in_matches}")
            raise RefusedError(
                "not enough balance / allowance: the balance is not enough -> "
                f"{', '.join(parts)}, order amount: {amount}"
            )
        allowed = self.allowance(address, asset, spender)
        if allowed < amount:
            raise RefusedError(
                "not enough balance / allowance: the allowance is not enough -> "
                f"spender: {spender}, allowance: {allowed}, order amount: {amount}"
            )

    def hold_for_order(self, address: Address, asset: Asset, amount: Micro) -> None:
        """Holds (or, when negative, releases) what a resting order may still spend."""
        self._accounts[address].in_orders[asset] += amount

    def hold_for_match(self, transfers: tuple[Transfer, ...]) -> None:
        for transfer in transfers:
            if transfer.amount < 0:
                self._accounts[transfer.address].in_matches[transfer.asset] -= transfer.amount

    def release_match(self, transfers: tuple[Transfer, ...]) -> None:
        for transfer in transfers:
            if transfer.amount < 0:
                self._accounts[transfer.address].in_matches[transfer.asset] += transfer.amount

    def settle(self, transfers: tuple[Transfer, ...]) -> None:
        for transfer in transfers:
            self._accounts[transfer.address].balance[transfer.asset] += transfer.amount

    def total(self, asset: Asset) -> Micro:
        """Of an asset, over every account: constant for dollars, equal for both tokens of a market."""
        return sum(account.balance[asset] for account in self._accounts.values())

    def addresses(self) -> tuple[Address, ...]:
        return tuple(self._accounts)
