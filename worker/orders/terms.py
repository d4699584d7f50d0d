"""The words of the trade: typed ids, sides, order types, modes. No rules live here.

USD, shares and prices are `Decimal`; the unit is in the name of every field that carries one.
"""

from enum import StrEnum
from typing import NewType, TypeAlias

FtOrderId = NewType("FtOrderId", str)  # ft_orders.order_id, a uuid as text
FtWalletId = NewType("FtWalletId", str)  # ft_wallets.wallet_id, such as FT_HIGH_CONVICTION
StrategyId = NewType("StrategyId", str)  # lt_strategies.strategy_id
LtOrderId = NewType("LtOrderId", str)  # lt_orders.lt_order_id, a uuid as text
WalletAddress = NewType("WalletAddress", str)  # lower-case 0x + 40 hex, the address that holds the funds
ConditionId = NewType("ConditionId", str)  # a market: 0x + 64 hex
TokenId = NewType("TokenId", str)  # one outcome of a market: a decimal string
OrderId = NewType("OrderId", str)  # the exchange's id of an order: 0x + 64 hex, known before the POST
TradeId = NewType("TradeId", str)
WorkerId = NewType("WorkerId", str)
Fence = NewType("Fence", int)  # grows with every change of a lease's holder


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """What the exchange accepts. A strategy's `IOC` is the exchange's FAK."""

    FAK = "FAK"  # fill what is there, kill the rest
    FOK = "FOK"  # all or nothing
    GTC = "GTC"  # rest until cancelled
    GTD = "GTD"  # rest until a time

    @property
    def rests(self) -> bool:
        return self in {OrderType.GTC, OrderType.GTD}


class Mode(StrEnum):
    """Paper and live never share a wallet, a decision or a dollar."""

    PAPER = "paper"
    LIVE = "live"


class WalletKind(StrEnum):
    """Whose funds a key spends."""

    EOA = "eoa"  # its own address's
    DEPOSIT_WALLET = "deposit_wallet"  # those of a contract that the exchange made for the key


class ExchangeVersion(StrEnum):
    """Which contract an order is signed for, and so which EIP-712 domain its id is made with."""

    STANDARD = "std"
    NEG_RISK = "neg"
    V3 = "v3"


# A strategy that a worker cannot serve now, in both modes or in one: it may hold the wallet and not the purse.
Unserved: TypeAlias = StrategyId | tuple[StrategyId, Mode]
