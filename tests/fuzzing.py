"""How many cases a test draws: a hundredth of the long run, the same in every run, or as NOISYFIT_FUZZ says.

``NOISYFIT_FUZZ=1`` (`make fuzz`) draws all of the long run, 0.1 a tenth of it; new cases each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_HUNDREDTH = 0.01
_SHARE = float(os.environ.get("NOISYFIT_FUZZ", _HUNDREDTH))
IS_SAME = _SHARE == _HUNDREDTH  # in every run


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
