"""What became of all signals of some time: the funnel and its equation, why not more, fills, and how long things took.

The figures are `lt_funnel`'s, as a web page would show them; nothing is counted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from rich.text import Text

from worker.database.reports import Reports
from worker.database.values import Row, count_of, flag_of, row_of, rows_of, text_of
from worker.orders.reasons import SkipReason
from worker.orders.terms import StrategyId
from worker.verbs.names import known_strategy
from worker.verbs.standing import elsewhere_lines
from worker.verbs.words import (
    NOTHING,
    Part,
    columns,
    counted,
    line,
    minutes,
    moment,
    percent,
    said,
    since,
    took,
    usd,
)

# Each stage that `latency_ms` may tell of, and what it is called.
STAGES = (
    ("insert_to_sent", "insert to wire"),
    ("insert_to_sent_late", "  once put off"),
    ("inserted", "trade to insert"),
    ("received", "to the worker"),
    ("decided", "to the decision"),
    ("decided_late", "  once put off"),
    ("claimed", "to the claim"),
    ("sent", "to the wire"),
    ("answered", "to the answer"),
    ("filled", "wire to first fill"),
    ("settled", "fill to settled"),
)


@dataclass(frozen=True, slots=True)
class Audit:
    """`answer`: of `lt_funnel`."""

    answer: Row
    total: Row
    strategies: tuple[Row, ...]

    @classmethod
    def of(cls, answer: Row) -> Self:
        """Raises SchemaError."""
        return cls(answer, row_of(answer, "total"), tuple(rows_of(answer, "strategies")))

    @property
    def holds(self) -> bool:
        """Whether the equation does, and nothing was missed."""
        return flag_of(self.total, "holds")

    @property
    def _missed(self) -> str:
        return "undecided in this mode" if rows_of(self.answer, "elsewhere") else "ARE MISSED"

    def as_json(self) -> dict[str, Any]:
        return dict(self.answer)

    def lines(self) -> Iterator[Part]:
        answer, total = self.answer, self.total
        begins = answer.get("since")
        yield Text(
            f"signals inserted since {moment(begins)} ({since(begins, answer.get('now'))}), {text_of(answer, 'mode')} mode",
            style="bold underline",
        )
        yield from elsewhere_lines(answer)
        yield from self._equation()
        yield Text()
        yield from self._reasons()
        yield from self._orders()
        yield from self._by_order_type()
        yield from self._latency()
        if len(self.strategies) > 1:
            yield from self._by_strategy()
        if timeless := count_of(answer, "unknown_insert_time"):
            yield line(
                "out of scope",
                f"{counted(timeless, 'signal has', 'signals have')} no created_at: nobody can say when they were inserted",
            )
        if not count_of(total, "seen"):
            yield line(
                "empty", "No signal came for any strategy in this time; --since 7d looks further back."
            )

    def _equation(self) -> Iterator[Part]:
        total = self.total
        seen = count_of(total, "seen")
        yield line("seen", f"{counted(seen, 'pair')} of a signal and a strategy")
        for name in ("executed", "skipped", "deferred", "undecided"):
            count = count_of(total, name)
            extra = (
                f", {count_of(total, 'missed')} of them missed (older than 5 s)"
                if name == "undecided"
                else ""
            )
            yield line(f"{'=' if name == 'executed' else '+'} {name}", f"{count} ({_of(count, seen)}){extra}")
        missed = count_of(total, "missed")
        balances = seen == sum(
            count_of(total, name) for name in ("executed", "skipped", "deferred", "undecided")
        )
        verdict = (
            "holds"
            if self.holds
            else f"balances, but {missed} {self._missed}"
            if balances
            else "DOES NOT HOLD"
        )
        yield Text.assemble(
            ("  equation    ", "bold"),
            (verdict, "green" if self.holds else "bold red"),
            ", by independent counts",
        )

    def _reasons(self) -> Iterator[Part]:
        for title, name in (("skipped because", "skipped_by"), ("deferred for", "deferred_for")):
            told = rows_of(self.total, name)
            if told:
                rows = [
                    (
                        str(count_of(one, "count")),
                        percent(one.get("share")),
                        text_of(one, "reason"),
                        _sentence(text_of(one, "reason")),
                    )
                    for one in told
                ]
                yield columns([("count", "share", title, ""), *rows], right=(0, 1))
                yield Text()

    def _orders(self) -> Iterator[Part]:
        orders = row_of(self.total, "orders")
        placed = count_of(orders, "placed")
        yield line("orders", f"{placed} placed in this time")
        if not placed:
            yield Text()
            return
        by_status = row_of(orders, "by_status")
        told = [
            f"{word} {count} ({_of(count, placed)})"
            for word, count in sorted(by_status.items(), key=_most)
            if count
        ]
        yield line("", ", ".join(told))
        dollars = f"{usd(orders.get('filled_usd'))} of {usd(orders.get('bet_usd'))} bet"
        yield line(
            "fill rate",
            f"{percent(orders.get('filled_share'))} of the orders whole, {percent(orders.get('fill_rate_usd'))} of the dollars ({dollars})",
        )
        yield line(
            "fill time",
            f"{minutes(orders.get('average_fill_minutes'))} minutes on average; median slippage "
            f"{said(orders.get('median_slippage_bps'))} bps",
        )
        yield line("too old", f"{percent(self.total.get('too_old_share'))} of what was seen")
        yield Text()

    def _latency(self) -> Iterator[Part]:
        stages = row_of(self.answer, "latency_ms")
        rows = [
            (
                title,
                *(took(stages[name].get(key)) for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms")),
                str(stages[name].get("count")),
            )
            for name, title in STAGES
            if name in stages
        ]
        if rows:
            yield columns([("latency", "p50", "p95", "p99", "max", "orders"), *rows], right=(1, 2, 3, 4, 5))
            yield Text()

    def _by_order_type(self) -> Iterator[Part]:
        rows = []
        for one in rows_of(self.answer, "order_types"):
            orders = row_of(one, "orders")
            shares = [percent(orders.get(name)) for name in ("filled_share", "fill_rate_usd")]
            slippage = [said(orders.get(name)) for name in ("median_slippage_bps", "p95_slippage_bps")]
            placed = str(count_of(orders, "placed"))
            rows.append((text_of(one, "order_type"), placed, *shares, *slippage, self.markout(one)))
        if rows:
            heading = ("order type", "orders", "filled", "of dollars", "slip p50", "p95, bps", "mark-out")
            yield columns([heading, *rows], right=range(1, 6))
            yield Text()

    def markout(self, order_type: Row) -> str:
        """`12.0 bps after 60 s, -3.0 bps after 300 s`; a dash where nobody has looked at the book since."""
        word = order_type.get("order_type")
        marks = [one for one in rows_of(self.answer, "markout") if one.get("order_type") == word]
        told = [f"{said(one.get('median_bps'))} bps after {one.get('after_s')} s" for one in marks]
        return ", ".join(told) or NOTHING

    def _by_strategy(self) -> Iterator[Part]:
        heading = (
            "strategy",
            "mode",
            "seen",
            "executed",
            "skipped",
            "deferred",
            "undecided",
            "filled",
            "of dollars",
            "",
        )
        rows = []
        for one in self.strategies:
            counts = [
                str(count_of(one, name)) for name in ("seen", "executed", "skipped", "deferred", "undecided")
            ]
            orders = row_of(one, "orders")
            shares = [percent(orders.get(name)) for name in ("filled_share", "fill_rate_usd")]
            rows.append(
                (
                    text_of(one, "strategy_id"),
                    text_of(one, "mode"),
                    *counts,
                    *shares,
                    "" if flag_of(one, "holds") else "!",
                )
            )
        yield columns([heading, *rows], right=range(2, 9))


def _of(part: int, whole: int) -> str:
    return f"{part / whole:.1%}".replace("%", " %") if whole else "-"


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _sentence(word: str) -> str:
    return next((reason.sentence for reason in SkipReason if reason == word), "")


async def read_audit(reports: Reports, since: timedelta | datetime, strategy_id: StrategyId | None) -> Audit:
    """Raises what `Reports` raises, and `UsageError` for a strategy that never was."""
    return Audit.of(await reports.funnel(since, await known_strategy(reports, strategy_id)))
