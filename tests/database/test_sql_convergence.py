"""News of an order in any order, told to the database as the worker tells them: SQL takes every step that the worker
takes, refuses every other, and ends in the same books.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.support.desk import Desk
from tests.support.evidence import START, WANTED_SHARES, History, OrderNews, histories
from worker.database.attempts import record_params
from worker.orders.findings import Finding
from worker.orders.lifecycle import AttemptState, allowed
from worker.orders.ports import AttemptRecord, Fill, LookupFinding, LostRule
from worker.orders.terms import OrderId

ONE_LOOKUP = LostRule(lookups=1, after=timedelta(0))
PATIENCE_S = "600"  # lease and balance outlive the slowest machine's walk through all examples


def news_for(  # noqa: C901 - one class, and each of its methods is simple
    runner: asyncio.Runner, desk: Desk
) -> type[OrderNews]:
    """The machine over one desk; each of its runs is rolled back."""

    class SqlNews(OrderNews):
        @initialize(history=histories(), data=st.data())
        def begin(self, history: History, data: st.DataObject) -> None:
            self.looked_at = START
            self.attempts = 1
            self.claimed = runner.run(self._claim(history))
            super().begin(history, data)

        async def _claim(self, history: History) -> dict[str, Any]:
            await desk.connection.execute("begin")
            by_shares = {"order_type": "GTC", "amount_usd": None, "shares": str(WANTED_SHARES)}
            self.order = by_shares if history.order_type.rests else {}
            self.signal = await desk.signal()
            return await desk.claim(self.signal, order=self.order, balance_max_age_s=PATIENCE_S)

        def record(self, finding: Finding, fills: Sequence[Fill], *, by_rule: bool = False) -> None:
            super().record(finding, fills, by_rule=by_rule)
            self.failed = True
            self.looked_at += timedelta(seconds=1)
            record = AttemptRecord(
                order_id=OrderId(self.claimed["exchange_order_id"]),
                state=finding.state,
                note="",
                fills=tuple(fills),
                closed=finding.closed,
                answered_at=self.looked_at,
                lookup=LookupFinding.NOT_FOUND if by_rule else None,
                lost_rule=ONE_LOOKUP,
            )
            answer = runner.run(desk.call("lt_record", record_params(record)))
            assert answer["state"] == self.attempt.state
            assert answer["closed"] == self.attempt.closed
            self.failed = False

        @precondition(lambda self: hasattr(self, "claimed"))
        @rule(step=st.sampled_from(AttemptState))
        def step_that_is_not_in_the_table(self, step: AttemptState) -> None:
            if allowed(self.attempt.state, step):
                return
            look = {"lookup": "found", "answered_at": self.looked_at.isoformat()}
            told = {"exchange_order_id": self.claimed["exchange_order_id"], "state": step, **look}
            assert runner.run(refused(desk, told)), f"{self.attempt.state} became {step}"

        @rule()
        def take_again(self) -> None:
            """Another attempt of the same order, if the database allows it: from then on it is alive, too."""
            again = {"lt_order_id": self.claimed["lt_order_id"], "balance_max_age_s": PATIENCE_S}
            answer = runner.run(desk.claim(self.signal, order=self.order, **again))
            over = self.attempt.closed and self.attempt.state is not AttemptState.LOST and self.attempts == 1
            # Of an order that was filled in part, what is left may be too little for another of its size.
            assert answer["granted"] is over or (over and self.filled_shares() > 0), answer
            self.attempts += answer["granted"]

        @invariant()
        def at_most_one_is_alive(self) -> None:
            if hasattr(self, "claimed"):
                row = runner.run(
                    desk.row(
                        "select count(*) as alive from public.lt_order_attempts"
                        " where public.lt_attempt_is_alive(state)"
                    )
                )
                assert row["alive"] <= 1

        def teardown(self) -> None:
            try:
                super().teardown()
            finally:
                if hasattr(self, "claimed"):
                    runner.run(desk.execute("rollback"))

        def judge(self) -> None:
            super().judge()
            row = runner.run(
                desk.row(
                    "select coalesce(sum(shares), 0) as shares from public.lt_fills where state <> 'reversed'"
                )
            )
            assert row["shares"] == self.filled_shares()

    return SqlNews


async def refused(desk: Desk, told: dict[str, Any]) -> bool:
    try:
        async with desk.connection.transaction():
            await desk.call("lt_record", told)
    except psycopg.errors.RaiseException as error:
        return "cannot go from" in str(error)
    return False


@pytest.mark.timeout(300)
def test_the_database_follows_the_worker_through_any_order_of_the_news(database: str) -> None:
    with asyncio.Runner() as runner:
        desk = runner.run(Desk.open(database))
        try:
            runner.run(desk.strategy())
            runner.run(desk.lease(ttl_s=PATIENCE_S))
            runner.run(desk.balance())
            run_state_machine_as_test(
                news_for(runner, desk),
                settings=settings(max_examples=15, stateful_step_count=15, deadline=None),
            )
        finally:
            runner.run(desk.close())
