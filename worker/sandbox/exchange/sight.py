"""What REST look-ups see: an order or a trade that exists may stay out of sight for a while, and lists come in pages.

Every order and trade after the venue's own delay, single orders longer when they were hidden. The streams, cancels
and the matching itself are not affected.
"""

from worker.sandbox.exchange.clock import NANOSECONDS, Clock
from worker.sandbox.exchange.handling import Handling
from worker.sandbox.exchange.orders import Order, OrderId
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.trades import Trade


class Sight:
    """The delays start as the rules say and may be changed while the venue runs."""

    def __init__(self, clock: Clock, rules: Rules) -> None:
        self._clock = clock
        self.orders_delay_s = rules.visibility_delay_s
        self.trades_delay_s = rules.trades_visibility_delay_s
        self.missing_as_null = rules.missing_order_as_null
        self.page_size = rules.page_size
        self._orders_hidden_until_ns: dict[OrderId, int] = {}
        self._trades_hidden_until_ns: dict[OrderId, int] = {}

    def hide(self, order_id: OrderId, handling: Handling) -> None:
        now_ns = self._clock.now_ns()
        if handling.order_hidden_s:
            self._orders_hidden_until_ns[order_id] = now_ns + round(handling.order_hidden_s * NANOSECONDS)
        if handling.trades_hidden_s:
            self._trades_hidden_until_ns[order_id] = now_ns + round(handling.trades_hidden_s * NANOSECONDS)

    def sees_order(self, order: Order) -> bool:
        visible_ns = order.created_ns + round(self.orders_delay_s * NANOSECONDS)
        return self._clock.now_ns() >= max(visible_ns, self._orders_hidden_until_ns.get(order.id, 0))

    def sees_trade(self, trade: Trade) -> bool:
        """A trade is hidden as long as any order in it hides its trades."""
        hidden = self._trades_hidden_until_ns
        parties = (trade.taker, *(fill.maker for fill in trade.fills))
        visible_ns = trade.matched_ns + round(self.trades_delay_s * NANOSECONDS)
        return self._clock.now_ns() >= max(visible_ns, *(hidden.get(party.id, 0) for party in parties))
