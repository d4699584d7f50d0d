"""What is put off in crowds is told in one line now and then: a closed door puts off whatever comes, for the same reason.

The first of a crowd is news, and told by itself. Those behind it are counted, and the count is told every ten seconds for as
long as more come. The ledger holds every single one.
"""

import asyncio
from dataclasses import dataclass, field

import structlog

from worker.orders.reasons import SkipReason, Stage
from worker.orders.terms import StrategyId

log = structlog.get_logger(__name__)

_EVERY_S = 10.0


@dataclass(slots=True)
class _Crowd:
    pairs: int = 0
    strategies: set[StrategyId] = field(default_factory=set)


class Deferrals:
    """`every_s`: how often a crowd is told of."""

    def __init__(self, *, every_s: float = _EVERY_S) -> None:
        self._every_s = every_s
        self._crowds: dict[SkipReason, _Crowd] = {}

    def is_news(self, reason: SkipReason, strategy_id: StrategyId) -> bool:
        """Whether this one is to be told by itself; otherwise it is counted. Within a running loop."""
        if not _comes_in_crowds(reason):
            return True
        crowd = self._crowds.get(reason)
        if crowd is None:
            self._crowds[reason] = _Crowd()
            self._tell_later(reason)
            return True
        crowd.pairs += 1
        crowd.strategies.add(strategy_id)
        return False

    def _tell_later(self, reason: SkipReason) -> None:
        asyncio.get_running_loop().call_later(self._every_s, self._tell, reason)

    def _tell(self, reason: SkipReason) -> None:
        crowd = self._crowds.pop(reason)
        if not crowd.pairs:
            return  # the next one is news again
        log.info(
            "orders.deferred",
            reason=reason,
            pairs=crowd.pairs,
            strategies=len(crowd.strategies),
            within_s=self._every_s,
        )
        self._crowds[reason] = _Crowd()
        self._tell_later(reason)


def _comes_in_crowds(reason: SkipReason) -> bool:
    """A door that is shut, or a balance that is no news: nothing about the single signal."""
    return reason.stage is Stage.VENUE or reason is SkipReason.WALLET_BALANCE_UNKNOWN
