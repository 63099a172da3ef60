"""How many cases a test draws: a hundred in all files together, or the share of the long run that NOISYFIT_FUZZ says.

``NOISYFIT_FUZZ=1`` (`make fuzz`) draws all of the long run, 0.1 a tenth of it; new cases each time. Up to a hundredth
(`make all`) the cases are the same in every run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_HUNDRED_OF_ALL = 1 / 720  # tests/test_fuzz*.py have 72,000 cases in the long run
_SHARE = float(os.environ.get("NOISYFIT_FUZZ", _HUNDRED_OF_ALL))
IS_SAME = _SHARE <= 0.01  # in every run


def n_cases(long_run: int) -> int:
    """Give the number of cases, of so many in the long run."""
    return max(1, round(long_run * _SHARE))


def cases(long_run: int) -> settings:
    """Settings of a hypothesis test that draws so many cases in the long run."""
    return settings(
        max_examples=n_cases(long_run),
        derandomize=IS_SAME,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
