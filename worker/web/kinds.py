"""What the answers of the API are made of: kinds of values, the error that every route may give, and what a route asks for.

As in `--json`: amounts, prices and shares of a whole are texts with exact digits, counts are numbers, times are ISO-8601
in UTC, and what is not known is null.
"""

from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from fastapi.exceptions import HTTPException
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from worker.database.platform import PlatformReports
from worker.database.reports import Reports
from worker.errors import UsageError
from worker.orders.terms import StrategyId
from worker.verbs.names import known_strategy

Moment = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T04:05:06+00:00"])
]
Amount = Annotated[str, Field(examples=["12.50"])]  # exact digits
Share = Annotated[str, Field(examples=["0.2500"])]  # of a whole: 25 %
Ms = Annotated[str, Field(examples=["17.4"])]

# PostgreSQL stores no NUL, and no name is that long.
StrategyName = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$", examples=["LT_VALUE"])
]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


def shown_as(example: dict[str, Any]) -> ConfigDict:
    """The configuration of an answer that the document shows a whole example of."""
    return ConfigDict(frozen=True, json_schema_extra={"examples": [example]})


class Trouble(Answer):
    error: Annotated[str, Field(examples=["Acting needs the token: send `Authorization: Bearer <token>`."])]


class Window(Answer):
    """What the figures are about: signals by their insert time, orders by the time they were placed."""

    since: Moment
    seconds: int


def troubles(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: these, and those that any route may give."""
    return {
        status: {"model": Trouble, "description": _TROUBLES[status]} for status in (*statuses, *_ANYWHERE)
    }


def acting_troubles(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """As `troubles`, of a route that changes something."""
    return troubles(411, 413, *statuses)


def only_known(request: Request) -> None:
    """A dependency of every route: what there is no parameter for, or a second one, would be ignored in silence."""
    route: APIRoute = request.scope["route"]
    known = [one.alias for one in route.dependant.query_params]
    if unknown := [name for name in dict.fromkeys(request.query_params) if name not in known]:
        named = " and ".join(f"`{name:.40}`" for name in unknown[:_NAMED_MOST])
        takes = ", ".join(f"`{name}`" for name in known) or "none"
        raise HTTPException(422, f"Unknown parameter {named}: this path takes {takes}.")
    given = [name for name, _ in request.query_params.multi_items()]
    if twice := next((name for name in given if given.count(name) > 1), None):
        raise HTTPException(422, f"`{twice}` is given {given.count(twice)} times: once is what it takes.")


_NAMED_MOST: Final = 5
_ANYWHERE: Final = (400, 401, 403, 422, 502, 503)
_TROUBLES: Final = {
    400: "What was asked for cannot be meant",
    401: "The token is missing, or another one",
    403: "Asked by a name that is not this server's, or by a page that may not ask",
    404: "There is no such strategy, or signal",
    411: "A body of a length that is not told",
    413: "A body that is too long",
    422: "A parameter is not what it may be, or there is none of that name",
    502: "The database refused, or answered what was not expected",
    503: "The database does not answer, or nobody trades",
}


def platform_reports(request: Request) -> PlatformReports:
    reports = request.app.state.reports
    return PlatformReports(reports.database, reports.mode)


Asked = Annotated[PlatformReports, Depends(platform_reports)]
WindowSeconds = Annotated[
    int,
    Query(
        ge=1,
        le=7 * 86400,
        description="How far back the figures look, in seconds: a week at most.",
        examples=[86400],
    ),
]  # signals older than that are not looked at: beside older orders they would tell of another time
OrderSeconds = Annotated[
    int,
    Query(ge=1, le=90 * 86400, description="How far back the orders reach, in seconds.", examples=[86400]),
]
OnlyStrategy = Annotated[StrategyName | None, Query(description="Of this strategy alone.")]


async def known(reports: Reports, name: str | None) -> StrategyId | None:
    """The strategy of that name. Raises HTTPException 404: a misspelt one would get an all-clear."""
    try:
        return await known_strategy(reports, strategy_of(name))
    except UsageError as error:
        raise HTTPException(404, f"There is no strategy {name!r:.80}.") from error


def strategy_of(name: str | None) -> StrategyId | None:
    return None if name is None else StrategyId(name)
