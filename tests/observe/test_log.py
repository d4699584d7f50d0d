"""What the log shows, in both of its forms, and what it never shows."""

import io
import json
import logging
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import structlog

from worker.observe import log
from worker.settings import LogFormat, LogSettings

SECRET = "4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c"
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl"


@pytest.fixture(params=[LogFormat.JSON, LogFormat.CONSOLE])
def out(request: pytest.FixtureRequest) -> io.StringIO:
    stream = io.StringIO()
    log.configure(LogSettings(format=request.param), stream=stream)
    log.hide(SECRET)
    return stream


def raise_with(text: str) -> None:
    raise ValueError(text)


def an_event(text: str) -> None:
    structlog.get_logger().info("order.decided", note=text)


def a_nested_value(text: str) -> None:
    structlog.get_logger().info("order.decided", answer={"words": [{"text": text}]})


def an_error_as_value(text: str) -> None:
    structlog.get_logger().warning("task.failed", error=ValueError(text))


def a_key(text: str) -> None:
    structlog.get_logger().info("order.decided", **{text: 1})


def an_exception(text: str) -> None:
    try:
        raise_with(text)
    except ValueError:
        structlog.get_logger().exception("signal.failed")


def a_line_of_a_library(text: str) -> None:
    logging.getLogger("httpx").warning("request with %s", text)


def an_exception_of_a_library(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as raised:
        raise_with(text)
    caught = raised.value
    # As asyncio does it: the exception is handed over long after it was raised.
    logging.getLogger("asyncio").error(
        "Task exception was never retrieved", exc_info=(ValueError, caught, caught.__traceback__)
    )


@pytest.mark.parametrize("secret", [SECRET, TOKEN])
@pytest.mark.parametrize(
    "tell",
    [
        an_event,
        a_nested_value,
        an_error_as_value,
        a_key,
        an_exception,
        a_line_of_a_library,
        an_exception_of_a_library,
    ],
)
def test_no_secret_passes(out: io.StringIO, tell: Callable[[str], None], secret: str) -> None:
    tell(f"before {secret} after")
    written = out.getvalue()
    assert secret not in written
    assert "before [hidden] after" in written


def test_a_secret_is_hidden_in_what_is_said_outside_the_log(out: io.StringIO) -> None:
    assert log.redact(f"key {SECRET}, token {TOKEN}") == "key [hidden], token [hidden]"


def test_a_word_too_short_to_be_a_secret_does_not_blank_the_log(out: io.StringIO) -> None:
    log.hide("", "the", "x1")
    assert log.redact("the mode x1 is live") == "the mode x1 is live"


def test_a_short_secret_is_hidden_as_a_word_and_is_left_in_the_middle_of_one(out: io.StringIO) -> None:
    log.hide("short7")
    assert log.redact("password=short7, shortest, short78") == "password=[hidden], shortest, short78"


def test_a_secret_with_quotes_in_it_is_hidden_in_a_line_of_json_too(out: io.StringIO) -> None:
    log.hide('semi"quaver"s')
    an_event('it is semi"quaver"s')
    assert "quaver" not in out.getvalue()


@pytest.mark.parametrize("tell", [an_exception, an_exception_of_a_library])
def test_an_exception_comes_with_its_traceback(out: io.StringIO, tell: Callable[[str], None]) -> None:
    tell("what went wrong")
    assert "ValueError: what went wrong" in out.getvalue()
    assert "raise_with" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"), [(Decimal("0.10"), "0.10"), (Decimal("1E+3"), "1000"), (Decimal("1E-7"), "0.0000001")]
)
def test_money_is_shown_as_digits(out: io.StringIO, value: Decimal, shown: str) -> None:
    structlog.get_logger().info("order.decided", bet_usd=value, deep={"bet_usd": [value]})
    assert shown in out.getvalue()
    assert "Decimal" not in out.getvalue()
    assert "E" not in out.getvalue()


def configured(stream: io.StringIO, **settings: Any) -> None:
    log.configure(LogSettings(**settings), stream=stream)
    structlog.get_logger().info("order.decided", outcome="executed", bet_usd=Decimal("10.50"))
    structlog.get_logger().debug("strategies.changed")
    logging.getLogger("httpx").info("chatter")
    logging.getLogger("httpx").warning("trouble")


def test_where_nobody_watches_each_line_is_one_json_object() -> None:
    stream = io.StringIO()
    configured(stream)
    decided, trouble = map(json.loads, stream.getvalue().splitlines())
    assert decided["event"] == "order.decided"
    assert (decided["level"], decided["outcome"], decided["bet_usd"]) == ("info", "executed", "10.50")
    assert decided["timestamp"].endswith("Z")
    assert (trouble["event"], trouble["logger"]) == ("trouble", "httpx")


def test_on_a_terminal_each_line_is_for_reading() -> None:
    stream = io.StringIO()
    configured(stream, format=LogFormat.CONSOLE)
    decided = stream.getvalue().splitlines()[0]
    assert "order.decided" in decided
    assert "outcome=executed" in decided
    with pytest.raises(ValueError, match="Extra data"):
        json.loads(decided)


def test_what_is_below_the_level_is_not_said() -> None:
    stream = io.StringIO()
    configured(stream, level="error")
    assert stream.getvalue() == ""


def test_the_libraries_talk_only_when_it_matters_even_at_debug() -> None:
    stream = io.StringIO()
    configured(stream, level="debug")
    assert "strategies.changed" in stream.getvalue()
    assert "chatter" not in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(
    monkeypatch: pytest.MonkeyPatch, no_color: str, *, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    log.configure(LogSettings(), stream=(terminal := Terminal()))
    structlog.get_logger().info("daemon.ready", feed="live")
    assert ("\x1b[" in terminal.getvalue()) is coloured
    assert "daemon.ready" in terminal.getvalue()
