"""What the exchange answers when it does not do what was asked: one error type and its known texts.

The texts are the documented ones, word for word: clients branch on them.
"""

from collections.abc import Mapping
from typing import Any

FAK_NO_MATCH = (
    "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
)
FOK_NOT_FILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
POST_ONLY_CROSSES = "invalid post-only order: order crosses book"
NOT_READY = "the market is not yet ready to process new orders"
BAD_PAYLOAD = "Invalid order payload"
BAD_EXPIRATION = "invalid expiration"
BAD_SIGNATURE = "invalid signature"
VERSION_MISMATCH = "order_version_mismatch"
WRONG_OWNER = "the order owner has to be the owner of the API KEY"
WRONG_SIGNER = "the order signer address has to be the address of the API KEY"
WRONG_MAKER = "maker address not allowed, please use the deposit wallet flow"
BAD_API_KEY = "Unauthorized/Invalid api key"
BAD_L1_HEADERS = "Invalid L1 Request headers"
NO_ORDER_BOOK = "No orderbook exists for the requested token id"
NO_MARKET = "market not found"
NO_ORDER = "Order not found"
RESTARTING = "service not ready"
POST_ONLY_MODE = "post-only mode: only post-only orders and cancels are allowed"
POST_ONLY_MODE_CODE = "post_only_mode"
CANCEL_ONLY = "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
TOO_MANY_REQUESTS = "Too Many Requests"
ORDER_TIMED_OUT = "order timed out"
NO_EXECUTION = "could not run the execution"
NO_BALANCE = "not enough balance / allowance"
CANCEL_NOT_FOUND = "Order not found or already canceled"
CANCEL_MATCHED = "Order already matched"
CANCEL_DELAYED = "Order is delayed and can't be canceled"


class RefusedError(Exception):
    """A request answered with an error status. Nothing of it was processed."""

    def __init__(
        self,
        text: str,
        *,
        status: int = 400,
        order_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """`details` are further fields of the answer's body."""
        super().__init__(text)
        self.text = text
        self.status = status
        self.order_id = order_id
        self.details = details or {}


def invalid_order(order_id: str, why: str) -> RefusedError:
    return RefusedError(f"order {order_id} is invalid. {why}")
