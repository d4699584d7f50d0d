"""The demo's picture: the latest pairs of signal and strategy, what was decided, and how long each stage took."""

from dataclasses import dataclass
from typing import Any

import psycopg
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.sandbox.report import Report

_ROWS = 18
_LATEST = """
select d.strategy_id, f.market_title, f.token_label, f.side, f.entry_price, d.state, d.reason,
       o.status, o.executed_price, o.executed_size_usd,
       extract(epoch from a.sent_at - f.created_at) * 1000 as to_wire_ms,
       extract(epoch from a.answered_at - a.sent_at) * 1000 as answer_ms
from public.lt_decisions d
join public.ft_orders f on f.order_id = d.ft_order_id
left join public.lt_order_attempts a on a.strategy_id = d.strategy_id and a.ft_order_id = d.ft_order_id
left join public.lt_orders o on o.lt_order_id = a.lt_order_id
order by d.created_at desc limit %s
"""
_STYLES = {"FILLED": "green", "PARTIAL": "yellow", "PENDING": "cyan", "CANCELLED": "dim", "REJECTED": "red"}


@dataclass(frozen=True, slots=True)
class Line:
    strategy: str
    signal: str
    decision: str
    status: str
    fill: str
    to_wire_ms: str
    answer_ms: str


async def latest_orders(database: psycopg.AsyncConnection[Any]) -> list[Line]:
    """Newest first."""
    rows = await (await database.execute(_LATEST, (_ROWS,))).fetchall()
    return [_line(*row) for row in rows]


def table_of(lines: list[Line]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="signal → decision → fill", title_justify="left")
    for heading, style in (("strategy", ""), ("signal", ""), ("decision", ""), ("status", ""), ("fill", "")):
        table.add_column(heading, style=style, no_wrap=True, overflow="ellipsis")
    table.add_column("to wire ms", justify="right")
    table.add_column("answer ms", justify="right")
    for line in lines:
        table.add_row(
            line.strategy,
            line.signal,
            line.decision,
            Text(line.status, style=_STYLES.get(line.status, "")),
            line.fill,
            line.to_wire_ms,
            line.answer_ms,
        )
    return table


def summary_of(report: Report) -> RenderableType:
    """The numbers of a whole run, for people."""
    wire, own = report.latency_ms.commit_to_wire, report.latency_ms.own_time
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("signals", f"{report.signals}, {report.orders_per_signal} orders each"),
        (
            "decided",
            f"{report.decisions}: {report.executed} executed, {report.skipped} skipped, {report.deferred} deferred",
        ),
        ("skipped because", ", ".join(f"{why} {count}" for why, count in report.skip_reasons.items()) or "-"),
        ("missed / duplicates", f"{report.missed} / {report.duplicates}"),
        ("filled", f"{report.filled} whole; {_share(report.fill_rate.by_usd)} of the dollars"),
        ("commit to wire", f"p50 {wire.p50} ms, p99 {wire.p99} ms, max {wire.max} ms"),
        ("worker's own time", f"p50 {own.p50} ms, p99 {own.p99} ms"),
    ):
        facts.add_row(Text(name, style="bold"), value)
    return Group(Text("\nThe run, as the database and the exchange saw it", style="bold underline"), facts)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _line(
    strategy: str, market: str | None, label: str | None, side: str | None, price: Any, state: str, reason: str,
    status: str | None, fill_price: Any, fill_usd: Any, to_wire_ms: Any, answer_ms: Any,
) -> Line:  # fmt: skip
    return Line(
        strategy=strategy.removeprefix("LT_").lower(),
        signal=f"{side} {label} @ {price} {(market or '')[:28]}",
        decision=state if state == "executed" else f"{state}: {reason}",
        status=status or "",
        fill=f"${fill_usd} @ {fill_price.normalize():f}" if fill_usd else "",
        to_wire_ms="" if to_wire_ms is None else f"{to_wire_ms:.0f}",
        answer_ms="" if answer_ms is None else f"{answer_ms:.0f}",
    )
