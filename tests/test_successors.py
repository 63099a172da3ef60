"""Parameters of earlier releases: an error names what takes their place."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from noisyfit import JointOptimizationClassifier

SUCCESSORS = {
    "optimizer": "`optimizer` is no parameter any more: pass net_params={'optimizer': ...}",
    "optimizer_params": "`optimizer_params` is no parameter any more: pass net_params={'optimizer__momentum': ...}",
    "max_grad_norm": "net_params={'max_grad_norm': ...}",
    "precision": "net_params={'precision': ...}, or leave it out",
    "retrain_lr": "net_params={'retrain_lr': ...}",
    "prior_momentum": "net_params={'prior_momentum': ...}",
    "label_store": "leave it out",
    "checkpoint_every": "leave it out; a state is written as often as its size allows",
}


@pytest.mark.parametrize("name", SUCCESSORS)
def test_a_parameter_that_is_gone_names_its_successor(name, tmp_path):
    message = re.escape(SUCCESSORS[name])
    with pytest.raises(TypeError, match=message):
        JointOptimizationClassifier(**{name: 1})
    with pytest.raises(TypeError, match=message):
        JointOptimizationClassifier().set_params(**{name: 1})
    with pytest.raises(TypeError, match=message):
        JointOptimizationClassifier.load(tmp_path / "no file", **{name: 1})


def test_a_pickle_with_parameters_that_are_gone_is_refused():
    before = JointOptimizationClassifier()
    before.optimizer_params = {"momentum": 0.9}
    with pytest.raises(TypeError, match="`optimizer_params` is no parameter any more"):
        pickle.loads(pickle.dumps(before))


def test_a_part_of_net_params_is_no_parameter():
    with pytest.raises(
        TypeError, match=r"pass `net_params` whole, net_params=\{'optimizer__momentum': ...\}, to a search"
    ):
        JointOptimizationClassifier().set_params(net_params__optimizer__momentum=0.9)


def test_a_search_over_a_parameter_that_is_gone(blobs, quick):
    with pytest.raises(TypeError, match="`retrain_lr` is no parameter any more"):
        GridSearchCV(quick(), {"retrain_lr": [0.1]}, error_score="raise").fit(*blobs[:2])


def test_other_names_are_refused_as_ever():
    with pytest.raises(TypeError, match=r"JointOptimizationClassifier.__init__\(\) got an unexpected .* 'foo'"):
        JointOptimizationClassifier(foo=1)
    with pytest.raises(ValueError, match="Invalid parameter 'foo'"):
        JointOptimizationClassifier().set_params(foo=1)


def test_parameters_are_those_of_the_signature():
    clf = JointOptimizationClassifier(net_params={"max_grad_norm": None})
    assert len(clf.get_params()) == 24
    assert clone(clf).net_params == {"max_grad_norm": None}
    assert set(inspect.signature(JointOptimizationClassifier).parameters) == set(clf.get_params())
