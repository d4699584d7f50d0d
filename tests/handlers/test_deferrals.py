"""A closed door fills no log: the first that it puts off is told of, and how many came behind it."""

from structlog.testing import capture_logs

from tests.support.eventually import eventually
from worker.handlers.deferrals import Deferrals
from worker.orders.reasons import SkipReason
from worker.orders.terms import StrategyId

ONE, TWO = StrategyId("LT_ONE"), StrategyId("LT_TWO")
SHUT = SkipReason.EXCHANGE_UNREACHABLE


async def test_whatever_a_closed_door_puts_off_is_told_once_and_counted_then() -> None:
    deferrals = Deferrals(every_s=0.3)
    with capture_logs() as log:
        assert [deferrals.is_news(SHUT, ONE) for _ in range(50)] == [True] + [False] * 49
        assert not deferrals.is_news(SHUT, TWO)
        assert deferrals.is_news(SkipReason.WALLET_BALANCE_UNKNOWN, ONE)  # another reason is another crowd
        await eventually(lambda: bool(log), within_s=20)
        (told,) = log
        assert told["event"] == "orders.deferred"
        assert (told["reason"], told["pairs"], told["strategies"]) == (SHUT, 50, 2)
        # Once nothing comes any more, the next one is news.
        await eventually(lambda: deferrals.is_news(SHUT, ONE), every_s=1.0, within_s=20)
    assert {one["pairs"] for one in log[1:]} <= {1}


async def test_what_is_about_the_single_signal_is_told_of_each() -> None:
    deferrals = Deferrals()
    assert all(deferrals.is_news(SkipReason.MARKET_NOT_READY, ONE) for _ in range(5))
