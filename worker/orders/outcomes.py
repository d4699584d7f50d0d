"""What an answer to a POST means and what follows: one table, one row per answer that the exchange is known to give.

The rows come from polymarket-clob.md 1.5, 3.2 and 4.8. What no row knows is judged by its status class, and the
doubt always goes to `ambiguous`: a rejection is reported only for a definitive answer. A definitive answer to a
second send proves nothing about the first: then trades decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from worker.orders.lifecycle import AttemptState
from worker.orders.ports import Answer
from worker.orders.reasons import SkipReason


class OutcomeKind(StrEnum):
    NOT_SENT = "not_sent"  # the exchange did not process it; the same body may go later
    KILLED = "killed"  # FAK/FOK found nothing; this body must never go again
    REFUSED = "refused"  # a definitive no
    DUPLICATED = "duplicated"  # the exchange has it already
    AMBIGUOUS = "ambiguous"  # it may exist
    MATCHED = "matched"
    LIVE = "live"
    DELAYED = "delayed"
    UNMATCHED = "unmatched"


class AnswerReason(StrEnum):
    """The answer's name, in logs, metrics and `lt_order_attempts.note`."""

    ACCEPTED = "accepted"
    NOT_CONNECTED = "not_connected"
    NOT_SENDABLE = "not_sendable"
    NO_ANSWER = "no_answer"
    ODD_ANSWER = "odd_answer"
    FAK_NO_MATCH = "fak_no_match"
    FOK_NOT_FILLED = "fok_not_filled"
    DUPLICATED = "duplicated"
    BALANCE = "balance"
    TICK_SIZE = "tick_size"
    MIN_SHARES = "min_shares"
    MIN_DOLLARS = "min_dollars"
    BAD_AMOUNTS = "bad_amounts"
    BAD_EXPIRATION = "bad_expiration"
    BAD_REQUEST = "bad_request"
    BAD_SIGNATURE = "bad_signature"
    WRONG_SIGNER = "wrong_signer"
    WRONG_VERSION = "wrong_version"
    DEPOSIT_WALLET_NEEDED = "deposit_wallet_needed"
    CLOSED_ONLY = "closed_only"
    BANNED = "banned"
    CROSSES_BOOK = "crosses_book"
    CANCELLED_ON_CHAIN = "cancelled_on_chain"
    MARKET_NOT_READY = "market_not_ready"
    MARKET_GONE = "market_gone"
    MATCH_DELAYED = "match_delayed"
    CONTEXT_CANCELLED = "context_cancelled"
    CREDENTIALS = "credentials"
    GEOBLOCKED = "geoblocked"
    RESTARTING = "restarting"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    DISABLED = "disabled"
    RATE_LIMITED = "rate_limited"
    TIMED_OUT = "timed_out"
    SERVER_ERROR = "server_error"
    OTHER_REFUSAL = "other_refusal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`next_state` is what to record now. The flags say what may, must or must not follow."""

    kind: OutcomeKind
    reason: AnswerReason
    next_state: AttemptState
    look_up: bool  # ask for the order and its trades: the answer alone is not the truth
    resend: bool  # the identical body may go again: after the look-up if there is one, while fresh
    retake: bool = False  # a new order for what is missing may be tried, under the re-take policy
    halts: bool = False  # a human has to act before this wallet trades on
    venue: SkipReason | None = None  # the door that is closed: signals behind this one are deferred with it
    retry_after_s: Decimal | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """`statuses` empty: any. `text`: part of the lower-cased message."""

    statuses: frozenset[int]
    text: str
    kind: OutcomeKind
    reason: AnswerReason
    retake: bool = False
    halts: bool = False
    venue: SkipReason | None = None


_K = OutcomeKind
_R = AnswerReason
_ANY: frozenset[int] = frozenset()
_400 = frozenset({200, 400})  # a refusal also comes as 200 with an error text
_404 = frozenset({200, 400, 404})  # the exchange serves every "not found" as 404
_5XX = frozenset(range(500, 600))

ANSWERS: tuple[_Row, ...] = (
    # killed: the benign end of a FAK or FOK
    _Row(_400, "no orders found to match with fak", _K.KILLED, _R.FAK_NO_MATCH, retake=True),
    _Row(_400, "fok orders are fully filled or killed", _K.KILLED, _R.FOK_NOT_FILLED, retake=True),
    # it exists already
    _Row(_400, "duplicated", _K.DUPLICATED, _R.DUPLICATED),
    # accepted or not: only a look-up can tell
    _Row(_400, "order match delayed", _K.AMBIGUOUS, _R.MATCH_DELAYED),
    _Row(_400, "context canceled", _K.AMBIGUOUS, _R.CONTEXT_CANCELLED),
    # the venue's modes, with whatever status
    _Row(_ANY, "post-only mode", _K.NOT_SENT, _R.POST_ONLY, venue=SkipReason.EXCHANGE_POST_ONLY),
    _Row(_ANY, "post_only_mode", _K.NOT_SENT, _R.POST_ONLY, venue=SkipReason.EXCHANGE_POST_ONLY),
    _Row(
        _ANY,
        "trading is currently cancel-only",
        _K.NOT_SENT,
        _R.CANCEL_ONLY,
        venue=SkipReason.EXCHANGE_CANCEL_ONLY,
    ),
    _Row(_ANY, "trading is currently disabled", _K.NOT_SENT, _R.DISABLED, venue=SkipReason.EXCHANGE_DISABLED),
    # refused at the door, whatever the words: the order was not looked at
    _Row(frozenset({401}), "", _K.NOT_SENT, _R.CREDENTIALS, halts=True, venue=SkipReason.CREDENTIALS_REFUSED),
    _Row(frozenset({403}), "", _K.NOT_SENT, _R.GEOBLOCKED, halts=True, venue=SkipReason.GEOBLOCKED),
    _Row(frozenset({425}), "", _K.NOT_SENT, _R.RESTARTING, venue=SkipReason.EXCHANGE_RESTARTING),
    _Row(frozenset({500}), "order timed out", _K.NOT_SENT, _R.TIMED_OUT),
    # refused for money or for the market's state: may be different later
    _Row(_400, "not enough balance", _K.REFUSED, _R.BALANCE),
    _Row(_400, "not yet ready to process new orders", _K.REFUSED, _R.MARKET_NOT_READY, retake=True),
    _Row(_400, "breaks minimum tick size", _K.REFUSED, _R.TICK_SIZE, retake=True),
    _Row(_400, "crosses the book", _K.REFUSED, _R.CROSSES_BOOK),
    _Row(_400, "order crosses book", _K.REFUSED, _R.CROSSES_BOOK),
    _Row(_400, "canceled in the ctf exchange contract", _K.REFUSED, _R.CANCELLED_ON_CHAIN),
    _Row(_404, "no orderbook exists", _K.REFUSED, _R.MARKET_GONE),
    _Row(_404, "market not found", _K.REFUSED, _R.MARKET_GONE),
    # refused for what we wrote: a bug of ours
    _Row(_400, "lower than the minimum", _K.REFUSED, _R.MIN_SHARES),
    _Row(_400, "invalid amount for a marketable", _K.REFUSED, _R.MIN_DOLLARS),
    _Row(_400, "invalid amounts", _K.REFUSED, _R.BAD_AMOUNTS),
    _Row(_400, "invalid expiration", _K.REFUSED, _R.BAD_EXPIRATION),
    _Row(_400, "payload", _K.REFUSED, _R.BAD_REQUEST),
    _Row(_400, "invalid token id", _K.REFUSED, _R.BAD_REQUEST),
    _Row(_400, "invalid side", _K.REFUSED, _R.BAD_REQUEST),
    _Row(_400, "invalid market", _K.REFUSED, _R.BAD_REQUEST),
    # refused for who we are: nothing of this wallet will pass until a human has looked
    _Row(_400, "invalid signature", _K.REFUSED, _R.BAD_SIGNATURE, halts=True),
    _Row(_400, "owner of the api key", _K.REFUSED, _R.WRONG_SIGNER, halts=True),
    _Row(_400, "address of the api key", _K.REFUSED, _R.WRONG_SIGNER, halts=True),
    _Row(_400, "use the deposit wallet flow", _K.REFUSED, _R.DEPOSIT_WALLET_NEEDED, halts=True),
    _Row(_400, "order_version_mismatch", _K.REFUSED, _R.WRONG_VERSION, halts=True),
    _Row(_400, "invalid order version", _K.REFUSED, _R.WRONG_VERSION, halts=True),
    _Row(_400, "closed only mode", _K.REFUSED, _R.CLOSED_ONLY, halts=True, venue=SkipReason.GEOBLOCKED),
    _Row(_400, "address banned", _K.REFUSED, _R.BANNED, halts=True),
    # words that no row above knows: a 400 is a no, anything that may have come from behind the door is a doubt
    _Row(_400, "", _K.REFUSED, _R.OTHER_REFUSAL),
    _Row(frozenset({429}), "", _K.AMBIGUOUS, _R.RATE_LIMITED),
    _Row(_5XX, "", _K.AMBIGUOUS, _R.SERVER_ERROR),
)
"""Read from the top: the first row whose status and text agree. Texts as in polymarket-clob.md 4.8, lower case."""

_ACCEPTED: Mapping[str, OutcomeKind] = {
    "matched": _K.MATCHED,
    "live": _K.LIVE,
    "delayed": _K.DELAYED,
    "unmatched": _K.UNMATCHED,
}

_NEXT_STATE: Mapping[OutcomeKind, AttemptState] = {
    _K.NOT_SENT: AttemptState.SUBMITTING,
    _K.KILLED: AttemptState.KILLED,
    _K.REFUSED: AttemptState.REJECTED,
    _K.DUPLICATED: AttemptState.UNKNOWN,
    _K.AMBIGUOUS: AttemptState.UNKNOWN,
    _K.MATCHED: AttemptState.MATCHED,
    _K.LIVE: AttemptState.LIVE,
    _K.DELAYED: AttemptState.DELAYED,
    _K.UNMATCHED: AttemptState.UNMATCHED,
}


def classify(answer: Answer, *, first_send: bool) -> Outcome:
    """What `answer` means, and what may follow. `first_send` False: this body may have been sent before.

    After `not_sent` on a first send the attempt stays `submitting`; whoever gives up on it may record `abandoned`.
    """
    outcome = replace(_first(answer), retry_after_s=answer.retry_after_s)
    if first_send or outcome.kind not in {_K.NOT_SENT, _K.KILLED, _K.REFUSED}:
        return outcome
    return replace(outcome, next_state=AttemptState.UNKNOWN, look_up=True, retake=False)


def _first(answer: Answer) -> Outcome:
    if answer.http_status is None:
        return _unanswered(answer)
    if _contradicts_itself(answer):
        return _outcome(_K.AMBIGUOUS, _R.ODD_ANSWER)
    if answer.http_status == 200 and not answer.error:
        kind = _ACCEPTED.get(answer.status.lower())
        return _outcome(kind, _R.ACCEPTED) if kind else _outcome(_K.AMBIGUOUS, _R.ODD_ANSWER)
    if answer.http_status == 429 and answer.limiter_headers:
        return replace(_outcome(_K.NOT_SENT, _R.RATE_LIMITED), venue=SkipReason.EXCHANGE_THROTTLED)
    message = answer.error.lower()
    for row in ANSWERS:
        if row.text in message and (not row.statuses or answer.http_status in row.statuses):
            outcome = _outcome(row.kind, row.reason)
            return replace(outcome, retake=row.retake, halts=row.halts, venue=row.venue)
    return _outcome(_K.AMBIGUOUS, _R.ODD_ANSWER)


def _unanswered(answer: Answer) -> Outcome:
    if not answer.sendable:
        return _outcome(_K.REFUSED, _R.NOT_SENDABLE)
    if not answer.connected:
        return replace(_outcome(_K.NOT_SENT, _R.NOT_CONNECTED), venue=SkipReason.EXCHANGE_UNREACHABLE)
    return _outcome(_K.AMBIGUOUS, _R.NO_ANSWER)


def _contradicts_itself(answer: Answer) -> bool:
    """A body that could not be read as one of ours, or a 200 that both names an order and an error."""
    if answer.http_status not in _400:
        return False
    accepts = bool(answer.status or answer.order_id)
    return not answer.well_formed or (answer.http_status == 200 and bool(answer.error) and accepts)


def _outcome(kind: OutcomeKind, reason: AnswerReason) -> Outcome:
    return Outcome(
        kind,
        reason,
        _NEXT_STATE[kind],
        look_up=kind not in {_K.NOT_SENT, _K.KILLED, _K.REFUSED},
        resend=kind in {_K.NOT_SENT, _K.AMBIGUOUS},
    )
