"""How figures of a report are said to people: times, spans, money and shares out of the texts that SQL answers.

Nothing is computed here and nothing guessed: what is missing is a dash. How wide a terminal is, is known to whoever
prints: a report is made of parts, and each is laid out for the width that there is.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import assert_never

from rich.text import Text

from worker.orders.numbers import exact_decimal, share_count, trimmed, utc_moment

NOTHING = "-"
WIDTH = 100
_NARROWEST = 40
_LABEL = 12
_GAP = "  "
_UNDER = 4  # what is folded under a row is indented by so many more
_STYLES = {
    "executed": "green", "FILLED": "green", "ok": "green", "trading": "green",
    "skipped": "yellow", "deferred": "cyan", "PARTIAL": "yellow", "PENDING": "cyan", "degraded": "yellow",
    "paused": "yellow", "undecided": "magenta", "no_worker": "red", "other_mode": "yellow", "killed": "red", "frozen": "red", "breaker": "red", "down": "red",
    "REJECTED": "red", "LOST": "red",
}  # fmt: skip


def moment(value: object) -> str:
    """`2026-11-23 00:23:15.276Z`."""
    known = utc_moment(value)
    return NOTHING if known is None else f"{known:%Y-%m-%d %H:%M:%S}.{known.microsecond // 1000:03}Z"


def clock_time(value: object) -> str:
    """`00:23:15.276`."""
    return moment(value).partition(" ")[2].removesuffix("Z") or NOTHING


def day_and_time(value: object) -> str:
    """`2026-11-23 00:23:15`: where a column says that it is in UTC."""
    return moment(value).partition(".")[0]


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
    known = exact_decimal(value)
    return NOTHING if known is None else f"{known:.2f}"


def percent(share: object) -> str:
    known = exact_decimal(share)
    return NOTHING if known is None else f"{known * 100:.1f} %"


def price(value: object) -> str:
    """`0.744` for 0.744000."""
    known = exact_decimal(value)
    return said(value) if known is None else trimmed(known)


def counted(number: object, noun: str, nouns: str = "") -> str:
    """`1 order`, `2 orders`; `nouns` where more of them are not the noun with an s."""
    return f"{said(number)} {noun if str(number) == '1' else nouns or f'{noun}s'}"


def shares(value: object) -> str:
    """`12.5 shares`, `1 share`."""
    known = exact_decimal(value)
    return f"{NOTHING} shares" if known is None else share_count(known)


def said(value: object) -> str:
    return NOTHING if value is None or value == "" else str(value)


def styled(word: str) -> Text:
    """A word of a closed list in its colour."""
    return Text(word, style=_STYLES.get(word, ""))


@dataclass(frozen=True, slots=True)
class Labelled:
    """`label  value`, continued under the value where it is longer than a line."""

    label: str
    value: str
    indent: int = 2

    def texts(self, width: int) -> Iterator[Text]:
        beside = self.indent + _LABEL
        first, *others = textwrap.wrap(self.value, width - beside, break_on_hyphens=False) or [""]
        yield Text.assemble(" " * self.indent, (f"{self.label:<{_LABEL}}", "bold"), first)
        yield from (Text(" " * beside + other) for other in others)


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows under each other, each column as wide as its widest; the first row is the heading.

    What does not fit beside the other columns stands on a line of its own under them: no cell is ever cut.
    """

    rows: Sequence[Sequence[str]]
    indent: int = 2
    right: Sequence[int] = ()

    def texts(self, width: int | None) -> Iterator[Text]:
        """`width` None: as wide as it is."""
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        bands = [range(len(widths))] if width is None else list(self._bands(widths, width))
        for number, row in enumerate(self.rows):
            for band in bands:
                indent = self._indent_of(band)
                room = sum(widths) if width is None else width - indent
                for line in self._lines(row, band, widths, room):
                    yield Text(f"{' ' * indent}{line}".rstrip(), style="" if number else "dim")

    def _bands(self, widths: Sequence[int], width: int) -> Iterator[range]:
        """Columns that stand beside each other, as many as fit."""
        begins, taken = 0, self.indent + widths[0]
        for n, wide in enumerate(widths[1:], start=1):
            taken += len(_GAP) + wide
            if taken > width:
                yield range(begins, n)
                begins, taken = n, self.indent + _UNDER + wide
        yield range(begins, len(widths))

    def _indent_of(self, band: range) -> int:
        return self.indent + (_UNDER if band.start else 0)

    def _lines(self, row: Sequence[str], band: range, widths: Sequence[int], room: int) -> Iterator[str]:
        if len(band) == 1 and len(row[band.start]) > room:
            yield from textwrap.wrap(row[band.start], room, break_on_hyphens=False)
            return
        cells = (row[n].rjust(widths[n]) if n in self.right else row[n].ljust(widths[n]) for n in band)
        if shown := _GAP.join(cells).rstrip():
            yield shown


Part = Text | Labelled | Columns


def line(label: str, value: str, *, indent: int = 2) -> Labelled:
    return Labelled(label, value, indent)


def columns(rows: Iterable[Sequence[str]], *, indent: int = 2, right: Sequence[int] = ()) -> Columns:
    return Columns([list(row) for row in rows], indent, right)


def laid_out(parts: Iterable[Part], width: int | None = None) -> Iterator[Text]:
    """The lines as they are printed. `width`: of a terminal, None where there is none: then no table is folded."""
    for part in parts:
        match part:
            case Text():
                yield part
            case Labelled():
                yield from part.texts(WIDTH if width is None else max(min(width, WIDTH), _NARROWEST))
            case Columns():
                yield from part.texts(None if width is None else max(width, _NARROWEST))
            case _:
                assert_never(part)
