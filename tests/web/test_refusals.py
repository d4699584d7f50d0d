"""A request that is not what it may be is told which field, where, and an example that would do."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from worker.web import orders, switches
from worker.web.kinds import platform_reports
from worker.web.refusals import sentence

SEND = 'send `Content-Type: application/json` and a body such as {"reason": "too many losses"}.'


def refused(request: Request, error: Exception) -> PlainTextResponse:
    assert isinstance(error, RequestValidationError)
    return PlainTextResponse(sentence(request, error), 422)


@pytest.fixture
def app() -> FastAPI:
    """The routes themselves, which read nothing of what they refuse."""
    app = FastAPI()
    for noun in (switches, orders):
        app.include_router(noun.router)
    app.dependency_overrides[platform_reports] = lambda: None
    app.add_exception_handler(RequestValidationError, refused)
    return app


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/kill", {}, f"There is no body: {SEND}"),
        ("/kill", {"json": {"actor": "me"}}, f"`reason` is missing in the body: {SEND}"),
        ("/kill", {"json": ["why"]}, f"The body is not a JSON object: {SEND}"),
        ("/kill", {"data": {"reason": "why"}}, f"The body is not a JSON object: {SEND}"),
        (
            "/kill",
            {"json": {"reason": 7}},
            f"`reason` = 7 in the body is refused: input should be a valid string; {SEND}",
        ),
        (
            "/resume",
            {"json": {"actor": "a" * 100}},
            (
                "`actor` = a value of 100 characters in the body is refused: string should have at most 80 characters; "
                'send `Content-Type: application/json` and a body such as {"actor": "night shift"}.'
            ),
        ),
    ],
)
async def test_a_body_is_refused_with_one_that_would_do(
    app: FastAPI, path: str, body: dict[str, Any], told: str
) -> None:
    async with client_of(app) as client:
        answer = await client.post(path, **body)
    assert (answer.status_code, answer.text) == (422, told)


async def test_a_body_that_is_cut_off_is_told_where(app: FastAPI) -> None:
    async with client_of(app) as client:
        answer = await client.post(
            "/kill", content=b'{"reason": ', headers={"Content-Type": "application/json"}
        )
    assert answer.text.startswith("The body is not JSON (")
    assert answer.text.endswith(f", at character 11): {SEND}")


@pytest.mark.parametrize(("value", "why"), [("soon", "a valid integer"), ("0", "greater than or equal to 1")])
async def test_a_parameter_is_named_with_its_value_and_one_that_would_do(
    app: FastAPI, value: str, why: str
) -> None:
    async with client_of(app) as client:
        answer = await client.get("/recent-activity", params={"window_s": value})
    assert answer.status_code == 422
    assert answer.text.startswith(f'`window_s` = "{value}" in the query is refused: input should be {why}')
    assert answer.text.endswith(", such as window_s=86400.")


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
