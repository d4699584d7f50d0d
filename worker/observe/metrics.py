"""What is counted, in Prometheus' terms: base units, `_total`, no ids as labels, a registry of our own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)


class Metrics:
    """One instance per process, handed to whoever counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.signals = Counter(
            "polycopy_signals", "Signals taken in, by what brought them.", ["source"], registry=self.registry
        )
        self.decisions = Counter(
            "polycopy_decisions",
            "Decisions by outcome and reason.",
            ["strategy", "outcome", "reason"],
            registry=self.registry,
        )
        self.answers = Counter(
            "polycopy_answers",
            "Answers of the exchange to orders, by class.",
            ["kind"],
            registry=self.registry,
        )
        self.stage_s = Histogram(
            "polycopy_stage_duration_seconds",
            "Time spent in each stage of a signal's way.",
            ["stage"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.insert_to_answer_s = Histogram(
            "polycopy_insert_to_answer_seconds",
            "From the insert of a fresh signal until the exchange answered its order.",
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.doors_shut = Gauge(
            "polycopy_doors_shut",
            "Wallets whose orders the exchange does not take now, by why.",
            ["mode"],
            registry=self.registry,
        )
        self.attempts_unresolved = Gauge(
            "polycopy_attempts_unresolved", "Attempts of unknown outcome.", registry=self.registry
        )
        self.books_incomplete = Gauge(
            "polycopy_books_incomplete",
            "Orders that are over and whose trades have not added up for long.",
            registry=self.registry,
        )
        self.capital_differences = Counter(
            "polycopy_capital_differences",
            "Sums of capital that were not what they are from zero. Each has paused its strategy.",
            registry=self.registry,
        )
        self.further_attempts = Counter(
            "polycopy_further_attempts",
            "Attempts for what orders had left: retake, reprice, unsent.",
            ["kind"],
            registry=self.registry,
        )
        self.called_off = Counter(
            "polycopy_orders_called_off",
            "Resting orders that the exchange was asked to cancel, by why.",
            ["why"],
            registry=self.registry,
        )
        self.settled_orders = Counter(
            "polycopy_orders_settled",
            "Orders whose market ended, by how: won, lost.",
            ["outcome"],
            registry=self.registry,
        )
        self.settlement_alarms = Counter(
            "polycopy_settlement_alarms",
            "Ended markets that a human has to look at: market.voided, market.contradicted.",
            ["what"],
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "polycopy_queue_depth", "Signals waiting in the queue.", ["lane"], registry=self.registry
        )
        self.feed_up = Gauge(
            "polycopy_feed_up", "1 while the Realtime feed is LIVE and not deaf.", registry=self.registry
        )
        self.feed_events = Counter(
            "polycopy_feed_events",
            "What the Realtime feed went through: session, signal, change, dropped_frame, failed_handler.",
            ["kind"],
            registry=self.registry,
        )
        self.feed_latency_s = Histogram(
            "polycopy_feed_latency_seconds",
            "From the insert of a canary until the feed brought it.",
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.feed_missed = Counter(
            "polycopy_feed_missed_events",
            "Signals that the sweep found and the live feed did not bring in time.",
            registry=self.registry,
        )
        self.feed_late = Counter(
            "polycopy_feed_late_events",
            "Missed signals that the feed brought after all.",
            registry=self.registry,
        )
        self.task_failures = Counter(
            "polycopy_task_failures", "Failures of a background task.", ["task"], registry=self.registry
        )
        self.patterns = Gauge(
            "polycopy_patterns",
            "Systematic faults that hold now: one_reason, killed_in_a_row, paper_ahead, feed_silent.",
            ["pattern"],
            registry=self.registry,
        )
        self.marks = Counter(
            "polycopy_marks",
            "Books looked at some time after a trade, by what came of it: taken, failed.",
            ["result"],
            registry=self.registry,
        )
        self.pruned = Counter(
            "polycopy_pruned_rows",
            "Old rows that were forgotten: decisions, marks.",
            ["what"],
            registry=self.registry,
        )
        self._add_vitals()

    def _add_vitals(self) -> None:
        """What `vitals` reads when it is asked, and the lag that the watch measures."""
        self.build_info = Gauge(
            "polycopy_build_info",
            "1, of the version and the mode.",
            ["version", "mode"],
            registry=self.registry,
        )
        self.ready = Gauge(
            "polycopy_ready", "1 while it can trade: what /readyz says.", registry=self.registry
        )
        self.check_level = Gauge(
            "polycopy_check_level",
            "How each part does: 0 ok, 1 degraded, 2 failing.",
            ["check"],
            registry=self.registry,
        )
        self.loop_age_s = Gauge(
            "polycopy_loop_age_seconds",
            "Since an essential loop last turned.",
            ["loop"],
            registry=self.registry,
        )
        self.event_loop_lag_s = Histogram(
            "polycopy_event_loop_lag_seconds",
            "How late the event loop wakes who asked for a second's sleep.",
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.memory_bytes = Gauge(
            "polycopy_memory_bytes", "Resident memory of the process.", registry=self.registry
        )
        self.cpu_s = Counter(
            "polycopy_cpu_seconds", "Processor time that the process has used.", registry=self.registry
        )
