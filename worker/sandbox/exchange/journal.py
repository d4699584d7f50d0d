"""Everything the venue received, as bytes, with the time of arrival and what became of it.

It answers what a client must never get wrong: how many distinct orders were accepted for a body, and whether
a body sent twice was the same to the byte. Arrival times are `time.time_ns()`, comparable with the clock of a
PostgreSQL on the same machine. Order traffic is kept for good, everything else only as the latest few.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.sandbox.exchange.orders import OrderId

ACCEPTED = frozenset({"live", "matched", "delayed", "unmatched"})
_KEPT_HEADERS = frozenset({"poly_address", "poly_api_key", "poly_timestamp", "user-agent", "content-type"})
_LATEST_OTHERS = 2_000


class Arrival(NamedTuple):
    """A moment on both clocks, in nanoseconds."""

    wall_ns: int
    monotonic_ns: int

    @classmethod
    def now(cls) -> "Arrival":
        return cls(time.time_ns(), time.monotonic_ns())


@dataclass(slots=True, kw_only=True, eq=False)
class Receipt:
    """One request. `order_ids` and `outcomes` run in parallel, one entry for each order processed.

    They stay empty when a fault kept the venue from processing the request.
    """

    sequence: int
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    arrived_ns: int
    arrived_monotonic_ns: int
    order_ids: list[OrderId | None] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    status: int | None = None
    fault: str | None = None
    answered_monotonic_ns: int | None = None

    def answered(self, status: int) -> None:
        self.status = status
        self.answered_monotonic_ns = time.monotonic_ns()


class Journal:
    def __init__(self, ids_in: Callable[[bytes], list[OrderId]]) -> None:
        """`ids_in` works out which orders a body carries, for requests that were never processed."""
        self._ids_in = ids_in
        self._indexed = 0
        self.orders: list[Receipt] = []
        """POST /order and /orders, in order of arrival."""
        self.latest_others: deque[Receipt] = deque(maxlen=_LATEST_OTHERS)
        self.counts: Counter[tuple[str, str]] = Counter()
        """Requests by (method, path), look-ups of single things folded into their prefix."""
        self._received = 0
        self._posts: defaultdict[OrderId, list[Receipt]] = defaultdict(list)
        self._accepted: dict[OrderId, None] = {}

    def open(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes, arrival: Arrival
    ) -> Receipt:
        """Enters a request that was received whole."""
        receipt = Receipt(
            sequence=self._received,
            method=method,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in headers.items() if name.lower() in _KEPT_HEADERS},
            body=body,
            arrived_ns=arrival.wall_ns,
            arrived_monotonic_ns=arrival.monotonic_ns,
        )
        self._received += 1
        if method == "POST" and path in {"/order", "/orders"}:
            self.orders.append(receipt)
        else:
            self.latest_others.append(receipt)
        self.counts[method, _folded(path)] += 1
        return receipt

    def note(self, receipt: Receipt, order_id: OrderId | None, outcome: str) -> None:
        """What the venue did with one order of a request: its insertion status, or the refusal's text."""
        receipt.order_ids.append(order_id)
        receipt.outcomes.append(outcome)
        if order_id is not None and outcome in ACCEPTED:
            self._accepted[order_id] = None

    def posts_of(self, order_id: str) -> list[Receipt]:
        """Every POST that carried this order, processed or not, in order of arrival."""
        self._index()
        return list(self._posts.get(OrderId(order_id), ()))

    def accepted_ids(self) -> list[OrderId]:
        """Distinct ids the venue accepted, in order of acceptance."""
        return list(self._accepted)

    def first_arrivals_ns(self) -> dict[OrderId, int]:
        """For every order, whatever became of it: when the first request that carried it arrived, in Unix nanoseconds."""
        self._index()
        return {order_id: receipts[0].arrived_ns for order_id, receipts in self._posts.items()}

    def accepted_ids_by_body(self) -> dict[bytes, set[OrderId]]:
        """For each distinct body received: the ids accepted from it."""
        bodies: dict[bytes, set[OrderId]] = {}
        for receipt in self.orders:
            ids = bodies.setdefault(receipt.body, set())
            for order_id, outcome in zip(receipt.order_ids, receipt.outcomes, strict=True):
                if order_id is not None and outcome in ACCEPTED:
                    ids.add(order_id)
        return bodies

    def bodies_of(self, order_id: str) -> set[bytes]:
        """The distinct bodies that carried an order: more than one means a resend was not the same bytes."""
        return {receipt.body for receipt in self.posts_of(order_id)}

    def first_arrival_ns(self, order_id: str) -> int | None:
        """When the first byte about an order arrived, in Unix nanoseconds."""
        posts = self.posts_of(order_id)
        return posts[0].arrived_ns if posts else None

    def _index(self) -> None:
        """Works out, once for each POST, which orders its body carries."""
        for receipt in self.orders[self._indexed :]:
            for order_id in self._ids_in(receipt.body):
                self._posts[order_id].append(receipt)
        self._indexed = len(self.orders)


def _folded(path: str) -> str:
    parts = path.split("/")
    if len(parts) > 2 and parts[1] in {"markets-by-token", "clob-markets", "markets"}:
        return f"/{parts[1]}/"
    if path.startswith("/data/order/"):
        return "/data/order/"
    return path
