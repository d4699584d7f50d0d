"""One way to call the database: `rpc(name, params)`, through supabase-py, over a connection pool of our own.

Promises: an answer, or one error of `worker.errors`, within the deadline. Every SQL function of the worker is
idempotent, so a call whose answer was lost is asked again as it is, with jitter. Each answer's `now` teaches the
clock. supabase-py's own pool forgets idle connections after 5 s and waits 120 s for an answer; ours does neither.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import httpx
import structlog
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_before_delay,
    wait_random_exponential,
)

from worker.database.answers import ExactTransport, raise_refusal
from worker.database.clock import DatabaseClock
from worker.database.keys import DatabaseAccess
from worker.errors import DatabaseRefused, DatabaseUnreachable, WorkerError
from worker.orders.numbers import utc_moment

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallTiming:
    """All waits of a call. `deadline_s` bounds the tries together; `call_s` bounds each of them."""

    connect_s: float = 2.0
    read_s: float = 5.0
    call_s: float = 6.0
    deadline_s: float = 10.0
    retry_first_s: float = 0.05
    retry_max_s: float = 1.0
    keepalive_s: float = 300.0
    max_connections: int = 10


@dataclass(frozen=True, slots=True)
class CallReport:
    """One try of one call, for metrics. `outcome` is `ok` or the name of the error's class."""

    function: str
    duration_s: float
    outcome: str


def _unreported(_: CallReport) -> None:
    return


class SupabaseDatabase:
    """Opened with `await SupabaseDatabase.open(...)`; closed with `aclose()`, or used as `async with`."""

    def __init__(
        self,
        supabase: AsyncClient,
        http: httpx.AsyncClient,
        *,
        clock: DatabaseClock,
        timing: CallTiming,
        on_call: Callable[[CallReport], None],
    ) -> None:
        self._supabase = supabase
        self._http = http
        self._timing = timing
        self._on_call = on_call
        self._silent_since_s: float | None = None
        self.clock = clock

    @classmethod
    async def open(
        cls,
        access: DatabaseAccess,
        *,
        clock: DatabaseClock | None = None,
        timing: CallTiming | None = None,
        on_call: Callable[[CallReport], None] = _unreported,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> Self:
        """Sends nothing. `transport` is the seam for tests of what a network can do."""
        timing = timing or CallTiming()
        limits = httpx.Limits(
            max_connections=timing.max_connections,
            max_keepalive_connections=timing.max_connections,
            keepalive_expiry=timing.keepalive_s,
        )
        http = httpx.AsyncClient(
            transport=ExactTransport(transport or httpx.AsyncHTTPTransport(limits=limits)),
            timeout=httpx.Timeout(timing.read_s, connect=timing.connect_s),
            event_hooks={"response": [raise_refusal]},
        )
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        supabase = await acreate_client(access.url, access.key, options)
        return cls(supabase, http, clock=clock or DatabaseClock(), timing=timing, on_call=on_call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def rpc(
        self, function: str, params: Mapping[str, Any], *, deadline_s: float | None = None
    ) -> dict[str, Any]:
        """The answer of an idempotent SQL function. Numerics are text; a JSON fraction would be a `Decimal`.

        Raises `DatabaseUnreachable` when the deadline passes without an answer; `DatabaseRefused`, `SchemaError` or
        `CredentialError` at once.
        """
        patience_s = self._timing.deadline_s if deadline_s is None else deadline_s
        tries = AsyncRetrying(
            retry=retry_if_exception(_may_be_asked_again),
            stop=stop_before_delay(patience_s),
            wait=wait_random_exponential(self._timing.retry_first_s, max=self._timing.retry_max_s),
            before_sleep=partial(self._tell_retry, patience_s),
            reraise=True,
        )
        return await tries(self._ask, function, params, self.clock.monotonic() + patience_s)

    async def warm(self, connections: int) -> None:
        """Have so many connections open and past their handshake, so that a burst of claims does not wait for one.

        Raises what `rpc` raises.
        """
        calls = (self.rpc("lt_clock", {}) for _ in range(min(connections, self._timing.max_connections)))
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _ask(self, function: str, params: Mapping[str, Any], until_s: float) -> dict[str, Any]:
        """One try. Feeds the clock and the metrics whatever comes of it."""
        sent_s = self.clock.monotonic()
        bound_s = max(0.0, min(self._timing.call_s, until_s - sent_s))
        outcome = "cancelled"
        try:
            async with asyncio.timeout(bound_s):
                answer = (await self._supabase.rpc(function, dict(params)).execute()).data
            checked, database_now = _checked(function, answer)
            self.clock.learn(database_now, sent_s=sent_s, received_s=self.clock.monotonic())
            outcome = "ok"
            self._tell_answer(function)
        except WorkerError as error:
            outcome = type(error).__name__
            raise
        except TimeoutError as error:
            outcome = DatabaseUnreachable.__name__
            raise DatabaseUnreachable(f"{function}: no answer within {bound_s:.1f} s.") from error
        except httpx.HTTPError as error:
            outcome = DatabaseUnreachable.__name__
            raise DatabaseUnreachable(f"{function}: {type(error).__name__} {error}".rstrip() + ".") from error
        else:
            return checked
        finally:
            self._on_call(CallReport(function, self.clock.monotonic() - sent_s, outcome))

    def _tell_retry(self, patience_s: float, state: RetryCallState) -> None:
        """An outage is news once, however many calls meet it and however often they ask."""
        news = self._silent_since_s is None
        if news:
            self._silent_since_s = self.clock.monotonic()
        (_log.warning if news else _log.debug)(
            "database.retried",
            function=state.args[0],
            attempt=state.attempt_number,
            error=str(state.outcome.exception()) if state.outcome else "",
            note=f"no answer yet, trying for {patience_s:g} s",
        )

    def _tell_answer(self, function: str) -> None:
        if self._silent_since_s is not None:
            silent_s = round(self.clock.monotonic() - self._silent_since_s, 3)
            self._silent_since_s = None
            _log.info("database.answered", function=function, silent_s=silent_s)


def _checked(function: str, answer: object) -> tuple[dict[str, Any], datetime]:
    """The answer and its `now`, which every function of ours returns; one without it was made by something else."""
    moment = utc_moment(answer.get("now")) if isinstance(answer, dict) else None
    if isinstance(answer, dict) and moment is not None:
        return answer, moment
    raise DatabaseRefused(
        f"{function}: the answer has no database time, so it is not of the worker's schema; "
        "check SUPABASE_URL and apply supabase/migrations.",
        code="malformed",
    )


def _may_be_asked_again(error: BaseException) -> bool:
    return isinstance(error, WorkerError) and error.retryable
