"""The bar on top: what this is, how it stands, what is chosen, a signal to look up, light and dark, who is signed in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from nicegui import ui

from worker.database.values import text_of
from worker.verbs.standing import Standing
from worker.web.dashboard.frame import dress
from worker.web.dashboard.look import WINDOWS, Choice
from worker.web.dashboard.office import Visitor
from worker.web.dashboard.words import colour, ink, story_address

_ALL: Final = ""
_EVERY: Final = {_ALL: "all strategies"}
_DARK_JS: Final = "document.body.classList.contains('body--dark')"


class Header:
    """`choice`, `chosen`: what the figures are about, and who is told when that changes; without them, nothing is chosen."""

    def __init__(
        self,
        visitor: Visitor,
        choice: Choice | None = None,
        chosen: Callable[[Choice], Awaitable[None]] | None = None,
    ) -> None:
        self._dark = dress()
        self._chosen = chosen
        self._window: ui.select | None = None
        self._strategies: ui.select | None = None
        with (
            ui.header()
            .props("reveal")
            .classes("items-center gap-x-3 gap-y-1 px-2 sm:px-4 py-1 bg-slate-800 text-white")
        ):
            ui.link("polycopy", "/").classes("text-white font-semibold text-lg no-underline")
            self._mode = ui.badge("").props("outline color=white")
            self._standing = ui.badge("").mark("standing")
            ui.space()
            # On a phone the choices go under the name, all in one row.
            with ui.row().classes("w-full sm:w-auto max-sm:order-last items-center gap-2 no-wrap"):
                if choice is not None:
                    windows = {one.word: one.label for one in WINDOWS}
                    own = {choice.strategy_id: choice.strategy_id} if choice.strategy_id else {}
                    self._window = self._select(windows, choice.window.word, "Window")
                    self._strategies = self._select(_EVERY | own, choice.strategy_id or _ALL, "Strategy")
                self._search("w-24 sm:w-32" if choice is not None else "max-sm:grow sm:w-40")
            ui.button(icon="contrast", on_click=self._turn_light).props(
                'flat round dense color=white aria-label="Light or dark"'
            )
            if visitor.may_sign_in:
                _sign_in(visitor)
        self._mode.set_visibility(False)
        self._standing.set_visibility(False)

    def show(self, standing: Standing, strategies: Sequence[str]) -> None:
        word = text_of(standing.answer, "standing")
        self._mode.set_text(f"{text_of(standing.answer, 'mode')} mode")
        self._standing.set_text(word)
        self._standing.props(f"color={colour(word)} text-color={ink(word)}")
        self._mode.set_visibility(True)
        self._standing.set_visibility(True)
        if self._strategies is not None:
            chosen = self._strategies.value
            names = {**_EVERY, **{one: one for one in strategies}, chosen: chosen or _EVERY[_ALL]}
            if self._strategies.options != names:
                self._strategies.set_options(names)

    def _select(self, options: Mapping[str, str], value: str, label: str) -> ui.select:
        async def changed() -> None:
            if self._chosen is not None and self._window is not None and self._strategies is not None:
                await self._chosen(Choice.of(self._window.value, self._strategies.value))

        return (
            ui.select(dict(options), value=value, on_change=changed)
            .props(f'dense options-dense dark outlined aria-label="{label}"')
            .classes("max-sm:grow max-sm:basis-0 min-w-0 sm:min-w-32")
            .mark(label.lower())
        )

    def _search(self, room: str) -> None:
        asked = (
            ui.input(placeholder="explain: id")
            .props('dense dark outlined aria-label="Explain a signal"')
            .classes(room)
        )

        def go() -> None:
            if word := str(asked.value or "").strip():
                ui.navigate.to(story_address(word))

        asked.on("keydown.enter", go)

    async def _turn_light(self) -> None:
        is_dark = await ui.run_javascript(_DARK_JS)
        self._dark.set_value(not is_dark)


def _sign_in(visitor: Visitor) -> None:
    title = "Sign out" if visitor.may_act else "Sign in"
    with ui.element("form").props(
        f"method={'post' if visitor.may_act else 'get'} action=/{'logout' if visitor.may_act else 'login'}"
    ):
        ui.button(title).props("type=submit flat dense no-caps color=white")
