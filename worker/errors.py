"""Every error the worker raises on purpose, in one tree. Each says what a caller may do about it.

    WorkerError
    ├── ConfigError            a setting is wrong: name, value, fix            exit 78
    ├── CredentialError        a key is missing, wrong or too weak             exit 77
    ├── DatabaseError
    │   ├── DatabaseUnreachable     no answer, or a transport failure          retryable, exit 75
    │   ├── DatabaseRefused         PostgREST or PostgreSQL said no            (code tells)
    │   └── SchemaError             a table, function or grant is missing      exit 78
    ├── ExchangeError
    │   ├── ExchangeUnreachable     no answer to a read                        retryable, exit 75
    │   │   └── ExchangeMalformed       an answer in no shape of the exchange's
    │   ├── MarketNotFound          the exchange does not know the market      benign
    │   ├── ExchangeRefused         a read or a preparation was refused
    │   └── OrderIdMismatch         the id that came back is not ours          halts trading
    ├── ForeignWriter          another executor writes lt_orders                exit 5
    └── UsageError             a command asks for what is not there            exit 2

`retryable`: the same call may succeed later. `benign`: expected in normal operation, no alarm.
An answer to an order is never an error: see `orders/outcomes.py`.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process tells systemd and scripts. A contract: see docs/exit-codes.md."""

    OK = 0
    CRASH = 1
    USAGE = 2
    KILLED = 4
    NEEDS_HUMAN = 5
    UPSTREAM_UNREACHABLE = 75
    CREDENTIALS_REFUSED = 77
    CONFIG_INVALID = 78


class WorkerError(Exception):
    """Base of the tree. The message is one sentence that names the thing, the value and the fix."""

    retryable: ClassVar[bool] = False
    benign: ClassVar[bool] = False
    exit_code: ClassVar[ExitCode] = ExitCode.CRASH


class ConfigError(WorkerError):
    exit_code = ExitCode.CONFIG_INVALID


class CredentialError(WorkerError):
    exit_code = ExitCode.CREDENTIALS_REFUSED


class DatabaseError(WorkerError):
    pass


class DatabaseUnreachable(DatabaseError):
    retryable = True
    exit_code = ExitCode.UPSTREAM_UNREACHABLE


class DatabaseRefused(DatabaseError):
    """`code` is the SQLSTATE or the PostgREST code, such as 42501 or PGRST202."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class SchemaError(DatabaseError):
    exit_code = ExitCode.CONFIG_INVALID


class ExchangeError(WorkerError):
    pass


class ExchangeUnreachable(ExchangeError):
    retryable = True
    exit_code = ExitCode.UPSTREAM_UNREACHABLE


class ExchangeMalformed(ExchangeUnreachable):
    """As good as no answer while trading; at the first contact it means a wrong address."""


class MarketNotFound(ExchangeError):
    benign = True


class ExchangeRefused(ExchangeError):
    pass


class OrderIdMismatch(ExchangeError):
    exit_code = ExitCode.NEEDS_HUMAN


class UsageError(WorkerError):
    exit_code = ExitCode.USAGE


class ForeignWriter(WorkerError):
    exit_code = ExitCode.NEEDS_HUMAN


def innermost(error: Exception) -> Exception:
    """The error that a group of tasks ended by, where all of it is errors of ours: one sentence, and not a list of tasks."""
    while isinstance(error, ExceptionGroup) and error.split(WorkerError)[1] is None:
        error = error.exceptions[0]
    return error
