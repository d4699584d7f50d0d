"""POST /api/lt/pause, resume, kill and arm, of everything or of one strategy: the switches of the command.

A switch is a row of `lt_controls`: every claim asks for it inside its transaction, and a running worker knows of it within
a second, so an answer means that nothing is claimed any more.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Body, Path
from fastapi.exceptions import HTTPException
from pydantic import Field, StringConstraints

from worker.database.controls import ControlAction, ControlScope
from worker.database.reports import Reports
from worker.database.values import flag_of, plain_text, rows_of, text_of
from worker.errors import UsageError
from worker.orders.terms import Mode, StrategyId
from worker.web.kinds import Answer, Asked, StrategyName, troubles

router = APIRouter()

_SETS: Final = frozenset({ControlAction.PAUSE, ControlAction.KILL})
_Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
Action = Annotated[
    ControlAction, Path(description="`resume` takes a pause back, `arm` a kill and a tripped breaker.")
]


class Wish(Answer):
    """`reason`: stands beside the switch, and beside every signal that it skips; `pause` and `kill` need it."""

    reason: Annotated[_Words, Field(examples=["too many losses"])] = ""
    actor: Annotated[
        _Words, Field(description="Who asks: it is written down.", examples=["night shift"], max_length=80)
    ] = "api"


class Held(Answer):
    scope: str
    action: str
    reason: str | None
    actor: str | None


class Standing(Answer):
    """How a strategy stands: trading, paused, killed, frozen, breaker, no_worker or inactive."""

    strategy_id: str
    mode: str
    standing: Annotated[str, Field(examples=["paused"])]
    is_paused: bool
    breaker_active: bool
    switches: list[Held]
    worker: str | None


class Turned(Answer):
    """`changed`: whether the switch was not so before. `armed`: whose tripped breaker was armed."""

    action: ControlAction
    scope: Annotated[str, Field(examples=["strategy:LT_VALUE"])]
    changed: bool
    armed: list[str]
    strategies: list[Standing]


@router.post("/strategies/{strategy_id}/{action}", responses=troubles(404))
async def switch_strategy(
    asked: Asked,
    strategy_id: Annotated[StrategyName, Path()],
    action: Action,
    wish: Annotated[Wish | None, Body()] = None,
) -> Turned:
    """Stop one strategy, or let it go on."""
    return await turn(asked, action, ControlScope.strategy(StrategyId(strategy_id)), wish or Wish())


@router.post("/{action}", responses=troubles())
async def switch_everything(
    asked: Asked, action: Action, wish: Annotated[Wish | None, Body()] = None
) -> Turned:
    """Stop everything, whichever worker trades it, or let it go on. What stops one strategy alone stays."""
    return await turn(asked, action, ControlScope.everything(), wish or Wish())


async def turn(reports: Reports, action: ControlAction, scope: ControlScope, wish: Wish) -> Turned:
    """Raises `UsageError` for a stop without a reason, HTTPException 404 where there is no such strategy."""
    if action in _SETS and not wish.reason:
        raise UsageError(f"{action} needs its reason: whoever finds it later reads it.")
    before = await reports.switchboard(scope)
    single = scope != ControlScope.everything()
    if single and not before:
        raise HTTPException(404, f"There is no strategy {scope.text.partition(':')[2]!r:.80}.")
    actor = plain_text(wish.actor or "api")
    switched = await reports.switch(action, scope, reason=plain_text(wish.reason), actor=actor)
    armed = []
    if single and action is ControlAction.ARM:
        for one in (each for each in before if flag_of(each, "breaker_active")):
            strategy_id = StrategyId(text_of(one, "strategy_id"))
            await reports.arm(strategy_id, Mode(text_of(one, "mode")), actor=actor)
            armed.append(strategy_id)
    after = await reports.switchboard(scope)
    return Turned(
        action=action,
        scope=scope.text,
        changed=switched.changed,
        armed=[*dict.fromkeys(armed)],
        strategies=[
            Standing.model_validate({**one, "switches": list(rows_of(one, "switches"))}) for one in after
        ],
    )
