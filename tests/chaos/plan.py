"""What a chaos run is asked for, and the command line that asks for it: `make chaos ARGS="--help"`."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos.judge import Excuse
from tests.chaos.plants import Plant
from tests.chaos.schedule import FAULTS
from tests.support.tool import add_count, add_json, add_list, folder, one_of, parser, positive, whole
from worker.sandbox.exchange.fault_catalogue import FaultName

_PATIENCE_S: Final = 60.0
_MINUTES_MOST: Final = 30.0
_ABOUT: Final = """\
Workers are killed and paused along their path while signals flow and the exchange fails in every known way; then
peace, time to recover, and the verdict, by the exchange's journal and by SQL: every expected order exists once, and
all books agree."""
MEANINGS: Final[Mapping[Excuse, str]] = {
    Excuse.KILLED: "the exchange took the order in, found no match, and ended it",
    Excuse.REFUSED: "the exchange answered with a refusal",
    Excuse.ABANDONED: "the exchange never saw the order, and the worker proved that it need not be sent any more",
    Excuse.LOST: "the exchange accepted none of the sends, and no further one was allowed",
}
_WORDS: Final = """\
Of the attempts of pairs (strategy, signal) some rightly are no accepted order. The exchange's journal
bears each of them out:
""" + "\n".join(f"  {excuse:<10} {meaning}" for excuse, meaning in MEANINGS.items())
_EXAMPLES: Final = (
    "--signals 200 --kills 40 --workers 3",
    "--signals 1000 --kills 200 --workers 3 --json",
    "--signals 1000 --kills 200 --each 5 --json",
    "--reign 10 --kills 20",
    "--faults drop_after hang_after --logs /tmp/chaos-logs",
)


@dataclass(frozen=True, slots=True)
class Plan:
    signals: int
    kills: int
    each: int  # point has to be struck so often
    minutes_most: float  # for the kills
    workers: int
    seed: int
    patience_s: float = _PATIENCE_S  # without any progress
    faults: tuple[FaultName, ...] = tuple(FAULTS)
    plant: Plant | None = None
    reign_s: float | None = None  # kill whoever submits after so long, instead of anybody anywhere
    logs: Path | None = None


def read_plan(given: Sequence[str] | None) -> tuple[Plan, bool]:
    """The plan, and whether the result is wanted as JSON. Ends the program where the options are wrong."""
    options = parser(
        "chaos",
        _ABOUT,
        module="tests.chaos.run",
        lasts="about 2 min as it is, 8 min with 1000 signals and 200 kills, 15 min with --each 5 too (2 cores)",
        holds="every expected order exists once and all books agree",
        examples=_EXAMPLES,
        words=_WORDS,
    )
    option = options.add_argument
    add_count(options, "--signals", "Write so many signals", least=1, default=200)
    add_count(options, "--kills", "Kill workers so many times; 0 leaves them alone", least=0, default=40)
    add_count(
        options,
        "--each",
        "Go on until every kill point was hit so many times, and fail if one was not",
        least=0,
        default=0,
    )
    option(
        "--minutes",
        type=positive("minutes"),
        default=_MINUTES_MOST,
        metavar="MINUTES",
        help="Stop killing after so many minutes, and fail if it was not enough (default: %(default)g).",
    )
    add_count(options, "--workers", "Keep so many workers alive at a time", least=1, default=3)
    option(
        "--seed",
        type=whole(least=0),
        metavar="N",
        help="Draw markets, traders, faults and kills from this (default: a random one, printed).",
    )
    option(
        "--patience",
        type=positive("seconds"),
        default=_PATIENCE_S,
        metavar="SECONDS",
        help="Give up after so many seconds of peace in which nothing has got better (default: %(default)g s).",
    )
    option(
        "--faults",
        type=one_of(FAULTS),
        nargs="+",
        metavar="NAME",
        default=list(FAULTS),
        help="Let only these faults strike (default: all that --list prints).",
    )
    option(
        "--plant",
        type=one_of(list(Plant)),
        metavar="NAME",
        help="Plant this bug in every worker: the run has to fail (default: none).",
    )
    option(
        "--reign",
        type=positive("seconds"),
        metavar="SECONDS",
        help="Kill the worker that submits every so many seconds, and nobody else: the others are stand-ins "
        "(default: anybody, anywhere on the path).",
    )
    option(
        "--logs",
        type=folder,
        metavar="FOLDER",
        help="Keep the workers' logs in this folder, which is made (default: they are thrown away).",
    )
    add_list(options, {"faults (--faults):": FAULTS, "planted bugs (--plant):": list(Plant)})
    add_json(options)
    chosen = options.parse_args(given)
    if chosen.each and chosen.reign:
        options.error("--reign kills at no point: it goes without --each")
    plan = Plan(
        signals=chosen.signals,
        kills=chosen.kills,
        each=chosen.each,
        minutes_most=chosen.minutes,
        workers=chosen.workers,
        seed=random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed,
        patience_s=chosen.patience,
        faults=tuple(map(FaultName, chosen.faults)),
        plant=chosen.plant and Plant(chosen.plant),
        reign_s=chosen.reign,
        logs=chosen.logs,
    )
    return plan, chosen.json
