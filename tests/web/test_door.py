"""Nobody acts without the token, and no stranger's page asks."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.web.conftest import TOKEN, WRITES, Site, named_by, open_site, operations, settings_of
from worker.errors import ConfigError, CredentialError
from worker.web.door import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEARER = {"Authorization": f"Bearer {TOKEN}"}


def filled(path: str) -> str:
    return path.replace("{strategy_id}", "LT_ONE")


async def statuses(site: Site, *, writes: bool, headers: dict[str, str]) -> dict[str, int]:
    """What each operation of the document answers."""
    found = {}
    for method, path, operation in operations(await document_of(site)):
        if (method in WRITES) is writes:
            answer = await site.client.request(
                method, filled(path), params=named_by(operation, follow="false", wait_s=0), headers=headers,
                json={"reason": "a drill"} if writes else None,
            )  # fmt: skip
            found[f"{method} {path}"] = answer.status_code
    assert len(found) >= 3
    return found


async def document_of(site: Site) -> dict[str, Any]:
    document: dict[str, Any] = (await site.client.get("/openapi.json", headers=BEARER)).json()
    return document


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}0", f"Basic {TOKEN}", TOKEN],
)
async def test_no_write_is_taken_without_the_very_token(site: Site, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    found = await statuses(site, writes=True, headers=headers)
    assert set(found.values()) == {401}
    assert await site.desk.rows("select from public.lt_controls") == []
    answer = await site.client.post("/api/lt/kill", headers=headers)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert set(answer.json()) == {"error"}


async def test_of_whoever_may_not_act_no_body_is_read(site: Site) -> None:
    answer = await site.client.post("/api/lt/kill", content=b"{no")
    assert (answer.status_code, set(answer.json())) == (401, {"error"})
    assert (await site.client.post("/api/lt/kill", content=b"{no", headers=BEARER)).status_code == 422


async def test_a_body_is_short_and_says_how_long_it_is(site: Site) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"token="

    for path in ("/api/lt/kill", "/login"):
        long = await site.client.post(path, content=b"x" * (64 * 1024 + 1), headers=BEARER)
        assert (long.status_code, set(long.json())) == (413, {"error"})
        endless = await site.client.post(path, content=pieces(), headers=BEARER)
        assert (endless.status_code, set(endless.json())) == (411, {"error"})
    assert await site.desk.rows("select from public.lt_controls") == []


async def test_reads_need_the_token_where_the_settings_say_so(site: Site) -> None:
    assert set((await statuses(site, writes=False, headers={})).values()) == {200}
    async with open_site(site.supabase, POLYCOPY_WEB__READS_NEED_TOKEN="true") as shut:
        assert set((await statuses(shut, writes=False, headers={})).values()) == {401}
        assert (await shut.client.get("/openapi.json")).status_code == 401
        assert set((await statuses(shut, writes=False, headers=BEARER)).values()) == {200}


async def test_without_a_token_of_its_own_the_server_takes_no_write_at_all(site: Site) -> None:
    async with open_site(site.supabase, POLYCOPY_WEB_TOKEN="") as bare:
        for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer None"}):
            found = await statuses(bare, writes=True, headers=headers)
            assert set(found.values()) == {401}
        told = (await bare.client.post("/api/lt/kill")).json()["error"]
    assert "POLYCOPY_WEB_TOKEN" in told


async def test_a_token_that_can_be_guessed_is_none(site: Site) -> None:
    for settings in ({"POLYCOPY_WEB_TOKEN": "letmein"}, {"POLYCOPY_WEB_TOKEN": "x" * 31}):
        with pytest.raises(CredentialError, match="32 are the least"):
            Door.of(settings_of(site.supabase, **settings))
    with pytest.raises(CredentialError, match="reads_need_token"):
        Door.of(settings_of(site.supabase, POLYCOPY_WEB_TOKEN="", POLYCOPY_WEB__READS_NEED_TOKEN="true"))


async def test_it_listens_on_the_loopback_and_beyond_it_only_for_those_who_show_the_token(site: Site) -> None:
    settings = settings_of(site.supabase)
    assert settings.web.host == "127.0.0.1"
    for host in ("0.0.0.0", "::", "worker.example.org", "10.0.0.7"):  # noqa: S104 - that it is refused is the test
        with pytest.raises(ConfigError, match="reads_need_token"):
            settings_of(site.supabase, POLYCOPY_WEB__HOST=host)
        assert settings_of(
            site.supabase, POLYCOPY_WEB__HOST=host, POLYCOPY_WEB__READS_NEED_TOKEN="true"
        ).web.reads_need_token


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "127.0.0.2", "[::2]:80", "x:y"],
)
async def test_it_does_not_answer_to_a_name_that_is_not_its_own(site: Site, host: str) -> None:
    """DNS rebinding: a stranger's name that points to the loopback is the stranger's page's own origin."""
    for path in ("/api/lt/execution-audit", "/openapi.json", "/", "/nothing"):
        answer = await site.client.get(path, headers={"Host": host})
        assert (answer.status_code, set(answer.json())) == (403, {"error"})
    assert (await site.client.post("/api/lt/kill", headers={**BEARER, "Host": host})).status_code == 403


async def test_it_answers_to_the_names_of_the_loopback_and_to_those_of_the_settings(site: Site) -> None:
    for host in ("localhost", "LOCALHOST:8484", "127.0.0.1", "127.0.0.1:1", "[::1]:80"):
        answer = await site.client.get("/openapi.json", headers={"Host": host})
        assert answer.status_code == 200, host
    async with open_site(site.supabase, POLYCOPY_WEB__HOSTS='["worker.example.org"]') as named:
        for host, status in {"worker.example.org": 200, "other.example.org": 403}.items():
            answer = await named.client.get("/openapi.json", headers={"Host": host})
            assert answer.status_code == status


async def test_a_page_of_another_site_may_not_ask_unless_it_is_named(site: Site) -> None:
    port = httpx.URL(site.address).port
    strange = (
        "https://evil.example",
        "null",
        f"http://localhost:{port}",
        "http://127.0.0.1",
        f"https://127.0.0.1:{port}",
    )
    for origin in strange:
        answer = await site.client.post("/api/lt/kill", headers={**BEARER, "Origin": origin})
        assert answer.status_code == 403, origin
    own = await site.client.get("/openapi.json", headers={"Origin": site.address})
    assert own.status_code == 200
    async with open_site(site.supabase, POLYCOPY_WEB__ORIGINS='["https://polycopy.example"]') as named:
        told = await named.client.get("/openapi.json", headers={"Origin": "https://polycopy.example"})
        asked = await named.client.options(
            "/api/lt/kill",
            headers={
                "Origin": "https://polycopy.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        refused = await named.client.post("/api/lt/kill", headers={"Origin": "https://polycopy.example"})
    assert refused.status_code == 401
    assert (
        refused.headers["Access-Control-Allow-Origin"] == "https://polycopy.example"
    )  # or it could not read why
    assert told.headers["Access-Control-Allow-Origin"] == "https://polycopy.example"
    assert (asked.status_code, asked.headers["Access-Control-Allow-Methods"]) == (200, "GET, POST")
    assert await site.desk.rows("select from public.lt_controls") == []


async def test_answers_are_not_kept_framed_or_guessed_at(site: Site) -> None:
    for path in ("/api/lt/recent-activity", "/nothing"):
        headers = (await site.client.get(path)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "server" not in headers


async def test_the_document_shows_an_example_of_every_answer(site: Site) -> None:
    document = await document_of(site)
    for method, path, operation in operations(document):
        (content,) = operation["responses"]["200"]["content"].values()
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        assert content.get("example") or document["components"]["schemas"][name]["examples"], path
        assert operation["description"]
        told = {"401", "403", "422", "503"} | ({"411", "413"} if method in WRITES else set())
        assert told <= set(operation["responses"])
        errors = [one for status, one in operation["responses"].items() if status != "200"]
        assert all(set(one["content"]) == {"application/json"} for one in errors), path


async def test_a_parameter_that_there_is_none_of_is_named_with_those_that_there_are(site: Site) -> None:
    document = await document_of(site)
    for method, path, operation in operations(document):
        answer = await site.client.request(
            method, filled(path), params={"since": "yesterday"}, headers=BEARER,
            json={"reason": "a drill"} if method in WRITES else None,
        )  # fmt: skip
        told = answer.json()["error"]
        assert (answer.status_code, "Unknown parameter `since`" in told) == (422, True), path
        takes = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
        assert all(f"`{name}`" in told for name in takes)
    assert await site.desk.rows("select from public.lt_controls") == []
    assert (await site.client.get("/openapi.json", params={"v": "3"})).status_code == 422


async def test_what_the_api_does_not_know_is_told_as_it_tells_errors(site: Site) -> None:
    for method, path, status in (
        ("GET", "/api/lt/nothing", 404), ("POST", "/api/", 404), ("GET", "/api/lt/kill", 405),
        ("TRACE", "/api/lt/diagnostic", 405), ("DELETE", "/api/lt/strategies/LT_ONE/orders", 405),
        ("PUT", "/api/lt/strategies/LT_ONE/kill", 405),
    ):  # fmt: skip
        answer = await site.client.request(method, path, headers=BEARER)
        assert (answer.status_code, set(answer.json())) == (status, {"error"}), path
        assert ("Allow" in answer.headers) is (status == 405)


async def test_an_address_that_is_taken_is_told_with_the_setting_that_names_it(site: Site) -> None:
    port = str(httpx.URL(site.address).port)
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port} .* web.host and web.port"):
        async with open_site(site.supabase, POLYCOPY_WEB__PORT=port):
            pass


async def test_figures_look_back_a_week_at_most_and_orders_as_far_as_a_quarter(site: Site) -> None:
    for path in ("execution-audit", "diagnostic"):
        week = await site.client.get(f"/api/lt/{path}", params={"window_s": 7 * 86400})
        longer = await site.client.get(f"/api/lt/{path}", params={"window_s": 7 * 86400 + 1})
        assert (week.status_code, longer.status_code) == (200, 422)
        assert "less than or equal to 604800" in longer.json()["error"]
    answer = await site.client.get("/api/lt/recent-activity", params={"window_s": 90 * 86400})
    assert answer.status_code == 200
