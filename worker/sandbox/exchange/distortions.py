"""The right answer in the wrong words: what reached clients of the real venue although their order was accepted.

Only an answer of 200 is distorted; each order of a batch is.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum

from aiohttp import web

from worker.sandbox.exchange.wire import Json


class Distortion(StrEnum):
    NUMERIC_AMOUNTS = "numeric_amounts"
    NULL_ARRAYS = "null_arrays"
    MISSING_FIELDS = "missing_fields"
    UNKNOWN_STATUS = "unknown_status"
    SUCCESS_WITH_ERROR = "success_with_error"
    WRONG_ID = "wrong_id"
    NOT_JSON = "not_json"


def distorted(processed: web.StreamResponse, how: Distortion) -> web.StreamResponse:
    if processed.status != 200 or not isinstance(processed, web.Response):
        return processed
    if how is Distortion.NOT_JSON:
        return web.Response(text="<html><body>OK</body></html>", content_type="application/json")
    change = _CHANGES[how]
    body = json.loads(processed.text or "null")
    changed = [change(entry) for entry in body] if isinstance(body, list) else change(body)
    return web.Response(
        text=json.dumps(changed, separators=(",", ":")),
        content_type="application/json",
        headers={name: value for name, value in processed.headers.items() if name.startswith("Poly-")},
    )


def _with_numbers(answer: Json) -> Json:
    return {**answer, **{name: float(answer[name] or 0) for name in ("makingAmount", "takingAmount")}}


def _without_details(answer: Json) -> Json:
    return {name: answer[name] for name in ("success", "orderID", "status")}


def _another_id(order_id: str) -> str:
    return f"0x{int(order_id, 16) ^ 1:064x}" if order_id else order_id


_CHANGES: Mapping[Distortion, Callable[[Json], Json]] = {
    Distortion.NUMERIC_AMOUNTS: _with_numbers,
    Distortion.NULL_ARRAYS: lambda answer: {**answer, "tradeIDs": None, "transactionsHashes": None},
    Distortion.MISSING_FIELDS: _without_details,
    Distortion.UNKNOWN_STATUS: lambda answer: {**answer, "status": "queued"},
    Distortion.SUCCESS_WITH_ERROR: lambda answer: {
        **answer,
        "errorMsg": "could not notify the matching engine",
    },
    Distortion.WRONG_ID: lambda answer: {**answer, "orderID": _another_id(answer["orderID"])},
}
