"""How signals are heard of: the feed that hurries them, the canary that proves it, the sweep that is the truth."""

from typing import Annotated

from pydantic import Field

from worker.configuration.kinds import Group, PositiveSeconds

_LONGEST_CONNECTION_S = 24 * 3600.0  # the platform ends one after that


class FeedSettings(Group):
    """The Realtime subscription: a wake-up, never the truth."""

    enabled: bool = True
    join_timeout_s: PositiveSeconds = 10.0
    live_timeout_s: PositiveSeconds = 15.0
    renew_after_s: Annotated[float, Field(gt=0, lt=_LONGEST_CONNECTION_S)] = 6 * 3600.0
    degraded_after_s: PositiveSeconds = 8.0
    backoff_first_s: PositiveSeconds = 0.2
    backoff_most_s: PositiveSeconds = 5.0
    backoff_rate_limited_s: PositiveSeconds = 30.0
    backoff_refused_s: PositiveSeconds = 60.0
    ping_every_s: PositiveSeconds = 5.0
    late_after_s: PositiveSeconds = 1.5
    missed_most: Annotated[int, Field(ge=1)] = 2
    missed_within_s: PositiveSeconds = 60.0
    replace_again_after_s: PositiveSeconds = 30.0
    replace_again_most_s: PositiveSeconds = 600.0


class CanarySettings(Group):
    """A row that this worker writes only to hear of it over the feed."""

    every_s: PositiveSeconds = 60.0
    again_every_s: PositiveSeconds = 5.0
    patience_s: PositiveSeconds = 3.0


class SweepSettings(Group):
    """The anti-join that finds whatever has no decision yet: the truth."""

    every_s: PositiveSeconds = 1.0
    every_degraded_s: PositiveSeconds = 0.5
    batch: Annotated[int, Field(ge=1, le=1000)] = 500
    window_s: PositiveSeconds = 900.0
    pairs: Annotated[int, Field(ge=100)] = 5_000
    catch_up_after_live_s: tuple[PositiveSeconds, ...] = (2.0, 10.0)
