"""How long the gateway waits for what: the hosted server's durations, each settable so that tests compress them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewayTiming:
    """Measured on supabase/realtime 2.129.8, but for `system_ok_s`: a cold hosted project takes 1-3 s."""

    upgrade_error_s: float = 2.0  # before a refused upgrade is answered
    join_error_s: float = 5.0  # before most refused joins are answered
    system_ok_s: float = 0.0  # between the join's reply and "Subscribed to PostgreSQL"
    resubscribe_s: float = 2.0  # between a new access token and the second "Subscribed to PostgreSQL"
    idle_s: float = 66.0  # of silence before a socket is closed
    reattach_s: float = 0.1  # between attempts to attach to PostgreSQL's log again
    poll_every_s: float = 0.5  # hosted delivery: between two looks at the log
    poll_answer_s: float = 0.008  # hosted delivery: from a look to the frames
    fault_scale: float = 1.0  # by which every duration in the catalogue of faults is multiplied
