"""How figures of a report are said to people: times, spans, money and shares out of the texts that SQL answers.

Nothing is computed here and nothing guessed: what is missing is a dash.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from rich.text import Text

from worker.orders.numbers import exact_decimal, utc_moment

NOTHING = "-"
WIDTH = 100
_LABEL = 12
_STYLES = {
    "executed": "green", "FILLED": "green", "ok": "green", "trading": "green",
    "skipped": "yellow", "deferred": "cyan", "PARTIAL": "yellow", "PENDING": "cyan", "degraded": "yellow",
    "paused": "yellow", "undecided": "magenta", "no_worker": "red", "killed": "red", "frozen": "red", "breaker": "red", "down": "red",
    "REJECTED": "red", "LOST": "red",
}  # fmt: skip


def moment(value: object) -> str:
    """`2026-11-23 00:23:15.276Z`."""
    known = utc_moment(value)
    return NOTHING if known is None else f"{known:%Y-%m-%d %H:%M:%S}.{known.microsecond // 1000:03}Z"


def clock_time(value: object) -> str:
    """`00:23:15.276`."""
    return moment(value).partition(" ")[2].removesuffix("Z") or NOTHING


def took(ms: object) -> str:
    """`0.4 ms`, `25 ms`, `2.1 s`, `3.0 min`, `5.1 h`, `2.0 d`."""
    known = exact_decimal(ms)
    if known is None:
        return NOTHING
    size = abs(known)
    for below, unit_ms, unit in (
        (10, 1, "ms"), (1000, 1, "ms"), (120_000, 1000, "s"), (7_200_000, 60_000, "min"), (172_800_000, 3_600_000, "h"),
    ):  # fmt: skip
        if size < below:
            return f"{known / unit_ms:.{0 if below == 1000 else 1}f} {unit}"
    return f"{known / 86_400_000:.1f} d"


def seconds(value: object) -> str:
    """As `took`, of a number of seconds."""
    known = exact_decimal(value)
    return NOTHING if known is None else took(known * 1000)


def since(value: object, now: object) -> str:
    """How long ago: `3.0 min ago`."""
    then, at = utc_moment(value), utc_moment(now)
    if then is None or at is None:
        return NOTHING
    return f"{took(_ms(then, at))} ago"


def _ms(then: datetime, at: datetime) -> Decimal:
    return Decimal(round((at - then).total_seconds() * 1000))


def usd(value: object) -> str:
    known = exact_decimal(value)
    if known is None:
        return NOTHING
    return f"{'-' if known < 0 else ''}${abs(known):,.2f}"


def minutes(value: object) -> str:
    """Of a trade whose time the exchange tells in whole seconds: it may seem to come before its order."""
    known = exact_decimal(value)
    return NOTHING if known is None else f"{max(known, Decimal(0)):.2f}"


def percent(share: object) -> str:
    known = exact_decimal(share)
    return NOTHING if known is None else f"{known * 100:.1f} %"


def said(value: object) -> str:
    return NOTHING if value is None or value == "" else str(value)


def styled(word: str) -> Text:
    """A word of a closed list in its colour."""
    return Text(word, style=_STYLES.get(word, ""))


def line(label: str, value: str, *, indent: int = 2) -> Iterator[Text]:
    """`label  value`, continued under the value where it is longer than a line."""
    room = WIDTH - indent - _LABEL
    first, *others = textwrap.wrap(value, room, break_on_hyphens=False) or [""]
    yield Text.assemble(" " * indent, (f"{label:<{_LABEL}}", "bold"), first)
    yield from (Text(" " * (indent + _LABEL) + other) for other in others)


def columns(rows: Iterable[Sequence[str]], *, indent: int = 2, right: Sequence[int] = ()) -> Iterator[Text]:
    """Rows under each other, each column as wide as its widest; the first row is the heading."""
    known = [list(row) for row in rows]
    widths = [max(len(row[n]) for row in known) for n in range(len(known[0]))]
    for number, row in enumerate(known):
        cells = [
            cell.rjust(wide) if n in right else cell.ljust(wide)
            for n, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        text = " " * indent + "  ".join(cells).rstrip()
        yield Text(text, style="dim") if number == 0 else Text(text)
