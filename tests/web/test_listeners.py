"""The measurement's own listeners (`make open-feeds`): they resume as a browser does."""

import asyncio

import pytest

from benchmarks.open_feeds import listeners

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_WHOLE = b'id: one\nevent: fill.booked\ndata: {"key": "f1", "at": "now"}\n\n'


async def test_an_event_that_broke_off_in_the_middle_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "_COME_BACK_S", 0.0)
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(_HEAD + _WHOLE + b"id: two\nevent: fill.booked\nda")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, asyncio.TaskGroup() as group:
        listener = listeners.Listener(*server.sockets[0].getsockname())
        listening = group.create_task(listener.listen())
        assert b"Last-Event-ID" not in await asked.get()
        assert b"\r\nLast-Event-ID: one\r\n" in await asked.get()
        listening.cancel()
    assert set(listener.heard()) == {("f1", "now")}
