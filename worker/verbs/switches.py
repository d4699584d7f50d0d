"""Pause, resume, kill, arm: what a switch would be about, set or cleared, and how the strategies stand then.

A switch is a row of `lt_controls`: every claim asks for it inside its transaction, and a running worker knows of it within
a second. A strategy or a wallet that is not there is refused: a switch for a misspelt name would stop nothing.
"""

import getpass
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from worker.database.controls import ControlAction, ControlScope
from worker.database.reports import Reports
from worker.database.values import Row, flag_of, rows_of, text_of
from worker.errors import UsageError
from worker.orders.terms import Mode, StrategyId, WalletAddress
from worker.verbs.words import columns, line, said

_SETS = frozenset({ControlAction.PAUSE, ControlAction.KILL})


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


@dataclass(frozen=True, slots=True)
class Turned:
    """`changed`: whether the switch was not so before. `strategies`: how each stands now."""

    order: Order
    changed: bool
    armed: tuple[StrategyId, ...]  # whose breaker was armed
    strategies: tuple[Row, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        return {
            "action": self.order.action,
            "scope": self.order.scope.text,
            "changed": self.changed,
            "armed": list(self.armed),
            "strategies": [dict(one) for one in self.strategies],
        }

    def lines(self) -> Iterator[Text]:
        scope, action = self.order.scope.text, self.order.action
        done = {
            ControlAction.PAUSE: ("paused", "was paused already"),
            ControlAction.RESUME: ("resumed", "was not paused"),
            ControlAction.KILL: ("killed", "was killed already"),
            ControlAction.ARM: ("armed", "was neither killed nor frozen"),
        }[action]
        changed = self.changed or bool(self.armed)
        yield Text.assemble((scope, "bold"), f" {done[0] if changed else done[1]}")
        for strategy_id in self.armed:
            yield from line("breaker", f"{strategy_id}: armed; drawdown and losses in a row count from now")
        yield from standing_lines(self.strategies)
        if action in {ControlAction.RESUME, ControlAction.ARM}:
            yield from self._still_held()

    def _still_held(self) -> Iterator[Text]:
        for one in self.strategies:
            name = text_of(one, "strategy_id")
            for switch in rows_of(one, "switches"):
                verb = "resume" if switch.get("action") == "pause" else "arm"
                yield from line(
                    "still",
                    f"{name}: {said(switch.get('action'))} of {said(switch.get('scope'))} ({said(switch.get('reason'))}): "
                    f"polycopy-worker {verb}{scope_options(said(switch.get('scope')))}",
                )
            if flag_of(one, "is_paused"):
                yield from line(
                    "still", f"{name}: the platform has paused it (lt_strategies.is_paused): resume it there"
                )


def scope_options(scope: str) -> str:
    """The options that name a scope: ` --strategy LT_ONE`."""
    kind, _, name = scope.partition(":")
    return f" --{kind} {name}" if name else ""


def standing_lines(strategies: tuple[Row, ...]) -> Iterator[Text]:
    """How each strategy stands, in a table."""
    if not strategies:
        yield from line("strategies", "none is active")
        return
    rows = [
        (
            text_of(one, "strategy_id"), text_of(one, "mode"), text_of(one, "standing"), text_of(one, "wallet_address"),
            said(one.get("worker")),
        )
        for one in strategies
    ]  # fmt: skip
    yield from columns([("strategy", "mode", "stands", "wallet", "worker"), *rows])


async def affected(reports: Reports, order: Order) -> tuple[Row, ...]:
    """The strategies that the order is about. Raises `UsageError` where it names one, or a wallet, that is not there."""
    strategies = await reports.switchboard(order.scope)
    if not strategies and order.scope != ControlScope.everything():
        known = ", ".join(
            text_of(one, "strategy_id" if order.strategy_id else "wallet_address")
            for one in await reports.switchboard(ControlScope.everything())
        )
        raise UsageError(
            f"No strategy is or trades with {order.scope.text.partition(':')[2]}: active are {known or 'none'}."
        )
    return strategies


async def turn(reports: Reports, order: Order) -> Turned:
    """Set or clear the switch; `arm` of a strategy arms its breaker too, if that has tripped. Raises what `Reports` does."""
    before = await affected(reports, order)
    actor = getpass.getuser()
    changed = await reports.switch(order.action, order.scope, reason=order.reason, actor=actor)
    armed = []
    if order.action is ControlAction.ARM and order.strategy_id is not None:
        for one in before:
            if order.forget_losses or flag_of(one, "breaker_active"):
                await reports.arm(order.strategy_id, Mode(text_of(one, "mode")), actor=actor)
                armed.append(order.strategy_id)
    return Turned(order, changed, tuple(armed), await reports.switchboard(order.scope))
