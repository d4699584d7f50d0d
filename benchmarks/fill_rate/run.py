"""How much of real prints a copy would have filled: `make fill-rate ARGS="--sizes 100 --tolerances 3"`.

Exit code 0: at every size and tolerance an order that is tried again fills no less than one that is not, and somewhere
more; 1: not, or the recording is not there.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

from benchmarks.fill_rate.figures import LEGEND, Cell, cell_of, table
from benchmarks.fill_rate.orders import Conditions
from benchmarks.fill_rate.play import WAYS, Play, Stake, prints_to_copy, sampled
from tests.support.recordings import SHARED
from tests.support.tool import SoFar, add_json, conduct, not_negative, parser, positive, tell, whole
from worker import after
from worker.orders.policy import DecisionPolicy
from worker.orders.terms import Mode
from worker.sandbox.errors import SandboxError
from worker.sandbox.exchange.recording import Recording
from worker.settings import PendingSettings, RetakeSettings, SignalSettings

_TOLD_EVERY_S: Final = 60  # of the recording
_UNITS: Final = {"--sizes": "USD", "--tolerances": "PERCENT", "--recording": "FOLDER"}
_ABOUT: Final = """\
How much of real prints a copy would have filled, order type by order type, with what it cost and what it was worth
later. The decisions are the worker's own; so is the pace of its further attempts."""
_ASSUMPTIONS: Final = """\
what is assumed:
  A signal is the purchase of a taker, at its exchange time and price; the copy buys the same token. It is on the book
  --delay-s later and meets the book as it stood just before; further attempts see later books alone, and are there
  --reach-s after the look that led to them. A match is in our books 0.5 s after its answer.
  Each copy is alone in its world. What it takes is gone from the book for as long as the order lives: a level that the
  recording lets grow again offers what is new, and no more.
  What rests is at the end of every queue: it is filled only by prints through its price, at its price, without a fee.
  Offers that come to it, and prints at its very price, are not counted.
  Market rules: a taker's fee of --fee-rate · shares · p · (1 - p), no venue hold (sports hold three seconds: --delay-s 4),
  no rejections, and nobody who reacts to our orders.
  A copy is followed for --follow-s, then called off; the end of the recording ends it earlier, and what it might have
  filled afterwards counts as not filled. Mids later than the recording are missing from the mark-outs."""


def conditions_of(
    *, delay_s: float, reach_s: float, follow_s: float, max_age_s: float, retakes: int
) -> Conditions:
    """The worker's own defaults, but for what is asked for."""
    pending = PendingSettings(max_age_s=max_age_s)
    retake = RetakeSettings(max=retakes)
    return Conditions(
        policy=DecisionPolicy(mode=Mode.LIVE),
        further=after.remainder_policy(SignalSettings(), retake, pending),
        timing=after.remainder_timing(retake),
        resting=after.resting_policy(pending),
        delay_ms=round(delay_s * 1000),
        reach_ms=round(reach_s * 1000),
        booked_ms=round(pending.first_s * 1000),
        follow_ms=round(follow_s * 1000),
    )


def load(folder: Path) -> Recording:
    """Raises SandboxError if there is no recording."""
    try:
        return Recording.load(folder)
    except (OSError, ValueError) as error:
        raise SandboxError(f"{folder} holds no recording: {error}") from error


@dataclass(frozen=True, slots=True)
class Asked:
    recording: Path
    stakes: tuple[Stake, ...]
    conditions: Conditions
    fee_rate: Decimal
    future_ms: int
    makers: bool
    sample: int | None
    seed: int


async def measure(asked: Asked, so_far: SoFar) -> list[Cell]:
    recording = load(asked.recording)
    prints = prints_to_copy(recording, future_ms=asked.future_ms, makers=asked.makers)
    prints = sampled(prints, asked.sample, asked.seed)
    if not prints:
        raise SandboxError(f"no print of {asked.recording} can be followed for so long: give --future-s less")
    so_far["signals"] = len(prints)
    tell(f"{len(prints)} signals, {len(asked.stakes) * len(WAYS)} ways each ...")
    play = Play(recording, prints, stakes=asked.stakes, conditions=asked.conditions, fee_rate=asked.fee_rate)
    next_s = _TOLD_EVERY_S
    for through_s in play.run():
        await asyncio.sleep(0)  # to be interrupted
        so_far["recorded_s"] = through_s
        if through_s >= next_s:
            tell(f"{through_s} s of the recording are through ...")
            next_s = through_s + _TOLD_EVERY_S
    return [cell_of(stake, way, copies) for (stake, way), copies in play.copies.items()]


def judged(cells: Sequence[Cell], *, sampled: bool) -> list[str]:
    """What is wrong, in a sentence each. In a sample everything may have been filled at once."""
    once = {(one.order_type, one.bet_usd, one.tolerance_pct): one for one in cells if not one.again}
    pairs = [(once[one.order_type, one.bet_usd, one.tolerance_pct], one) for one in cells if one.again]
    wrong = [
        f"{again.order}, ${again.bet_usd} at {again.tolerance_pct} %: {again.dollars_pct} % of the dollars, and "
        f"{once.dollars_pct} % where it is not tried again"
        for once, again in pairs
        if again.dollars_pct < once.dollars_pct
    ]
    if not sampled and all(again.dollars_pct <= once.dollars_pct for once, again in pairs):
        wrong.append("nowhere did a further attempt fill anything")
    return wrong


def _report(asked: Asked, cells: Sequence[Cell], *, as_json: bool) -> int:
    wrong = judged(cells, sampled=asked.sample is not None)
    if as_json:
        said = {"seed": asked.seed, "signals": cells[0].signals, "cells": [asdict(cell) for cell in cells]}
        sys.stdout.write(json.dumps({**said, "holds": not wrong, "wrong": wrong}) + "\n")
    else:
        verdict = (
            "\n".join(f"FAILED: {one}" for one in wrong)
            or "ok: whoever tries again fills no less, and somewhere more"
        )
        sys.stdout.write(
            f"{table(cells)}\n\n{LEGEND}\n\n{cells[0].signals} signals, {cells[0].skipped} skipped. {verdict}\n"
        )
    return 1 if wrong else 0


def main(given: Sequence[str] | None = None) -> int:
    chosen = _options().parse_args(given)
    sizes, tolerances = map(_exact, chosen.sizes), map(_exact, chosen.tolerances)
    asked = Asked(
        recording=chosen.recording,
        stakes=tuple(Stake(*each) for each in product(sizes, tolerances)),
        conditions=conditions_of(
            delay_s=chosen.delay_s,
            reach_s=chosen.reach_s,
            follow_s=chosen.follow_s,
            max_age_s=chosen.max_age_s,
            retakes=chosen.retakes,
        ),
        fee_rate=_exact(chosen.fee_rate),
        future_ms=round(chosen.future_s * 1000),
        makers=chosen.makers,
        sample=chosen.sample,
        seed=chosen.seed,
    )
    cells = conduct(partial(measure, asked), as_json=chosen.json, seed=asked.seed)
    return _report(asked, cells, as_json=chosen.json)


def _options() -> argparse.ArgumentParser:
    options = parser(
        "fill-rate",
        _ABOUT,
        module="benchmarks.fill_rate.run",
        lasts="about 10 s (1 core)",
        holds="whoever tries again fills no less, and somewhere more",
        examples=("", "--sizes 100 --tolerances 3 --future-s 121", "--sample 20 --seed 7 --json"),
        words=f"{_ASSUMPTIONS}\n\n{LEGEND}",
    )
    _add(options, "--sizes", [10.0, 100.0], positive("dollars"), "Bets in dollars (default: 10 100)")
    _add(
        options,
        "--tolerances",
        [1.0, 3.0, 5.0],
        not_negative("percent"),
        "Tolerances in percent (default: 1 3 5)",
    )
    seconds = positive("seconds")
    _add(options, "--delay-s", 1.0, seconds, "From the print to the copy on the book")
    _add(options, "--reach-s", 0.1, seconds, "From a look at the book to the further attempt on it")
    _add(options, "--future-s", 2.0, seconds, "Copy prints with at least so much of the recording after them")
    _add(options, "--follow-s", 420.0, seconds, "Follow each copy for so long")
    _add(
        options,
        "--max-age-s",
        PendingSettings().max_age_s,
        seconds,
        "pending.max_age_s: reprice what was left behind for so long",
    )
    _add(
        options,
        "--retakes",
        RetakeSettings().max,
        whole(least=0, most=10),
        "retake.max: further attempts of a FAK or FOK",
    )
    _add(options, "--fee-rate", 0.05, not_negative("dollars"), "The taker's fee: that of sports")
    options.add_argument(
        "--makers",
        action="store_true",
        help="Copy the purchases of resting orders, too (default: of takers alone).",
    )
    _add(options, "--sample", None, whole(least=1), "Copy so many prints, chosen at random (default: all)")
    _add(options, "--seed", 1, whole(least=0), "The same seed draws the same --sample")
    _add(
        options,
        "--recording",
        SHARED,
        Path,
        "A folder with events.csv.gz and tokens.json (default: ../shared/data/book_nhl_20260607)",
    )
    add_json(options)
    return options


def _add(
    options: argparse.ArgumentParser, name: str, default: Any, read: Callable[[str], Any], meaning: str
) -> None:
    """An option with a value, or with several where it has several by default."""
    stated = "" if "(default:" in meaning else " (default: %(default)g)"
    several = "+" if isinstance(default, list) else None
    unit = "SECONDS" if name.endswith("-s") else _UNITS.get(name, "N")
    options.add_argument(
        name, type=read, default=default, nargs=several, metavar=unit, help=f"{meaning}{stated}."
    )


def _exact(number: float) -> Decimal:
    """As it was typed."""
    return Decimal(f"{number:g}")


if __name__ == "__main__":
    sys.exit(main())
