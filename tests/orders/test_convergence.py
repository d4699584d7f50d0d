"""News of an order in any order: answers, look-ups and stream events end in the same state, by legal steps only."""

from hypothesis import settings

from tests.support.evidence import OrderNews

TestOrderNews = OrderNews.TestCase
TestOrderNews.settings = settings(stateful_step_count=25)
