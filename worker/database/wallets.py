"""Leases as they cross the edge: who may submit for a wallet, and until when on this machine's monotonic clock."""

from worker.database.values import Row, count_of, flag_of, moment_of, text_of, word_of
from worker.orders.ports import Lease, LeaseHeld
from worker.orders.terms import Fence, Mode, WalletAddress, WorkerId


def parse_lease(
    answer: Row, *, wallet: WalletAddress, mode: Mode, worker: WorkerId, deadline_s: float
) -> Lease | LeaseHeld:
    """`deadline_s`: the monotonic second of asking plus the time to live, so never later than the database's."""
    if flag_of(answer, "held"):
        return Lease(
            wallet=wallet,
            mode=mode,
            worker=worker,
            fence=Fence(count_of(answer, "fence")),
            deadline_s=deadline_s,
        )
    return LeaseHeld(
        wallet=wallet,
        holder=WorkerId(text_of(answer, "holder")),
        holder_mode=word_of(answer, "holder_mode", Mode),
        expires_at=moment_of(answer, "expires_at"),
    )
