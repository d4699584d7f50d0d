"""The part of the control panel that makes things go wrong: faults, modes, limits, blind look-ups, noisy streams.

Every verb takes a JSON object. Nothing of it exists on the venue.
"""

from typing import Any

from worker.sandbox.exchange.fates import Odds
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.faults import Action, Fault, lognormal_latency
from worker.sandbox.exchange.limiter import Errand
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.exchange.rules import Allowance
from worker.sandbox.exchange.trades import Fate
from worker.sandbox.exchange.venue import Venue
from worker.sandbox.exchange.wire import Json


class FaultDesk:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def state(self) -> Json:
        """The mode in force, and how often each misfortune has struck."""
        engine = self._venue.engine
        fate_of = engine.settlement.fate_of
        return {
            "mode": engine.modes.current.value,
            "mode_left_s": engine.modes.left_s,
            "faults": dict(self._venue.faults.struck),
            "stream_noise": dict(self._venue.streams.noise.struck),
            "fates": dict(fate_of.met) if isinstance(fate_of, Odds) else {},
        }

    def fault(self, body: Json) -> Json:
        """A fault of the catalogue by `name` (times, probability, seconds), or one by its `action` and fields."""
        if "action" in body:
            fault = Fault(**{**body, "action": Action(body["action"])})
        else:
            fault = scripted(FaultName(body["name"]), **{k: v for k, v in body.items() if k != "name"})
        self._venue.faults.add(fault)
        return {}

    def clear_faults(self, _body: Json) -> Json:
        self._venue.faults.clear()
        return {}

    def latency(self, body: Json) -> Json:
        self._venue.faults.latency_s = lognormal_latency(body["median_s"], body.get("sigma", 0.5))
        return {}

    def mode(self, body: Json) -> Json:
        """`mode` for `seconds`, or without them until the next call."""
        self._venue.engine.modes.enter(Mode(body["mode"]), body.get("seconds"))
        return {}

    def restart(self, body: Json) -> Json:
        """425 for `seconds`, then post-only for `post_only_s`."""
        self._venue.engine.modes.restart(body["seconds"], post_only_s=body.get("post_only_s", 120.0))
        return {}

    def rate_limit(self, body: Json) -> Json:
        """`errand` order or cancel: `per_s` and `burst` for each signer; without `per_s`, no limit."""
        allowance = Allowance(body["per_s"], body["burst"]) if "per_s" in body else None
        self._venue.engine.limiter.allow(Errand(body["errand"]), allowance)
        return {}

    def visibility(self, body: Json) -> Json:
        """How late look-ups see orders and trades, whether a missing order is `null`, and how long a page is; the rest stays."""
        sight = self._venue.engine.sight
        sight.orders_delay_s = float(body.get("orders_delay_s", sight.orders_delay_s))
        sight.trades_delay_s = float(body.get("trades_delay_s", sight.trades_delay_s))
        sight.missing_as_null = bool(body.get("missing_as_null", sight.missing_as_null))
        sight.page_size = int(body.get("page_size", sight.page_size))
        return {}

    def clock(self, body: Json) -> Json:
        """The venue's clock is `offset_s` ahead, on /time and for whoever signs in."""
        self._venue.engine.keys.offset_s = int(body["offset_s"])
        return {}

    def hang_up(self, _body: Json) -> Json:
        """Every connection that nobody uses just now is closed, as idle ones are sooner or later."""
        return {"closed": self._venue.hang_up()}

    def fates(self, body: Json) -> Json:
        """Probabilities by fate; what is left of them settles. `seed` makes the draw repeatable."""
        odds = {Fate(name): float(share) for name, share in body.items() if name != "seed"}
        self._venue.engine.settlement.fate_of = Odds(odds, seed=body.get("seed", 0))
        return {}

    def crowd(self, body: Json) -> Json:
        """`asleep`: the crowd neither moves its quotes nor trades, until it is said that it is not."""
        self._venue.house.asleep = bool(body["asleep"])
        return {}

    def stream_noise(self, body: Json) -> Json:
        """`lost`, `doubled` and `overtaken` as probabilities on `channel`; `late_s`: by how much."""
        odds: dict[str, Any] = dict(body)
        noise = self._venue.streams.noise
        noise.late_s = float(odds.pop("late_s", noise.late_s))
        noise.make(odds.pop("channel", "user"), **odds)
        return {}

    def stall(self, body: Json) -> Json:
        """Streams stay open and say nothing, for `seconds` or until `on` is false."""
        streams = self._venue.streams
        streams.stalled = body.get("on", True)
        if "seconds" in body:
            self._venue.engine.agenda.after(body["seconds"], streams.resume)
        return {}

    async def disconnect(self, body: Json) -> Json:
        """Closes the streams of `channel` (both without) with `code`, or breaks them when `abort` is true."""
        streams, channel = self._venue.streams, body.get("channel")
        if body.get("abort", False):
            streams.abort(channel=channel)
        else:
            await streams.disconnect(code=body.get("code", 1000), channel=channel)
        return {}
