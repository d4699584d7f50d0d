"""Properties are judged by what they find and not by the clock: the machine may be busy with something else.

`EXAMPLES=20000 make unit ARGS=tests/orders` looks longer than every run of the suite does.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "busy machine",
    deadline=None,
    max_examples=int(os.environ.get("EXAMPLES", "500")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("busy machine")
