"""SQL and Python hold the same tables: what one allows or answers, the other knows."""

import re

from tests.support.desk import Desk
from worker.orders.lifecycle import transition_rows
from worker.orders.reasons import SkipReason

# Whoever claims what is executed already has nothing left to write down, and nothing left to do.
CONCLUDED = SkipReason.ALREADY_EXECUTED


async def test_both_allow_an_attempt_the_same_steps(desk: Desk) -> None:
    rows = await desk.rows('select "from", "to" from public.lt_attempt_transitions()')
    assert sorted((row["from"], row["to"]) for row in rows) == list(transition_rows())


async def refusals(desk: Desk) -> list[tuple[str, str]]:
    """Every refusal that a function of the claim spells out, with its `final`."""
    sources = await desk.rows(
        "select prosrc from pg_proc where pronamespace = 'public'::regnamespace and starts_with(proname, 'lt_')"
    )
    spelt_out = re.compile(r"'reason', '(\w+)'(?:(?!'reason').)*?'final', (\w+)", re.DOTALL)
    too_much = re.compile(r"lt_too_much\('(\w+)'")
    return [
        found
        for row in sources
        for found in spelt_out.findall(row["prosrc"])
        + [(word, "true") for word in too_much.findall(row["prosrc"])]
    ]


async def test_every_refusal_of_the_claim_is_a_reason_that_is_final_in_both_or_in_neither(desk: Desk) -> None:
    found = await refusals(desk)
    assert len({word for word, _ in found}) >= 24
    for word, final in found:
        reason = SkipReason(word)
        if final in {"true", "false"} and reason is not CONCLUDED:
            assert reason.final == (final == "true"), word
