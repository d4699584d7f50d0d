"""Pause, resume, kill, arm: what a switch would be about, set or cleared, and how the strategies stand then.

A switch is a row of `lt_controls`: every claim asks for it inside its transaction, and a running worker knows of it within
a second. It holds in both modes, whichever the settings of this shell name: so each strategy is told in every mode in which
it is traded. A strategy or a wallet that is not there is refused: a switch for a misspelt name would stop nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from worker.configuration.names import unknown_strategy
from worker.database.controls import ControlAction, ControlScope
from worker.database.reports import Reports, Switched
from worker.database.values import Row, flag_of, rows_of, text_of
from worker.errors import UsageError
from worker.orders.terms import Mode, StrategyId, WalletAddress
from worker.verbs.names import own_name
from worker.verbs.words import Part, columns, line, said, since

_SETS = frozenset({ControlAction.PAUSE, ControlAction.KILL})
_MODES = "in live and paper mode alike"
_DONE = {
    ControlAction.PAUSE: "paused",
    ControlAction.RESUME: "resumed",
    ControlAction.KILL: "killed",
    ControlAction.ARM: "armed",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator asks. `forget_losses`: of `arm`, count drawdown and losses anew though no breaker tripped."""

    action: ControlAction
    strategy_id: StrategyId | None = None
    wallet: WalletAddress | None = None
    reason: str = ""
    forget_losses: bool = False

    def __post_init__(self) -> None:
        """Raises `UsageError` for what cannot be meant."""
        if self.strategy_id is not None and self.wallet is not None:
            raise UsageError(
                "--strategy and --wallet together name no scope: give one of them, or neither for everything."
            )
        if self.action in _SETS and not self.reason.strip():
            raise UsageError(f"`{self.action}` needs its --reason: whoever finds it later reads it.")
        if self.forget_losses and self.strategy_id is None:
            raise UsageError("--forget-losses is about one strategy: add --strategy.")

    @property
    def scope(self) -> ControlScope:
        if self.strategy_id is not None:
            return ControlScope.strategy(self.strategy_id)
        return ControlScope.everything() if self.wallet is None else ControlScope.wallet(self.wallet)

    @property
    def whom(self) -> str:
        """What it is about, in words."""
        kind, _, name = self.scope.text.partition(":")
        return name if kind == "strategy" else f"wallet {name}" if name else "everything"

    @property
    def question(self) -> str:
        return f"{self.action} {self.whom}, {_MODES}?"


@dataclass(frozen=True, slots=True)
class Turned:
    """`switched`: whether the switch was not so before. `strategies`: how each stands now."""

    order: Order
    switched: Switched
    armed: tuple[tuple[StrategyId, Mode], ...]  # whose breaker was armed
    strategies: tuple[Row, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        return {
            "action": self.order.action,
            "scope": self.order.scope.text,
            "modes": list(Mode),
            "changed": self.switched.changed,
            "stands": self.switched.stands,
            "armed": list(dict.fromkeys(strategy_id for strategy_id, _ in self.armed)),
            "breakers": [{"strategy_id": one, "mode": mode} for one, mode in self.armed],
            "strategies": [dict(one) for one in self.strategies],
        }

    def lines(self) -> Iterator[Part]:
        action = self.order.action
        done = f"{self.order.whom} {_DONE[action]}, {_MODES}"
        yield Text(done if self.switched.changed or self.armed else self._unchanged(), style="bold")
        yield from self._stands()
        for strategy_id, mode in self.armed:
            yield line(
                "breaker", f"{strategy_id} ({mode}): armed; drawdown and losses in a row count from now"
            )
        yield from standing_lines(self.strategies)
        if action in {ControlAction.RESUME, ControlAction.ARM}:
            yield from dict.fromkeys(self._still_held())  # what holds in both modes is told once

    def _unchanged(self) -> str:
        """Why there was nothing to do."""
        whom = self.order.whom
        match self.order.action:
            case ControlAction.RESUME:
                return f"nothing to resume: there is no pause of {whom}"
            case ControlAction.ARM if self.order.strategy_id is not None:
                return (
                    f"nothing to arm: there is no kill or freeze of {whom}, and no breaker of it has tripped"
                )
            case ControlAction.ARM:
                return f"nothing to arm: there is no kill of {whom}"
        return f"{whom} was {_DONE[self.order.action]} already, {_MODES}"

    def _stands(self) -> Iterator[Part]:
        """A switch is set once: what was given to set it again is not kept, and is not dropped in silence either."""
        stands, action = self.switched.stands, self.order.action
        if stands is None:
            return
        yield line(
            "set before",
            f"by {said(stands.get('actor'))}, {since(stands.get('created_at'), self.switched.now)}: {said(stands.get('reason'))}",
        )
        if stands.get("reason") != self.order.reason:
            back = ControlAction.RESUME if action is ControlAction.PAUSE else ControlAction.ARM
            yield line(
                "not kept", f"{self.order.reason} (to have it written down: {back}, then {action} again)"
            )

    def _still_held(self) -> Iterator[Part]:
        for one in self.strategies:
            name = text_of(one, "strategy_id")
            for switch in rows_of(one, "switches"):
                verb = "resume" if switch.get("action") == "pause" else "arm"
                yield line(
                    "still",
                    f"{name}: {said(switch.get('action'))} of {said(switch.get('scope'))} ({said(switch.get('reason'))}): "
                    f"polycopy-worker {verb}{scope_options(said(switch.get('scope')))}",
                )
            if flag_of(one, "is_paused"):
                yield line(
                    "still", f"{name}: the platform has paused it (lt_strategies.is_paused): resume it there"
                )


def scope_options(scope: str) -> str:
    """The options that name a scope: ` --strategy LT_ONE`."""
    kind, _, name = scope.partition(":")
    return f" --{kind} {name}" if name else ""


def standing_lines(strategies: tuple[Row, ...]) -> Iterator[Part]:
    """How each strategy stands, in a table."""
    if not strategies:
        yield line("strategies", "none is active")
        return
    rows = [
        (
            text_of(one, "strategy_id"), text_of(one, "mode"), text_of(one, "standing"), text_of(one, "wallet_address"),
            said(one.get("worker")),
        )
        for one in strategies
    ]  # fmt: skip
    yield columns([("strategy", "mode", "stands", "wallet", "worker"), *rows])


async def affected(reports: Reports, order: Order) -> tuple[Row, ...]:
    """The strategies that the order is about. Raises `UsageError` where it names one, or a wallet, that is not there."""
    strategies = await reports.switchboard(order.scope)
    if not strategies and order.scope != ControlScope.everything():
        if order.strategy_id is not None:
            names = set(await reports.strategy_names()) - {order.strategy_id}  # it may have been deleted
            raise unknown_strategy(order.strategy_id, names)
        active = await reports.switchboard(ControlScope.everything())
        known = ", ".join(dict.fromkeys(text_of(one, "wallet_address") for one in active))
        raise UsageError(
            f"No strategy trades with {order.wallet}: the active ones do with {known or 'none'}."
        )
    return strategies


async def turn(reports: Reports, order: Order, *, actor: str | None = None) -> Turned:
    """Set or clear the switch; `arm` of a strategy arms its breakers too, if they have tripped.

    `actor`: whom to write down; None: whoever runs this. Raises what `affected` and `Reports` do.
    """
    before = await affected(reports, order)
    actor = own_name() if actor is None else actor
    switched = await reports.switch(order.action, order.scope, reason=order.reason, actor=actor)
    armed = []
    if order.action is ControlAction.ARM and order.strategy_id is not None:
        for one in before:
            if order.forget_losses or flag_of(one, "breaker_active"):
                await reports.arm(order.strategy_id, mode := Mode(text_of(one, "mode")), actor=actor)
                armed.append((order.strategy_id, mode))
    return Turned(order, switched, tuple(armed), await reports.switchboard(order.scope))
