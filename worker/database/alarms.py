"""What a human must hear of the answer to a record: trades that contradict the books or the limit, and a strategy that they froze."""

import structlog

from worker.database.values import Row, flag_of, text_of, texts_of, word_of
from worker.orders.entries import AttemptRecord
from worker.orders.lifecycle import AttemptState

log = structlog.get_logger(__name__)


def alarm(record: AttemptRecord, answer: Row) -> None:
    """The trades are kept as the database could."""
    if flag_of(answer, "late"):
        log.critical(
            "fill.late",
            order_id=record.order_id,
            state=word_of(answer, "state", AttemptState),
            trade_ids=[fill.trade_id for fill in record.fills],
            fix="the order was closed, its money given out again: compare the wallet with the ledger",
        )
    if conflicts := texts_of(answer, "conflicts"):
        log.critical(
            "fill.contradicted",
            order_id=record.order_id,
            trade_ids=conflicts,
            fix="the books stay as they are, a settled trade was told otherwise or one is not of this order: look it up "
            "on the chain",
        )
    if worse := texts_of(answer, "worse"):
        log.critical(
            "fill.beyond_limit",
            order_id=record.order_id,
            trade_ids=worse,
            fix="it is booked at its price, which the order's limit forbids: compare it with the chain",
        )
    if answer.get("frozen") is not None:
        log.critical(
            "strategy.frozen",
            strategy_id=text_of(answer, "strategy_id"),
            order_id=record.order_id,
            why=text_of(answer, "frozen"),
            fix="it is frozen: compare the wallet with the ledger, then `polycopy-worker arm --strategy`",
        )
