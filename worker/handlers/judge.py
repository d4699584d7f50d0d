"""What the decision over one pair needs, gathered, and the decision made. Reads only: it writes and sends nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from worker.errors import ExchangeError, ExchangeUnreachable, MarketNotFound
from worker.orders import guards
from worker.orders.decide import Plan, decide, defer, is_fresh, screen
from worker.orders.holdings import Holdings
from worker.orders.market import Book, Market, Token
from worker.orders.policy import DecisionPolicy
from worker.orders.ports import Exchange, Ledger
from worker.orders.reasons import SkipReason, Stage
from worker.orders.retake import Next, Remainder, next_attempt
from worker.orders.signal import Malformed, Signal
from worker.orders.skips import Deferral, Skip
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import Side, TokenId, WalletAddress

WORDS_MOST = 80  # of an error, beside the reason

# A plan made on a look at the book is good for so long.
_BOOK_GOOD_FOR = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Case:
    """A signal and a strategy that can both be read, and what the pair was put off for before."""

    signal: Signal
    strategy: Strategy
    before: Deferral | None


@dataclass(frozen=True, slots=True)
class Judge:
    exchange: Exchange
    ledger: Ledger
    policy: DecisionPolicy
    has_key: Callable[[WalletAddress], bool]

    def first_look(
        self,
        signal: Signal | Malformed,
        strategy: Strategy | InvalidStrategy,
        before: Deferral | None,
        now: datetime,
    ) -> Case | Skip:
        """Everything that can be refused without asking anybody."""
        skip = screen(signal, strategy, self.policy, now, before=before)
        if skip is not None:
            return skip
        if isinstance(signal, Malformed) or isinstance(strategy, InvalidStrategy):
            raise AssertionError("the screen refuses whatever cannot be read")  # noqa: TRY004 - not a type error
        if not self.has_key(strategy.wallet_address):
            return Skip(SkipReason.WALLET_NOT_CONFIGURED, value=strategy.wallet_address)
        return Case(signal, strategy, before)

    async def verdict(self, case: Case, now: datetime, *, market_anew: bool = False) -> Plan | Skip:
        """Ask for the market, the book of a signal that is not fresh, what there is to sell, the capital; then decide.

        A no for money is asked again with the numbers of now, and so is a bet that money may have kept too small.
        `market_anew`: what is remembered of the market proved to be out of date. Raises `DatabaseError`.
        """
        signal, strategy = case.signal, case.strategy
        try:
            market = await self.exchange.market(signal.condition_id, anew=market_anew)
            token = market.token(signal.token_label)
            stale = token is not None and not is_fresh(signal, self.policy, now)
            market, book = (
                await self._with_book(market, token.token_id) if token and stale else (market, None)
            )
        except MarketNotFound:
            return self.no(SkipReason.MARKET_NOT_FOUND, case, now, value=signal.condition_id)
        except ExchangeUnreachable as error:
            return self.no(SkipReason.EXCHANGE_UNREACHABLE, case, now, value=str(error)[:WORDS_MOST])
        except ExchangeError as error:
            return self.no(SkipReason.MARKET_NOT_READY, case, now, value=str(error)[:WORDS_MOST])
        holdings = await self._holdings(case, token) if token is not None else None
        capital = strategy.capital or await self.ledger.capital(strategy.strategy_id)
        plan = decide(signal, strategy, market, book, capital, self.policy, now, holdings, case.before)
        if isinstance(plan, Skip) and _rests_on_money(signal, plan.reason):
            latest = await self.ledger.capital(strategy.strategy_id)
            plan = decide(signal, strategy, market, book, latest, self.policy, now, holdings, case.before)
        return plan

    async def next_attempt(self, remainder: Remainder, strategy: Strategy, extra: Decimal) -> Next:
        """Ask for the market, the book and the capital; then decide what is done about what an order has left.

        Raises `WorkerError`.
        """
        try:
            market = await self.exchange.market(remainder.signal.condition_id, anew=remainder.is_off_tick)
        except MarketNotFound:
            return Skip(SkipReason.MARKET_NOT_FOUND, value=remainder.signal.condition_id)
        market, book = await self._with_book(market, remainder.token_id)
        if book is None:
            return guards.tradable(market) or Skip(SkipReason.MARKET_NOT_READY, value=market.condition_id)
        capital = strategy.capital or await self.ledger.capital(strategy.strategy_id)
        return next_attempt(remainder, strategy, market, book, capital, self.policy, extra)

    async def _with_book(self, market: Market, token_id: TokenId) -> tuple[Market, Book | None]:
        """A market loses its books when it ends: one that has none is not what is remembered of it."""
        try:
            return market, await self.exchange.book(token_id)
        except MarketNotFound:
            return await self.exchange.market(market.condition_id, anew=True), None

    async def _holdings(self, case: Case, token: Token) -> Holdings | None:
        """Asked for an exit alone: an entry waits for no further answer."""
        if case.signal.side is Side.BUY:
            return None
        return await self.ledger.holdings(case.strategy.strategy_id, case.signal.ft_order_id, token.token_id)

    def fresh_until(self, case: Case, now: datetime) -> datetime:
        """Until when a plan that is made now may be carried out."""
        if is_fresh(case.signal, self.policy, now):
            return case.signal.created_at + self.policy.fresh_for
        return now + _BOOK_GOOD_FOR

    def no(
        self,
        reason: SkipReason,
        case: Case,
        now: datetime,
        *,
        value: str = "",
        limit: str = "",
        again_in_s: float = 0.0,
    ) -> Skip:
        """A no that came from outside: final, or deferred while its reason may pass. `again_in_s`: not before."""
        return defer(
            reason,
            case.signal,
            self.policy,
            now,
            before=case.before,
            not_before=now + timedelta(seconds=again_in_s),
            value=value,
            limit=limit,
        )


def _rests_on_money(signal: Signal, reason: SkipReason) -> bool:
    return signal.side is Side.BUY and (reason.stage is Stage.LIMITS or reason is SkipReason.BELOW_MIN_SIZE)
