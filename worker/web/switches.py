"""POST /api/lt/pause, resume, kill and arm, of everything or of one strategy: the switches of the command.

A switch is a row of `lt_controls`: every claim asks for it inside its transaction, and a running worker knows of it within
a second, so an answer means that nothing is claimed any more.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Body, Path
from fastapi.exceptions import HTTPException
from pydantic import Field

from worker.database.controls import ControlAction
from worker.database.reports import Reports
from worker.database.values import plain_text
from worker.errors import UsageError
from worker.orders.terms import Mode
from worker.verbs import switches
from worker.verbs.switches import Order
from worker.web import examples
from worker.web.kinds import Answer, Asked, Moment, StrategyName, acting_troubles, shown_as, strategy_of

router = APIRouter()

_SAYS_SOMETHING: Final = r"[^\s\x00-\x1f]"  # and not blanks alone
_Reason = Annotated[
    str, Field(min_length=1, max_length=500, pattern=_SAYS_SOMETHING, examples=["too many losses"])
]
_Actor = Annotated[
    str,
    Field(
        min_length=1,
        max_length=80,
        pattern=_SAYS_SOMETHING,
        description="Who asks: it is written down.",
        examples=["night shift"],
    ),
]
Name = Annotated[StrategyName, Path()]


class Stop(Answer):
    """`reason`: stands beside the switch, and beside every signal that it skips."""

    reason: _Reason
    actor: _Actor = "api"


class GoOn(Answer):
    actor: _Actor = "api"


_Optional = Annotated[GoOn | None, Body()]


class Stands(Answer):
    """The pause or kill that was set before: its reason stays."""

    reason: str | None
    actor: str | None
    created_at: Moment


class Breaker(Answer):
    strategy_id: Annotated[str, Field(examples=["LT_VALUE"])]
    mode: Mode


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
    """As the command's `--json`. `changed`: whether the switch was not so before; `breakers`: those that were armed."""

    model_config = shown_as(examples.TURNED)

    action: ControlAction
    scope: Annotated[str, Field(examples=["strategy:LT_VALUE"])]
    modes: Annotated[list[Mode], Field(description="A switch holds in both.")]
    changed: bool
    stands: Stands | None
    armed: list[str]
    breakers: list[Breaker]
    strategies: list[Standing]


@router.post("/pause", responses=acting_troubles())
async def pause(asked: Asked, stop: Stop) -> Turned:
    """No new orders until `resume`, whichever worker trades. What rests on the book stays there."""
    return await turn(asked, _stop(ControlAction.PAUSE, None, stop), actor=stop.actor)


@router.post("/resume", responses=acting_troubles())
async def resume(asked: Asked, go_on: _Optional = None) -> Turned:
    """Take the pause of everything back. What stops one strategy or wallet alone stays."""
    return await turn(asked, Order(ControlAction.RESUME), actor=_actor(go_on))


@router.post("/kill", responses=acting_troubles())
async def kill(asked: Asked, stop: Stop) -> Turned:
    """No new orders until somebody arms again: for when something is wrong. `resume` does not lift it."""
    return await turn(asked, _stop(ControlAction.KILL, None, stop), actor=stop.actor)


@router.post("/arm", responses=acting_troubles())
async def arm(asked: Asked, go_on: _Optional = None) -> Turned:
    """Take the kill of everything back. Tripped breakers are armed one strategy at a time."""
    return await turn(asked, Order(ControlAction.ARM), actor=_actor(go_on))


@router.post("/strategies/{strategy_id}/pause", responses=acting_troubles(404))
async def pause_strategy(asked: Asked, strategy_id: Name, stop: Stop) -> Turned:
    """No new orders of this strategy until `resume`: each signal meanwhile is skipped as `strategy_paused`."""
    return await turn(asked, _stop(ControlAction.PAUSE, strategy_id, stop), actor=stop.actor)


@router.post("/strategies/{strategy_id}/resume", responses=acting_troubles(404))
async def resume_strategy(asked: Asked, strategy_id: Name, go_on: _Optional = None) -> Turned:
    """Take the strategy's pause back. A kill, a tripped breaker and the pause of everything stay, and are told."""
    return await turn(asked, Order(ControlAction.RESUME, strategy_of(strategy_id)), actor=_actor(go_on))


@router.post("/strategies/{strategy_id}/kill", responses=acting_troubles(404))
async def kill_strategy(asked: Asked, strategy_id: Name, stop: Stop) -> Turned:
    """No new orders of this strategy until somebody arms it."""
    return await turn(asked, _stop(ControlAction.KILL, strategy_id, stop), actor=stop.actor)


@router.post("/strategies/{strategy_id}/arm", responses=acting_troubles(404))
async def arm_strategy(asked: Asked, strategy_id: Name, go_on: _Optional = None) -> Turned:
    """Take the strategy's kill or freeze back, and arm its breaker if that has tripped: it counts from what is left."""
    return await turn(asked, Order(ControlAction.ARM, strategy_of(strategy_id)), actor=_actor(go_on))


def _actor(go_on: GoOn | None) -> str:
    return (go_on or GoOn()).actor


async def turn(reports: Reports, order: Order, *, actor: str) -> Turned:
    """Raises HTTPException 404 where there is no such strategy."""
    try:
        turned = await switches.turn(reports, order, actor=plain_text(actor))
    except UsageError as error:
        raise HTTPException(404, f"There is no strategy {order.strategy_id!r:.80}.") from error
    return Turned.model_validate(turned.as_json())


def _stop(action: ControlAction, strategy_id: str | None, stop: Stop) -> Order:
    return Order(action, strategy_of(strategy_id), reason=plain_text(stop.reason))
