"""Markets with open orders, and their end, as the ledger tells and takes them."""

from collections.abc import Mapping

from worker.database.calls import Calls
from worker.database.values import (
    Row,
    count_of,
    flag_of,
    number_text,
    optional_moment_of,
    rows_of,
    text_of,
    texts_of,
)
from worker.orders.endings import Ending, Settled, UnsettledMarket, UnsettledPage
from worker.orders.terms import ConditionId, LtOrderId, Mode, TokenId, WalletAddress


class SettlementCalls(Calls):
    """That part of `orders.ports.Ledger`."""

    async def unsettled_markets(
        self, *wallets: WalletAddress, limit: int, bookmark: Mapping[Mode, ConditionId] | None = None
    ) -> UnsettledPage:
        by_mode: dict[Mode, list[WalletAddress]] = {}  # each mode has a page, and a bookmark, of its own
        for wallet in wallets:
            by_mode.setdefault(self._mode_of(wallet), []).append(wallet)
        pages = {}
        for mode, ours in by_mode.items():
            if bookmark is None or mode in bookmark:
                params = {"wallets": ours, "limit": limit, "after": bookmark and bookmark[mode]}
                answer = await self._call("lt_unsettled_markets", params, mode)
                pages[mode] = [_unsettled(row, mode) for row in rows_of(answer, "markets")]
        return UnsettledPage(
            markets=[market for page in pages.values() for market in page],
            bookmark={mode: page[-1].condition_id for mode, page in pages.items() if len(page) >= limit}
            or None,
        )

    async def settle_market(
        self, condition_id: ConditionId, mode: Mode, ending: Ending, *, limit: int
    ) -> Settled:
        winner = ending.winner
        params = {
            "condition_id": condition_id,
            "winning_token_id": winner and winner.token_id,
            "winning_label": winner and winner.outcome,
            "payout": None if ending.payout is None else number_text(ending.payout),
            "limit": limit,
        }
        answer = await self._call("lt_settle_market", params, mode)
        return Settled(
            won=count_of(answer, "won"),
            lost=count_of(answer, "lost"),
            waiting=count_of(answer, "waiting"),
            contradicted=[LtOrderId(each) for each in texts_of(answer, "contradicted")],
            has_more=flag_of(answer, "more"),
        )


def _unsettled(row: Row, mode: Mode) -> UnsettledMarket:
    return UnsettledMarket(
        condition_id=ConditionId(text_of(row, "condition_id")),
        mode=mode,
        token_id=TokenId(text_of(row, "token_id")),
        orders=count_of(row, "orders"),
        ends_at=optional_moment_of(row, "ends_at"),
    )
