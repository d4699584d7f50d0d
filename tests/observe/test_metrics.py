"""What is counted, and under which names."""

from prometheus_client import generate_latest

from worker.observe.metrics import Metrics


def exposition(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_two_instances_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.signals.labels("feed").inc()
    assert 'polycopy_signals_total{source="feed"} 1.0' in exposition(first)
    assert 'source="feed"' not in exposition(second)


def test_every_metric_carries_the_products_name_and_says_what_it_is() -> None:
    families = [
        line.split(maxsplit=3) for line in exposition(Metrics()).splitlines() if line.startswith("# HELP")
    ]
    assert families
    for _, _, name, *words in families:
        assert name.startswith("polycopy_")
        assert words


def test_durations_are_in_seconds() -> None:
    metrics = Metrics()
    metrics.stage_s.labels("claim").observe(0.012)
    assert 'polycopy_stage_duration_seconds_bucket{le="0.025",stage="claim"} 1.0' in exposition(metrics)
