"""Where to compute, and in which precision."""

from __future__ import annotations

from typing import Any

import torch

from .ranks import local_rank

__all__ = ["resolve_device", "use_bfloat16"]


def resolve_device(device: Any) -> torch.device:
    """Give the device that the `device` parameter asks for, after trying it."""
    if device == "auto":
        if torch.cuda.is_available():
            number = local_rank()
            return torch.device("cuda", torch.cuda.current_device() if number is None else number)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved).cpu()
    except Exception as error:  # torch raises anything from TypeError to NotImplementedError here
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(
            f"`device` must be a device that is there, got {device!r}: {reason}. Pass device='auto' or 'cpu'."
        ) from error
    return resolved


def use_bfloat16(precision: str | None, device: torch.device, item_shape: tuple[int, ...]) -> bool:
    """Decide whether the network runs in bfloat16; the losses never do.

    None takes it for images where the processor has instructions for it: small fully connected networks spend
    their time elsewhere.
    """
    if precision is not None:
        return precision == "bfloat16"
    if len(item_shape) != 3:
        return False
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public name for it
    return device.type == "cpu" and supported is not None and bool(supported())
