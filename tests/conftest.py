"""What all tests share: how much chance Hypothesis explores, and that failures can be repeated."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fast",
    deadline=None,  # a shared machine stalls now and then; pytest-timeout bounds the whole test
    print_blob=True,  # a failure prints what reproduces it, on another machine too
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("fast"), max_examples=200)
settings.register_profile("nightly", settings.get_profile("fast"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
