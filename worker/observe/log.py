"""The log that people tail: structured `noun.verb` events, pretty on a terminal, JSON lines otherwise.

Everything goes to stderr: stdout belongs to the data that a command prints. No secret passes: values registered
with `hide` are replaced wherever they stand, and so is anything that looks like a JSON Web Token.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from decimal import Decimal
from typing import Any, TextIO

import structlog

from worker.settings import LogFormat, LogSettings

_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_HIDDEN = "[hidden]"
_secrets: set[str] = set()


def hide(*values: str) -> None:
    """Never print these again, from anywhere in the process."""
    _secrets.update(value for value in values if len(value) >= 8)


def redact(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, _HIDDEN)
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
        _plain_values,
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty()) if pretty else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def _plain_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, Decimal):
            event[key] = format(value, "f")
    return event


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
    return event
