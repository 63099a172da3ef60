"""A classifier that is done at once, for tests in which training has no part."""

from __future__ import annotations

import numpy as np
import pandas as pd


class StandIn:
    """Finds wrong labels by lot, at once."""

    correction_refused_ = _inquiry_ = None
    transition_matrix_ = np.eye(2)

    def __init__(self, random_state, **_):
        self.rng = np.random.RandomState(random_state)

    def fit(self, X, y):
        self.classes_, self.codes = np.unique(y, return_inverse=True)
        return self

    def predict_proba(self, X):
        return self.rng.dirichlet(np.ones(len(self.classes_)), len(X))

    def label_report(self):
        new = np.where(self.rng.rand(len(self.codes)) < 0.5, self.codes, self.rng.randint(len(self.classes_)))
        given, corrected = self.classes_[self.codes], self.classes_[new]
        return pd.DataFrame(
            {
                "given_label": given,
                "corrected_label": corrected,
                "is_label_issue": given != corrected,
                "label_quality": self.rng.rand(len(given)),
                "confidence": self.rng.rand(len(given)),
            }
        )

    def summary(self):
        return ""
