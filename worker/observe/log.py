"""The log that people tail: structured `noun.verb` events, pretty on a terminal, JSON lines otherwise.

Everything goes to stderr: stdout belongs to the data that a command prints. No secret passes: values registered
with `hide` are replaced wherever they stand, and so is anything that looks like a JSON Web Token.
"""

import json
import logging
import os
import re
import sys
from collections.abc import MutableMapping
from decimal import Decimal
from typing import Any, TextIO

import structlog

from worker.settings import LogFormat, LogSettings

_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_HIDDEN = "[hidden]"
_WORD_BELOW = 8  # a shorter secret may well be a part of an innocent word
_SHORTEST = 4
_secrets: dict[str, re.Pattern[str]] = {}


def hide(*values: str) -> None:
    """Never print these again, from anywhere in the process; a short one where it stands as a word.

    Fewer than four characters keep nobody out, and would take every figure from the log.
    """
    for value in values:
        if len(value) >= _SHORTEST:
            edge = r"{}" if len(value) >= _WORD_BELOW else r"(?<!\w){}(?!\w)"
            for written in {value, json.dumps(value)[1:-1]}:
                _secrets[written] = re.compile(edge.format(re.escape(written)))


def redact(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):  # what contains another one first
        text = _secrets[secret].sub(_HIDDEN, text)
    return _TOKEN.sub(_HIDDEN, text)


def configure(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Set up structlog and route the standard library's loggers through it, once per process."""
    out = stream or sys.stderr
    pretty = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and out.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _plain_values,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=out.isatty() and not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
        if pretty
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer, _redact_line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, _redact_line],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def silent_logger() -> logging.Logger:
    """For a library that would tell of every stranger's malformed request."""
    silent = logging.getLogger("worker.silent")
    silent.disabled = True
    return silent


def _plain_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: _plain(value) for key, value in event.items()}


def _plain(value: Any) -> Any:
    """Money as digits, errors as their words, however deep they lie."""
    match value:
        case Decimal():
            return format(value, "f")
        case BaseException():
            return str(value) or type(value).__name__
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return value


def _redact_line(_: Any, __: str, line: Any) -> Any:
    """The last step, over the whole line: no value is too deep and no key too odd to be searched."""
    return redact(line)
