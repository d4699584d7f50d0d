"""When a market counts as ended, and how often it is asked."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from worker.orders.endings import Ending, ask_again_after, ending_of
from worker.orders.market import Token
from worker.orders.terms import TokenId

YES, NO = Token(TokenId("1"), "Yes"), Token(TokenId("2"), "No")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOTHING = Ending()


def prices(yes: str, no: str) -> dict[TokenId, Decimal]:
    return {YES.token_id: Decimal(yes), NO.token_id: Decimal(no)}


@pytest.mark.parametrize(
    ("flagged", "yes", "no", "is_resolved", "ending"),
    [
        ([YES], "1", "0", True, Ending(winner=YES)),
        ([NO], "0", "1", True, Ending(winner=NO)),
        ([YES], "0.9995", "0.0005", False, Ending(winner=YES)),
        ([YES], "0", "1", True, NOTHING),
        ([YES], "0.9", "0.1", True, NOTHING),
        ([YES, NO], "1", "0", True, NOTHING),
        ([], "1", "0", True, NOTHING),
        ([], "0.9995", "0.0005", True, NOTHING),
        ([], "0.5", "0.5", False, NOTHING),
        ([], "0.5", "0.5", True, Ending(is_void=True, payout=Decimal("0.5"))),
        ([], "0.50", "0.500", True, Ending(is_void=True, payout=Decimal("0.5"))),
        ([], "0.5", "0.4999", True, Ending(is_void=True)),
        ([], "0.3", "0.7", True, Ending(is_void=True)),
        ([YES], "0.5", "0.5", True, NOTHING),
    ],
)
def test_a_market_has_ended_where_both_places_name_one_winner_or_the_oracle_names_none(
    flagged: list[Token],
    yes: str,
    no: str,
    is_resolved: bool,  # noqa: FBT001 - a column of the table above
    ending: Ending,
) -> None:
    assert ending_of(flagged, prices(yes, no), is_resolved=is_resolved) == ending


def test_a_winner_that_the_listing_does_not_know_is_none() -> None:
    stranger = Token(TokenId("3"), "Maybe")
    assert ending_of([stranger], prices("1", "0"), is_resolved=True) == NOTHING
    assert ending_of([], {}, is_resolved=True) == NOTHING


@pytest.mark.parametrize(
    ("ends_in", "wait"),
    [
        (timedelta(0), timedelta(minutes=1)),
        (timedelta(minutes=5), timedelta(minutes=1)),
        (timedelta(minutes=50), timedelta(minutes=5)),
        (timedelta(minutes=-50), timedelta(minutes=5)),
        (timedelta(days=30), timedelta(minutes=15)),
        (timedelta(days=-30), timedelta(minutes=15)),
    ],
)
def test_a_market_is_asked_for_the_more_often_the_nearer_its_end(ends_in: timedelta, wait: timedelta) -> None:
    least, most = timedelta(minutes=1), timedelta(minutes=15)
    assert ask_again_after(NOW + ends_in, NOW, least=least, most=most) == wait
    assert ask_again_after(None, NOW, least=least, most=most) == most
