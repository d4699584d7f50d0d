"""Integer units of the exchange: money and shares in millionths, prices in ten-thousandths of a dollar.

Every amount inside the simulator is an `int` in these units, so that conservation of money can be asserted
exactly; decimal strings exist only on the wire.
"""

from decimal import Decimal
from typing import TypeAlias

Micro: TypeAlias = int  # a millionth of a dollar, or of a share
Price: TypeAlias = int  # a ten-thousandth of a dollar: the finest tick there is

MICRO = 1_000_000
PRICE_ONE = 10_000  # the price of a full set: YES + NO
CENT: Micro = 10_000  # two decimals, in micro


def micro(value: Decimal | int | str) -> Micro:
    """Dollars or shares to millionths. Raises ValueError when the value is finer than that."""
    scaled = Decimal(value) * MICRO
    if scaled != int(scaled):
        raise ValueError(f"Expected at most six decimals, was {value}")
    return int(scaled)


def price_of(value: Decimal | str) -> Price:
    """Dollars per share to ten-thousandths. Raises ValueError when the value is finer than that."""
    scaled = Decimal(value) * PRICE_ONE
    if scaled != int(scaled):
        raise ValueError(f"Expected at most four decimals, was {value}")
    return int(scaled)


def amount_text(value: Micro) -> str:
    """Millionths as the shortest human decimal string: 14925372 -> "14.925372", 100000000 -> "100"."""
    return _fixed(value, 6)


def price_text(value: Price) -> str:
    """Ten-thousandths as the shortest human decimal string: 5200 -> "0.52"."""
    return _fixed(value, 4)


def _fixed(value: int, places: int) -> str:
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def notional(shares: Micro, price: Price) -> Micro:
    """Dollars for shares at a price, floored to a millionth."""
    return shares * price // PRICE_ONE


def decimals_used(value: Micro) -> int:
    """How many decimals the human form of an amount needs: 9980000 (9.98) -> 2."""
    places = 6
    while places and value % 10 == 0:
        value //= 10
        places -= 1
    return places
