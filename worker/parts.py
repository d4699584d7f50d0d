"""Every part of the worker, made from the settings and wired to the parts it needs. No part runs here.

The daemon decides what happens when something happens: it hands its answers over as callables.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from worker.adapters import Adapters, OpenListener, make_listener
from worker.database.books import SupabaseBooks
from worker.database.realtime import RealtimeFeed
from worker.database.realtime_session import FeedTiming
from worker.execution.resolve import DoubtPolicy, Resolver
from worker.execution.send import Sender
from worker.execution.submit import Submitter
from worker.execution.wallets import Wallets, WalletTiming
from worker.feed.canary import CANARY_TABLE, Canary
from worker.feed.wakeups import Wakeups
from worker.feed.watch import FeedWatch
from worker.handlers.backfill import Sweep, SweepTiming
from worker.handlers.bookkeeping import Bookkeeping, BookkeepingTiming
from worker.handlers.decisions import DecisionWriter
from worker.handlers.ft_orders import Decided, Desk
from worker.handlers.intake import Bounds, Following, Intake
from worker.handlers.judge import Judge
from worker.handlers.notices import Notices
from worker.handlers.pending import Pending, PendingTiming
from worker.handlers.strategies import Strategies
from worker.observe.health import Health
from worker.observe.metrics import Metrics
from worker.observe.notify import ServiceManager
from worker.orders.policy import DecisionPolicy
from worker.orders.ports import Ledger, LostRule
from worker.orders.terms import Mode, OrderId, Unserved, WalletAddress
from worker.settings import Settings, UnknownEdge, UnknownWallets
from worker.supervision import Pulse
from worker.watch import Watch, Watched

_STILL_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part stands on."""

    settings: Settings
    adapters: Adapters
    service: ServiceManager
    metrics: Metrics
    health: Health
    pulse: Pulse = field(repr=False)

    @classmethod
    def of(cls, settings: Settings, adapters: Adapters, service: ServiceManager) -> "Ground":
        clock = adapters.clock
        pulse = Pulse(clock.monotonic, still_after_s=_STILL_AFTER_S)
        return cls(settings, adapters, service, Metrics(), Health(clock), pulse)


@dataclass(frozen=True, slots=True)
class Hearing:
    """Everything by which signals are heard of."""

    feed: RealtimeFeed
    canary: Canary
    watch: FeedWatch
    sweep: Sweep
    notices: Notices
    listener: OpenListener | None


def make_intake(ground: Ground, *, following: Following) -> Intake:
    signal = ground.settings.signal
    return Intake(
        bounds=Bounds.of(waiting=signal.queue_capacity, concurrency=signal.concurrency),
        following=following,
        metrics=ground.metrics,
    )


def make_wallets(ground: Ground) -> Wallets:
    settings, adapters = ground.settings, ground.adapters
    timing = WalletTiming(
        lease_ttl_s=settings.lease.ttl_s,
        lease_margin_s=settings.lease.margin_s,
        lease_renew_every_s=settings.lease.renew_every_s,
        balance_refresh_every_s=settings.balance.refresh_every_s,
    )
    return Wallets(adapters.exchange, adapters.ledger, adapters.clock, timing, on_turn=ground.pulse.beat)


def make_sender(ground: Ground, wallets: Wallets) -> Sender:
    adapters = ground.adapters
    return Sender(
        exchange=adapters.exchange,
        ledger=adapters.ledger,
        wallets=wallets,
        clock=adapters.clock,
        metrics=ground.metrics,
    )


def make_submitter(ground: Ground, sender: Sender, wallets: Wallets) -> Submitter:
    adapters = ground.adapters
    return Submitter(
        sender=sender,
        exchange=adapters.exchange,
        ledger=adapters.ledger,
        wallets=wallets,
        lane_of=adapters.lanes.submit,
        clock=adapters.clock,
        metrics=ground.metrics,
    )


def make_pending(
    ground: Ground, sender: Sender, wallets: Wallets, *, on_over: Callable[[], None] = lambda: None
) -> Pending:
    adapters, pending = ground.adapters, ground.settings.pending
    return Pending(
        resolver=_make_resolver(ground, sender),
        under_way=sender.in_flight,
        ledger=adapters.ledger,
        wallets=wallets,
        clock=adapters.clock,
        metrics=ground.metrics,
        timing=PendingTiming(
            tick_s=pending.tick_s,
            first_s=pending.first_s,
            refresh_every_s=pending.refresh_every_s,
            most_s=pending.most_s,
            books_within_s=pending.lost_after_s,  # as long as a whole order is given to turn up
        ),
        on_turn=ground.pulse.beat,
        on_over=on_over,
    )


def _make_resolver(ground: Ground, sender: Sender) -> Resolver:
    settings, adapters = ground.settings, ground.adapters
    return Resolver(
        exchange=adapters.exchange,
        ledger=adapters.ledger,
        sender=sender,
        lane_of=adapters.lanes.submit,
        clock=adapters.clock,
        policy=DoubtPolicy(
            resend_for=timedelta(seconds=settings.signal.fresh_for_s),
            sends_most=settings.pending.sends_most,
            lost=LostRule(
                lookups=settings.pending.lost_after_lookups,
                after=timedelta(seconds=settings.pending.lost_after_s),
            ),
        ),
    )


def make_bookkeeping(ground: Ground) -> Bookkeeping:
    capital = ground.settings.capital
    return Bookkeeping(
        SupabaseBooks(ground.adapters.database),
        metrics=ground.metrics,
        timing=BookkeepingTiming(every_s=capital.checkpoint_every_s, audit_orders=capital.audit_orders),
    )


def make_desk(
    ground: Ground,
    *,
    intake: Intake,
    strategies: Strategies,
    wallets: Wallets,
    submitter: Submitter,
    writer: DecisionWriter,
    on_answered: Callable[[OrderId], None],
    on_decided: Callable[[Decided], None] = lambda _: None,
) -> Desk:
    adapters = ground.adapters
    return Desk(
        intake=intake,
        strategies=strategies,
        wallets=wallets,
        ledger=adapters.ledger,
        judges=make_judges(ground.settings, adapters, has_key=wallets.watches),
        submitter=submitter,
        writer=writer,
        lane_of=adapters.lanes.submit,
        clock=adapters.clock,
        metrics=ground.metrics,
        on_answered=on_answered,
        on_decided=on_decided,
    )


def make_judges(
    settings: Settings, adapters: Adapters, *, has_key: Callable[[WalletAddress], bool]
) -> Mapping[Mode, Judge]:
    """One for each mode that this worker decides in. `has_key` is asked only where a wallet without a key is its to
    skip.
    """
    paper = _make_judge(settings, adapters, adapters.paper_ledger, Mode.PAPER, has_key=lambda _: True)
    if settings.mode is Mode.PAPER:
        return {Mode.PAPER: paper}
    skips = settings.unknown_wallets is UnknownWallets.SKIP
    asked = has_key if skips else lambda _: True
    return {
        Mode.LIVE: _make_judge(settings, adapters, adapters.ledger, Mode.LIVE, has_key=asked),
        Mode.PAPER: paper,
    }


def _make_judge(
    settings: Settings,
    adapters: Adapters,
    ledger: Ledger,
    mode: Mode,
    *,
    has_key: Callable[[WalletAddress], bool],
) -> Judge:
    return Judge(
        exchange=adapters.exchange,
        ledger=ledger,
        policy=DecisionPolicy(
            mode=mode,
            fresh_for=timedelta(seconds=settings.signal.fresh_for_s),
            backfill_max_age=timedelta(seconds=settings.signal.max_age_s),
            min_tick_max_pct=settings.price.min_tick_max_pct,
            gtd_lifetime=timedelta(seconds=settings.price.gtd_lifetime_s),
            min_edge_after_fees=settings.price.min_edge_after_fees,
            unknown_edge_passes=settings.price.unknown_edge is UnknownEdge.TRADE,
        ),
        has_key=has_key,
    )


def make_hearing(
    ground: Ground,
    *,
    intake: Intake,
    strategies: Strategies,
    without: Callable[[], Collection[Unserved]],
) -> Hearing:
    """`without`: see `Ledger.work`."""
    settings, adapters = ground.settings, ground.adapters
    canary = Canary(
        settings.canary,
        send=adapters.ledger.send_canary,
        audible=lambda: CANARY_TABLE in feed.live_tables,
        clock=adapters.clock,
        metrics=ground.metrics,
    )
    watch = FeedWatch(
        settings.feed,
        canary=canary,
        renew=lambda reason: feed.renew(reason),  # noqa: PLW0108 - the feed is made below
        clock=adapters.clock,
        health=ground.health,
        metrics=ground.metrics,
    )
    sweep = _make_sweep(ground, intake, strategies, watch, without=without)
    wakeups = Wakeups(
        intake=intake,
        sweep=sweep,
        strategies=strategies,
        canary=canary,
        feed_watch=watch,
        clock=adapters.clock,
        metrics=ground.metrics,
        catch_up_after_live_s=settings.sweep.catch_up_after_live_s,
    )
    feed = _make_feed(ground, wakeups)
    notices = Notices(adapters.ledger, intake, sweep, adapters.clock, on_found=watch.found)
    listener = make_listener(settings, on_signal=notices.heard, on_listening=notices.listening)
    return Hearing(feed, canary, watch, sweep, notices, listener)


def _make_sweep(
    ground: Ground,
    intake: Intake,
    strategies: Strategies,
    feed_watch: FeedWatch,
    *,
    without: Callable[[], Collection[Unserved]],
) -> Sweep:
    sweep = ground.settings.sweep
    return Sweep(
        ledger=ground.adapters.ledger,
        intake=intake,
        clock=ground.adapters.clock,
        health=ground.health,
        timing=SweepTiming(batch=sweep.batch, window_s=sweep.window_s, pairs=sweep.pairs),
        every_s=lambda: sweep.every_s if feed_watch.flows else sweep.every_degraded_s,
        without=without,
        on_found=feed_watch.found,
        on_version=strategies.seen,
        on_turn=ground.pulse.beat,
    )


def _make_feed(ground: Ground, wakeups: Wakeups) -> RealtimeFeed:
    feed = ground.settings.feed
    return RealtimeFeed(
        ground.adapters.access,
        timing=FeedTiming(
            join_s=feed.join_timeout_s,
            live_s=feed.live_timeout_s,
            backoff_first_s=feed.backoff_first_s,
            backoff_max_s=feed.backoff_most_s,
            rate_limited_s=feed.backoff_rate_limited_s,
            refused_s=feed.backoff_refused_s,
            renew_after_s=feed.renew_after_s,
            ping_interval_s=feed.ping_every_s,
            ping_timeout_s=feed.ping_every_s,
        ),
        on_signal=wakeups.on_signal,
        on_change=wakeups.on_change,
        on_state=wakeups.on_state,
        on_table_live=wakeups.on_table_live,
        on_count=wakeups.on_count,
    )


def make_watch(ground: Ground, *, wallets: Wallets, sender: Sender, feed_watch: FeedWatch) -> Watch:
    watched = Watched(wallets, sender, ground.adapters.exchange, ground.pulse, feed_watch)
    return Watch(watched, health=ground.health, service=ground.service, metrics=ground.metrics)
