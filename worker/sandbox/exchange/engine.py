"""The exchange itself: accepts, matches, rests, cancels and settles orders, and tells the feed.

Synchronous and without I/O: one call is one atomic change. Later steps (expiry, delayed matches, settlement)
lie on `agenda`; whoever owns the exchange runs it. Refusals are raised as `RefusedError`, before any change.
"""

from collections.abc import Iterable

from worker.sandbox.exchange.accounts import USD, Accounts, asset_of
from worker.sandbox.exchange.auth import Credentials, KeyRing
from worker.sandbox.exchange.book import Book
from worker.sandbox.exchange.clearing import outlay
from worker.sandbox.exchange.clock import NANOSECONDS, Agenda, Clock, SystemClock
from worker.sandbox.exchange.executions import Executions
from worker.sandbox.exchange.feed import Feed
from worker.sandbox.exchange.handling import BY_THE_RULES, Handling, Insertion
from worker.sandbox.exchange.hashing import exchange_of, order_id
from worker.sandbox.exchange.limiter import Limiter
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.matching import Plan, plan
from worker.sandbox.exchange.modes import Modes
from worker.sandbox.exchange.orders import (
    ApiKey,
    ConditionId,
    Order,
    OrderId,
    OrderStatus,
    OrderType,
    Side,
    SignedOrder,
    TokenId,
)
from worker.sandbox.exchange.outcomes import Acceptance, Cancellation
from worker.sandbox.exchange.refusals import (
    BAD_PAYLOAD,
    CANCEL_DELAYED,
    CANCEL_MATCHED,
    CANCEL_NOT_FOUND,
    FAK_NO_MATCH,
    FOK_NOT_FILLED,
    NO_ORDER_BOOK,
    NOT_READY,
    POST_ONLY_CROSSES,
    WRONG_OWNER,
    RefusedError,
    invalid_order,
)
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.sight import Sight
from worker.sandbox.exchange.signatures import WalletRegistry
from worker.sandbox.exchange.units import Micro
from worker.sandbox.exchange.validation import check_marketable, terms_of


class Exchange:
    def __init__(
        self,
        markets: Iterable[Market] = (),
        *,
        clock: Clock | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.rules = rules or Rules()
        self.agenda = Agenda(self.clock)
        self.keys = KeyRing(self.clock, self.rules)
        self.wallets = WalletRegistry()
        self.accounts = Accounts()
        self.feed = Feed(self.clock, self.rules)
        self.modes = Modes(self.clock)
        self.limiter = Limiter(self.clock, self.rules)
        self.sight = Sight(self.clock, self.rules)
        self.markets: dict[ConditionId, Market] = {}
        self.books: dict[ConditionId, Book] = {}
        self.orders: dict[OrderId, Order] = {}
        self.resting: dict[OrderId, Order] = {}  # users' orders on the books
        self.executions = Executions(
            clock=self.clock,
            rules=self.rules,
            agenda=self.agenda,
            accounts=self.accounts,
            feed=self.feed,
            books=self.books,
            resting=self.resting,
        )
        self.settlement = self.executions.settlement
        self.trades = self.executions.trades
        self.trades_of = self.executions.trades_of
        self._market_of_token: dict[TokenId, Market] = {}
        for market in markets:
            self.list_market(market)

    def list_market(self, market: Market) -> None:
        self.markets[market.condition] = market
        self.books[market.condition] = Book()
        for token in market.tokens:
            self._market_of_token[token] = market

    def market_of(self, token: str) -> Market | None:
        return self._market_of_token.get(TokenId(token))

    def identify(self, signed: SignedOrder) -> OrderId:
        """The id of an order, accepted or not. Raises RefusedError for a token no market lists."""
        return order_id(signed, neg_risk=self._listed(signed).neg_risk)

    def submit(
        self,
        signed: SignedOrder,
        *,
        order_type: OrderType,
        post_only: bool,
        owner: str,
        credentials: Credentials,
        handling: Handling = BY_THE_RULES,
    ) -> Acceptance:
        """One POST /order. Raises RefusedError with the venue's status and text.

        `handling` may have a valid order taken in against the rules of matching.
        """
        market = self._listed(signed)
        self._check_standing(signed, owner, credentials)
        self.wallets.verify(signed, neg_risk=market.neg_risk, key_address=credentials.address)
        identity = order_id(signed, neg_risk=market.neg_risk)
        if identity in self.orders:
            raise invalid_order(identity, "Duplicated.")
        if market.closed:
            raise RefusedError(f"the orderbook {signed.token} does not exist")
        if not market.trading:
            raise RefusedError(NOT_READY)
        if post_only and not order_type.rests:
            raise RefusedError(BAD_PAYLOAD)
        now_ns = self.clock.now_ns()
        terms = terms_of(
            signed, order_type, market, self.rules, order_id=identity, now_s=now_ns // NANOSECONDS
        )
        order = Order(
            id=identity,
            owner=credentials.key,
            maker=signed.maker,
            condition=market.condition,
            token=signed.token,
            outcome=market.outcome_of(signed.token),
            outcome_index=market.index_of(signed.token),
            terms=terms,
            type=order_type,
            created_ns=now_ns,
            expiration_s=signed.expiration_s,
        )
        crosses = self._crosses(order, market)
        if crosses and post_only:
            raise RefusedError(POST_ONLY_CROSSES)
        check_marketable(terms, order_type, self.rules, crosses=crosses)
        accepted = self._take_in(order, market, handling, crosses=crosses)
        self.sight.hide(identity, handling)
        return accepted

    def taker_hold_s(self, token: str, order_type: OrderType) -> float:
        """How long a FAK or FOK on this token is held before it is processed, in seconds."""
        market = self.market_of(token)
        return market.taker_hold_s if market and not order_type.rests else 0.0

    def visible_order(self, identity: str, owner: ApiKey) -> Order | None:
        """An order as its owner's REST look-up sees it, or None."""
        order = self.orders.get(OrderId(identity))
        if order is None or order.owner != owner:
            return None
        return order if self.sight.sees_order(order) else None

    def open_orders(self, owner: ApiKey) -> list[Order]:
        return [order for order in self.resting.values() if order.owner == owner]

    def cancel(self, identities: Iterable[str], owner: ApiKey) -> Cancellation:
        answer = Cancellation()
        for identity in map(OrderId, identities):
            order = self.orders.get(identity)
            match order.status if order and order.owner == owner else None:
                case OrderStatus.LIVE:
                    self.take_off(self.orders[identity], OrderStatus.CANCELED)
                    answer.canceled.append(identity)
                case OrderStatus.MATCHED:
                    answer.not_canceled[identity] = CANCEL_MATCHED
                case OrderStatus.DELAYED:
                    answer.not_canceled[identity] = CANCEL_DELAYED
                case _:
                    answer.not_canceled[identity] = CANCEL_NOT_FOUND
        for condition in {self.orders[identity].condition for identity in answer.canceled}:
            self.publish(condition)
        return answer

    def take_off(self, order: Order, status: OrderStatus, told: str | None = None) -> None:
        """Removes a resting order from its book. The caller publishes."""
        market = self.markets[order.condition]
        side, price = market.in_book(order.token, order.side, order.limit)
        self.books[order.condition].remove(order, side, price)
        self._hold(order, order.remaining, sign=-1)
        del self.resting[order.id]
        order.end(status, self.clock.now_ns())
        self.feed.order(order, "CANCELLATION", told)

    def orders_of_market(self, condition: ConditionId) -> list[Order]:
        """Users' orders resting in a market."""
        return [order for order in self.resting.values() if order.condition == condition]

    def publish(self, condition: ConditionId) -> None:
        """Tells the market channel every level that changed since the last call."""
        book = self.books[condition]
        self.feed.book_changed(book, self.markets[condition], book.drain_touched())

    def _listed(self, signed: SignedOrder) -> Market:
        market = self.market_of(signed.token)
        if market is None:
            raise RefusedError(NO_ORDER_BOOK, status=404)
        return market

    def _check_standing(self, signed: SignedOrder, owner: str, credentials: Credentials) -> None:
        if owner != credentials.key:
            raise RefusedError(WRONG_OWNER)
        for address in (signed.maker, credentials.address):
            if self.keys.is_banned(address):
                raise RefusedError(f"'{address}' address banned")
            if signed.side is Side.BUY and self.keys.is_closed_only(address):
                raise RefusedError(f"'{address}' address in closed only mode")

    def _crosses(self, order: Order, market: Market) -> bool:
        return self.books[market.condition].crosses(*market.in_book(order.token, order.side, order.limit))

    def _take_in(self, order: Order, market: Market, handling: Handling, *, crosses: bool) -> Acceptance:
        match handling.insertion:
            case None:
                if market.seconds_delay > 0 and (crosses or not order.type.rests):
                    return self._delay(order, market, market.seconds_delay)
                return self._execute(order, market)
            case Insertion.DELAYED:
                return self._delay(order, market, handling.delay_s)
            case Insertion.LIVE:
                return self._set_aside(order, market, Insertion.LIVE, rests=True)
            case Insertion.UNMATCHED:
                rests = order.type.rests if handling.rests is None else handling.rests
                return self._set_aside(order, market, Insertion.UNMATCHED, rests=rests)

    def _set_aside(self, order: Order, market: Market, told_as: Insertion, *, rests: bool) -> Acceptance:
        """Accepted without a match, however good the book: on the book it may be met later, else it is dead."""
        self._require_funds(order, market, Plan((), complete=False))
        self.orders[order.id] = order
        if rests:
            self._rest(order, market)
        else:
            order.end(OrderStatus.CANCELED, self.clock.now_ns())
        self.feed.order(order, "PLACEMENT" if rests else "CANCELLATION")
        self.publish(market.condition)
        return Acceptance(order, told_as.value)

    def _execute(self, order: Order, market: Market, *, told_as: str = "PLACEMENT") -> Acceptance:
        """Matches what can be matched and rests the remainder. Raises before anything changes."""
        planned = plan(self.books[market.condition], market, order.token, order.terms)
        self._require_funds(order, market, planned)
        self._refuse_kill(order, planned)
        self.orders[order.id] = order
        trades = self.executions.fill(order, market, planned)
        if order.type.rests and order.remaining:
            self._rest(order, market)
            status = "matched" if trades else "live"
        else:
            order.end(OrderStatus.MATCHED, self.clock.now_ns())
            status = "matched"
        self.feed.order(order, told_as)
        self.executions.announce(trades)
        self.publish(market.condition)
        return Acceptance(order, status, trades)

    def _require_funds(self, order: Order, market: Market, planned: Plan) -> None:
        fee = planned.fee(market) if self.rules.fee_on else 0
        asset, amount = outlay(order, planned, fee)
        spender = exchange_of(order.token, neg_risk=market.neg_risk)
        self.accounts.require(order.maker, asset, amount, spender=spender)

    def _refuse_kill(self, order: Order, planned: Plan) -> None:
        if order.type is OrderType.FAK and not planned.fills:
            text = FAK_NO_MATCH
        elif order.type is OrderType.FOK and not planned.complete:
            text = FOK_NOT_FILLED
        else:
            return
        if self.rules.remember_killed:
            order.end(OrderStatus.CANCELED, self.clock.now_ns())
            self.orders[order.id] = order
        self.feed.killed(order, text)
        raise RefusedError(text, order_id=order.id)

    def _rest(self, order: Order, market: Market) -> None:
        side, price = market.in_book(order.token, order.side, order.limit)
        self.books[market.condition].rest(order, side, price)
        self.resting[order.id] = order
        self._hold(order, order.remaining)
        if order.type is OrderType.GTD:
            dies_ns = (order.expiration_s - self.rules.gtd_early_s) * NANOSECONDS
            self.agenda.at(dies_ns, lambda: self._expire(order))

    def _hold(self, order: Order, shares: Micro, *, sign: int = 1) -> None:
        """Holds (sign 1) or releases (sign -1) what `shares` more of this order would cost."""
        if order.side is Side.BUY:
            self.accounts.hold_for_order(order.maker, USD, sign * order.maker_usd(shares))
        else:
            self.accounts.hold_for_order(order.maker, asset_of(order.token), sign * shares)

    def _expire(self, order: Order) -> None:
        if order.status is OrderStatus.LIVE:
            self.take_off(order, OrderStatus.CANCELED, "CANCELED_EXPIRED_ORDER")
            self.publish(order.condition)

    def _delay(self, order: Order, market: Market, seconds: float) -> Acceptance:
        """Accepted but not matched yet, as sports markets do: looked at again `seconds` later."""
        self._require_funds(order, market, Plan((), complete=False))
        order.status = OrderStatus.DELAYED
        self.orders[order.id] = order
        self.feed.order(order, "PLACEMENT")
        self.agenda.after(seconds, lambda: self._release(order, market))
        return Acceptance(order, "delayed")

    def _release(self, order: Order, market: Market) -> None:
        """The delay is over: matched, resting, or (when a check fails now) gone without a trace."""
        del self.orders[order.id]
        if not market.trading:
            return
        order.status = OrderStatus.LIVE
        try:
            self._execute(order, market, told_as="UPDATE")
        except RefusedError as refusal:
            if refusal.order_id is not None:  # killed: nothing matched, terminal, still to be looked up
                order.end(OrderStatus.CANCELED, self.clock.now_ns())
                self.orders[order.id] = order
