"""The exchange's door for each wallet: open, shut until a moment, or shut for good.

An answer that says that nothing of the wallet is processed shuts it, one about the order alone only when one order
after the other hears it; while it is shut the wallet's orders wait for it together, and when it may open one of them
knocks. Whoever is not claimed yet leaves the knocking to those who are: they hold capital. An order that can wait for
long knocks as soon as it may; of those that cannot, every one that was given up at the door makes it longer until the
next one is risked.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from worker.orders.outcomes import AnswerReason, Outcome, OutcomeKind
from worker.orders.ports import Clock
from worker.orders.reasons import SkipReason
from worker.orders.terms import OrderId, WalletAddress

log = structlog.get_logger(__name__)

# Until somebody knocks again.
_KNOCK_FIRST_S = 0.05
_KNOCK_MOST_S = 1.0
# Until one more order that cannot wait for long is claimed only to knock, once one was given up.
_RISK_FIRST_S = 5.0
_RISK_MOST_S = 60.0
# Who can wait for longer is no risk: he knocks again and again.
_LONG_WAIT_S = 10.0
# So many orders in a row that were not processed, each for a reason of its own, have one in common.
_IN_A_ROW = 3
# What an order that holds no capital waits for a door rather than being put off.
SHORT_WAIT_S = 1.0

_FOREVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing of the wallet passes now: the reason, the exchange's own words, and for how long it asked to be left alone."""

    reason: SkipReason
    words: str
    again_in_s: float = 0.0


class Doors:
    """One for each wallet, open until an answer shuts it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._doors: dict[WalletAddress, _Door] = {}
        self._on_open: list[Callable[[WalletAddress], None]] = []

    def tell(self, on_open: Callable[[WalletAddress], None]) -> None:
        """From now on it hears of every door that opens."""
        self._on_open.append(on_open)

    @property
    def halted(self) -> Mapping[WalletAddress, str]:
        """Wallets whose door only a human opens again, by a restart, and why."""
        return {wallet: door.closed.words for wallet, door in self._doors.items() if door.halted}

    @property
    def shut(self) -> Mapping[WalletAddress, str]:
        """Wallets whose orders the exchange does not take, for longer than a short wait, and why."""
        found = {wallet: door.closed_for(SHORT_WAIT_S) for wallet, door in self._doors.items()}
        return {wallet: f"{one.reason}: {one.words}" for wallet, one in found.items() if one is not None}

    @property
    def modes(self) -> Mapping[WalletAddress, SkipReason]:
        """Wallets whose door is shut now, were it for a moment, by why."""
        return {wallet: door.closed.reason for wallet, door in self._doors.items() if door.is_shut}

    @property
    def deserted(self) -> list[WalletAddress]:
        """Wallets at whose shut door somebody might knock now, and nobody is there who will."""
        return [wallet for wallet, door in self._doors.items() if door.is_deserted]

    def closed(self, wallet: WalletAddress, *, patience_s: float = 0.0) -> Closed | None:
        """What keeps an order that is not claimed yet away for longer than a short wait.

        `patience_s`: how long it could wait at the door.
        """
        return self._of(wallet).closed_for(SHORT_WAIT_S, patience_s)

    def heard(
        self, wallet: WalletAddress, outcome: Outcome, *, order_id: OrderId, sent_s: float, words: str
    ) -> None:
        """What an answer to an order that was sent at `sent_s` (monotonic) says of the door."""
        door = self._of(wallet)
        if outcome.kind is OutcomeKind.NOT_SENT and outcome.venue is not None:
            closed = Closed(outcome.venue, words)
            door.shut(closed, sent_s=sent_s, at_least_s=float(outcome.retry_after_s or 0))
        elif outcome.kind is OutcomeKind.NOT_SENT:
            door.turned_away(order_id, words, sent_s=sent_s)
        elif _was_let_in(outcome) and door.open(sent_s=sent_s):
            for tell in self._on_open:
                tell(wallet)

    def halt(self, wallet: WalletAddress, reason: SkipReason | None, problem: str) -> None:
        self._of(wallet).halt(Closed(reason or SkipReason.CREDENTIALS_REFUSED, problem))

    @contextmanager
    def visit(self, wallet: WalletAddress, *, patience_s: float = 0.0) -> Iterator["Visit"]:
        """One order at the door, for as long as the block lasts. `patience_s`: as for `closed`."""
        visit = Visit(self._of(wallet), patience_s)
        try:
            yield visit
        finally:
            visit.leave()

    def _of(self, wallet: WalletAddress) -> "_Door":
        return self._doors.setdefault(wallet, _Door(wallet, self._clock))


def _was_let_in(outcome: Outcome) -> bool:
    """Whether the exchange looked at the order; it may also have fallen over it, or never have seen it."""
    return outcome.kind is not OutcomeKind.AMBIGUOUS and outcome.reason is not AnswerReason.NOT_SENDABLE


class Visit:
    def __init__(self, door: "_Door", patience_s: float) -> None:
        self._door = door
        self.patience_s = patience_s
        self.waited = False
        self.is_claimed = False
        self.given_up = False

    def claimed(self) -> None:
        """From now on it holds capital: its knock comes first."""
        if not self.is_claimed:
            self.is_claimed = True
            self._door.claimed += 1

    async def away(self, pause_s: float) -> None:
        """Return after so long, in which the knocking is left to others."""
        self._door.sent_away(self)
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._door.claimed += 1

    async def enter(self, *, within_s: float) -> Closed | None:
        """None once it may be sent: the door is open, or it is this order's turn to knock.

        A wait that cannot end within `within_s` is not begun.
        """
        until_s = self._door.now_s + within_s
        while not self._door.admits(self):
            if self._door.soonest_s(self) > until_s or self._door.now_s >= until_s:
                self.given_up = True
                return self._door.closed
            self.waited = True
            await self._door.stirs(self, until_s)
        return None

    def leave(self) -> None:
        self._door.left(self)


class _Door:
    def __init__(self, wallet: WalletAddress, clock: Clock) -> None:
        self._wallet = wallet
        self._clock = clock
        self._closed: Closed | None = None
        self.halted = False
        self.claimed = 0  # orders that hold capital and are not answered yet
        self._shut_since_s = 0.0
        self._shut_s = 0.0  # when the last answer that shut it came
        self._knock_s = 0.0  # when somebody may knock
        self._asked_s = 0.0  # until when the exchange asked to be left alone
        self._risk_s = 0.0  # when an order that cannot wait for long may be claimed to knock
        self._knock_wait_s = _KNOCK_FIRST_S
        self._risk_wait_s = _RISK_FIRST_S
        self._knocker: Visit | None = None
        self._turned_away: set[OrderId] = set()
        self._stirred = asyncio.Event()

    @property
    def now_s(self) -> float:
        return self._clock.monotonic()

    @property
    def closed(self) -> Closed:
        if self._closed is None:
            raise AssertionError("asked only of a door that admits nobody")
        return replace(self._closed, again_in_s=max(self._asked_s - self.now_s, 0.0))

    @property
    def is_shut(self) -> bool:
        return self._closed is not None

    @property
    def is_deserted(self) -> bool:
        if self._closed is None or self.halted or self.claimed or self._knocker is not None:
            return False
        return self.now_s >= self._knock_s

    def closed_for(self, wait_s: float, patience_s: float = 0.0) -> Closed | None:
        if self._closed is None:
            return None
        if self.halted:
            return self.closed
        if self.claimed or self._knocker is not None:
            # Others knock; once that has taken long, nobody waits for them.
            is_long = max(self.now_s - self._shut_since_s, self._knock_s - self.now_s) > wait_s
        else:
            is_long = self._risked_s(patience_s) - self.now_s > wait_s
        return self.closed if is_long else None

    def admits(self, visit: Visit) -> bool:
        if self._closed is None:
            return True
        if self._knocker is None and self.now_s >= self._turn_s(visit):
            self._knocker = visit
        return self._knocker is visit and not self.halted

    def soonest_s(self, visit: Visit) -> float:
        """No visitor can be admitted before: another one's knock may be answered at any time."""
        if self.halted:
            return _FOREVER_S
        if self._knocker is not None:
            return self.now_s
        return self._turn_s(visit) if visit.is_claimed or not self.claimed else self._knock_s

    async def stirs(self, visit: Visit, until_s: float) -> None:
        """Return when something has changed, or it may be the visitor's turn, and not later than `until_s`.

        Never for long at once: a machine that was suspended goes by its clock, not by its timers.
        """
        wake_s = until_s if self._knocker is not None else min(self._turn_s(visit), until_s)
        try:
            async with asyncio.timeout(min(max(wake_s - self.now_s, 0), _KNOCK_MOST_S)):
                await self._stirred.wait()
        except TimeoutError:
            return

    def shut(self, closed: Closed, *, sent_s: float, at_least_s: float) -> None:
        if self.halted:
            return
        if self._closed is None or self._closed.reason is not closed.reason:
            log.warning("door.shut", wallet=self._wallet, reason=closed.reason, words=closed.words)
        if self._closed is None:
            self._shut_since_s = self.now_s
        pause_s = at_least_s
        # Of orders that went out together the first answer shuts the door; the others are no further knocks.
        if self._closed is None or sent_s >= self._shut_s:
            pause_s = max(pause_s, self._knock_wait_s)
            self._knock_wait_s = min(self._knock_wait_s * 2, _KNOCK_MOST_S)
            self._shut_s = self.now_s
            self._knocker = None
        self._closed = closed
        self._knock_s = max(self._knock_s, self.now_s + pause_s)
        self._asked_s = max(self._asked_s, self.now_s + at_least_s)
        self._stir()

    def turned_away(self, order_id: OrderId, words: str, *, sent_s: float) -> None:
        """Hear what is about one order; it is about the exchange once many hear it. At a shut door it was a knock in vain."""
        self._turned_away.add(order_id)
        closed = self._closed
        if closed is None and len(self._turned_away) >= _IN_A_ROW:
            closed = Closed(SkipReason.EXCHANGE_UNREACHABLE, words)
        if closed is not None:
            self.shut(closed, sent_s=sent_s, at_least_s=0)

    def open(self, *, sent_s: float) -> bool:
        """True: it was shut, and is so no more."""
        self._turned_away.clear()
        if self._closed is None or self.halted or sent_s < self._shut_s:
            return False
        shut_s = round(self.now_s - self._shut_since_s, 3)
        log.info("door.opened", wallet=self._wallet, was=self._closed.reason, shut_s=shut_s)
        self._closed = self._knocker = None
        self._knock_s = self._asked_s = self._risk_s = 0.0
        self._knock_wait_s, self._risk_wait_s = _KNOCK_FIRST_S, _RISK_FIRST_S
        self._stir()
        return True

    def halt(self, closed: Closed) -> None:
        self._closed, self.halted = closed, True
        self._stir()

    def sent_away(self, visit: Visit) -> None:
        self.claimed -= 1
        if self._knocker is visit:
            self._knocker = None
        self._stir()

    def left(self, visit: Visit) -> None:
        if visit.is_claimed:
            self.claimed -= 1
            if visit.given_up and self.now_s >= self._risk_s:
                self._risk_s = self.now_s + self._risk_wait_s
                self._risk_wait_s = min(self._risk_wait_s * 2, _RISK_MOST_S)
        if self._knocker is visit:
            self._knocker = None
        self._stir()

    def _turn_s(self, visit: Visit) -> float:
        if visit.is_claimed:
            return self._knock_s
        return _FOREVER_S if self.claimed else self._risked_s(visit.patience_s)

    def _risked_s(self, patience_s: float) -> float:
        """When an order that holds no capital may be claimed to knock."""
        return self._knock_s if patience_s >= _LONG_WAIT_S else max(self._knock_s, self._risk_s)

    def _stir(self) -> None:
        """Wake all that wait now, and nobody who comes later."""
        self._stirred.set()
        self._stirred = asyncio.Event()
