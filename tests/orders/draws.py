"""Numbers for properties to draw. Whole steps of the last digit: several times as fast as hypothesis' own decimals."""

from decimal import Decimal
from functools import cache, partial

from hypothesis import strategies as st


@cache
def numbers(least: Decimal | int | str, most: Decimal | int | str, places: int) -> st.SearchStrategy[Decimal]:
    """From `least` to `most`, both of them too, with so many decimals."""
    step = Decimal(1).scaleb(-places)
    steps = st.integers(int(Decimal(least) / step), int(Decimal(most) / step))
    return steps.map(partial(_scaled, places=places))


def _scaled(steps: int, places: int) -> Decimal:
    return Decimal(steps).scaleb(-places)
