"""The demo's picture: how far it is, and for the latest pairs of signal and strategy what became of them.

Widths are fixed by the terminal's, 80 columns or more, so that nothing jumps while it runs.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.sandbox.report import Percentiles, Report
from worker.verbs.words import counted, took

_ROWS = 18
_FRAME_ROWS = 5  # progress, headings and their line, and room for the prompt
_LATEST = """
select d.strategy_id, f.market_title, f.token_label, f.side, f.entry_price, d.reason,
       o.status, a.state, o.executed_price, o.executed_size_usd,
       extract(epoch from a.sent_at - f.created_at) * 1000 as to_wire_ms
from public.lt_decisions d
join public.ft_orders f on f.order_id = d.ft_order_id
left join public.lt_order_attempts a on a.strategy_id = d.strategy_id and a.ft_order_id = d.ft_order_id
left join public.lt_orders o on o.lt_order_id = a.lt_order_id
order by d.created_at desc limit %s
"""
_TALLY = """
select (select count(*) from public.ft_orders),
       count(*) filter (where state = 'executed'),
       count(*) filter (where state = 'skipped'),
       (select count(*) from public.lt_orders where status = 'FILLED')
from public.lt_decisions
"""
_STYLES = {
    "filled": "green",
    "partial": "yellow",
    "resting": "cyan",
    "pending": "cyan",
    "cancelled": "dim",
    "rejected": "red",
    "lost": "red",
}
_RESTING = frozenset({"live", "unmatched"})
_STRATEGY, _TRADE, _BECAME, _FILL, _WIRE = 14, 16, 17, 13, 4
_LONGEST_LABEL = 5
_NARROWEST = 80
_LONGEST_TITLE = 60


@dataclass(frozen=True, slots=True)
class Line:
    strategy: str
    trade: str
    market: str
    became: str
    fill: str
    to_wire_ms: str


@dataclass(frozen=True, slots=True)
class Progress:
    """`planned` 0: there is no end to the stream. `phase`: what is waited for, if not for the next signal."""

    signals: int
    planned: int
    elapsed_s: float
    executed: int
    skipped: int
    filled: int
    phase: str


@dataclass(frozen=True, slots=True)
class Tally:
    signals: int
    executed: int
    skipped: int
    filled: int


async def latest_orders(database: psycopg.AsyncConnection[Any], most: int = _ROWS) -> list[Line]:
    """Newest first."""
    rows = await (await database.execute(_LATEST, (most,))).fetchall()
    return [_line(*row) for row in rows]


async def tally(database: psycopg.AsyncConnection[Any]) -> Tally:
    """What the database holds now."""
    (row,) = await (await database.execute(_TALLY)).fetchall()
    return Tally(*row)


def rows_of(console: Console) -> int:
    """How many lines the terminal has room for."""
    return max(1, min(_ROWS, console.height - _FRAME_ROWS))


def picture_of(progress: Progress, lines: list[Line], *, width: int) -> RenderableType:
    """Fits `width` columns, if those are 80 or more."""
    return Group(_progress_line(progress), _table_of(lines, max(width, _NARROWEST)))


def _progress_line(progress: Progress) -> Text:
    of = f" of {progress.planned}" if progress.planned else ""
    minutes, seconds = divmod(int(progress.elapsed_s), 60)
    return Text.assemble(
        (f"{progress.signals}{of} {'signal' if progress.signals == 1 and not of else 'signals'}", "bold"),
        f"  {minutes}:{seconds:02}",
        f"  {progress.executed} executed, {progress.skipped} skipped, {progress.filled} filled",
        (f"  {progress.phase}", "yellow") if progress.phase else "",
        no_wrap=True,
        overflow="ellipsis",
    )


def _table_of(lines: list[Line], width: int) -> Table:
    others = (_STRATEGY, _TRADE, _BECAME, _FILL, _WIRE)
    title = width - sum(others) - len(others)  # a blank between two columns
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    columns = [
        ("strategy", _STRATEGY, "left"),
        ("signal", _TRADE, "left"),
        ("market", min(_LONGEST_TITLE, title), "left"),
        ("became", _BECAME, "left"),
        ("fill", _FILL, "left"),
        ("wire", _WIRE, "right"),
    ]
    for heading, wide, justify in columns:
        table.add_column(
            heading,
            width=wide,
            justify="right" if justify == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for line in lines:
        became = Text(line.became, style=_STYLES.get(line.became, "dim"))
        table.add_row(line.strategy, line.trade, line.market, became, line.fill, line.to_wire_ms)
    return table


def summary_of(report: Report) -> RenderableType:
    """The numbers of a whole run, for people."""
    latency = report.latency_ms
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("signals", f"{report.signals}, {_orders_each(report.orders_per_signal)}"),
        (
            "decided",
            f"{report.decisions}: {report.executed} executed, {report.skipped} skipped, {report.deferred} deferred",
        ),
        ("skipped because", ", ".join(f"{why} {count}" for why, count in report.skip_reasons.items()) or "-"),
        ("missed / duplicates", f"{report.missed} / {report.duplicates}"),
        ("filled", f"{report.filled} whole; {_share(report.fill_rate.by_usd)} of the dollars"),
        ("commit to wire", _times(latency.commit_to_wire)),
        (
            "  once put off",
            f"{_times(latency.commit_to_wire_late)}, such as a sale until its shares are there",
        ),
        ("worker's own time", _times(latency.own_time)),
    ):
        if name.startswith("  ") and not latency.commit_to_wire_late.count:
            continue
        facts.add_row(Text(name, style="bold"), value)
    cut = ", as far as it came" if report.interrupted else ""
    return Group(
        Text(f"The run{cut}, as the database and the exchange saw it", style="bold underline"), facts
    )


def _times(told: Percentiles) -> str:
    if not told.count:
        return "nothing was sent"
    return (
        f"p50 {took(told.p50)}, p99 {took(told.p99)}, max {took(told.max)} ({counted(told.count, 'order')})"
    )


def _orders_each(mean: Decimal | None) -> str:
    return "no orders" if mean is None else f"{counted(mean.normalize(), 'order')} each"


def _share(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _line(
    strategy: str, market: str | None, label: str | None, side: str | None, price: Decimal, reason: str,
    status: str | None, state: str | None, fill_price: Decimal | None, fill_usd: Decimal | None,
    to_wire_ms: Any,
) -> Line:  # fmt: skip
    return Line(
        strategy=strategy.removeprefix("LT_").lower(),
        trade=f"{side} {_cut(label or '')} {_price(price)}",
        market=market or "",
        became=_became(reason, status, state),
        fill=f"${fill_usd:.2f}@{_price(fill_price)}" if fill_usd and fill_price else "",
        to_wire_ms=_ms(to_wire_ms),
    )


def _became(reason: str, status: str | None, state: str | None) -> str:
    """The order's state, or why there is none."""
    if status is None:
        return reason
    return "resting" if status == "PENDING" and state in _RESTING else status.lower()


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"


def _price(price: Decimal) -> str:
    return f"{price.quantize(Decimal('0.0001')).normalize():f}"


def _ms(value: Any) -> str:
    return "" if value is None else f"{value:.0f}"
