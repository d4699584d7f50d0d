"""What the SDK makes of an answer to a POST, as an `Answer`: what came back and never more (`orders/outcomes.py` judges)."""

from decimal import Decimal

import httpx
import structlog
from polymarket import (
    AcceptedOrder,
    OrderResponse,
    RateLimitError,
    RequestRejectedError,
    SigningError,
    TransportError,
    UnexpectedResponseError,
    UserInputError,
)

from worker.orders.ports import Answer
from worker.orders.terms import OrderId, TradeId

_log = structlog.get_logger(__name__)

_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def answer_of_response(response: OrderResponse) -> Answer:
    if isinstance(response, AcceptedOrder):
        matched = response.status == "matched"
        return Answer(
            http_status=200,
            order_id=OrderId(response.order_id),
            status=response.status,
            making_amount=response.making_amount if matched else None,
            taking_amount=response.taking_amount if matched else None,
            trade_ids=tuple(TradeId(each) for each in response.trade_ids),
        )
    # `unmatched` is an acceptance that the SDK reports as a refusal, and drops the order's id.
    if response.code == "unmatched":
        return Answer(http_status=200, status="unmatched")
    # `unknown` may be a success in words that the SDK does not know: no proof of a refusal.
    return Answer(http_status=200, error=response.message, well_formed=response.code != "unknown")


def answer_of_failure(error: Exception) -> Answer:
    words = str(error) or type(error).__name__
    match error:
        case RequestRejectedError():
            if error.code is not None:
                words = f"{words} [{error.code}]"
            return Answer(error.status, error=words, retry_after_s=_seconds(error.retry_after))
        case RateLimitError():
            limiter = error.rate_limit is not None
            return Answer(
                429, error=words, retry_after_s=_seconds(error.retry_after), limiter_headers=limiter
            )
        case UnexpectedResponseError():
            return Answer(200, error=words, well_formed=False)
        case UserInputError() | SigningError():  # the SDK refused before it wrote a byte
            # Where it cannot sign, the fault is the wallet's, not the order's.
            return Answer(None, connected=False, sendable=isinstance(error, SigningError), error=words)
        case TransportError() | TimeoutError():
            return Answer(None, connected=not isinstance(error.__cause__, _NEVER_CONNECTED), error=words)
        case _:
            _log.exception("order.submit_broke", error=words)
            return Answer(None, error=words)


def _seconds(value: float | None) -> Decimal | None:
    return Decimal(str(value)) if value is not None else None
