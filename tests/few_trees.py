"""What saves time in tests and doctests alike, unless the thorough tests were asked for."""

from __future__ import annotations

import pytest

import noisyfit.judgement.witness


@pytest.fixture(scope="session")
def thorough(request):
    """Whether the tests marked as thorough were asked for: the others then save no time either."""
    return request.config.getoption("markexpr") != "not thorough"


@pytest.fixture(autouse=True, scope="module")
def few_trees(thorough):
    """A twentieth of the second witness's trees, most of the time of a small fit; all of them in `make all`."""
    with pytest.MonkeyPatch.context() as patch:
        if not thorough:
            patch.setattr(noisyfit.judgement.witness, "_TREES", 10)
            patch.setattr(noisyfit.judgement.witness, "_TREES_AT_A_TIME", 5)
        yield
