"""The losses of the baselines, and how a study resumes: what the figures of the paper's page rest on."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

PAPER = Path(__file__).parents[1] / "benchmarks" / "paper"


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(PAPER), str(PAPER.parent), *sys.path])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 4, generator=generator), torch.randint(4, (20,), generator=generator)


TRANSITION = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.0, 1.0, 0.0, 0.0], [0.3, 0.1, 0.6, 0.0], [0.2, 0.2, 0.2, 0.4]])


def test_corrections_by_no_noise_and_bootstrapping_by_no_share_are_cross_entropy(batch):
    import plain

    expected = torch.nn.functional.cross_entropy(*batch)
    for loss in (plain.forward_correction(torch.eye(4)), plain.backward_correction(torch.eye(4))):
        torch.testing.assert_close(loss(*batch), expected)
    for bootstrapping in (plain.soft_bootstrapping, plain.hard_bootstrapping):
        torch.testing.assert_close(bootstrapping(*batch, share=1.0), expected)
        assert bootstrapping(*batch) != expected


def test_backward_correction_is_unbiased(batch):
    import plain

    logits, loss = batch[0][:1], plain.backward_correction(TRANSITION)
    of_noisy = torch.stack([loss(logits, torch.tensor([label])) for label in range(4)])
    of_true = -logits.log_softmax(dim=1)[0]
    torch.testing.assert_close(TRANSITION @ of_noisy, of_true, rtol=1e-4, atol=1e-5)


def test_forward_correction_is_least_at_the_true_posterior():
    import plain

    posterior = torch.tensor([[0.5, 0.2, 0.2, 0.1]])
    noisy = (posterior @ TRANSITION)[0]
    logits = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)
    loss = plain.forward_correction(TRANSITION)

    def expected_loss():
        optimizer.zero_grad()
        value = sum(noisy[label] * loss(logits, torch.tensor([label])) for label in range(4))
        value.backward()
        return value

    optimizer.step(expected_loss)
    torch.testing.assert_close(logits.softmax(dim=1), posterior, rtol=1e-2, atol=1e-2)


def test_plain_training_learns_and_tells_of_every_epoch():
    import plain
    from harness import CPU

    y = np.arange(256) % 10
    X = np.random.RandomState(0).randint(0, 60, (256, 3, 32, 32)).astype(np.uint8)
    X[np.arange(256), 0, y] = 255  # a bright row of pixels tells the class
    told = []
    budget = CPU._replace(epochs=8, lr=0.05)
    network = plain.train(budget.make_network(), X, y, budget, 0, after_epoch=lambda *news: told.append(news[1:]))
    assert len(told) == 8
    assert told[-1][1] > 0.9 > told[0][1]
    assert plain.predict(network, X).shape == (256, 10)


@pytest.mark.parametrize("network", ["paper", "fast"])
def test_the_protocol_at_the_size_of_a_test(network, tmp_path, monkeypatch):
    import protocol
    from cifar_data import Cifar
    from harness import CPU

    rng = np.random.RandomState(0)
    y = np.arange(120) % 10
    X = rng.randint(0, 256, (120, 3, 32, 32)).astype(np.uint8)
    data = Cifar(X, rng.permutation(y), y, X[:20], y[:20])
    monkeypatch.setattr(protocol, "STATES", tmp_path)
    monkeypatch.setattr(protocol.Budget, "load", lambda *args: data)
    monkeypatch.setattr(protocol.FastNet.__init__, "__defaults__", ((4, 8, 8), None))
    budget = CPU._replace(n_images=120, epochs=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of refused labels
        result = protocol.run({"settings": network, "labels": "uniform_50", "seed": 0}, budget)
    if network == "paper":  # at this size the slim network; 10 epochs of step 1, 6 of step 2, 108 of the images
        places = (16 * 16, 16 * 16, 8 * 8, 8 * 8, 4 * 4)
        widths = ((12, 24), (24, 48), (48, 48), (48, 96), (96, 96))
        multiplications = 960 + sum(9 * w * v * n for (w, v), n in zip(widths, places, strict=True))
        assert result["pflop"] == pytest.approx(1e-15 * 108 * 16 * 3 * 2 * multiplications)
    assert result["fit_seconds"] > 0
    assert len(list(tmp_path.iterdir())) == 1  # where it would go on


def test_a_study_goes_on_where_it_was(tmp_path, monkeypatch):
    import harness
    import results

    calls = []

    def run(settings, budget):
        calls.append(settings)
        return {"value": 2.0 * settings["seed"]}

    drawn = []

    class Figure:
        def savefig(self, path):
            drawn.append(path.name)

    class AtOnce:
        def __init__(self, *args):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

        def submit(self, function, *args):
            from concurrent.futures import Future

            future = Future()
            future.set_result(function(*args))
            return future

    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(harness, "ProcessPoolExecutor", AtOnce)
    study = harness.Study("study", lambda budget, seeds: [{"seed": s} for s in seeds], run, lambda *args: Figure())
    for seeds in (["0", "1"], ["0", "1", "2"]):
        monkeypatch.setattr(sys, "argv", ["study.py", "--seeds", *seeds])
        harness.main(study)
    assert [call["seed"] for call in calls] == [0, 1, 2]
    assert drawn == ["study_cpu.svg"] * 2
