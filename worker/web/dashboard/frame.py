"""What every page and every panel stands in: colours, the header, a card with its title and the time it is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nicegui import ui

from worker.web.dashboard.office import Visitor
from worker.web.dashboard.words import colour, ink

# One place for what Tailwind has no word for. The library writes its own colours onto the body: ours say that they win.
_STYLE: Final = """
:root { color-scheme: light dark; }
body { --q-primary: #2563eb !important; --q-positive: #15803d !important; --q-negative: #b91c1c !important; }
body.body--dark { --q-primary: #5b93f5 !important; --q-negative: #ef6b6b !important; }
body { font-feature-settings: "tnum" 1; background: #f1f5f9; }
body.body--dark { background: #0b1120; }
.body--dark .q-card { background: #151e31; }
.body--dark .q-table__card { background: transparent; }
.q-card.panel { border-radius: 12px; box-shadow: none; border: 1px solid rgb(148 163 184 / .25); }
.q-table__card { box-shadow: none; }
.q-table th { font-weight: 600; opacity: .65; }
.q-table tbody td { font-size: 13px; }
.q-table td.text-right, .q-table .one-line { white-space: nowrap; }
.q-table--dense .q-table th, .q-table--dense .q-table td { padding: 4px 8px; }
.nicegui-content { padding: 0; gap: 0; }
.muted { opacity: .62; }
.q-badge { font-weight: 600; letter-spacing: .02em; }
.q-table__grid-content { row-gap: 8px; }
.q-table__grid-item { padding: 0; }
.q-table__grid-item-card { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 8px; padding: 12px; }
.q-table__grid-item-card { border: 1px solid rgb(148 163 184 / .25); border-radius: 8px; box-shadow: none; }
.q-table__grid-item-row { padding: 0 !important; margin: 0 !important; }
.q-table__grid-item-row:first-child, .q-table__grid-item-row:nth-child(n+11) { grid-column: 1 / -1; }
.q-table__grid-item-row:first-child .q-table__grid-item-title { display: none; }
.q-table__grid-item-row:first-child .q-table__grid-item-value { font-weight: 600; }
.q-table__grid-item-title { font-size: 12px; font-weight: 400; opacity: .62; }
.q-table__grid-item-value { font-size: 14px; overflow-wrap: anywhere; }
@media (min-width: 640px) { .q-table__grid-item { padding: 0 4px; } }
@media (max-width: 639px) {
  .q-header .q-field--outlined .q-field__control { padding: 0 8px; }
  .q-header .q-field { font-size: 13px; }
  .q-btn.switch { min-height: 34px; min-width: 64px; }
}
a.plain { color: inherit; text-decoration: none; }
a.plain:hover { text-decoration: underline; }
"""


def dress() -> ui.dark_mode:
    """The page's colours and fonts; returns the switch of light and dark, which begins as the viewer's system has it."""
    ui.add_css(_STYLE)
    return ui.dark_mode(None)


def still_reads(visitor: Visitor) -> bool:
    """Asked before every look of an open page: whoever's session is over is asked for the token, and shown no more."""
    if not visitor.may_read:
        ui.navigate.to("/login")
    return visitor.may_read


@contextmanager
def column() -> Iterator[None]:
    """The page's middle, as wide as it is useful."""
    with ui.column().classes("w-full max-w-screen-2xl mx-auto p-2 sm:p-4 gap-2 sm:gap-4"):
        yield


@contextmanager
def panel(title: str, *, about: str = "", marker: str = "") -> Iterator[ui.label]:
    """A card; yields the label that says which time, or which choice, its figures are about."""
    with ui.card().classes("panel w-full p-3 sm:p-4 gap-2 no-wrap") as card:
        if marker:
            card.mark(marker)
        with ui.row().classes("w-full items-baseline justify-between gap-x-3 gap-y-0"):
            ui.label(title).classes("text-base font-semibold").props("role=heading aria-level=2")
            label = ui.label(about).classes("text-xs muted")
        yield label


def badge(word: str) -> ui.badge:
    """A status, a state or a standing in its colour."""
    return ui.badge(word).props(f"color={colour(word)} text-color={ink(word)}")


def hint(text: str) -> ui.label:
    """What stands where there is nothing to show: what would be here, and what to do about it."""
    return ui.label(text).classes("muted text-sm py-6 w-full text-center")


def hidden_hint(text: str) -> ui.label:
    """The same, until it is known that there is nothing: before the first look nobody knows."""
    made = hint(text)
    made.set_visibility(False)
    return made
