"""Every answer a network or PostgREST can give, through the transport seam."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from worker.database.client import CallReport, CallTiming, SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.errors import CredentialError, DatabaseRefused, DatabaseUnreachable, SchemaError, WorkerError

ACCESS = DatabaseAccess(url="http://project.test", key="sb_secret_of_a_test")
NOW = "2026-01-02T03:04:05.678901+00:00"
QUICK = CallTiming(retry_first_s=0.005, retry_max_s=0.02)

Handler = (
    Callable[[httpx.Request], httpx.Response]
    | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
)


@asynccontextmanager
async def database_that(
    handler: Handler, *, timing: CallTiming = QUICK, reports: list[CallReport] | None = None
) -> AsyncIterator[SupabaseDatabase]:
    on_call = (reports if reports is not None else []).append
    transport = httpx.MockTransport(handler)
    async with await SupabaseDatabase.open(
        ACCESS, timing=timing, on_call=on_call, transport=transport
    ) as database:
        yield database


def in_turn(*answers: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """Gives one answer after the other; the last one again and again."""
    remaining: Iterator[httpx.Response | Exception] = iter(answers)
    last = answers[-1]
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = next(remaining, last)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle, seen


def ok(**fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"now": NOW, **fields})


def no(status: int, code: str, message: str = "words", hint: str | None = None) -> httpx.Response:
    body = {"code": code, "message": message, "hint": hint, "details": None}
    return httpx.Response(status, json=body)


async def error_of(answer: httpx.Response | Exception, *, deadline_s: float | None = None) -> WorkerError:
    handle, _ = in_turn(answer)
    async with database_that(handle) as database:
        with pytest.raises(WorkerError) as caught:
            await database.rpc("lt_claim", {"p": {}}, deadline_s=deadline_s)
    return caught.value


async def test_a_call_posts_its_parameters_to_the_function_with_the_key_in_both_headers() -> None:
    handle, seen = in_turn(ok(granted=True))
    async with database_that(handle) as database:
        assert (await database.rpc("lt_claim", {"p": {"price": "0.5100"}}))["granted"] is True
    request = seen[0]
    assert (request.method, str(request.url)) == ("POST", "http://project.test/rest/v1/rpc/lt_claim")
    assert json.loads(request.content) == {"p": {"price": "0.5100"}}
    assert request.headers["apikey"] == ACCESS.key
    assert request.headers["authorization"] == f"Bearer {ACCESS.key}"


async def test_a_fraction_in_an_answer_is_a_decimal_with_all_its_digits() -> None:
    body = f'{{"now": "{NOW}", "price": 0.1234567890123456789, "count": 3}}'
    handle, _ = in_turn(httpx.Response(200, text=body))
    async with database_that(handle) as database:
        answer = await database.rpc("lt_capital", {})
    assert answer["price"] == Decimal("0.1234567890123456789")
    assert answer["count"] == 3


async def test_each_answer_teaches_the_clock() -> None:
    handle, _ = in_turn(ok())
    async with database_that(handle) as database:
        await database.rpc("lt_work", {})
        assert database.clock.synchronised
        assert database.clock.now().isoformat().startswith("2026-01-02T03:04:0")


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.PoolTimeout("busy"),
        no(503, "PGRST002"),
        no(504, "PGRST003"),
        no(500, "57014"),
        no(500, "40001"),
        no(500, "40P01"),
        no(500, "55P03"),
        no(500, "57P03"),
        no(503, "53300"),
        no(503, "08006"),
        httpx.Response(429, json={}),
        httpx.Response(502, text="<html>Bad gateway</html>"),
        httpx.Response(522, text="<html>Cloudflare</html>"),
        httpx.Response(500, text="Internal Server Error"),
    ],
    ids=repr,
)
async def test_a_passing_failure_is_asked_again_and_then_answered(
    failure: httpx.Response | Exception,
) -> None:
    reports: list[CallReport] = []
    handle, seen = in_turn(failure, ok(granted=True))
    async with database_that(handle, reports=reports) as database:
        assert (await database.rpc("lt_claim", {"p": {}}))["granted"] is True
    assert len(seen) == 2
    assert seen[0].content == seen[1].content
    assert [report.outcome for report in reports] == ["DatabaseUnreachable", "ok"]


async def test_a_failure_that_stays_is_unreachable_when_the_deadline_passes() -> None:
    handle, seen = in_turn(httpx.ConnectError("refused"))
    async with database_that(handle) as database:
        async with asyncio.timeout(20):
            with pytest.raises(DatabaseUnreachable, match=r"lt_work: ConnectError"):
                await database.rpc("lt_work", {}, deadline_s=0.5)
    assert len(seen) > 1


async def test_a_call_that_hangs_ends_with_its_deadline_and_not_with_its_own_bound() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with database_that(hang, timing=CallTiming(call_s=60)) as database:
        async with asyncio.timeout(20):
            with pytest.raises(DatabaseUnreachable, match="no answer within"):
                await database.rpc("lt_work", {}, deadline_s=0.1)


async def test_an_outage_is_news_once_and_so_is_its_end() -> None:
    handle, _ = in_turn(*[httpx.ConnectError("refused")] * 6, ok())
    async with database_that(handle) as database:
        with capture_logs() as logs:
            await asyncio.gather(*(database.rpc("lt_work", {}, deadline_s=20) for _ in range(3)))
    told = [(entry["event"], entry["log_level"]) for entry in logs]
    assert told.count(("database.retried", "warning")) == 1
    assert told.count(("database.retried", "debug")) == 5
    assert told.count(("database.answered", "info")) == 1
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert warning["note"] == "no answer yet, trying for 20 s"


async def test_a_call_that_hangs_is_given_up_and_asked_again() -> None:
    calls = 0

    async def hang_once(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return ok()

    async with database_that(hang_once, timing=CallTiming(call_s=0.2)) as database:
        await database.rpc("lt_work", {})
    assert calls == 2


async def test_a_cancelled_call_is_not_asked_again_and_stays_cancelled() -> None:
    reports: list[CallReport] = []
    asked = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with database_that(hang, timing=CallTiming(), reports=reports) as database:
        call = asyncio.create_task(database.rpc("lt_work", {}))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [report.outcome for report in reports] == ["cancelled"]


@pytest.mark.parametrize(
    "answer",
    [
        no(404, "PGRST202", "Could not find the function public.lt_claim(p) in the schema cache"),
        no(404, "42883"),
        no(404, "42P01"),
        no(404, "PGRST205"),
        no(400, "42703"),
        no(403, "42501", "permission denied for function lt_claim"),
    ],
    ids=repr,
)
async def test_what_the_schema_lacks_is_named_with_the_fix(answer: httpx.Response) -> None:
    error = await error_of(answer)
    assert isinstance(error, SchemaError)
    assert "lt_claim" in str(error)
    assert "apply supabase/migrations" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        no(401, "PGRST301", "JWSError JWSInvalidSignature"),
        no(401, "PGRST303", "JWT expired"),
        no(401, "42501", "permission denied for function lt_claim"),
        httpx.Response(401, json={"message": "Invalid API key"}),
        httpx.Response(403, text="<html>Forbidden</html>"),
    ],
    ids=repr,
)
async def test_a_key_that_is_not_accepted_is_a_credential_error_that_does_not_quote_it(
    answer: httpx.Response,
) -> None:
    error = await error_of(answer)
    assert isinstance(error, CredentialError)
    assert not error.retryable
    assert "SUPABASE_SERVICE_ROLE_KEY" in str(error)
    assert ACCESS.key not in str(error)


async def test_a_gateway_that_refuses_the_key_once_costs_one_call_and_not_the_worker() -> None:
    handle, seen = in_turn(httpx.Response(403, text="<html>Forbidden</html>"), ok(granted=True))
    async with database_that(handle) as database:
        with pytest.raises(CredentialError):
            await database.rpc("lt_claim", {"p": {}})
        assert len(seen) == 1
        assert (await database.rpc("lt_claim", {"p": {}}))["granted"] is True


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (no(400, "P0001", "matched may not become live", "see lt_attempt_transitions"), "P0001"),
        (no(409, "23505", "duplicate key"), "23505"),
        (no(400, "22P02", "invalid input syntax"), "22P02"),
        (httpx.Response(301, headers={"location": "https://elsewhere.test"}), "301"),
        (httpx.Response(200, text="<html>Welcome</html>"), "malformed"),
        (httpx.Response(200, json={"granted": True}), "malformed"),
        (httpx.Response(200, json={"now": "2026-01-02T03:04:05"}), "malformed"),
        (httpx.Response(200, json={"now": "then"}), "malformed"),
        (httpx.Response(405), "405"),
        (httpx.Response(501, text="Unsupported method ('POST')"), "501"),
        (httpx.Response(200, json=[]), "malformed"),
        (httpx.Response(200, text=""), "malformed"),
    ],
    ids=repr,
)
async def test_any_other_no_is_refused_at_once_with_its_code(answer: httpx.Response, code: str) -> None:
    error = await error_of(answer)
    assert isinstance(error, DatabaseRefused)
    assert error.code == code
    assert not error.retryable


async def test_a_no_without_any_reason_is_a_server_that_died_while_it_answered() -> None:
    """As PostgREST 12 said it when the database crashed under a call."""
    empty = {"code": "", "details": None, "hint": None, "message": ""}
    error = await error_of(httpx.Response(400, json=empty), deadline_s=1)
    assert isinstance(error, DatabaseUnreachable)
    assert error.retryable


async def test_a_refusal_carries_the_databases_hint() -> None:
    error = await error_of(no(400, "P0001", "matched may not become live", "look it up"))
    assert "matched may not become live (look it up)" in str(error)


async def test_a_page_of_html_is_cut_short() -> None:
    error = await error_of(httpx.Response(418, text="<p>" * 10_000))
    assert len(str(error)) < 500


async def test_warming_opens_connections_and_tells_what_is_wrong() -> None:
    open_now = most_open = 0

    async def answer_slowly(_: httpx.Request) -> httpx.Response:
        nonlocal open_now, most_open
        open_now += 1
        most_open = max(most_open, open_now)
        await asyncio.sleep(0)
        open_now -= 1
        return ok()

    async with database_that(answer_slowly) as database:
        await database.warm(4)
    assert most_open == 4
    handle, _ = in_turn(no(404, "PGRST202"))
    async with database_that(handle) as database:
        with pytest.raises(SchemaError):
            await database.warm(4)
