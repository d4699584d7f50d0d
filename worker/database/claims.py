"""The claim as it crosses the edge: what was decided, what was signed, under which lease; and the database's word."""

from decimal import Decimal
from typing import Any

from worker.database.values import Row, count_of, flag_of, moment_text, number_text, row_of, text_of, word_of
from worker.orders.capital import parse_capital
from worker.orders.decide import Plan
from worker.orders.ports import Before, Envelope, Granted, Lease, Refused, Stages
from worker.orders.reasons import SkipReason
from worker.orders.strategy import Strategy
from worker.orders.terms import LtOrderId


def claim_params(
    plan: Plan,
    envelope: Envelope,
    lease: Lease,
    stages: Stages,
    *,
    balance_max_age_s: float,
    after: Before | None = None,
    may_redecide: bool = False,
) -> dict[str, Any]:
    """The parameter of `lt_claim`. `expected` is compared with the table, so that a changed signal cannot pass."""
    signal = plan.signal
    return {
        "mode": lease.mode,
        "worker": lease.worker,
        "fence": lease.fence,
        "wallet_address": lease.wallet,
        "strategy_id": plan.strategy.strategy_id,
        "ft_order_id": signal.ft_order_id,
        "lt_order_id": after.lt_order_id if after else None,
        "after_attempt": after.attempt_no if after else None,
        "may_redecide": may_redecide,
        "expected": {
            "wallet_id": signal.ft_wallet_id,
            "side": signal.side,
            "condition_id": signal.condition_id,
            "token_label": signal.token_label,
            "entry_price": number_text(signal.entry_price),
            "size": number_text(signal.size_usd),
            "trader_win_rate": number_text(signal.trader_win_rate),
            "edge_pct": number_text(signal.edge_pct),
            "conviction": number_text(signal.conviction),
            "model_probability": number_text(signal.model_probability),
        },
        "settings": _settings(plan.strategy),
        "order": _order(plan, envelope),
        "attempt": {
            "exchange_order_id": envelope.order_id,
            "exchange_version": envelope.exchange_version,
            "signed_body": envelope.body,
        },
        "snapshot": dict(plan.snapshot),
        "stages": {
            "received_at": moment_text(stages.received_at),
            "decided_at": moment_text(stages.decided_at),
            "prepared_at": moment_text(stages.prepared_at),
        },
        "balance_max_age_s": number_text(Decimal(str(balance_max_age_s))),
    }


def _settings(strategy: Strategy) -> dict[str, Any]:
    """What the price, the type and the size of the order rest on, by column: the claim compares it with the tables."""
    paper = strategy.ft_wallet
    return {
        "order_type": strategy.order_type,
        "slippage_tolerance_pct": number_text(strategy.slippage * 100),
        "min_order_size_usd": number_text(strategy.min_order_size_usd),
    } | (
        {
            "allocation_method": paper.allocation_method,
            "bet_size": number_text(paper.bet_size_usd),
            "bet_allocation_weight": number_text(paper.allocation_weight),
            "kelly_fraction": number_text(paper.kelly_fraction),
            "min_bet": number_text(paper.min_bet_usd),
            "max_bet": number_text(paper.max_bet_usd),
        }
        if paper is not None
        else {}
    )


def _order(plan: Plan, envelope: Envelope) -> dict[str, Any]:
    return {
        "order_type": plan.order_type,
        "side": plan.side,
        "token_id": plan.token.token_id,
        "limit_price": number_text(plan.limit_price),
        "base_price": number_text(plan.base_price),
        "bet_usd": number_text(plan.bet_usd),
        "amount_usd": number_text(plan.amounts.spend_usd),
        "shares": number_text(plan.amounts.shares),
        "reserve_usd": number_text(plan.reservation.usd),
        "reserve_shares": number_text(plan.reservation.shares),
        "unsold_shares": number_text(plan.holdings.unsold_shares) if plan.holdings else None,
        "expires_at": moment_text(envelope.expires_at),
    }


def parse_claim(answer: Row) -> Granted | Refused:
    capital = parse_capital(row_of(answer, "capital"))
    if flag_of(answer, "granted"):
        return Granted(
            lt_order_id=LtOrderId(text_of(answer, "lt_order_id")),
            capital=capital,
            replayed=flag_of(answer, "replayed"),
            attempt_no=count_of(answer, "attempt_no"),
        )
    return Refused(
        reason=word_of(answer, "reason", SkipReason),
        value=str(answer.get("value") or ""),
        limit=str(answer.get("limit") or ""),
        capital=capital,
        again=answer.get("again") is True,
    )
