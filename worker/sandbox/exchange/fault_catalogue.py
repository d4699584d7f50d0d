"""The faults that the venue and the network are known to have, by name, so that a long run can draw from them.

Each name says what the client sees; `CATALOGUE[name].processes` says whether the order may exist afterwards.
Sources: polymarket-clob.md 1.5, 4.6-4.8, 5 and 7.4.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from worker.sandbox.exchange.distortions import Distortion
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.handling import Handling, Insertion
from worker.sandbox.exchange.refusals import (
    BAD_API_KEY,
    CANCEL_ONLY,
    DISABLED,
    NO_BALANCE,
    NO_EXECUTION,
    NO_ORDER,
    ORDER_TIMED_OUT,
    POST_ONLY_MODE,
    POST_ONLY_MODE_CODE,
    RESTARTING,
    TOO_MANY_REQUESTS,
)


class FaultName(StrEnum):
    # the connection
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    ANSWER_LATE = "answer_late"
    PROCESS_LATE = "process_late"
    HANG_BEFORE = "hang_before"
    HANG_AFTER = "hang_after"
    # the exchange and what stands before it
    ORDER_TIMED_OUT = "order_timed_out"
    NO_EXECUTION_BEFORE = "no_execution_before"
    NO_EXECUTION_AFTER = "no_execution_after"
    BAD_GATEWAY_BEFORE = "bad_gateway_before"
    BAD_GATEWAY_AFTER = "bad_gateway_after"
    GATEWAY_TIMEOUT_BEFORE = "gateway_timeout_before"
    GATEWAY_TIMEOUT_AFTER = "gateway_timeout_after"
    CLOUDFLARE_BLOCK = "cloudflare_block"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_BEFORE = "too_many_before"
    TOO_MANY_AFTER = "too_many_after"
    # a single answer of a mode; whole windows are `Modes`
    RESTARTING = "restarting"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    DISABLED = "disabled"
    # 200 in the wrong words
    NUMERIC_AMOUNTS = "numeric_amounts"
    NULL_ARRAYS = "null_arrays"
    MISSING_FIELDS = "missing_fields"
    UNKNOWN_STATUS = "unknown_status"
    NOT_JSON = "not_json"
    SUCCESS_WITH_ERROR = "success_with_error"
    WRONG_ID = "wrong_id"
    REFUSED_WITH_200 = "refused_with_200"
    REFUSED_WITH_SUCCESS = "refused_with_success"
    # accepted against the rules of matching
    UNMATCHED = "unmatched"
    UNMATCHED_RESTING = "unmatched_resting"
    LIVE_FAK = "live_fak"
    DELAYED = "delayed"
    # an order that exists and is not found
    SLOW_TO_APPEAR = "slow_to_appear"
    SLOW_TRADES = "slow_trades"
    DROPPED_AND_SLOW = "dropped_and_slow"
    # look-ups and cancels
    LOOKUP_NOT_FOUND = "lookup_not_found"
    LOOKUP_NULL = "lookup_null"
    LOOKUP_NO_TRADES = "lookup_no_trades"
    LOOKUP_SERVER_ERROR = "lookup_server_error"
    LOOKUP_DROPPED = "lookup_dropped"
    CANCEL_DROP_AFTER = "cancel_drop_after"


_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_TIMEOUT = "<html><head><title>504 Gateway Time-out</title></head><body><h1>504</h1></body></html>"
_CLOUDFLARE = (
    "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head>"
    "<body><h1>Sorry, you have been blocked</h1></body></html>"
)
_LIMITER_HEADERS = {
    "Poly-RateLimit-Remaining": "0",
    "Poly-RateLimit-Tier": "standard",
    "Retry-After": "1",
}
_NO_TRADES = {"limit": 100, "count": 0, "next_cursor": "LTE=", "data": []}
_HIDDEN_S = 2.0
_NOT_FOUND = {"method": "GET", "path": "/data/order/"}


def _error(status: int, text: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "body": json.dumps({"error": text, **more})}


def _page(status: int, html: str) -> dict[str, Any]:
    return {"status": status, "body": html, "content_type": "text/html"}


def _without_order(text: str, *, success: bool) -> dict[str, Any]:
    empty = {"orderID": "", "status": "", "makingAmount": "", "takingAmount": ""}
    return {"status": 200, "body": json.dumps({"success": success, "errorMsg": text, **empty})}


def _instead(**answer: Any) -> Fault:
    return Fault(action=Action.ANSWER_INSTEAD, **answer)


def _after(**answer: Any) -> Fault:
    return Fault(action=Action.ANSWER_AFTER, **answer)


def _distorted(how: Distortion) -> Fault:
    return Fault(action=Action.DISTORT, distortion=how)


def _taken_in(**handling: Any) -> Fault:
    return Fault(action=Action.PROCESS, handling=Handling(**handling))


_FAULTS: Mapping[FaultName, Fault] = {
    FaultName.DROP_BEFORE: Fault(action=Action.DROP_BEFORE),
    FaultName.DROP_AFTER: Fault(action=Action.DROP_AFTER),
    FaultName.ANSWER_LATE: Fault(action=Action.ANSWER_LATE, seconds=1.0),
    FaultName.PROCESS_LATE: Fault(action=Action.PROCESS_LATE, seconds=1.0),
    FaultName.HANG_BEFORE: Fault(action=Action.HANG_BEFORE),
    FaultName.HANG_AFTER: Fault(action=Action.HANG_AFTER),
    FaultName.ORDER_TIMED_OUT: _instead(**_error(500, ORDER_TIMED_OUT)),
    FaultName.NO_EXECUTION_BEFORE: _instead(**_error(500, NO_EXECUTION)),
    FaultName.NO_EXECUTION_AFTER: _after(**_error(500, NO_EXECUTION)),
    FaultName.BAD_GATEWAY_BEFORE: _instead(**_page(502, _BAD_GATEWAY)),
    FaultName.BAD_GATEWAY_AFTER: _after(**_page(502, _BAD_GATEWAY)),
    FaultName.GATEWAY_TIMEOUT_BEFORE: _instead(**_page(504, _TIMEOUT)),
    FaultName.GATEWAY_TIMEOUT_AFTER: _after(**_page(504, _TIMEOUT)),
    FaultName.CLOUDFLARE_BLOCK: _instead(**_page(403, _CLOUDFLARE)),
    FaultName.UNAUTHORIZED: _instead(**_error(401, BAD_API_KEY)),
    FaultName.RATE_LIMITED: _instead(**_error(429, TOO_MANY_REQUESTS), headers=_LIMITER_HEADERS),
    FaultName.TOO_MANY_BEFORE: _instead(**_error(429, TOO_MANY_REQUESTS)),
    FaultName.TOO_MANY_AFTER: _after(**_error(429, TOO_MANY_REQUESTS)),
    FaultName.RESTARTING: _instead(**_error(425, RESTARTING)),
    FaultName.POST_ONLY: _instead(
        **_error(503, POST_ONLY_MODE, code=POST_ONLY_MODE_CODE, retry_after_seconds=1)
    ),
    FaultName.CANCEL_ONLY: _instead(**_error(503, CANCEL_ONLY)),
    FaultName.DISABLED: _instead(**_error(503, DISABLED)),
    FaultName.NUMERIC_AMOUNTS: _distorted(Distortion.NUMERIC_AMOUNTS),
    FaultName.NULL_ARRAYS: _distorted(Distortion.NULL_ARRAYS),
    FaultName.MISSING_FIELDS: _distorted(Distortion.MISSING_FIELDS),
    FaultName.UNKNOWN_STATUS: _distorted(Distortion.UNKNOWN_STATUS),
    FaultName.NOT_JSON: _distorted(Distortion.NOT_JSON),
    FaultName.SUCCESS_WITH_ERROR: _distorted(Distortion.SUCCESS_WITH_ERROR),
    FaultName.WRONG_ID: _distorted(Distortion.WRONG_ID),
    FaultName.REFUSED_WITH_200: _instead(**_without_order(NO_BALANCE, success=False)),
    FaultName.REFUSED_WITH_SUCCESS: _instead(**_without_order(POST_ONLY_MODE, success=True)),
    FaultName.UNMATCHED: _taken_in(insertion=Insertion.UNMATCHED),
    FaultName.UNMATCHED_RESTING: _taken_in(insertion=Insertion.UNMATCHED, rests=True),
    FaultName.LIVE_FAK: _taken_in(insertion=Insertion.LIVE),
    FaultName.DELAYED: _taken_in(insertion=Insertion.DELAYED),
    FaultName.SLOW_TO_APPEAR: _taken_in(order_hidden_s=_HIDDEN_S, trades_hidden_s=_HIDDEN_S),
    FaultName.SLOW_TRADES: _taken_in(trades_hidden_s=_HIDDEN_S),
    FaultName.DROPPED_AND_SLOW: Fault(
        action=Action.DROP_AFTER, handling=Handling(order_hidden_s=_HIDDEN_S, trades_hidden_s=_HIDDEN_S)
    ),
    FaultName.LOOKUP_NOT_FOUND: _instead(**_error(404, NO_ORDER), **_NOT_FOUND),
    FaultName.LOOKUP_NULL: _instead(status=200, body="null", **_NOT_FOUND),
    FaultName.LOOKUP_NO_TRADES: _instead(
        status=200, body=json.dumps(_NO_TRADES), method="GET", path="/data/trades"
    ),
    FaultName.LOOKUP_SERVER_ERROR: _instead(
        **_error(500, "Internal server error"), method="GET", path="/data/"
    ),
    FaultName.LOOKUP_DROPPED: Fault(action=Action.DROP_BEFORE, method="GET", path="/data/"),
    FaultName.CANCEL_DROP_AFTER: Fault(action=Action.DROP_AFTER, method="DELETE", path="/order"),
}

CATALOGUE: Mapping[FaultName, Fault] = {name: replace(_FAULTS[name], name=name.value) for name in FaultName}
"""Each strikes once when it is added as it is; `scripted` says otherwise."""


def scripted(
    name: FaultName, *, times: int | None = 1, probability: float = 1.0, seconds: float | None = None
) -> Fault:
    """A fault of the catalogue, as often as wanted. `seconds`: how late, how long delayed, or how long hidden.

    Raises ValueError when it has no duration to set.
    """
    fault = replace(CATALOGUE[name], times=times, probability=probability)
    return fault if seconds is None else _lasting(fault, seconds)


def _lasting(fault: Fault, seconds: float) -> Fault:
    handling = fault.handling
    if fault.action in {Action.ANSWER_LATE, Action.PROCESS_LATE}:
        return replace(fault, seconds=seconds)
    if handling.insertion is Insertion.DELAYED:
        return replace(fault, handling=replace(handling, delay_s=seconds))
    if not (handling.order_hidden_s or handling.trades_hidden_s):
        raise ValueError(f"{fault.label} has no duration")
    order_s = seconds if handling.order_hidden_s else 0.0
    return replace(fault, handling=replace(handling, order_hidden_s=order_s, trades_hidden_s=seconds))
