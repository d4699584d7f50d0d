"""The command on a real terminal of 80 columns: nothing is cut, colours are left out on request, a no changes nothing."""

import asyncio
import fcntl
import io
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import typer

from tests.support.desk import Desk
from tests.support.eventually import eventually
from worker.cli.door import INTERRUPTED, ask
from worker.errors import ExitCode
from worker.sandbox.supabase import SupabaseSandbox

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

COLUMNS = 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][AB0]|\r")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;[\d;]+)m")


@dataclass
class Screen:
    """A process and the terminal that it writes to."""

    process: asyncio.subprocess.Process
    terminal: int
    raw: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def shown(self) -> str:
        return CONTROL.sub("", self.raw)

    def hear(self) -> None:
        try:
            self.raw += os.read(self.terminal, 65_536).decode(errors="replace")
        except OSError:  # the other side was closed
            asyncio.get_running_loop().remove_reader(self.terminal)
            self.ended.set()

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    async def code(self) -> int:
        async with asyncio.timeout(60):
            await self.ended.wait()
            return await self.process.wait()


@asynccontextmanager
async def on_terminal(
    supabase: SupabaseSandbox, *arguments: str, **environment: str
) -> AsyncIterator[Screen]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        env={
            **kept,
            "TERM": "xterm-256color",
            "SUPABASE_URL": supabase.url,
            "SUPABASE_SERVICE_ROLE_KEY": supabase.service_role_key,
            "POLYCOPY_MODE": "paper",
            **environment,
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = Screen(process, ours)
    asyncio.get_running_loop().add_reader(ours, screen.hear)
    try:
        yield screen
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


@pytest.fixture
async def desk(supabase: SupabaseSandbox) -> AsyncIterator[Desk]:
    desk = await Desk.open(supabase.dsn)
    await desk.strategy("LT_MOMENTUM_OF_THE_WHOLE_MARKET", initial_capital="1234567.89")
    await desk.ready()
    yield desk
    await desk.close()


async def test_a_status_that_is_watched_on_80_columns_cuts_no_number_and_ends_with_ctrl_c(
    supabase: SupabaseSandbox, desk: Desk
) -> None:
    async with on_terminal(supabase, "status", "--watch") as screen:
        await eventually(lambda: "nothing needs you" in screen.shown and "today" in screen.shown, within_s=60)
        screen.process.send_signal(signal.SIGINT)
        assert await screen.code() == INTERRUPTED
    lines = [line.rstrip() for line in screen.shown.splitlines()]
    assert max(map(len, lines)) <= COLUMNS
    for word in ("LT_MOMENTUM_OF_THE_WHOLE_MARKET", "$1,234,567.89", "realised", "today", "worker-a"):
        assert any(word in line for line in lines), (word, lines)
    assert "…" not in screen.shown
    assert COLOUR.search(screen.raw)

    # --- a no to a question changes nothing and is no failure, and without colours the words are the same
    async with on_terminal(supabase, "kill", "--reason", "why", NO_COLOR="1") as screen:
        await eventually(lambda: "alike?" in screen.shown, within_s=60)
        screen.type("n\n")
        assert await screen.code() == ExitCode.OK
    assert "kill everything, in live and paper mode alike?" in screen.shown
    assert "LT_MOMENTUM_OF_THE_WHOLE_MARKET" in screen.shown
    assert "Nothing was changed." in screen.shown
    assert not COLOUR.search(screen.raw)
    assert await desk.rows("select from public.lt_controls") == []


class Answers(io.StringIO):
    def isatty(self) -> bool:
        return True


class Interrupted(Answers):
    def readline(self, *_: object) -> str:  # type: ignore[override]  # the stub takes it for one of bytes
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        (lambda: Answers("n\n"), ExitCode.OK, "Nothing was changed."),
        (lambda: Answers("\n"), ExitCode.OK, "Nothing was changed."),
        (lambda: Answers(""), INTERRUPTED, ""),
        (Interrupted, INTERRUPTED, ""),
    ],
    ids=["no", "nothing", "end of input", "Ctrl-C"],
)
def test_what_is_not_a_yes_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: Callable[[], Answers],
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", answers())
    with pytest.raises(typer.Exit) as left:
        ask("arm LT_ONE?")
    assert left.value.exit_code == code
    assert said in capsys.readouterr().err


def test_a_yes_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Answers("y\n"))
    ask("arm LT_ONE?")
