"""What an operator asks and orders: switches, scope, the zero-missed equation, the state of the schema."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.database.values import Row, count_of, moment_of, row_of, rows_of, text_of, word_of
from worker.orders.terms import Mode, StrategyId, WalletAddress


class ControlAction(StrEnum):
    """`resume` clears pauses, `arm` kills and the freezes of the ledger; both leave a trace."""

    PAUSE = "pause"
    RESUME = "resume"
    KILL = "kill"
    ARM = "arm"


@dataclass(frozen=True, slots=True)
class ControlScope:
    """What a switch holds for. Made by one of the three class methods."""

    text: str

    @classmethod
    def everything(cls) -> "ControlScope":
        return cls("global")

    @classmethod
    def strategy(cls, strategy_id: StrategyId) -> "ControlScope":
        return cls(f"strategy:{strategy_id}")

    @classmethod
    def wallet(cls, address: WalletAddress) -> "ControlScope":
        return cls(f"wallet:{address.lower()}")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that the schema lacks, and what to do about it."""

    thing: str
    problem: str
    fix: str


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """`role` is who the database takes us for."""

    schema_version: str
    role: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Funnel:
    """Independent counts over the signals in scope; `seen` must be the sum of the four that follow."""

    seen: int
    executed: int
    skipped: int
    deferred: int
    undecided: int
    missed: int  # undecided for more than five seconds

    @property
    def balanced(self) -> bool:
        return self.seen == self.executed + self.skipped + self.deferred + self.undecided


@dataclass(frozen=True, slots=True)
class Equation:
    """Nothing missed: `total.balanced` and `total.missed == 0`."""

    strategies: dict[tuple[StrategyId, Mode], Funnel]
    total: Funnel
    as_of: datetime


@dataclass(frozen=True, slots=True)
class ForeignOrders:
    """Rows of `lt_orders` that no attempt of ours stands behind; `orders` shows the newest hundred."""

    count: int
    orders: tuple[Row, ...]


def parse_check(answer: Row) -> SchemaCheck:
    return SchemaCheck(
        schema_version=text_of(answer, "schema_version"),
        role=text_of(answer, "role"),
        problems=tuple(
            Problem(text_of(row, "thing"), text_of(row, "problem"), text_of(row, "fix"))
            for row in rows_of(answer, "problems")
        ),
    )


def parse_equation(answer: Row) -> Equation:
    return Equation(
        strategies={
            (StrategyId(text_of(row, "strategy_id")), word_of(row, "mode", Mode)): _funnel(row)
            for row in rows_of(answer, "strategies")
        },
        total=_funnel(row_of(answer, "total")),
        as_of=moment_of(answer, "now"),
    )


def parse_foreign_orders(answer: Row) -> ForeignOrders:
    return ForeignOrders(count=count_of(answer, "count"), orders=tuple(rows_of(answer, "orders")))


def _funnel(row: Row) -> Funnel:
    return Funnel(
        seen=count_of(row, "seen"),
        executed=count_of(row, "executed"),
        skipped=count_of(row, "skipped"),
        deferred=count_of(row, "deferred"),
        undecided=count_of(row, "undecided"),
        missed=count_of(row, "missed"),
    )
