"""Names that an operator gives, checked against those that there are, and his own."""

import getpass
import os

from worker.configuration.names import unknown_strategy
from worker.database.reports import Reports
from worker.orders.terms import StrategyId


async def known_strategy(reports: Reports, strategy_id: StrategyId | None) -> StrategyId | None:
    """The same, if there is or was such a strategy: a misspelt one would get an all-clear. Raises `UsageError`."""
    if strategy_id is not None and strategy_id not in (names := await reports.strategy_names()):
        raise unknown_strategy(strategy_id, names)
    return strategy_id


def own_name() -> str:
    """Whoever runs this. A container's user often has no name, and must be able to stop what trades all the same."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
