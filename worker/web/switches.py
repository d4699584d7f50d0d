"""POST /api/lt/pause, resume, kill and arm, of everything or of one strategy: the switches of the command.

A switch is a row of `lt_controls`: every claim asks for it inside its transaction, and a running worker knows of it within
a second, so an answer means that nothing is claimed any more.
"""

from typing import Annotated

from fastapi import APIRouter, Body, Path
from fastapi.exceptions import HTTPException
from pydantic import Field

from worker.database.controls import ControlAction, ControlScope
from worker.database.reports import Reports
from worker.database.values import flag_of, plain_text, text_of
from worker.orders.terms import Mode, StrategyId
from worker.web import examples
from worker.web.kinds import Answer, Asked, StrategyName, shown_as, troubles

router = APIRouter()

_Reason = Annotated[str, Field(max_length=500, pattern=r"\S", examples=["too many losses"])]
_Actor = Annotated[
    str, Field(max_length=80, description="Who asks: it is written down.", examples=["night shift"])
]
Name = Annotated[StrategyName, Path()]


class Stop(Answer):
    """`reason`: stands beside the switch, and beside every signal that it skips."""

    reason: _Reason
    actor: _Actor = "api"


class GoOn(Answer):
    actor: _Actor = "api"


_Optional = Annotated[GoOn | None, Body()]


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

    model_config = shown_as(examples.TURNED)

    action: ControlAction
    scope: Annotated[str, Field(examples=["strategy:LT_VALUE"])]
    changed: bool
    armed: list[str]
    strategies: list[Standing]


@router.post("/pause", responses=troubles())
async def pause(asked: Asked, stop: Stop) -> Turned:
    """No new orders until `resume`, whichever worker trades. What rests on the book stays there."""
    return await turn(asked, ControlAction.PAUSE, None, actor=stop.actor, reason=stop.reason)


@router.post("/resume", responses=troubles())
async def resume(asked: Asked, go_on: _Optional = None) -> Turned:
    """Take the pause of everything back. What stops one strategy or wallet alone stays."""
    return await turn(asked, ControlAction.RESUME, None, actor=_actor(go_on))


@router.post("/kill", responses=troubles())
async def kill(asked: Asked, stop: Stop) -> Turned:
    """No new orders until somebody arms again: for when something is wrong. `resume` does not lift it."""
    return await turn(asked, ControlAction.KILL, None, actor=stop.actor, reason=stop.reason)


@router.post("/arm", responses=troubles())
async def arm(asked: Asked, go_on: _Optional = None) -> Turned:
    """Take the kill of everything back. Tripped breakers are armed one strategy at a time."""
    return await turn(asked, ControlAction.ARM, None, actor=_actor(go_on))


@router.post("/strategies/{strategy_id}/pause", responses=troubles(404))
async def pause_strategy(asked: Asked, strategy_id: Name, stop: Stop) -> Turned:
    """No new orders of this strategy until `resume`: each signal meanwhile is skipped as `strategy_paused`."""
    return await turn(
        asked, ControlAction.PAUSE, StrategyId(strategy_id), actor=stop.actor, reason=stop.reason
    )


@router.post("/strategies/{strategy_id}/resume", responses=troubles(404))
async def resume_strategy(asked: Asked, strategy_id: Name, go_on: _Optional = None) -> Turned:
    """Take the strategy's pause back. A kill, a tripped breaker and the pause of everything stay, and are told."""
    return await turn(asked, ControlAction.RESUME, StrategyId(strategy_id), actor=_actor(go_on))


@router.post("/strategies/{strategy_id}/kill", responses=troubles(404))
async def kill_strategy(asked: Asked, strategy_id: Name, stop: Stop) -> Turned:
    """No new orders of this strategy until somebody arms it."""
    return await turn(
        asked, ControlAction.KILL, StrategyId(strategy_id), actor=stop.actor, reason=stop.reason
    )


@router.post("/strategies/{strategy_id}/arm", responses=troubles(404))
async def arm_strategy(asked: Asked, strategy_id: Name, go_on: _Optional = None) -> Turned:
    """Take the strategy's kill or freeze back, and arm its breaker if that has tripped: it counts from what is left."""
    return await turn(asked, ControlAction.ARM, StrategyId(strategy_id), actor=_actor(go_on))


def _actor(go_on: GoOn | None) -> str:
    return (go_on or GoOn()).actor


async def turn(
    reports: Reports, action: ControlAction, strategy_id: StrategyId | None, *, actor: str, reason: str = ""
) -> Turned:
    """`strategy_id` None: everything. Raises HTTPException 404 where there is no such strategy."""
    scope = ControlScope.everything() if strategy_id is None else ControlScope.strategy(strategy_id)
    before = await reports.switchboard(scope)
    if strategy_id is not None and not before:
        raise HTTPException(404, f"There is no strategy {strategy_id!r:.80}.")
    who = plain_text(actor)
    switched = await reports.switch(action, scope, reason=plain_text(reason), actor=who)
    armed = []
    if strategy_id is not None and action is ControlAction.ARM:
        for one in (each for each in before if flag_of(each, "breaker_active")):
            await reports.arm(strategy_id, Mode(text_of(one, "mode")), actor=who)
            armed.append(strategy_id)
    return Turned(
        action=action,
        scope=scope.text,
        changed=switched.changed,
        armed=[*dict.fromkeys(armed)],
        strategies=[Standing.model_validate(one) for one in await reports.switchboard(scope)],
    )
