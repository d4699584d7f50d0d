"""The parts that go on with orders whose attempt is over, or rests for too long, and those that look back on what became
of them; made from the settings, as `parts` are.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from worker.database.upkeep import SupabaseUpkeep
from worker.execution.submit import Submitter
from worker.execution.wallets import Wallets
from worker.handlers.marks import Marking, MarkTiming
from worker.handlers.patterns import Patterns
from worker.handlers.pruning import Pruning, PruningTiming
from worker.handlers.remainders import Bench, Remainders, RemainderTiming
from worker.handlers.resting import RestingOrders, RestingPolicy
from worker.handlers.settlement import Settlement, SettlementPace
from worker.handlers.strategies import Strategies
from worker.orders.patterns import Thresholds
from worker.orders.retake import RemainderPolicy
from worker.orders.terms import OrderId
from worker.parts import Ground, make_judges
from worker.settings import PendingSettings, RetakeSettings, SignalSettings

_PERCENT = Decimal(100)


def remainder_policy(
    signal: SignalSettings, retake: RetakeSettings, pending: PendingSettings
) -> RemainderPolicy:
    return RemainderPolicy(
        retakes_most=retake.max,
        reprices_most=pending.max_reprices,
        reprice_extra=pending.reprice_extra_pct / _PERCENT,
        reprice_within=timedelta(seconds=pending.max_age_s),
        fresh_for=timedelta(seconds=signal.fresh_for_s),
        unsent_for=timedelta(seconds=signal.max_age_s),
    )


def remainder_timing(retake: RetakeSettings) -> RemainderTiming:
    return RemainderTiming(
        first_s=retake.first_s, most_s=retake.most_s, refresh_every_s=retake.refresh_every_s
    )


def resting_policy(pending: PendingSettings) -> RestingPolicy:
    return RestingPolicy(
        max_age_s=pending.max_age_s,
        reprices_most=pending.max_reprices,
        cancel_on_pause=pending.cancel_on_pause,
        refresh_every_s=min(pending.refresh_every_s, pending.max_age_s),
        look_every_s=min(pending.most_s, pending.max_age_s),
    )


def make_remainders(
    ground: Ground,
    *,
    strategies: Strategies,
    wallets: Wallets,
    submitter: Submitter,
    on_answered: Callable[[OrderId], None],
) -> Remainders:
    settings, adapters = ground.settings, ground.adapters
    return Remainders(
        Bench(
            ledger=adapters.ledger,
            judges=make_judges(settings, adapters, has_key=wallets.watches),
            submitter=submitter,
            strategies=strategies,
            wallets=wallets,
            clock=adapters.clock,
            metrics=ground.metrics,
            follow=adapters.exchange.channel.follow,
            on_answered=on_answered,
            on_turn=ground.pulse.beat,
        ),
        remainder_policy(settings.signal, settings.retake, settings.pending),
        remainder_timing(settings.retake),
    )


def make_resting(
    ground: Ground, *, wallets: Wallets, on_called_off: Callable[[OrderId], None]
) -> RestingOrders:
    adapters = ground.adapters
    return RestingOrders(
        exchange=adapters.exchange,
        ledger=adapters.ledger,
        wallets=wallets,
        clock=adapters.clock,
        metrics=ground.metrics,
        policy=resting_policy(ground.settings.pending),
        on_called_off=on_called_off,
        on_turn=ground.pulse.beat,
    )


def make_settlement(ground: Ground, *, wallets: Wallets) -> Settlement:
    adapters, settlement = ground.adapters, ground.settings.settlement
    return Settlement(
        exchange=adapters.exchange,
        ledger=adapters.ledger,
        wallets=wallets,
        clock=adapters.clock,
        metrics=ground.metrics,
        health=ground.health,
        pace=SettlementPace(
            round_every_s=settlement.round_every_s,
            least_s=settlement.least_s,
            most_s=settlement.most_s,
            markets_per_minute=settlement.markets_per_minute,
        ),
    )


def make_marking(ground: Ground, *, wallets: Wallets) -> Marking:
    adapters, marks = ground.adapters, ground.settings.marks
    return Marking(
        SupabaseUpkeep(adapters.database, ground.settings.mode),
        exchange=adapters.exchange,
        wallets=wallets,
        take=adapters.lanes.background.take,
        clock=adapters.clock,
        metrics=ground.metrics,
        timing=MarkTiming(every_s=marks.every_s, least_s=marks.least_s, tokens=marks.tokens),
    )


def make_pruning(ground: Ground) -> Pruning:
    pruning = ground.settings.pruning
    return Pruning(
        SupabaseUpkeep(ground.adapters.database, ground.settings.mode),
        metrics=ground.metrics,
        timing=PruningTiming(every_s=pruning.every_s, batch=pruning.batch, pause_s=pruning.pause_s),
    )


def make_patterns(ground: Ground, *, feed_silent_since_s: Callable[[], float | None]) -> Patterns:
    patterns = ground.settings.patterns
    return Patterns(
        Thresholds(
            one_reason_share=patterns.one_reason_share,
            one_reason_least=patterns.one_reason_least,
            killed_in_a_row=patterns.killed_in_a_row,
            paper_ahead_share=patterns.paper_ahead_share,
            paper_ahead_least=patterns.paper_ahead_least,
            feed_silent_s=patterns.feed_silent_s,
            feed_silent_least=patterns.feed_silent_least,
        ),
        window_s=patterns.window_s,
        every_s=patterns.every_s,
        feed_silent_since_s=feed_silent_since_s,
        clock=ground.adapters.clock,
        health=ground.health,
        metrics=ground.metrics,
    )
