"""What the venue and the chain do around trading: deposits, tick changes, closing and resolving markets."""

from worker.sandbox.exchange.accounts import ESCROW, HOUSE, USD, asset_of
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.house import House
from worker.sandbox.exchange.orders import ConditionId, OrderStatus, TokenId
from worker.sandbox.exchange.units import PRICE_ONE, Micro, Price


class BackOffice:
    def __init__(self, exchange: Exchange, house: House) -> None:
        self._exchange = exchange
        self._house = house

    def fund(self, address: str, usd: Micro) -> None:
        """A deposit of collateral."""
        self._exchange.accounts.deposit(address, USD, usd)

    def fund_shares(self, address: str, token: str, shares: Micro) -> None:
        """A deposit of outcome shares, minted as full sets: the house keeps the complement."""
        market = self._exchange.market_of(token)
        if market is None:
            raise KeyError(f"No market lists token {token}")
        accounts = self._exchange.accounts
        accounts.deposit(address, asset_of(TokenId(token)), shares)
        accounts.deposit(HOUSE, asset_of(market.complement(TokenId(token))), shares)
        accounts.deposit(ESCROW, USD, shares)

    def change_tick(self, condition: str, tick: Price) -> None:
        """The market's tick changes while it trades; resting orders keep their prices."""
        market = self._exchange.markets[ConditionId(condition)]
        old, market.tick = market.tick, tick
        self._exchange.feed.tick_changed(market, old)

    def pause(self, condition: str, *, accepting: bool) -> None:
        self._exchange.markets[ConditionId(condition)].accepting_orders = accepting

    def close(self, condition: str) -> None:
        """Trading ends: open orders are cancelled, the book is emptied."""
        market = self._exchange.markets[ConditionId(condition)]
        market.close()
        for order in self._exchange.orders_of_market(market.condition):
            self._exchange.take_off(order, OrderStatus.CANCELED_MARKET_RESOLVED)
        self._house.clear(market.condition)

    def resolve(self, condition: str, winner: str) -> None:
        """Closes the market and declares the winning token; holders redeem afterwards."""
        market = self._exchange.markets[ConditionId(condition)]
        market.index_of(TokenId(winner))
        if not market.closed:
            self.close(condition)
        market.winner = TokenId(winner)
        self._exchange.feed.resolved(market)

    def void(self, condition: str) -> None:
        """Closes the market and resolves it for nobody: either token is redeemed for half a dollar."""
        market = self._exchange.markets[ConditionId(condition)]
        if not market.closed:
            self.close(condition)
        market.voided = True
        self._exchange.feed.resolved(market)

    def redeem(self, address: str, condition: str) -> Micro:
        """Burns an account's tokens of a resolved market. Answers the payout, a dollar for each winner."""
        market = self._exchange.markets[ConditionId(condition)]
        if not market.resolved:
            raise ValueError(f"Expected a resolved market, {condition} is not")
        accounts = self._exchange.accounts
        payout = 0
        for token in market.tokens:
            payout += accounts.holding(address, asset_of(token)).balance * market.payout(token) // PRICE_ONE
            accounts.set_balance(address, asset_of(token), 0)
        accounts.deposit(address, USD, payout)
        accounts.deposit(ESCROW, USD, -payout)
        return payout
