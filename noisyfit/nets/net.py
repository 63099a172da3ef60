"""The seam to skorch: it builds the optimizer, holds network and optimizer, calls callbacks and predicts.

The epoch loop is ours: one for all kinds of rows.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, LRScheduler
from torch import Tensor, nn

from ..files.states import can_pack, check_like
from ..machine.random_state import global_generators
from ..machine.surroundings import usual_surroundings
from ..machine.threads import threads_for
from ..rows.rows import Rows, as_network_input
from ..rows.sparse_input import TakesSparse
from ..rows.storage import row_slices
from .augmentation import Augmentation
from .ensembles import Ensemble, StackedNetworks, can_stack, sparse_first_layer
from .optimizer_state import load_optimizer, load_schedule
from .work import count_multiplications

__all__ = ["JointNet", "build_net"]

_PREDICTION_BATCH = (512, 4096)  # rows, least and most; without gradients there is room for more than in training
_PREDICTION_NUMBERS = 1 << 18  # of inputs in a batch, in between: what a processor's cache has room for
_FUSED_OPTIMIZERS = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)
_COUNTING = threading.Lock()
_ONEDNN_BLOCK = 16  # channels, the largest of its kernels


class JointNet(NeuralNet):
    """skorch net that takes raw batches and gives float32 logits, and keeps the history of one batch only."""

    def __init__(
        self,
        module: Any,
        criterion: Any = object,
        *,
        augment: Augmentation | None = None,
        bfloat16: bool = False,
        channels_last: bool = False,
        sparse: bool = False,
        **kwargs: Any,
    ):
        super().__init__(module, criterion, **kwargs)
        self.augment = augment
        self.bfloat16 = bfloat16
        self.channels_last = channels_last
        self.sparse = sparse

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [("epoch_timer", EpochTimer())]

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Open the batch in place of the one before: the history would grow by a row a batch."""
        self.history[-1]["batches"][:] = [{}]

    def infer(self, x: Tensor, trained: Tensor | None = None, **fit_params: Any) -> Tensor:
        """Give the logits (n, n_classes), of several networks (k, n, n_classes), of a raw batch, in float32.

        Augments it while training. `trained` (k, n) says which rows each of several networks is trained on.
        """
        x = self._as_input(x)
        with self._precision():
            logits: Tensor = self.module_(x) if trained is None else self.module_(x, trained)
        return logits.float()

    def _as_input(self, x: Tensor) -> Tensor:
        x = as_network_input(x, torch.device(self.device))
        x = x.to_dense() if x.is_sparse and not self.sparse else x
        if self.module_.training and self.augment is not None:
            x = self.augment(x)
        if x.ndim == 4:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            x = x.contiguous(memory_format=layout)
        return x

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()

    def threads(self, rows: Rows, n_rows: int) -> contextlib.AbstractContextManager[None]:
        """Compute inside the block with as many threads as batches of so many rows are worth."""
        if torch.device(self.device).type != "cpu":
            return threads_for(math.inf)  # what is left to the processor is not the network
        if "_multiplications" not in vars(self):
            self._multiplications = self._count_multiplications(rows)
        return threads_for(self._multiplications * n_rows)

    def _count_multiplications(self, rows: Rows) -> float:
        """Count those of a row."""
        # a compiled network would be compiled again to be watched
        module: Any = getattr(self.module_, "_orig_mod", self.module_)
        generators = global_generators(torch.device(self.device))
        with _COUNTING:  # of hooks of one thread at a time
            was_training, random = module.training, [generator.get_state() for generator in generators]
            module.eval()
            try:
                x = self._as_input(torch.zeros(2, *rows.item_shape, dtype=rows.network_dtype))
                with torch.no_grad(), self._precision():
                    return count_multiplications(module, lambda: module(x)) / len(x)
            except Exception:  # there are networks that zeros are no input of
                return math.inf
            finally:
                module.train(was_training)
                for generator, state in zip(generators, random, strict=True):
                    generator.set_state(state)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Give the probabilities (n, n_classes) of rows."""
        if not isinstance(X, Rows):
            return super().predict_proba(X)
        self.module_.eval()
        outputs: Tensor | None = None
        batch = min(self._prediction_batch(math.prod(X.item_shape)), len(X))
        chunks = row_slices(len(X), batch)
        with usual_surroundings(), self.threads(X, batch), torch.no_grad():
            for rows, x in zip(chunks, X.batches(chunks), strict=True):
                proba = self.predict_nonlinearity(self.infer(x))
                if outputs is None:
                    outputs = torch.empty(len(X), proba.shape[1], dtype=torch.float32)
                outputs[rows] = proba
        assert outputs is not None
        return outputs.numpy()

    def packed(self) -> dict[str, Any]:
        """Give what training changes; tensors are the network's and the optimizer's own."""
        kept = [{name: value for name, value in row.items() if can_pack(value)} for row in self.history]
        return {
            "weights": dict(self.module_.state_dict()),
            "trained": {name: weight.requires_grad for name, weight in self.module_.named_parameters()},
            "optimizer": self.optimizer_.state_dict(),
            "history": kept,
            "schedulers": {name: (schedule.state_dict(), i) for name, schedule, i in self._schedulers()},
        }

    def restored(self, kept: Any) -> JointNet:
        """Go back to what a file has kept, in a session; raise a ValueError where network or optimizer are others."""
        weights = dict(self.module_.named_parameters())
        check_like("which weights are trained", kept["trained"], dict.fromkeys(weights, False))
        for name, is_trained in kept["trained"].items():  # a callback may have frozen some
            weights[name].requires_grad_(is_trained)
        load_optimizer(self.optimizer_, kept["optimizer"], self.module_)
        load_weights(self.module_, kept["weights"])
        for row in kept["history"]:
            check_like("a loss in the history", row["train_loss"], math.nan)
        self.history_[:] = kept["history"]
        for name, schedule, n_batches in self._schedulers():
            values, callback = kept["schedulers"][name], dict(self.callbacks_)[name]
            check_like("batches of a schedule", values[1], n_batches)
            load_schedule(schedule, values[0])
            callback.batch_idx_ = values[1]
        return self

    def _schedulers(self) -> Iterator[tuple[str, Any, int]]:
        """Give the learning rate schedules among the callbacks: name, torch's scheduler and batches so far."""
        for name, callback in self.callbacks_:
            if isinstance(callback, LRScheduler):
                yield name, callback.lr_scheduler_, callback.batch_idx_

    def _prediction_batch(self, n_features: int) -> int:
        """Give the rows to predict at a time: for small networks what a processor's cache has room for."""
        fewest, most = _PREDICTION_BATCH
        if isinstance(self.module_, StackedNetworks) or can_stack(self.module_):
            fewest = min(max(_PREDICTION_NUMBERS // n_features, fewest), most)
        return max(self.batch_size, fewest)


def softmax_rows(logits: Tensor) -> Tensor:
    """Turn logits into probabilities; a named function, so that a net that predicts by it can be pickled."""
    return logits.softmax(dim=-1)


def mean_softmax_rows(logits: Tensor) -> Tensor:
    """Turn the logits of several networks into the mean of their probabilities."""
    return logits.softmax(dim=-1).mean(dim=0)


def build_net(
    module: nn.Module,
    *,
    device: torch.device,
    bfloat16: bool,
    augment: Augmentation | None,
    sparse: bool,
    optimizer: Any,
    lr: float,
    batch_size: int,
    net_params: dict[str, Any],
) -> JointNet:
    """Build an initialised skorch net around a network, which it trains in place.

    `sparse` is of the rows; `net_params` has what skorch names, with the keywords of the optimizer but for its rate.
    """
    channels_last = channels_last_is_safe(module, device)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    takes_it = sparse and augment is None and not net_params.get("compile")
    first_layer = sparse_first_layer(module) if takes_it else None
    if first_layer is not None:
        first_layer.lay_by_feature()
    params = dict(net_params)
    if can_fuse(optimizer, params, module, device):
        params["optimizer__fused"] = True
    if isinstance(params.get("callbacks"), list):
        params["callbacks"] = list(params["callbacks"])  # skorch empties the list it is given after training
    try:
        net = JointNet(
            module,
            augment=augment,
            bfloat16=bfloat16,
            channels_last=channels_last,
            sparse=first_layer is not None,
            device=str(device),
            optimizer=optimizer,
            lr=lr,
            batch_size=batch_size,
            train_split=None,
            predict_nonlinearity=mean_softmax_rows if isinstance(module, Ensemble) else softmax_rows,
            verbose=0,
            **params,
        )
        return net.initialize()
    except (TypeError, ValueError) as error:
        raise ValueError(f"`net_params` do not fit skorch, {optimizer!r} or the network: {error}") from error


def can_fuse(optimizer: Any, net_params: dict[str, Any], module: nn.Module, device: torch.device) -> bool:
    """Say whether torch has the optimizer's step as one loop over all weights: a third to half of the time."""
    says_itself = {"optimizer__fused", "optimizer__foreach", "optimizer__differentiable"} & net_params.keys()
    sparse_gradients = any(getattr(layer, "sparse", False) for layer in module.modules())
    numbers = all(weight.is_floating_point() for weight in module.parameters())
    known = optimizer in _FUSED_OPTIMIZERS and device.type in ("cpu", "cuda")
    return known and numbers and not says_itself and not sparse_gradients


def load_weights(module: nn.Module, weights: dict[str, Any]) -> None:
    """Put back what `module.state_dict()` gave; raise a ValueError for the state of another network."""
    tensors = {name: weight for name, weight in module.state_dict().items() if isinstance(weight, Tensor)}
    of_modules = module.state_dict().keys() - tensors.keys()  # what they keep beside weights, and know best
    check_like("the weights", {name: weight for name, weight in weights.items() if name not in of_modules}, tensors)
    module.load_state_dict(weights)


def keep_for_prediction(net: JointNet) -> None:
    """Drop from a trained net all that prediction does not need: optimiser, gradients, callbacks, history."""
    net.trim_for_prediction()
    for layer in net.module_.modules():
        if isinstance(layer, TakesSparse):
            layer.lay_as_usual()
    net.module = None  # the same network as module_, but skorch would store it a second time and on its device
    net.module_.zero_grad(set_to_none=True)


def channels_last_is_safe(module: nn.Module, device: torch.device) -> bool:
    """Say whether images may lie channels last, which convolutions are faster on.

    On CPUs oneDNN writes past its workspace in the backward pass of strided 1 x 1 convolutions with fewer input
    channels than its block of 8 or 16 (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    return bool(convolutions) and not any(
        device.type == "cpu"
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < _ONEDNN_BLOCK
        for layer in convolutions
    )
