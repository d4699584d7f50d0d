"""What watches the worker: its own endpoints, and what of the last minutes looks systematic."""

from typing import Annotated

from pydantic import Field

from worker.configuration.kinds import Group, OffIsNone, PositiveSeconds

Share = Annotated[float, Field(gt=0, le=1)]
Few = Annotated[int, Field(ge=2, le=1000)]


class EndpointSettings(Group):
    """`/livez`, `/readyz` and `/metrics` on 127.0.0.1."""

    port: Annotated[int | None, Field(ge=0, le=65535), OffIsNone] = 9464


class PatternSettings(Group):
    """When what happens again and again is an alarm."""

    enabled: bool = True
    window_s: PositiveSeconds = 1800.0
    every_s: PositiveSeconds = 10.0
    one_reason_share: Share = 0.5
    one_reason_least: Few = 20
    killed_in_a_row: Few = 10
    paper_ahead_share: Share = 0.4
    paper_ahead_least: Few = 10
    feed_silent_s: PositiveSeconds = 300.0
    feed_silent_least: Few = 10


class MarkSettings(Group):
    """The book is looked at a minute and five minutes after each trade, so many tokens at once at most."""

    enabled: bool = True
    every_s: PositiveSeconds = 600.0
    least_s: PositiveSeconds = 5.0
    tokens: Annotated[int, Field(ge=1, le=200)] = 20


class PruningSettings(Group):
    """Old skips and marks: `retention` in lt_config says how old."""

    enabled: bool = True
    every_s: PositiveSeconds = 3600.0
    batch: Annotated[int, Field(ge=10, le=10_000)] = 1000
    pause_s: PositiveSeconds = 1.0
