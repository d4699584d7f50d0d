"""The wallets this worker may submit for now: a lease each, renewed, and a balance that the database has seen.

A lease that could not be renewed is let go `margin_s` before it may pass to another worker; from then on
`lease()` answers None and nothing is sent for that wallet until it is held again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field

import structlog

from worker.errors import WorkerError
from worker.orders.ports import Clock, Exchange, Lease, LeaseHeld, Ledger, WalletBalance
from worker.orders.terms import WalletAddress

log = structlog.get_logger(__name__)

_RELEASE_WITHIN_S = 2.0
_BALANCE_TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class WalletTiming:
    lease_ttl_s: float
    lease_margin_s: float
    lease_renew_every_s: float
    balance_refresh_every_s: float


@dataclass(slots=True)
class _Wallet:
    address: WalletAddress
    # Claims of one wallet wait for each other in the database anyway: here they wait without a connection.
    claims: asyncio.Lock = field(default_factory=asyncio.Lock)
    patience: asyncio.Lock = field(default_factory=asyncio.Lock)
    lease: Lease | None = None
    balance_due_s: float = 0.0
    trouble: str = "not leased yet"
    blind: str = ""  # why its balance is not known


class Wallets:
    def __init__(
        self,
        exchange: Exchange,
        ledger: Ledger,
        clock: Clock,
        timing: WalletTiming,
        *,
        on_turn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_turn` hears of every round of the leases: a sign of life."""
        self._on_turn = on_turn
        self._exchange = exchange
        self._ledger = ledger
        self._clock = clock
        self._timing = timing
        self._wallets: dict[WalletAddress, _Wallet] = {}
        self._changed = asyncio.Event()

    def watch(self, addresses: Iterable[WalletAddress]) -> None:
        """Take these wallets on; those already watched stay."""
        for address in addresses:
            if address not in self._wallets:
                self._wallets[address] = _Wallet(address)
                self._changed.set()

    @property
    def addresses(self) -> tuple[WalletAddress, ...]:
        return tuple(self._wallets)

    @property
    def held(self) -> tuple[WalletAddress, ...]:
        return tuple(address for address in self._wallets if self.lease(address) is not None)

    def watches(self, address: WalletAddress) -> bool:
        return address in self._wallets

    def lease(self, address: WalletAddress) -> Lease | None:
        """The right to send for this wallet at this moment."""
        wallet = self._wallets.get(address)
        if wallet is None or wallet.lease is None:
            return None
        return wallet.lease if self.may_send(wallet.lease) else None

    def may_send(self, lease: Lease) -> bool:
        """Asked once more just before the first byte: a process that was paused must not wake up and send."""
        return self._clock.monotonic() < lease.deadline_s - self._timing.lease_margin_s

    @asynccontextmanager
    async def claims(self, address: WalletAddress, *, patient: bool = False) -> AsyncIterator[None]:
        """One claim of a wallet at a time. At most one that can wait (`patient`) is ever ahead of one in a hurry."""
        wallet = self._wallets[address]
        async with wallet.patience if patient else nullcontext(), wallet.claims:
            yield

    def troubles(self) -> dict[WalletAddress, str]:
        """Why wallets that are watched cannot be used, in words for the operator."""
        return {
            address: wallet.trouble or "its lease ran out before it was renewed"
            for address, wallet in self._wallets.items()
            if self.lease(address) is None
        }

    def blind(self) -> dict[WalletAddress, str]:
        """Wallets that are held but whose balance is not known, and why: soon nothing will be claimed for them."""
        return {address: wallet.blind for address, wallet in self._wallets.items() if wallet.blind}

    async def refresh(self) -> None:
        """At start: every lease, and then the balance of every wallet that is held."""
        await self._refresh_leases()
        await self._refresh_balances()

    async def keep_leases(self) -> None:
        """Runs until cancelled. Waits for nothing but the leases themselves: a late renewal stops trading."""
        while True:
            self._changed.clear()
            await self._refresh_leases()
            self._on_turn("leases")
            try:
                async with asyncio.timeout(self._timing.lease_renew_every_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Leases are renewed for as long as the block lasts."""
        keeping = asyncio.create_task(self.keep_leases(), name="leases")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def keep_balances(self) -> None:
        """Runs until cancelled. A wallet that was just leased is read at once."""
        while True:
            await self._refresh_balances(due_s=self._clock.monotonic())
            await asyncio.sleep(min(_BALANCE_TICK_S, self._timing.balance_refresh_every_s))

    async def release(self) -> None:
        """Hand every lease back, so that a stand-by need not wait for its end."""
        await asyncio.gather(*(self._release(wallet) for wallet in self._wallets.values()))

    async def _release(self, wallet: _Wallet) -> None:
        lease, wallet.lease = wallet.lease, None
        if lease is None:
            return
        try:
            async with asyncio.timeout(_RELEASE_WITHIN_S):
                await self._ledger.release(lease)
        except (WorkerError, TimeoutError) as error:
            # It ends by itself: a stop does not wait for a database that is away.
            log.warning(
                "lease.release_failed", wallet=wallet.address, error=str(error) or "no answer in time"
            )

    async def _refresh_leases(self) -> None:
        """One call for all that are known to be somebody's, and one for each that must be taken."""
        wallets = tuple(self._wallets.values())
        if not wallets:
            return
        try:
            answers = await self._ledger.leases(*self._wallets, ttl_s=self._timing.lease_ttl_s)
        except WorkerError as error:
            for wallet in wallets:
                self._note(wallet, f"the database did not renew the lease: {error}")
            return
        for wallet in wallets:
            if wallet.address in answers:
                self._leased(wallet, answers[wallet.address])
        await asyncio.gather(*(self._take_lease(one) for one in wallets if one.address not in answers))

    async def _take_lease(self, wallet: _Wallet) -> None:
        try:
            answer = await self._ledger.lease(wallet.address, ttl_s=self._timing.lease_ttl_s)
        except WorkerError as error:
            self._note(wallet, f"the database did not give the lease: {error}")
            return
        self._leased(wallet, answer)

    def _leased(self, wallet: _Wallet, answer: Lease | LeaseHeld) -> None:
        if isinstance(answer, LeaseHeld):
            wallet.lease = None
            self._note(wallet, f"{answer.holder} trades it in {answer.holder_mode} mode")
            return
        if wallet.lease is None or wallet.lease.fence != answer.fence:
            log.info("lease.taken", wallet=wallet.address, fence=answer.fence)
            wallet.balance_due_s = 0.0
        wallet.lease = answer
        wallet.trouble = ""

    async def _refresh_balances(self, *, due_s: float = float("inf")) -> None:
        """Read those that are due, each by itself, and tell the database of all of them at once."""
        due = [
            one for one in self._wallets.values() if one.balance_due_s <= due_s and self.lease(one.address)
        ]
        read = await asyncio.gather(*(self._read_balance(wallet) for wallet in due))
        seen = {wallet.address: balance for wallet, balance in zip(due, read, strict=True) if balance}
        if not seen:
            return
        # At even moments, so that wallets that were taken at different times come together in one call.
        period_s = self._timing.balance_refresh_every_s
        next_s = (self._clock.monotonic() // period_s + 1) * period_s
        try:
            await self._ledger.wallets_seen(*seen.values())
        except WorkerError as error:
            for address in seen:
                self._blinded(self._wallets[address], error)
            return
        for address in seen:
            self._wallets[address].blind = ""
            self._wallets[address].balance_due_s = next_s

    async def _read_balance(self, wallet: _Wallet) -> WalletBalance | None:
        try:
            return await self._exchange.balance(wallet.address)
        except WorkerError as error:
            self._blinded(wallet, error)
            return None

    def _blinded(self, wallet: _Wallet, error: WorkerError) -> None:
        """Not fatal here: the claim refuses by itself once the last snapshot is too old."""
        if not wallet.blind:
            log.warning("wallet.balance_unknown", wallet=wallet.address, error=str(error))
        wallet.blind = f"its balance is not read: {error}"

    def _note(self, wallet: _Wallet, trouble: str) -> None:
        if trouble != wallet.trouble:
            log.warning("lease.unavailable", wallet=wallet.address, reason=trouble)
        wallet.trouble = trouble
