"""The deposit wallet that the exchange makes for a key, as the official SDK derives it."""

from polymarket import PRODUCTION
from polymarket._internal.environment import get_environment_config
from polymarket._internal.wallet import derive_beacon_deposit_wallet_address

from worker.orders.terms import WalletAddress

DEPOSIT_WALLET = 3  # its type of signature


def deposit_wallet_of(owner: str) -> WalletAddress:
    derivation = get_environment_config(PRODUCTION).wallet_derivation
    return WalletAddress(derive_beacon_deposit_wallet_address(owner, derivation).lower())
