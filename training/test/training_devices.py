"""A GPU that is not there: everything runs on the CPU, each tensor remembers where it was put, and an operation that
CUDA would refuse for it (tensors of two devices, NumPy of a GPU's) is refused here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
#: These take tensors of other devices.
ACROSS = (Tensor.copy_, Tensor.data.__set__, Tensor.grad.__set__)  # type: ignore[attr-defined]
#: Here a tensor without axes must lie where the others do too.
STRICT = ("cat", "stack", "embedding", "scatter_add", "index_add_", "index_copy", "index_select")


class MixedDevices(RuntimeError):
    """CUDA would raise here."""


def place(tensor: Tensor) -> torch.device:
    return getattr(tensor, "pretended", CPU)


def put(tensor: Tensor, device: torch.device) -> Tensor:
    tensor.pretended = device  # type: ignore[attr-defined]
    return tensor


def put_module(module: nn.Module) -> None:
    for tensor in (*module.parameters(), *module.buffers()):
        put(tensor, GPU)


def tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


class PretendedGpu(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return place(args[0])
        if func in (Tensor.numpy, Tensor.__array__) and place(args[0]) == GPU:
            raise MixedDevices("NumPy of a tensor on a GPU")
        if func in (Tensor.to, Tensor.cpu):
            return moved(func, args, kwargs)
        device = kwargs.get("device")
        if device is not None:
            kwargs["device"] = "cpu"
        here = torch.device(device) if device is not None else common(func, args, kwargs)
        out = func(*args, **kwargs)
        if func == Tensor.__iter__:
            out = iter([put(part, here) for part in out])
        else:
            for tensor in tensors(out):
                put(tensor, here)
        return out


def moved(func: Any, args: Any, kwargs: Any) -> Tensor:
    """`to` and `cpu`, which alone change the device."""
    kwargs.pop("non_blocking", None)
    wanted, rest = kwargs.pop("device", None), []
    for value in args[1:]:
        if isinstance(value, str | torch.device):
            wanted = value
        elif isinstance(value, torch.dtype):
            rest.append(value)
    target = CPU if func == Tensor.cpu else place(args[0]) if wanted is None else torch.device(wanted)
    out = args[0].to(*rest, **kwargs) if rest or kwargs else args[0]
    return put(out.view_as(out) if out is args[0] and target != place(out) else out, target)


def common(func: Any, args: Any, kwargs: Any) -> torch.device:
    """Where the result lies. Raises MixedDevices."""
    if func in ACROSS:
        return place(args[0])
    if func in (Tensor.__getitem__, Tensor.__setitem__):
        # An index of the CPU may be into a tensor anywhere; what is put at an index lies where the tensor does.
        own, index = place(args[0]), tensors(args[1])
        others = [place(t) for t in index if place(t) != CPU]
        others += [place(t) for t in tensors(args[2:]) if index and t.ndim]
        if set(others) - {own}:
            raise MixedDevices(f"{func.__name__}: {set(others)} for a tensor on {own}")
        return own
    found = tensors((args, kwargs))
    name = getattr(func, "__name__", "")
    places = {place(t) for t in found if t.ndim or name in STRICT}
    if len(places) > 1:
        raise MixedDevices(f"{name}: tensors on {places}")
    return next(iter(places)) if places else GPU if any(place(t) == GPU for t in found) else CPU
