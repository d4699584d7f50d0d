"""The figures of a window, taken apart: by reason, by stage, by strategy, by type of order."""

from typing import Any, Final

from nicegui import ui

from worker.database.values import Row, count_of, row_of, rows_of, text_of
from worker.orders.reasons import SkipReason
from worker.verbs.audit import STAGES
from worker.verbs.words import NOTHING, minutes, percent, said, took, usd
from worker.web.dashboard import charts
from worker.web.dashboard.drawn import Chart, Table, columns
from worker.web.dashboard.frame import panel
from worker.web.dashboard.look import Figures

_NO_SKIPS: Final = "No signal was skipped in this time."
_NO_TIMES: Final = "No order was executed in this time, so nothing was timed."
_NO_STRATEGIES: Final = "No strategy has signals in this time."
LATE: Final = "_late"  # ends the name of a stage of what was put off first
_AXIS_PX: Final = 30
_LEGEND_PX: Final = 70
_STAGE_PX: Final = 32
_REASON_PX: Final = 28


class ReasonsPanel:
    """Why signals were not traded, the commonest first, each with its sentence."""

    def __init__(self) -> None:
        with panel("Why signals were skipped", marker="reasons") as self._about:
            self._chart = Chart()
            titles = (("count", "Signals"), ("share", "Share"), ("reason", "Reason"))
            self._table = Table(columns(*titles, left=("reason",)), _NO_SKIPS, wraps=True)

    def show(self, figures: Figures) -> None:
        self._about.set_text(f"{figures.choice.label}; share of what was skipped")
        told = rows_of(figures.audit.total, "skipped_by")
        shown = min(len(told), charts.REASONS_MOST)
        self._chart.show(charts.reasons(told) if told else {}, _AXIS_PX + _REASON_PX * shown)
        rows = [
            {
                "key": one["reason"],
                "count": str(one["count"]),
                "share": percent(one.get("share")),
                "reason": f"{one['reason']}: {_sentence(text_of(one, 'reason'))}",
            }
            for one in told
        ]
        self._table.show(rows)


_TIMES: Final = (
    ("p50_ms", "p50"),
    ("p95_ms", "p95"),
    ("p99_ms", "p99"),
    ("max_ms", "Max"),
    ("count", "Orders"),
)


class LatencyPanel:
    """How long each stage took, of the signals that were executed."""

    def __init__(self) -> None:
        with (
            panel("Latency by stage", marker="latency") as self._about,
            ui.element("div").classes(
                "w-full flex flex-col lg:flex-row gap-4 items-start [&>*]:min-w-0 [&>*]:w-full lg:[&>*]:flex-1"
            ),
        ):
            self._chart = Chart()
            with ui.element("div"):
                heading = columns(("stage", "Stage"), *_TIMES, left=("stage",), wide=("max_ms",))
                self._table = Table(heading, _NO_TIMES, wraps=True)

    def show(self, figures: Figures) -> None:
        self._about.set_text(f"{figures.choice.label}; each from the stage before")
        latency = row_of(figures.audit.answer, "latency_ms")
        known = [(name, title) for name, title in titled() if name in latency]
        drawn = charts.stages(latency, known) if known else {}
        self._chart.show(drawn, _LEGEND_PX + _STAGE_PX * len(known))
        rows = []
        for name, title in known:
            times = row_of(latency, name)
            told = {key: took(times.get(key)) for key, _ in _TIMES if key != "count"}
            rows.append({"key": name, "stage": title, "count": str(count_of(times, "count")), **told})
        self._table.show(rows)


_QUALITY: Final = (
    ("seen", "Signals"),
    ("executed_share", "Executed"),
    ("placed", "Orders"),
    ("filled_share", "Filled whole"),
    ("fill_rate_usd", "Dollars filled"),
    ("filled_usd", "Filled"),
    ("average_fill_minutes", "Fill time, min"),
    ("median_slippage_bps", "Slip p50, bps"),
    ("p95_slippage_bps", "Slip p95, bps"),
)


class StrategyRatesPanel:
    """Execution, fills and slippage of each strategy."""

    def __init__(self) -> None:
        with panel("By strategy", marker="by-strategy") as self._about:
            self._table = Table(
                columns(("name", "Strategy"), *_QUALITY, left=("name",)), _NO_STRATEGIES, as_list=True
            )

    def show(self, figures: Figures) -> None:
        self._about.set_text(
            f"{figures.choice.label}; slippage against the signal's price, worse is positive"
        )
        self._table.show(
            [
                _quality(one, f"{text_of(one, 'strategy_id')} ({text_of(one, 'mode')})")
                for one in figures.audit.strategies
            ]
        )


class OrderTypesPanel:
    """The same by type of order, and what the market did after the trades of each."""

    def __init__(self) -> None:
        with panel("By order type, with mark-out", marker="by-order-type") as self._about:
            titles = (("name", "Type"), *_QUALITY, ("markout", "Mark-out, median"))
            self._table = Table(columns(*titles, left=("name",)), _NO_STRATEGIES, as_list=True)
            ui.label(
                "Mark-out: the middle of the book some time after a trade against our price; above zero the market went our way."
            ).classes("text-xs muted")

    def show(self, figures: Figures) -> None:
        self._about.set_text(
            f"{figures.choice.label}; signals by the type that their strategy orders with now"
        )
        audit = figures.audit
        self._table.show(
            [
                _quality(one, text_of(one, "order_type")) | {"markout": audit.markout(one)}
                for one in rows_of(audit.answer, "order_types")
            ]
        )


def titled() -> list[tuple[str, str]]:
    """Every stage with a name of its own: what was put off is named after its stage, and not only set in under it."""
    plain = dict(STAGES)
    return [
        (name, f"{plain[name.removesuffix(LATE)]}, {title.strip()}" if name.endswith(LATE) else title)
        for name, title in STAGES
    ]


def _quality(one: Row, name: str) -> dict[str, Any]:
    orders = row_of(one, "orders")
    return {
        "key": name,
        "name": name,
        "seen": str(count_of(one, "seen")),
        "executed_share": percent(one.get("executed_share")),
        "placed": str(count_of(orders, "placed")),
        "filled_share": percent(orders.get("filled_share")),
        "fill_rate_usd": percent(orders.get("fill_rate_usd")),
        "filled_usd": usd(orders.get("filled_usd")),
        "average_fill_minutes": minutes(orders.get("average_fill_minutes")),
        "median_slippage_bps": said(orders.get("median_slippage_bps")),
        "p95_slippage_bps": said(orders.get("p95_slippage_bps")),
    }


def _sentence(word: str) -> str:
    return next((reason.sentence for reason in SkipReason if reason == word), NOTHING)
