"""A simulated Polymarket exchange: the CLOB's HTTP and WebSocket protocol on a loopback port.

It verifies real signatures, computes order ids by itself, matches on a price-time book, settles trades in
stages and journals every byte received. It imports nothing of the worker and nothing of the official SDK:
what it computes is an independent check of both.
"""

from worker.sandbox.exchange.accounts import Holding
from worker.sandbox.exchange.clock import Clock, ManualClock, SystemClock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.journal import Journal, Receipt
from worker.sandbox.exchange.markets import FeeSchedule, Market, synthetic_market
from worker.sandbox.exchange.orders import OrderType, Side
from worker.sandbox.exchange.rules import Rules, SettlementDelays
from worker.sandbox.exchange.server import SimulatedExchange

__all__ = [
    "Clock",
    "Exchange",
    "FeeSchedule",
    "Holding",
    "Journal",
    "ManualClock",
    "Market",
    "OrderType",
    "Receipt",
    "Rules",
    "SettlementDelays",
    "Side",
    "SimulatedExchange",
    "SystemClock",
    "synthetic_market",
]
