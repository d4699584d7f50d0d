"""Stand-ins: of several workers the one that submits is killed again and again, and another one takes over.

Who submits is what the leases say, not what the workers say.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

import psycopg

from tests.chaos.troop import Life, Troop

THE_SUBMITTER = "the submitter"

_HOLDERS = """
select worker from public.lt_leases where expires_at > clock_timestamp()
group by worker order by count(*) desc, worker limit 1
"""


class Usurper:
    """Kills the worker that holds most leases every `every_s`, and starts another in its place."""

    def __init__(
        self, troop: Troop, dsn: str, *, workers: int, kills: int, every_s: float, say: Callable[[str], None]
    ) -> None:
        self._troop = troop
        self._dsn = dsn
        self._workers = workers
        self._wanted = kills
        self._every_s = every_s
        self._say = say
        self.kills: Counter[str] = Counter()
        self.pauses = 0

    @property
    def done(self) -> int:
        return self.kills.total()

    @property
    def left(self) -> int:
        """How many kills there have to be still."""
        return self._wanted - self.done

    async def run(self) -> None:
        for _ in range(self._workers):
            self._troop.start()
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as database:
            while self.left:
                await asyncio.sleep(self._every_s)  # the reign is what is under test
                submitter = await self._submitter(database)
                if submitter is None:
                    self._say("nobody holds a lease")
                    continue
                await self._troop.strike(submitter)
                self.kills[THE_SUBMITTER] += 1
                self._troop.start()

    async def _submitter(self, database: psycopg.AsyncConnection[tuple[str]]) -> Life | None:
        row = await (await database.execute(_HOLDERS)).fetchone()
        if row is None:
            return None
        # A worker's identity is its name and a random end.
        return next((life for life in self._troop.living if row[0].startswith(f"{life.name}-")), None)
