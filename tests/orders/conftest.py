"""Properties are judged by what they find and not by the clock: the machine may be busy with something else.

`make rules` looks much longer than the suite does. `steady` is for `make mutants`: always the same few examples, and
no time spent on a smaller one once a test has failed.
"""

import os
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, Phase, settings

EXAMPLES = int(os.environ.get("EXAMPLES", "200"))

settings.register_profile(
    "busy machine",
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "steady",
    settings.get_profile("busy machine"),
    max_examples=60,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("busy machine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """A second for every example, were the machine that busy."""
    for item in items:
        if item.get_closest_marker("hypothesis") is not None:
            item.add_marker(pytest.mark.timeout(max(EXAMPLES, 120)))
