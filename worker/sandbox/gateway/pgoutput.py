"""The messages of PostgreSQL's `pgoutput` plugin, protocol version 1, as values. Pure.

Format: PostgreSQL manual, "Logical Replication Message Formats". Column values stay the text that
PostgreSQL sent.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_PART_OF_KEY: Final = 1


class Unchanged(Enum):
    """Stands for a large value that an UPDATE did not touch: the log does not carry it."""

    TOAST = "unchanged"


Value = str | None | Unchanged
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type_oid: int
    in_identity: bool


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """A table as of one moment. PostgreSQL sends a new one after each change of the table or its grants,
    so what was learnt about the table may be remembered for as long as this object is the current one.
    """

    oid: int
    schema: str
    table: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Commit:
    end_lsn: int


@dataclass(frozen=True, slots=True)
class Insert:
    relation_oid: int
    new: Row


@dataclass(frozen=True, slots=True)
class Update:
    """`old` is there when the identity changed or is FULL; `old_is_whole` tells the two apart."""

    relation_oid: int
    old: Row | None
    new: Row
    old_is_whole: bool


@dataclass(frozen=True, slots=True)
class Delete:
    relation_oid: int
    old: Row
    old_is_whole: bool


Message = Begin | Commit | Relation | Insert | Update | Delete


def parse(message: bytes) -> Message | None:
    """Returns the message, or None for one that carries no row (type, origin, truncate, ...)."""
    reader = _Reader(message, start=1)
    match message[:1]:
        case b"B":
            reader.skip(8)
            return Begin(_EPOCH + timedelta(microseconds=reader.int64()))
        case b"C":
            reader.skip(1 + 8)
            return Commit(end_lsn=reader.int64())
        case b"R":
            return _relation(reader)
        case b"I" | b"U" | b"D" as operation:
            return _change(operation, reader)
        case _:
            return None


def _change(operation: bytes, reader: "_Reader") -> Insert | Update | Delete:
    relation_oid = reader.int32()
    kind = reader.byte()  # N: the new row follows; K or O: the old row's identity or all of it
    if operation == b"I":
        return Insert(relation_oid, reader.row())
    if operation == b"D":
        return Delete(relation_oid, reader.row(), old_is_whole=kind == b"O")
    old = None
    if kind != b"N":
        old = reader.row()
        reader.skip(1)
    return Update(relation_oid, old, old_is_whole=kind == b"O", new=reader.row())


def _relation(reader: "_Reader") -> Relation:
    oid = reader.int32()
    schema = reader.string() or "pg_catalog"
    table = reader.string()
    reader.skip(1)
    columns = []
    for _ in range(reader.int16()):
        flags = reader.byte()[0]
        name = reader.string()
        columns.append(Column(name, reader.int32(), in_identity=bool(flags & _PART_OF_KEY)))
        reader.skip(4)
    return Relation(oid, schema, table, tuple(columns))


class _Reader:
    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = start

    def skip(self, count: int) -> None:
        self._at += count

    def byte(self) -> bytes:
        return self._take(1)

    def int16(self) -> int:
        return self._number(">H", 2)

    def int32(self) -> int:
        return self._number(">I", 4)

    def int64(self) -> int:
        return self._number(">q", 8)

    def string(self) -> str:
        end = self._data.index(b"\0", self._at)
        text = self._data[self._at : end].decode()
        self._at = end + 1
        return text

    def row(self) -> Row:
        return tuple(self._value() for _ in range(self.int16()))

    def _value(self) -> Value:
        match self.byte():
            case b"n":
                return None
            case b"u":
                return Unchanged.TOAST
            case _:
                return self._take(self.int32()).decode()

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def _number(self, form: str, size: int) -> int:
        number: int = struct.unpack_from(form, self._data, self._at)[0]
        self._at += size
        return number
