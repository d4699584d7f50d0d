"""The command itself: what goes wrong is one sentence and an exit code, never a traceback.

What ends before anything is opened is asked of `main` in this process; the rest is a child process as systemd's.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from aiohttp import web

from tests.support.exchange_floor import KEY, OTHER_KEY, account_of
from worker.cli import main
from worker.errors import ExitCode
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.postgres import Postgres
from worker.sandbox.processes import free_port
from worker.sandbox.supabase import SupabaseSandbox

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

WALLET = account_of().wallet
ONE_WALLET = f'[[wallets]]\naddress = "{WALLET}"\nkey = "env:WALLET_MAIN"\n'
LIVE = 'mode = "live"\n'
VERBS = (
    "run", "check", "demo", "resolve", "explain", "audit", "status", "orders", "feed", "pause", "resume", "kill", "arm",
    "web",
)  # fmt: skip
MINE = ("POLYCOPY_", "SUPABASE_", "CREDENTIALS_", "NOTIFY_", "FORCE_COLOR")
GENEROUS_S = 120.0  # for a hang, not for a busy machine


@dataclass(frozen=True, slots=True)
class Ended:
    code: ExitCode
    stdout: str
    stderr: str

    @property
    def sentence(self) -> str:
        """The last words: one line that begins with `error:`, and nothing of Python's about it."""
        assert "Traceback" not in self.stderr, self.stderr
        (sentence,) = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert self.stderr.rstrip().endswith(sentence)
        return sentence


def write(folder: Path, text: str) -> None:
    """The settings file, where the worker looks for it."""
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "worker.toml").write_text(text, encoding="utf-8")


class Shell:
    """An operator's shell in a folder of its own; each command is a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "SUPABASE_URL": "http://127.0.0.1:1",
            "SUPABASE_SERVICE_ROLE_KEY": ProjectKeys().service_role,
            "POLYCOPY_START_PATIENCE_S": "0.5",
        }

    def point_at(self, supabase: SupabaseSandbox) -> None:
        self.environment["SUPABASE_URL"] = supabase.url
        self.environment["SUPABASE_SERVICE_ROLE_KEY"] = supabase.service_role_key
        self.environment["POLYCOPY_START_PATIENCE_S"] = "20"

    async def __call__(self, *arguments: str, **environment: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", *arguments),
            cwd=self.folder,
            env={**_clean(os.environ), **self.environment, **environment, "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(GENEROUS_S):
                stdout, stderr = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Ended(ExitCode(process.returncode), stdout.decode(), stderr.decode())


def _clean(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(MINE)}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


Door = Callable[..., Ended]


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Door:
    """The command in this process, for what ends at the front door."""
    for name in set(os.environ) - set(_clean(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def knock(*arguments: str, file: str = "", **environment: str) -> Ended:
        write(tmp_path, file)
        monkeypatch.setattr(sys, "argv", ["polycopy-worker", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as left:
            main()
        code = ExitCode(left.value.code or 0)  # type: ignore[arg-type]  # `main` exits with numbers only
        return Ended(code, *capsys.readouterr())

    return knock


KEYED = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_SERVICE_ROLE_KEY": ProjectKeys().service_role,
}


# --- the front door -----------------------------------------------------------------------------------------------


def test_every_verb_teaches_what_it_does(door: Door) -> None:
    whole, bare = door("--help"), door()
    assert whole.code is bare.code is ExitCode.OK
    assert whole.stdout.split() == bare.stdout.split()
    for verb in VERBS:
        assert verb in whole.stdout
        taught = door(verb, "--help")
        assert taught.code is ExitCode.OK
        assert f"polycopy-worker {verb}" in taught.stdout
        assert len(re.findall(r"\w{4,}", taught.stdout)) > 20
        examples = re.findall(r"^( *)polycopy-worker .*$", taught.stdout, flags=re.MULTILINE)
        assert all(indent.startswith("  ") for indent in examples), verb  # set in, not run into the prose
    assert "--live" in door("run", "--help").stdout


def test_it_tells_its_version(door: Door) -> None:
    assert re.fullmatch(r"polycopy-worker \d+\.\d+\.\d+\S*\n", door("--version").stdout)


@pytest.mark.parametrize("arguments", [("trade",), ("run", "--lvie"), ("demo", "--rate", "fast")])
def test_a_wrong_command_line_is_the_callers_to_mend(door: Door, arguments: tuple[str, ...]) -> None:
    ended = door(*arguments)
    assert ended.code is ExitCode.USAGE
    assert ended.stdout == ""


@pytest.mark.parametrize("verb", ["run", "check"])
def test_an_unknown_key_in_the_file_is_named_with_the_one_that_was_meant(door: Door, verb: str) -> None:
    ended = door(verb, file="[sweep]\nevry_s = 1.0\n", **KEYED)
    assert ended.code is ExitCode.CONFIG_INVALID
    assert "`sweep.evry_s`" in ended.sentence
    assert "did you mean `every_s`?" in ended.sentence


@pytest.mark.parametrize(
    ("given", "missing", "code"),
    [
        ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", ExitCode.CREDENTIALS_REFUSED),
        ("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_URL", ExitCode.CONFIG_INVALID),
    ],
)
def test_what_is_not_set_is_named_with_the_way_to_set_it(
    door: Door, given: str, missing: str, code: ExitCode
) -> None:
    ended = door("run", **{given: KEYED[given]})
    assert ended.code is code
    assert f"{missing} is not set: export" in ended.sentence


@pytest.mark.parametrize(
    ("file", "arguments", "said"),
    [(LIVE + ONE_WALLET, (), "add --live"), (ONE_WALLET, ("--live",), 'mode = "live"')],
    ids=["only the file", "only the flag"],
)
def test_half_a_yes_spends_nothing(door: Door, file: str, arguments: tuple[str, ...], said: str) -> None:
    ended = door("run", *arguments, file=file, **KEYED)
    assert ended.code is ExitCode.CONFIG_INVALID
    assert said in ended.sentence


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (("--since", "yesterday"), "say how far back (90m, 12h, 7d) or from when (2026-11-20T00:00:00Z)"),
        (("--dry-run",), "add --backfill-only"),
        (("--json",), "add --backfill-only"),
        (("--strategy", "LT_ONE"), "add --since or --backfill-only"),
        (("--no-backfill", "--backfill-only"), "leave one of them out"),
        (("--no-backfill", "--since", "7d"), "leave one of them out"),
    ],
)
def test_flags_of_the_backfill_that_cannot_be_meant_are_told_with_the_way_out(
    door: Door, arguments: tuple[str, ...], fix: str
) -> None:
    ended = door("run", *arguments, **KEYED)
    assert ended.code is ExitCode.USAGE
    assert arguments[0] in ended.sentence
    assert fix in ended.sentence


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (("pause",), "needs its --reason"),
        (("kill", "--reason", "why"), "without a terminal add --yes"),
        (("arm",), "without a terminal add --yes"),
        (("arm", "--strategy", "LT_ONE", "--wallet", "0xab"), "give one of them"),
        (("orders", "--open", "--failed"), "give one of them"),
        (("status", "--watch", "--json"), "without it"),
        (("audit", "--since", "yesterday"), "say how far back"),
        (("audit", "--since", "2999-01-01T00:00:00Z"), "has not come yet"),
        (("orders", "--since", "2999-01-01T00:00:00Z"), "has not come yet"),
        (("resolve", "0xabcdef", "--as", "lost", "--reason", "why"), "without a terminal add --yes"),
        (("feed", "--since", "2026-11-20T00:00:00Z"), "such as 10m or 1h"),
    ],
)
def test_what_cannot_be_asked_of_a_desk_is_told_before_anything_is_opened(
    door: Door, arguments: tuple[str, ...], fix: str
) -> None:
    ended = door(*arguments, **KEYED)
    assert ended.code is ExitCode.USAGE
    assert fix in ended.sentence


def test_check_answers_in_json_even_when_the_settings_are_wrong_or_missing(door: Door) -> None:
    ended = door("check", "--json", file="[sweep]\nevry_s = 1.0\n")
    assert ended.code is ExitCode.CONFIG_INVALID
    (line,) = ended.stdout.splitlines()
    said = json.loads(line)
    (finding,) = said["findings"]
    assert said["ready"] is False
    assert (finding["grade"], finding["exit_code"]) == ("fail", ExitCode.CONFIG_INVALID)
    assert "did you mean `every_s`?" in finding["detail"]


# --- a database that cannot be had --------------------------------------------------------------------------------


async def test_a_host_that_refuses_is_named_and_told_of_once(shell: Shell) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    asked_again = {
        "POLYCOPY_START_PATIENCE_S": "4"
    }  # however busy the machine: a second try is what is told of
    ran, checked = await asyncio.gather(
        *(shell(verb, SUPABASE_URL=url, **asked_again) for verb in ("run", "check"))
    )
    for ended, told in ((ran, ran.stderr), (checked, checked.stdout)):
        assert ended.code is ExitCode.UPSTREAM_UNREACHABLE
        assert f"Supabase at {url} does not answer: check SUPABASE_URL and the network" in told
    logged = [json.loads(line)["event"] for line in ran.stderr.splitlines() if line.startswith("{")]
    assert logged.count("database.retried") == 1
    assert url in ran.sentence
    assert checked.stderr == ""
    assert re.search(r"^FAIL start: ", checked.stdout, flags=re.MULTILINE)


async def test_a_server_that_is_not_supabase_is_told_apart(shell: Shell) -> None:
    async def refuse(_: web.BaseRequest) -> web.Response:
        return web.Response(status=405)

    runner = web.ServerRunner(web.Server(refuse))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    url = f"http://127.0.0.1:{port}"
    ended = await shell("run", SUPABASE_URL=url, POLYCOPY_START_PATIENCE_S="20")
    await runner.cleanup()
    assert ended.code is ExitCode.CONFIG_INVALID
    assert url in ended.sentence
    assert "SUPABASE_URL" in ended.sentence


async def test_a_database_that_is_away_behind_its_gateway_is_worth_another_try(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    shell.point_at(supabase)
    await supabase.postgrest._process.stop()
    ended = await shell("run", POLYCOPY_START_PATIENCE_S="0.5")
    assert ended.code is ExitCode.UPSTREAM_UNREACHABLE
    assert supabase.url in ended.sentence


async def test_a_project_without_our_tables_is_told_to_migrate(
    shell: Shell, cluster: Postgres, project_template: str
) -> None:
    async with SupabaseSandbox.start(postgres=cluster, template=project_template) as bare:
        shell.point_at(bare)
        ended = await shell("run")
    assert ended.code is ExitCode.CONFIG_INVALID
    assert "supabase/migrations" in ended.sentence


# --- keys ---------------------------------------------------------------------------------------------------------


async def test_a_key_too_weak_to_trade_is_told_apart_and_never_shown(shell: Shell) -> None:
    key = ProjectKeys().anon
    ended = await shell("run", SUPABASE_SERVICE_ROLE_KEY=key)
    assert ended.code is ExitCode.CREDENTIALS_REFUSED
    assert "SUPABASE_SERVICE_ROLE_KEY is a key of role 'anon'" in ended.sentence
    assert key not in ended.stderr


async def test_a_key_of_another_project_is_refused_by_the_database_and_told_so(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    shell.point_at(supabase)
    ended = await shell("run", SUPABASE_SERVICE_ROLE_KEY=ProjectKeys().service_role)
    assert ended.code is ExitCode.CREDENTIALS_REFUSED
    assert "SUPABASE_SERVICE_ROLE_KEY" in ended.sentence


async def test_money_needs_a_wallet_and_the_key_that_opens_it(shell: Shell) -> None:
    write(shell.folder, LIVE)
    without = await shell("run", "--live")
    assert without.code is ExitCode.CONFIG_INVALID
    assert "[[wallets]]" in without.sentence
    write(shell.folder, LIVE + ONE_WALLET)
    other = await shell("run", "--live", WALLET_MAIN=OTHER_KEY.get_secret_value())
    assert other.code is ExitCode.CREDENTIALS_REFUSED
    assert WALLET in other.sentence.lower()
    assert "5d5d5d" not in other.stderr


# --- backfill -----------------------------------------------------------------------------------------------------


async def test_a_backfill_of_nothing_says_so_in_figures_and_one_of_an_unknown_strategy_is_refused(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    shell.point_at(supabase)
    told = await shell("run", "--backfill-only", "--since", "7d", "--json")
    assert told.code is ExitCode.OK, told.stderr
    (line,) = told.stdout.splitlines()
    said = json.loads(line)
    assert (said["found"], said["decided"], said["mode"], said["interrupted"]) == (0, 0, "paper", False)
    assert said["too_old"] == {"count": 0, "share": "0.0000"}
    assert said["since"] is not None

    refused = await shell("run", "--backfill-only", "--strategy", "LT_NONE")
    assert refused.code is ExitCode.USAGE
    assert "--strategy LT_NONE is no active strategy of lt_strategies: There are none" in refused.sentence


# --- looks --------------------------------------------------------------------------------------------------------


async def test_a_feed_of_a_misspelt_strategy_is_an_error_and_a_status_without_a_terminal_is_plain(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    shell.point_at(supabase)
    await _follow_with_a_stop_loss(supabase)
    refused, plain = await asyncio.gather(shell("feed", "--strategy", "LT_ON"), shell("status"))
    assert (refused.code, refused.stdout) == (ExitCode.USAGE, "")
    named = "is no strategy of lt_strategies: did you mean LT_ONE? There are LT_ONE."
    assert f"--strategy LT_ON {named}" in refused.sentence
    assert "\x1b" not in plain.stdout
    assert "LT_ONE" in plain.stdout


# --- check --------------------------------------------------------------------------------------------------------


async def test_an_exchange_that_does_not_answer_is_named_by_its_setting(
    shell: Shell, supabase: SupabaseSandbox
) -> None:
    shell.point_at(supabase)
    url = f"http://127.0.0.1:{free_port()}"
    write(
        shell.folder,
        LIVE + ONE_WALLET + f'[exchange]\nclob_url = "{url}"\ngamma_url = "{url}"\ndata_url = "{url}"\n',
    )
    key = KEY.get_secret_value()
    ran, checked = await asyncio.gather(
        shell("run", "--live", WALLET_MAIN=key),
        shell("check", POLYCOPY_MODE="paper", SUPABASE_DB_URL="postgresql://127.0.0.1/postgres"),
    )
    for ended, told in ((ran, ran.stderr), (checked, checked.stdout)):
        assert ended.code is ExitCode.UPSTREAM_UNREACHABLE
        assert f"exchange at {url} does not answer: check the setting `exchange.clob_url`" in told
    assert url in ran.sentence
    findings = [line.partition(":")[0] for line in checked.stdout.splitlines()]
    assert findings == [
        "ok   settings",
        "warn SUPABASE_DB_URL",
        "ok   keys",
        "ok   database",
        "warn strategies",
        "FAIL exchange",
    ]
    assert checked.stderr == ""


async def test_check_prints_exactly_one_json_object(shell: Shell, supabase: SupabaseSandbox) -> None:
    shell.point_at(supabase)
    await _follow_with_a_stop_loss(supabase)
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = await shell("check", "--json", POLYCOPY_EXCHANGE__CLOB_URL=nowhere)
    (line,) = ended.stdout.splitlines()
    said = json.loads(line)
    (warned,) = [one for one in said["findings"] if one["thing"] == "LT_ONE" and one["grade"] == "warn"]
    assert "stop_loss_pct = 5.00 has no effect" in warned["detail"]
    codes = {finding["thing"]: (finding["grade"], finding.get("exit_code")) for finding in said["findings"]}
    assert said["ready"] is False
    assert codes["database"] == ("ok", None)
    assert codes["exchange"] == ("fail", ExitCode.UPSTREAM_UNREACHABLE)
    assert ended.code is ExitCode.UPSTREAM_UNREACHABLE


async def _follow_with_a_stop_loss(supabase: SupabaseSandbox) -> None:
    async with await psycopg.AsyncConnection.connect(supabase.dsn, autocommit=True) as database:
        await database.execute(
            """
            with paper as (
              insert into public.ft_wallets (wallet_id, config_id, display_name) values ('FT_ONE', 'one', 'One')
              returning wallet_id
            ), somebody as (
              insert into auth.users (id) values (gen_random_uuid()) returning id
            )
            insert into public.lt_strategies (
              strategy_id, ft_wallet_id, user_id, wallet_address, display_name, is_active, stop_loss_pct)
            select 'LT_ONE', wallet_id, id, '0x' || repeat('11', 20), 'One', true, 5 from paper, somebody
            """
        )
