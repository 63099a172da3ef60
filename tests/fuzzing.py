"""How many cases a test draws: a hundredth of the long run, the same in every run, or all of it (`make fuzz`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

IS_LONG = "NOISYFIT_FUZZ" in os.environ


def n_cases(long_run: int) -> int:
    """Give the number of cases: all where ``NOISYFIT_FUZZ`` is set, a hundredth otherwise."""
    return long_run if IS_LONG else max(1, long_run // 100)


def cases(long_run: int) -> settings:
    """Settings of a hypothesis test that draws so many cases in the long run; new ones then, always the same here."""
    return settings(
        max_examples=n_cases(long_run),
        derandomize=not IS_LONG,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
