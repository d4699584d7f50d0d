"""An attempt in doubt, laid before a human: what the ledger holds, what the exchange says now, what he may decide.

Shows no secret and no signed body. A decision is written with who took it and why, and stands above the rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.adapters import open_adapters
from worker.database.doubt import Evidence
from worker.errors import ExchangeError, UsageError
from worker.orders.lifecycle import AttemptState
from worker.orders.terms import WalletAddress
from worker.settings import Settings
from worker.verbs.names import own_name
from worker.verbs.words import counted, moment, shares, usd

_NOTHING = "nothing: it is not in doubt, or was sent within the last minute"


@dataclass(frozen=True, slots=True)
class Case:
    evidence: Evidence
    exchange_says: str

    def as_json(self) -> dict[str, Any]:
        seen = self.evidence
        return {
            "order_id": seen.order_id,
            "state": seen.state,
            "exchange_says": self.exchange_says,
            "may_be_decided": list(seen.resolutions),
            "reserved_usd": format(seen.reserved_usd, "f"),
            "reserved_shares": format(seen.reserved_shares, "f"),
            "attempt": seen.attempt,
            "order": seen.order,
            "signal": seen.signal,
            "fills": list(seen.fills),
            "other_attempts": list(seen.others),
        }


async def open_cases(settings: Settings, order_id: str) -> Sequence[Case]:
    """Every attempt whose id begins like this. Raises `UsageError` where there is none."""
    async with open_adapters(settings) as adapters:
        found = await adapters.ledger.attempt(order_id)
        if not found:
            raise UsageError(f"No attempt in {settings.mode} mode has an id that begins with {order_id}.")
        cases = []
        for evidence in found:
            wallet = WalletAddress(str(evidence.attempt["wallet_address"]))
            since = datetime.fromisoformat(str(evidence.attempt["created_at"]))
            try:
                view = await adapters.exchange.lookup(wallet, evidence.order_id, since=since)
            except ExchangeError as error:
                says = f"no answer: {error}"
            else:
                says = (
                    f"{view.status or 'known by its trades'}, " if view.found or view.fills else "not found, "
                )
                says += counted(len(view.fills), "trade")
            cases.append(Case(evidence, says))
        return cases


async def decide_case(settings: Settings, order_id: str, state: AttemptState, reason: str) -> AttemptState:
    """Write a human's decision. Raises `UsageError` unless exactly one attempt is meant and may become this."""
    async with open_adapters(settings) as adapters:
        found = await adapters.ledger.attempt(order_id)
        if len(found) != 1:
            raise UsageError(
                f"{counted(len(found), 'attempt has', 'attempts have')} an id that begins with {order_id}: give more of it."
            )
        (evidence,) = found
        if state not in evidence.resolutions:
            allowed = ", ".join(evidence.resolutions) or _NOTHING
            raise UsageError(
                f"Attempt {evidence.order_id} is {evidence.state} and cannot be decided as {state}; "
                f"possible: {allowed}."
            )
        return await adapters.ledger.resolve(evidence.order_id, state, reason=reason, actor=own_name())


def picture(case: Case) -> RenderableType:
    """One attempt for a person who has to decide about it."""
    seen, attempt, signal = case.evidence, case.evidence.attempt, case.evidence.signal or {}
    facts = Table.grid(padding=(0, 2))
    filled = f"{counted(len(seen.fills), 'fill')} booked" if seen.fills else "no fill booked"
    for name, value in (
        ("state", f"{seen.state}, since {moment(attempt.get('state_changed_at'))}"),
        ("last word", str(attempt.get("note"))),
        ("strategy", str(attempt.get("strategy_id"))),
        ("signal", f"{signal.get('side')} {signal.get('token_label')} @ {signal.get('entry_price')}"),
        ("order", f"{attempt.get('order_type')} {attempt.get('side')}, limit {attempt.get('limit_price')}"),
        ("sent", f"{counted(attempt.get('sends'), 'time')}, last at {moment(attempt.get('sent_at'))}"),
        ("not found", f"{counted(attempt.get('not_found'), 'time')} since the last send"),
        ("holds", f"{usd(seen.reserved_usd)}, {shares(seen.reserved_shares)}; {filled}"),
        ("exchange says", case.exchange_says),
        ("you may decide", ", ".join(seen.resolutions) or _NOTHING),
    ):
        facts.add_row(Text(name, style="bold"), value)
    return Group(Text(f"\n{seen.order_id}", style="bold underline"), facts)
