"""Row changes and the transactions they were committed in, put together from `pgoutput` messages. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.sandbox.gateway import pgoutput
from worker.sandbox.gateway.pgoutput import Begin, Commit, Delete, Insert, Relation, Row, Unchanged, Update


class Operation(StrEnum):
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row's change. `new` and `old` name the columns that the log carried."""

    relation: Relation
    operation: Operation
    new: dict[str, str | None] | None
    old: dict[str, str | None] | None


@dataclass(frozen=True, slots=True)
class Transaction:
    committed_at: datetime
    changes: tuple[RowChange, ...]


class Assembly:
    """Puts messages together to transactions."""

    def __init__(self, deliver: Callable[[Transaction], None]) -> None:
        self._deliver = deliver
        self._relations: dict[int, Relation] = {}
        self._changes: list[RowChange] = []
        self._begin: Begin | None = None

    def reset(self) -> None:
        self._relations.clear()
        self._changes.clear()
        self._begin = None

    def take(self, data: bytes) -> None:
        match pgoutput.parse(data):
            case Relation() as relation:
                self._relations[relation.oid] = relation
            case Begin() as begin:
                self._begin = begin
                self._changes = []
            case Insert(relation_oid, new):
                self._add(relation_oid, Operation.INSERT, new=new)
            case Update(relation_oid, old, new, old_is_whole):
                self._add(relation_oid, Operation.UPDATE, new=new, old=old, old_is_whole=old_is_whole)
            case Delete(relation_oid, old, old_is_whole):
                self._add(relation_oid, Operation.DELETE, old=old, old_is_whole=old_is_whole)
            case Commit():
                if self._begin is not None and self._changes:
                    self._deliver(Transaction(self._begin.committed_at, tuple(self._changes)))
            case None:
                pass

    def _add(
        self,
        relation_oid: int,
        operation: Operation,
        *,
        new: Row | None = None,
        old: Row | None = None,
        old_is_whole: bool = False,
    ) -> None:
        relation = self._relations[relation_oid]
        old_values = None
        if old is not None:
            old_values = _values(relation, old, only_identity=not old_is_whole)
        elif operation is Operation.UPDATE and new is not None:
            # The identity did not change, so the log left it out; the hosted server shows it all the same.
            old_values = _values(relation, new, only_identity=True)
        new_values = None if new is None else _values(relation, new)
        self._changes.append(RowChange(relation, operation, new_values, old_values))


def _values(relation: Relation, row: Row, *, only_identity: bool = False) -> dict[str, str | None]:
    return {
        column.name: value
        for column, value in zip(relation.columns, row, strict=True)
        if not isinstance(value, Unchanged) and (column.in_identity or not only_identity)
    }
