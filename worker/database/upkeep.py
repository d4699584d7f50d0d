"""Marks and their keeping, and the forgetting of what is old, over Supabase: one bounded SQL function per call.

Every call is idempotent and raises what `SupabaseDatabase.rpc` raises.
"""

from collections.abc import Collection, Sequence

from worker.database.calls import Calls
from worker.database.values import count_of, decimal_of, flag_of, moment_text, number_text, texts_of
from worker.orders.marks import Mark, MarksDue, Pruned
from worker.orders.terms import TokenId, WalletAddress


class SupabaseUpkeep(Calls):
    """Implements `orders.marks.MarkKeeper` and `Pruner`."""

    async def due(self, wallets: Collection[WalletAddress], *, limit: int) -> MarksDue:
        answer = await self._call("lt_marks_due", {"wallets": list(wallets), "limit": limit})
        return MarksDue(
            token_ids=tuple(TokenId(each) for each in texts_of(answer, "token_ids")),
            next_in_s=None if answer.get("next_in_s") is None else float(decimal_of(answer, "next_in_s")),
        )

    async def keep(self, marks: Sequence[Mark]) -> int:
        told = [
            {
                "token_id": mark.token_id,
                "taken_at": moment_text(mark.taken_at),
                "best_bid": number_text(mark.best_bid),
                "best_ask": number_text(mark.best_ask),
            }
            for mark in marks
        ]
        return count_of(await self._call("lt_mark", {"marks": told}), "written")

    async def prune(self, *, limit: int) -> Pruned:
        answer = await self._call("lt_prune", {"limit": limit})
        return Pruned(count_of(answer, "decisions"), count_of(answer, "marks"), flag_of(answer, "more"))
