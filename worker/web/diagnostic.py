"""GET /api/lt/diagnostic: PASS, WARN or FAIL for everything that has to hold for signals to become orders.

Made of `lt_status` and `lt_funnel`, the answers of `polycopy-worker status` and `audit`, as the database sees them: so it
also tells of a worker that is gone.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field

from worker.database.values import Row, count_of, flag_of, row_of, rows_of, text_of
from worker.orders.numbers import exact_decimal
from worker.verbs.standing import open_orders
from worker.verbs.words import counted
from worker.web import examples
from worker.web.kinds import Answer, Asked, Moment, Window, WindowSeconds, shown_as, troubles

router = APIRouter()

_CANARY_LATE_S: Final = 180  # one is sent every minute
_BALANCE_LATE_S: Final = 60  # older than that, nothing is claimed
_PENDING_LONG_S: Final = 600
_FAILED_MUCH: Final = Decimal("0.5")
_ORDERS_LEAST: Final = 10


class Verdict(StrEnum):
    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"


class HealthWord(StrEnum):
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    CRITICAL = "CRITICAL"


class Check(Answer):
    category: Annotated[str, Field(examples=["Worker"])]
    status: Verdict
    message: Annotated[str, Field(examples=["2 of 2 wallets have a worker."])]
    details: dict[str, Any]


class DiagnosticSummary(Answer):
    total: int
    passed: int
    warnings: int
    failed: int


class Diagnostic(Answer):
    model_config = shown_as(examples.DIAGNOSTIC)

    timestamp: Moment
    mode: Annotated[str, Field(examples=["live"])]
    window: Window
    summary: DiagnosticSummary
    health: HealthWord
    results: list[Check]
    recommended_actions: Annotated[list[str], Field(examples=[["polycopy-worker arm --strategy LT_VALUE"]])]


@router.get("/diagnostic", responses=troubles())
async def diagnostic(asked: Asked, window_s: WindowSeconds = 86400) -> Diagnostic:
    """Whether everything holds that has to. CRITICAL: something failed, or signals are lost. DEGRADED: look at it."""
    status = await asked.status()
    funnel = await asked.funnel(timedelta(seconds=window_s))
    return diagnosis_of(status, funnel, window_s)


def diagnosis_of(status: Row, funnel: Row, window_s: int) -> Diagnostic:
    """`status`: of `lt_status`. `funnel`: of `lt_funnel`. Raises SchemaError."""
    results = list(_checks(status, funnel))
    passed, warned, failed = (_count(results, verdict) for verdict in Verdict)
    needs = rows_of(status, "needs_human")
    return Diagnostic(
        timestamp=text_of(status, "now"),
        mode=text_of(status, "mode"),
        window=Window(since=text_of(funnel, "since"), seconds=window_s),
        summary=DiagnosticSummary(total=len(results), passed=passed, warnings=warned, failed=failed),
        health=HealthWord.CRITICAL if failed else HealthWord.DEGRADED if warned else HealthWord.HEALTHY,
        results=results,
        recommended_actions=[f"{one.get('thing')}: {one.get('why')} -> {one.get('fix')}" for one in needs],
    )


def _count(results: Iterable[Check], verdict: Verdict) -> int:
    return sum(one.status is verdict for one in results)


def _checks(status: Row, funnel: Row) -> Iterator[Check]:
    total = row_of(funnel, "total")
    yield from _strategies(rows_of(status, "strategies"))
    yield _worker(status)
    yield _feed(status)
    yield _balances(status)
    yield _signals(total, funnel)
    yield _pending_execution(total)
    yield _orders(total)
    yield _failed_orders(total)
    yield _open_attempts(row_of(status, "attempts"))
    yield _risk(status)
    yield _human(rows_of(status, "needs_human"))


def _check(category: str, status: Verdict, message: str, **details: Any) -> Check:
    return Check(category=category, status=status, message=message, details=details)


def _strategies(strategies: Iterable[Row]) -> Iterator[Check]:
    standings = {
        f"{text_of(one, 'strategy_id')} ({text_of(one, 'mode')})": text_of(one, "standing")
        for one in strategies
    }
    trading = sum(standing == "trading" for standing in standings.values())
    yield _check(
        "LT Strategies",
        Verdict.PASS if standings else Verdict.FAIL,
        f"{counted(len(standings), 'strategy is', 'strategies are')} active or switched off."
        if standings
        else "None is active: activate one in lt_strategies.",
    )
    yield _check(
        "Active Strategies",
        Verdict.PASS if trading == len(standings) > 0 else Verdict.WARN if trading else Verdict.FAIL,
        f"{trading} of {len(standings)} trading.",
        standings=standings,
    )


def _worker(status: Row) -> Check:
    leases = rows_of(status, "leases")
    held = [one for one in leases if flag_of(one, "held")]
    idle = [one for one in rows_of(status, "strategies") if text_of(one, "standing") == "no_worker"]
    verdict = Verdict.FAIL if idle or not held else Verdict.PASS
    return _check(
        "Worker",
        verdict,
        f"{counted(len({text_of(one, 'worker') for one in held}), 'worker')} for {counted(len(held), 'wallet')}; "
        f"{counted(len(idle), 'strategy has', 'strategies have')} nobody."
        if held
        else "No worker holds a lease: start polycopy-worker run, or look why it has stopped.",
        leases=[
            {name: one.get(name) for name in ("worker", "wallet_address", "mode", "held", "expires_at")}
            for one in leases
        ],
        without=[text_of(one, "strategy_id") for one in idle],
    )


def _feed(status: Row) -> Check:
    feed = row_of(status, "feed")
    age_s = exact_decimal(feed.get("canary_age_s"))
    details = {name: feed.get(name) for name in ("canary_age_s", "last_decision_age_s")}
    if age_s is None:
        return _check(
            "Realtime", Verdict.WARN, "No worker has listened to the feed in the last hour.", **details
        )
    late = age_s > _CANARY_LATE_S
    return _check(
        "Realtime",
        Verdict.WARN if late else Verdict.PASS,
        f"The last row to be heard of was sent {age_s:.0f} s ago{'; the sweep finds signals without it' if late else ''}.",
        **details,
    )


def _balances(status: Row) -> Check:
    ages = {
        text_of(one, "wallet_address"): exact_decimal(one.get("age_s"))
        for one in rows_of(status, "wallets")
        if one.get("mode") == status.get("mode")
    }
    late = [wallet for wallet, age_s in ages.items() if age_s is None or age_s > _BALANCE_LATE_S]
    return _check(
        "Exchange",
        Verdict.WARN if late or not ages else Verdict.PASS,
        f"Of {counted(len(ages), 'wallet')} {len(ages) - len(late)} had its balance seen within {_BALANCE_LATE_S} s.",
        late=late,
    )


def _signals(total: Row, funnel: Row) -> Check:
    seen, timeless = count_of(total, "seen"), count_of(funnel, "unknown_insert_time")
    return _check(
        "FT Orders",
        Verdict.WARN if timeless or not seen else Verdict.PASS,
        f"{counted(seen, 'pair')} of a signal and a strategy came in this time"
        + (f"; without a created_at, and nobody's: {counted(timeless, 'signal')}." if timeless else "."),
        seen=seen,
        executed_share=total.get("executed_share"),
    )


def _pending_execution(total: Row) -> Check:
    undecided, missed, deferred = (count_of(total, name) for name in ("undecided", "missed", "deferred"))
    holds = flag_of(total, "holds")
    return _check(
        "Pending Execution",
        Verdict.PASS if holds else Verdict.FAIL,
        f"{undecided} undecided, {missed} of them for more than 5 s, {deferred} put off; the counts "
        + ("add up." if holds or missed else "DO NOT ADD UP."),
        undecided=undecided,
        missed=missed,
        deferred=deferred,
    )


def _orders(total: Row) -> Check:
    orders = row_of(total, "orders")
    placed = count_of(orders, "placed")
    told = {
        name: orders.get(name) for name in ("by_status", "filled_share", "fill_rate_usd") if name in orders
    }
    return _check(
        "LT Orders",
        Verdict.PASS if placed else Verdict.WARN,
        f"{counted(placed, 'order was', 'orders were')} placed in this time.",
        **told,
    )


def _failed_orders(total: Row) -> Check:
    orders = row_of(total, "orders")
    placed = count_of(orders, "placed")
    by_status = row_of(orders, "by_status") if placed else {}
    failed = {word: by_status.get(word, 0) for word in ("REJECTED", "CANCELLED", "LOST")}
    much = placed >= _ORDERS_LEAST and Decimal(sum(failed.values())) > _FAILED_MUCH * placed
    return _check(
        "Failed Orders",
        Verdict.FAIL if failed["LOST"] else Verdict.WARN if much or failed["REJECTED"] else Verdict.PASS,
        ", ".join(f"{count} {word}" for word, count in failed.items()) + f" of {placed}.",
        **failed,
    )


def _open_attempts(attempts: Row) -> Check:
    ages = {name: attempts.get(name) for name in ("oldest_open_s", "oldest_unbooked_s")}
    known = [age_s for age in ages.values() if (age_s := exact_decimal(age)) is not None]
    told = open_orders(attempts)
    unknown = count_of(attempts, "unknown")
    long = any(age_s > _PENDING_LONG_S for age_s in known)
    return _check(
        "Order Events",
        Verdict.FAIL if unknown else Verdict.WARN if long else Verdict.PASS,
        f"{told[:1].upper()}{told[1:]}.",
        by_state=attempts.get("by_state"),
        **ages,
    )


def _risk(status: Row) -> Check:
    held = rows_of(status, "controls")
    latched = [one for one in held if one.get("action") in {"kill", "freeze", "breaker"}]
    told = [
        {name: one.get(name) for name in ("scope", "action", "reason", "actor", "created_at")} for one in held
    ]
    return _check(
        "Risk State",
        Verdict.FAIL if latched else Verdict.WARN if held else Verdict.PASS,
        f"{counted(len(held), 'switch holds', 'switches hold')}, {len(latched)} until somebody arms."
        if held
        else "No switch holds.",
        controls=told,
    )


def _human(needs: Iterable[Row]) -> Check:
    found = [f"{text_of(one, 'what')}: {one.get('thing')}" for one in needs]
    return _check(
        "Needs a Human",
        Verdict.WARN if found else Verdict.PASS,
        f"{counted(len(found), 'thing does', 'things do')}." if found else "Nothing does.",
        found=found,
    )
