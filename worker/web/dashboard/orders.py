"""The live feed: the newest orders and noes of every strategy, each with its badge, and a toast for every fill."""

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Final

from nicegui import ui

from worker.web.dashboard.drawn import columns
from worker.web.dashboard.frame import hidden_hint, panel
from worker.web.dashboard.look import Choice
from worker.web.dashboard.tape import Tape
from worker.web.dashboard.words import fill_sentence, no_row, order_row

_SHOWN: Final = 60
_TOASTS_MOST: Final = 2  # at a time
_TOAST_S: Final = 5.0
_EVERYTHING: Final = "everything"
_KINDS: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    _EVERYTHING: lambda _: True,
    "orders": lambda row: bool(row["status"].isupper()),
    "filled": lambda row: row["status"] in {"FILLED", "PARTIAL"},
    "pending": lambda row: row["status"] in {"PENDING", "deferred"},
    "failed": lambda row: row["status"] in {"CANCELLED", "REJECTED", "LOST"},
    "not traded": lambda row: row["status"] == "skipped",
}
_COLUMNS: Final = columns(
    ("time", "UTC"),
    ("status", "Status"),
    ("strategy", "Strategy"),
    ("market", "Market"),
    ("what", "Order"),
    ("latency", "Answered in"),
    left=("time", "status", "strategy", "market", "what"),
    wide=("strategy", "what", "latency"),
)
_STATUS: Final = '<q-td :props="props"><q-badge :color="props.row.colour" :text-color="props.row.ink">{{ props.value }}</q-badge></q-td>'
_MARKET: Final = """
<q-td :props="props">
  <a class="plain" :href="props.row.href">{{ props.value }}</a>
  <div class="text-xs muted md:hidden">{{ props.row.strategy }}, {{ props.row.what }}</div>
  <div class="text-xs muted line-clamp-2 break-words">{{ props.row.detail }}</div>
</q-td>
"""
_EMPTY: Final = (
    "Nothing happened lately. The next signal for a strategy shows here within a second of its insert."
)
_NO_MATCH: Final = "Nothing that happened lately is like that: choose everything, or clear the filter."


class OrdersPanel:
    """`choice`: whose orders are shown."""

    def __init__(self, tape: Tape, choice: Callable[[], Choice]) -> None:
        self._tape = tape
        self._choice = choice
        self._shown: list[dict[str, Any]] = []
        self._heard = tape.newest
        self._toasted: deque[float] = deque()  # when those were shown that are still to be seen
        with panel(
            "Live orders", about="newest first: orders of a day, skips of half an hour", marker="live"
        ):
            with ui.row().classes("w-full items-center gap-2"):
                self._kind = (
                    ui.select(list(_KINDS), value=_EVERYTHING, on_change=self.show)
                    .props('dense outlined options-dense aria-label="Which orders"')
                    .classes("w-36")
                )
                self._words = (
                    ui.input(placeholder="filter by word", on_change=self.show)
                    .props('dense outlined clearable aria-label="Filter by word"')
                    .classes("grow")
                )
            self._empty = hidden_hint(_EMPTY).classes("my-auto")
            self._table = (
                ui.table(rows=[], columns=_COLUMNS, row_key="key")
                .classes("w-full max-h-[34rem] xl:max-h-none xl:h-0 xl:min-h-[18rem] xl:grow")
                .props("dense flat wrap-cells")
            )
            self._table.set_visibility(False)
            self._table.add_slot("body-cell-status", _STATUS)
            self._table.add_slot("body-cell-market", _MARKET)

    def show(self) -> None:
        """As the tape stands, through the filters; nothing before it was read for the first time."""
        if not self._tape.known:
            return
        known = self._rows()
        rows = list(self._filtered(known))[:_SHOWN]
        self._empty.set_text(_NO_MATCH if known else _EMPTY)
        self._empty.set_visibility(not rows)
        self._table.set_visibility(bool(rows))
        if rows != self._shown:
            self._shown = rows
            self._table.rows = rows

    def toast(self) -> None:
        """What was filled since the last time, in the strategies that are shown; a crowd of them is only counted."""
        only = self._choice().strategy_id
        fills = self._tape.fills_after(self._heard)
        self._heard = self._tape.newest
        now_s = monotonic()
        while self._toasted and now_s - self._toasted[0] > _TOAST_S:
            self._toasted.popleft()
        for event in fills:
            if only not in {None, event.get("strategy_id")}:
                continue
            if len(self._toasted) < _TOASTS_MOST:
                self._toasted.append(now_s)
                _toast(fill_sentence(event))
            else:
                _toast("more fills", group="more")

    def _rows(self) -> list[dict[str, Any]]:
        orders = [order_row(one) for one in self._tape.orders]
        known = {row["key"] for row in orders}
        noes = [row for event in self._tape.noes.values() if (row := no_row(event))["key"] not in known]
        return sorted([*orders, *noes], key=lambda row: str(row["at"]), reverse=True)

    def _filtered(self, rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        only, fits = self._choice().strategy_id, _KINDS[self._kind.value]
        words = str(self._words.value or "").casefold().split()
        for row in rows:
            text = (
                f"{row['market']} {row['strategy']} {row['what']} {row['detail']} {row['status']}".casefold()
            )
            if fits(row) and only in {None, row["strategy"]} and all(word in text for word in words):
                yield row


def _toast(sentence: str, *, group: str | None = None) -> None:
    """Those of a group become one, with their number beside."""
    ui.notify(
        sentence, type="positive", position="bottom-right", timeout=_TOAST_S * 1000, group=group or False
    )
