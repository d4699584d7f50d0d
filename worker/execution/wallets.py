"""The wallets this worker may submit for now: a lease each, renewed, and a balance that the database has seen.

A lease that could not be renewed is let go `margin_s` before it may pass to another worker; from then on
`lease()` answers None and nothing is sent for that wallet until it is held again.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from worker.errors import DatabaseError, ExchangeError, WorkerError
from worker.orders.ports import Clock, Exchange, Lease, LeaseHeld, Ledger
from worker.orders.terms import WalletAddress

log = structlog.get_logger(__name__)

_RELEASE_WITHIN_S = 2.0


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
    lease: Lease | None = None
    balance_due_s: float = 0.0
    trouble: str = "not leased yet"


class Wallets:
    def __init__(self, exchange: Exchange, ledger: Ledger, clock: Clock, timing: WalletTiming) -> None:
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

    def claims(self, address: WalletAddress) -> asyncio.Lock:
        return self._wallets[address].claims

    def troubles(self) -> dict[WalletAddress, str]:
        """Why wallets that are watched cannot be used, in words for the operator."""
        return {
            address: wallet.trouble
            for address, wallet in self._wallets.items()
            if self.lease(address) is None
        }

    async def refresh(self) -> None:
        """One round over all wallets: renew each lease, and each balance that is due."""
        await asyncio.gather(*(self._refresh(wallet) for wallet in tuple(self._wallets.values())))

    async def run(self) -> None:
        while True:
            self._changed.clear()
            await self.refresh()
            try:
                async with asyncio.timeout(self._timing.lease_renew_every_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

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

    async def _refresh(self, wallet: _Wallet) -> None:
        try:
            answer = await self._ledger.lease(wallet.address, ttl_s=self._timing.lease_ttl_s)
        except DatabaseError as error:
            self._note(wallet, f"the database did not renew the lease: {error}")
            return
        if isinstance(answer, LeaseHeld):
            wallet.lease = None
            self._note(wallet, f"{answer.holder} trades it in {answer.holder_mode} mode")
            return
        if wallet.lease is None or wallet.lease.fence != answer.fence:
            log.info("lease.taken", wallet=wallet.address, fence=answer.fence)
        wallet.lease = answer
        wallet.trouble = ""
        if self._clock.monotonic() >= wallet.balance_due_s:
            await self._refresh_balance(wallet)

    async def _refresh_balance(self, wallet: _Wallet) -> None:
        try:
            await self._ledger.wallet_seen(await self._exchange.balance(wallet.address))
        except (ExchangeError, DatabaseError) as error:
            # Not fatal here: the claim refuses by itself once the last snapshot is too old.
            log.warning("wallet.balance_unknown", wallet=wallet.address, error=str(error))
            return
        wallet.balance_due_s = self._clock.monotonic() + self._timing.balance_refresh_every_s

    def _note(self, wallet: _Wallet, trouble: str) -> None:
        if trouble != wallet.trouble:
            log.warning("lease.unavailable", wallet=wallet.address, reason=trouble)
        wallet.trouble = trouble
