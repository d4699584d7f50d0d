"""Every part of the simulated venue, put together but not yet listening."""

from collections.abc import Callable
from decimal import Decimal

from worker.sandbox.exchange.auth import Credentials
from worker.sandbox.exchange.backoffice import BackOffice
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.faults import FaultScript
from worker.sandbox.exchange.house import House
from worker.sandbox.exchange.intake import ids_in
from worker.sandbox.exchange.journal import Journal
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.streams import Streams
from worker.sandbox.exchange.tape import Tape
from worker.sandbox.exchange.units import micro, price_of


class Venue:
    def __init__(self, engine: Exchange, *, seed: int = 0) -> None:
        self.engine = engine
        self.house = House(engine)
        self.backoffice = BackOffice(engine, self.house)
        self.journal = Journal(lambda body: ids_in(body, engine.identify))
        self.faults = FaultScript(seed)
        self.streams = Streams(engine, seed=seed)
        self.tape = Tape()
        self.hang_up: Callable[[], int] = lambda: 0
        """Closes idle connections, where there are any, and answers how many there were."""

    def fund(self, address: str, usd: Decimal | int | str) -> Credentials:
        """Deposits collateral and makes sure the address has an API key."""
        self.backoffice.fund(address, micro(usd))
        return self.engine.keys.grant(address)

    def quote(self, token: str, side: Side, price: Decimal | str, shares: Decimal | int | str) -> None:
        """Makes the house's size at one price of a token exactly `shares`."""
        self.house.set_level(token, side, price_of(price), micro(shares))

    def advance(self, seconds: float) -> None:
        """Moves a manual clock and does what became due."""
        clock = self.engine.clock
        if not isinstance(clock, ManualClock):
            raise TypeError(f"Expected a ManualClock, was {type(clock).__name__}")
        clock.advance(seconds)
        self.engine.agenda.run_due()
