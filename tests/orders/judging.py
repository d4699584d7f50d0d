"""Judgements of cases that are good but for what a test says."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.orders.builders import (
    NOW,
    a_capital,
    a_market,
    a_signal,
    a_strategy,
)
from worker.orders.capital import Capital
from worker.orders.decide import Plan, decide
from worker.orders.holdings import Holdings
from worker.orders.market import Book, Market
from worker.orders.policy import DecisionPolicy
from worker.orders.signal import Signal
from worker.orders.skips import Skip
from worker.orders.strategy import Strategy
from worker.orders.terms import Mode

D = Decimal
POLICY = DecisionPolicy(mode=Mode.LIVE)


def judge(
    signal: Signal | None = None,
    strategy: Strategy | None = None,
    market: Market | None = None,
    book: Book | None = None,
    capital: Capital | None = None,
    *,
    policy: DecisionPolicy = POLICY,
    now: datetime = NOW,
    holdings: Holdings | None = None,
) -> Plan | Skip:
    return decide(
        signal or a_signal(),
        strategy or a_strategy(),
        market or a_market(),
        book,
        capital or a_capital(),
        policy,
        now,
        holdings,
    )


def plan(*args: Any, **kwargs: Any) -> Plan:
    outcome = judge(*args, **kwargs)
    assert isinstance(outcome, Plan), outcome
    return outcome


def skip(*args: Any, **kwargs: Any) -> Skip:
    outcome = judge(*args, **kwargs)
    assert isinstance(outcome, Skip), outcome
    return outcome


def aged(**age: float) -> Signal:
    return a_signal(created_at=(NOW - timedelta(**age)).isoformat())
