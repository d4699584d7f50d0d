"""So many open feeds in a process of their own, each as a browser keeps it: what they hear is judged when they are asked.

On stdout, a line of JSON each: `{"following": N}` once all of them follow; after a line on stdin with the numbers of the
fills that there were, `{"lost": n, "twice": n, "events": n, "came_back": n}`. The end of stdin ends it.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

_GIVES_WAY: Final = 19  # these stand for browsers on other machines: what they cost is not the server's
_COME_BACK_S: Final = 1.0
_CHUNK: Final = 1 << 16
_HEARD_WITHIN_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.1


class Listener:
    """One EventSource: it keeps what it was sent, and comes back with the last id when it is let go.

    What it hears is only put aside: to take it apart at once would cost the machine more than the feed does.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._heard: list[bytes] = []
        self._last_id = b""
        self._place = b""  # of the event that is not whole yet
        self.follows = asyncio.Event()
        self.came_back = 0

    async def listen(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._hear()
            except OSError as error:
                sys.stderr.write(f"a feed broke off: {error}\n")
            self.came_back += 1
            await asyncio.sleep(_COME_BACK_S)

    async def _hear(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        resume = b"Last-Event-ID: " + self._last_id + b"\r\n" if self._last_id else b""
        writer.write(
            f"GET /api/lt/feed HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n".encode() + resume + b"\r\n"
        )
        rest = b""
        try:
            while chunk := await reader.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                self._keep(lines)
        finally:
            writer.close()

    def _keep(self, lines: Iterable[bytes]) -> None:
        for line in lines:  # an event is one chunk of the answer: no frame of HTTP falls into a line of it
            if line.startswith(b"data: "):
                self._heard.append(line)
            elif line.startswith(b"id: "):
                self._place = line.removeprefix(b"id: ")
            elif not line and self._place:  # an event that broke off is no event
                self._last_id = self._place
                self.follows.set()

    def heard(self) -> Counter[tuple[str, str]]:
        """Key and moment of every event, and how often it was told: a decision that was made anew is another one."""
        told = (json.loads(line.removeprefix(b"data: ")) for line in self._heard)
        return Counter((str(one["key"]), str(one["at"])) for one in told)

    @property
    def events(self) -> int:
        return len(self._heard)


def _lost(heard: Counter[tuple[str, str]], fills: Iterable[int]) -> int:
    """Fills that were not told to be final: one that is settled between two looks is told once, and told as that."""
    keys = {key for key, _ in heard}
    return sum(f"s{number}" not in keys for number in fills)


async def _judged(listeners: list[Listener], fills: list[int]) -> dict[str, int]:
    deadline_s = monotonic() + _HEARD_WITHIN_S
    while True:
        heard = [one.heard() for one in listeners]
        lost = sum(_lost(one, fills) for one in heard)
        if not lost or monotonic() > deadline_s:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    return {
        "lost": lost,
        "twice": sum(times - 1 for one in heard for times in one.values()),
        "events": sum(one.events for one in listeners),
        "came_back": sum(one.came_back for one in listeners),
    }


def _say(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


async def main(host: str, port: int, count: int) -> None:
    listeners = [Listener(host, port) for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        listening = [group.create_task(one.listen()) for one in listeners]
        await asyncio.gather(*(one.follows.wait() for one in listeners))
        _say({"following": count})
        if asked := await asyncio.to_thread(sys.stdin.readline):
            _say(await _judged(listeners, json.loads(asked)))
        for one in listening:
            one.cancel()


if __name__ == "__main__":
    os.nice(_GIVES_WAY)
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
