"""The command itself, as a child process: what goes wrong is one sentence and an exit code, never a traceback."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from aiohttp import web

from tests.support.exchange_floor import KEY, OTHER_KEY, account_of
from worker.errors import ExitCode
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.postgres import Postgres
from worker.sandbox.processes import free_port
from worker.sandbox.supabase import SupabaseSandbox

EXIT_CODES = Path(__file__).parents[1] / "docs" / "exit-codes.md"
WALLET = account_of().wallet
ONE_WALLET = f'[[wallets]]\naddress = "{WALLET}"\nkey = "env:WALLET_MAIN"\n'
LIVE = 'mode = "live"\n'
VERBS = ("run", "check", "demo")


@dataclass(frozen=True, slots=True)
class Ended:
    code: ExitCode
    stdout: str
    stderr: str
    took_s: float

    @property
    def sentence(self) -> str:
        """The last words: one line that begins with `error:`, and nothing of Python's about it."""
        assert "Traceback" not in self.stderr, self.stderr
        (sentence,) = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert self.stderr.rstrip().endswith(sentence)
        assert self.took_s < 15
        return sentence


class Shell:
    """An operator's shell in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "SUPABASE_URL": "http://127.0.0.1:1",
            "SUPABASE_SERVICE_ROLE_KEY": ProjectKeys().service_role,
        }

    def write(self, text: str) -> None:
        """The settings file, where the worker looks for it."""
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config" / "worker.toml").write_text(text, encoding="utf-8")

    async def __call__(self, *arguments: str, **environment: str) -> Ended:
        began_s = monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", *arguments),
            cwd=self.folder,
            env={**_clean(os.environ), **self.environment, **environment, "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(30):
                stdout, stderr = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        code = ExitCode(process.returncode)
        return Ended(code, stdout.decode(), stderr.decode(), monotonic() - began_s)


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    mine = ("POLYCOPY_", "SUPABASE_", "CREDENTIALS_", "NOTIFY_", "FORCE_COLOR")
    return {name: value for name, value in environ.items() if not name.startswith(mine)}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def point_at(shell: Shell, supabase: SupabaseSandbox) -> None:
    shell.environment["SUPABASE_URL"] = supabase.url
    shell.environment["SUPABASE_SERVICE_ROLE_KEY"] = supabase.service_role_key


# --- settings and keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "check"])
async def test_an_unknown_key_in_the_file_is_named_with_the_one_that_was_meant(
    shell: Shell, verb: str
) -> None:
    shell.write("[sweep]\nevry_s = 1.0\n")
    ended = await shell(verb)
    assert ended.code is ExitCode.CONFIG_INVALID
    assert "`sweep.evry_s`" in ended.sentence
    assert "did you mean `every_s`?" in ended.sentence


@pytest.mark.parametrize(
    ("variable", "code"),
    [
        ("SUPABASE_SERVICE_ROLE_KEY", ExitCode.CREDENTIALS_REFUSED),
        ("SUPABASE_URL", ExitCode.CONFIG_INVALID),
    ],
)
async def test_what_is_not_set_is_named_with_the_way_to_set_it(
    shell: Shell, variable: str, code: ExitCode
) -> None:
    del shell.environment[variable]
    ended = await shell("run")
    assert ended.code is code
    assert f"{variable} is not set: export" in ended.sentence


async def test_a_url_that_is_none_is_named(shell: Shell) -> None:
    ended = await shell("run", SUPABASE_URL="project.supabase.co")
    assert ended.code is ExitCode.CONFIG_INVALID
    assert "SUPABASE_URL" in ended.sentence
    assert "https://" in ended.sentence


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (ProjectKeys().anon, "role 'anon'"),
        ("sb_publishable_0123456789abcdef", "publishable key"),
        ("not-a-key-at-all", "neither a JWT nor a secret key"),
    ],
    ids=["anon", "publishable", "nonsense"],
)
async def test_a_key_too_weak_to_trade_is_told_apart_and_never_shown(
    shell: Shell, key: str, said: str
) -> None:
    ended = await shell("run", SUPABASE_SERVICE_ROLE_KEY=key)
    assert ended.code is ExitCode.CREDENTIALS_REFUSED
    assert "SUPABASE_SERVICE_ROLE_KEY" in ended.sentence
    assert said in ended.sentence
    assert "service_role key" in ended.sentence
    assert key not in ended.stderr


async def test_a_key_of_another_project_is_refused_by_the_database_and_told_so(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    point_at(shell, supabase)
    ended = await shell("run", SUPABASE_SERVICE_ROLE_KEY=ProjectKeys().service_role)
    assert ended.code is ExitCode.CREDENTIALS_REFUSED
    assert "SUPABASE_SERVICE_ROLE_KEY" in ended.sentence


# --- a database that cannot be had --------------------------------------------------------------------------------


async def test_a_host_that_refuses_is_named(shell: Shell) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ran, checked = await asyncio.gather(*(shell(verb, SUPABASE_URL=url) for verb in ("run", "check")))
    for ended in (ran, checked):
        assert ended.code is ExitCode.UPSTREAM_UNREACHABLE
        assert f"Supabase at {url} does not answer: check SUPABASE_URL and the network" in ended.stderr
    assert url in ran.sentence


@pytest.fixture(
    params=[
        (200, "text/html", "<html>\n<body>Welcome</body>\n</html>"),
        (200, "application/json", '{"hello": "world"}'),
        (404, "text/html", "<html>\nnot here\n</html>"),
    ],
    ids=["a page", "another API", "not found"],
)
async def stranger(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A web server that is no Supabase project."""
    status, kind, text = request.param

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, content_type=kind, text=text)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_a_server_that_is_not_supabase_is_told_apart(shell: Shell, stranger: str) -> None:
    ended = await shell("run", SUPABASE_URL=stranger)
    assert ended.code is ExitCode.CONFIG_INVALID
    assert stranger in ended.sentence
    assert "SUPABASE_URL" in ended.sentence


async def test_a_database_that_is_away_behind_its_gateway_is_worth_another_try(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    point_at(shell, supabase)
    await supabase.postgrest._process.stop()
    ended = await shell("run")
    assert ended.code is ExitCode.UPSTREAM_UNREACHABLE
    assert supabase.url in ended.sentence


async def test_a_project_without_our_tables_is_told_to_migrate(
    shell: Shell, cluster: Postgres, project_template: str
) -> None:
    async with SupabaseSandbox.start(postgres=cluster, template=project_template) as bare:
        point_at(shell, bare)
        ended = await shell("run")
    assert ended.code is ExitCode.CONFIG_INVALID
    assert "supabase/migrations" in ended.sentence


# --- money needs two yeses and a key ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (LIVE + ONE_WALLET, (), "add --live"),
        (ONE_WALLET, ("--live",), 'mode = "live"'),
        (LIVE, ("--live",), "[[wallets]]"),
    ],
    ids=["only the file", "only the flag", "no wallet"],
)
async def test_half_a_yes_spends_nothing(
    shell: Shell, text: str, arguments: tuple[str, ...], said: str
) -> None:
    shell.write(text)
    ended = await shell("run", *arguments)
    assert ended.code is ExitCode.CONFIG_INVALID
    assert said in ended.sentence


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({}, "is not set: put it in env WALLET_MAIN"),
        ({"WALLET_MAIN": "0x1234"}, "64 hexadecimal digits"),
        ({"WALLET_MAIN": OTHER_KEY.get_secret_value()}, WALLET),
    ],
    ids=["missing", "malformed", "of another address"],
)
async def test_a_wallets_key_that_does_not_open_it_is_named_and_not_shown(
    shell: Shell, key: dict[str, str], said: str
) -> None:
    shell.write(LIVE + ONE_WALLET)
    ended = await shell("run", "--live", **key)
    assert ended.code is ExitCode.CREDENTIALS_REFUSED
    assert said.lower() in ended.sentence.lower()
    assert "5d5d5d" not in ended.stderr


async def test_an_exchange_that_does_not_answer_is_named(shell: Shell, supabase: SupabaseSandbox) -> None:
    point_at(shell, supabase)
    url = f"http://127.0.0.1:{free_port()}"
    shell.write(
        LIVE + ONE_WALLET + f'[exchange]\nclob_url = "{url}"\ngamma_url = "{url}"\ndata_url = "{url}"\n'
    )
    ended = await shell("run", "--live", WALLET_MAIN=KEY.get_secret_value())
    assert ended.code is ExitCode.UPSTREAM_UNREACHABLE
    assert WALLET in ended.sentence.lower() or url in ended.sentence


# --- check --------------------------------------------------------------------------------------------------------


async def test_check_prints_exactly_one_json_object(shell: Shell, supabase: SupabaseSandbox) -> None:
    point_at(shell, supabase)
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = await shell("check", "--json", POLYCOPY_EXCHANGE__CLOB_URL=nowhere)
    (line,) = ended.stdout.splitlines()
    said = json.loads(line)
    things = {finding["thing"]: finding["grade"] for finding in said["findings"]}
    assert said["ready"] is False
    assert things["database"] == "ok"
    assert "fail" in things.values()
    assert ended.code is not ExitCode.OK


async def test_check_answers_in_json_even_when_the_settings_are_wrong(shell: Shell) -> None:
    shell.write("[sweep]\nevry_s = 1.0\n")
    ended = await shell("check", "--json")
    (line,) = ended.stdout.splitlines()
    said = json.loads(line)
    assert said["ready"] is False
    assert "did you mean `every_s`?" in said["findings"][0]["detail"]
    assert ended.code is ExitCode.CONFIG_INVALID


async def test_check_shows_each_finding_with_its_fix_and_changes_nothing(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    point_at(shell, supabase)
    ended = await shell("check", SUPABASE_SERVICE_ROLE_KEY=ProjectKeys().anon)
    assert ended.code is ExitCode.CREDENTIALS_REFUSED
    assert "FAIL start: SUPABASE_SERVICE_ROLE_KEY" in ended.stderr
    assert ended.stdout == ""


# --- the front door -----------------------------------------------------------------------------------------------


async def test_every_verb_teaches_what_it_does() -> None:
    shell = Shell(Path("/"))
    whole, *each = await asyncio.gather(shell("--help"), *(shell(verb, "--help") for verb in VERBS))
    for verb, ended in zip(VERBS, each, strict=True):
        assert verb in whole.stdout
        assert ended.code is ExitCode.OK
        assert f"polycopy-worker {verb}" in ended.stdout or "__main__" not in ended.stdout
        words = re.findall(r"\w{4,}", ended.stdout)
        assert len(words) > 20
    assert "--live" in each[VERBS.index("run")].stdout


@pytest.mark.parametrize("arguments", [("trade",), ("run", "--lvie"), ("demo", "--rate", "fast")])
async def test_a_wrong_command_line_is_the_callers_to_mend(shell: Shell, arguments: tuple[str, ...]) -> None:
    ended = await shell(*arguments)
    assert ended.code is ExitCode.USAGE
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


# --- the contract -------------------------------------------------------------------------------------------------


def documented() -> dict[int, bool]:
    """Exit code -> whether systemd restarts after it, from the table."""
    rows = re.findall(
        r"^\| (\d+) \|[^|]*\| (yes|no) \|", EXIT_CODES.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return {int(code): restarts == "yes" for code, restarts in rows}


def test_the_documented_exit_codes_are_the_ones_there_are() -> None:
    assert set(documented()) == {int(code) for code in ExitCode}


def test_systemd_restarts_after_exactly_what_the_document_says() -> None:
    unit = (EXIT_CODES.parents[1] / "systemd" / "polycopy-worker.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, flags=re.MULTILINE)
    final = {code for code, restarts in documented().items() if not restarts and code != ExitCode.OK}
    assert {int(code) for code in line.split()} == final
