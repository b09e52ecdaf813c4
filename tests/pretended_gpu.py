"""A GPU that is not there: tensors that were asked for on "cuda" lie on the CPU and remember where they should be.

    with PretendedGpu() as gpu:
        train_stacked(wanted, "cuda")
    gpu.read_back      how often numbers went from the GPU to Python or to the CPU

Whatever a real GPU refuses is refused here: an operation on tensors of both places (but for numbers without a dimension, and
indices on the CPU), and numpy's look at a tensor on the GPU. It says nothing about speed, precision or CUDA graphs.
"""

from collections import Counter

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

READS = {"item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero", "equal", "unique", "cpu"}  # they wait
MOVES = {"to", "cpu", "cuda", "copy_", "_has_compatible_shallow_copy_type"}  # which look at both places on purpose
FROM_CPU = {"__getitem__", "__setitem__", "index_put", "index_put_"}  # indices may lie on the CPU


def tensors_in(value) -> list[Tensor]:
    """All tensors of nested arguments."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [t for part in value for t in tensors_in(part)]


def is_cuda(value) -> bool:
    return value == "cuda" if isinstance(value, str) else isinstance(value, torch.device) and value.type == "cuda"


def is_place(value) -> bool:
    return isinstance(value, torch.device) or isinstance(value, str) and value.partition(":")[0] in ("cpu", "cuda")


class PretendedGpu(TorchFunctionMode):
    """Put tensors in places and refuse what mixes them."""

    def __init__(self):
        super().__init__()
        self.read_back = Counter()

    def place(self, tensor: Tensor) -> str | None:
        """Where a tensor would be; None for one that the library made inside."""
        return getattr(tensor, "_place", None)

    def put(self, found, place: str | None) -> None:
        for tensor in tensors_in(found):
            if place:
                tensor._place = place

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in ("device", "_parse_to"):  # words alone
            return func(*args, **kwargs)
        if name == "__get__":
            return self.read_property(func, args)
        if name == "__set__":
            self.put(args[0], self.place(args[1]) if isinstance(args[1], Tensor) else None)
            return func(*args, **kwargs)
        asked = [v for v in (*args, *kwargs.values()) if is_place(v)]
        target = ("cuda" if is_cuda(asked[0]) else "cpu") if asked else {"cuda": "cuda", "cpu": "cpu"}.get(name)
        args = tuple("cpu" if is_cuda(v) else v for v in args)
        kwargs = {key: "cpu" if is_cuda(v) else v for key, v in kwargs.items()}
        given = tensors_in(args) + tensors_in(kwargs)
        self.check(func, name, args, given)
        places = {self.place(t) for t in given} - {None}
        if name == "to" and len(given) > 1:  # to where another tensor is
            target = self.place(args[1])
        if "cuda" in places and (name in READS or name == "to" and target == "cpu"):
            self.read_back[name] += 1
        if name in ("to", "cpu", "cuda"):
            return self.moved(func, args, kwargs, target)
        found = func(*args, **kwargs)
        if name.endswith("_") and not name.endswith("__"):  # in place
            target = self.place(args[0]) if args and isinstance(args[0], Tensor) else target
        self.put(found, target or ("cuda" if "cuda" in places else "cpu" if places or not given else None))
        return found

    def read_property(self, func, args):
        found = func(*args)
        if isinstance(found, torch.device):
            return torch.device(self.place(args[0]) or found.type)
        if func.__self__ is Tensor.is_cuda:
            return self.place(args[0]) == "cuda"
        self.put(found, self.place(args[0]))
        return found

    def moved(self, func, args, kwargs, target):
        tensor = args[0]
        if target == "cpu" and self.place(tensor) == "cuda" or target == "cuda":
            tensor = tensor.clone()  # another place is other memory
        found = func(tensor, *args[1:], **kwargs) if func.__name__ == "to" else tensor
        self.put(found, target or self.place(args[0]))
        return found

    def check(self, func, name, args, given):
        """RuntimeError where CUDA would raise one."""
        places = {self.place(t) for t in given} - {None}
        if "cuda" not in places:
            return
        if name in ("numpy", "__array__"):
            raise TypeError("numpy cannot see a tensor on the GPU")
        if name in MOVES:
            return
        if name in FROM_CPU and self.place(args[0]) == "cuda":
            given = [args[0], *(tensors_in(args[2:]) if "set" in name or "put" in name else [])]
        if any(self.place(t) == "cpu" and t.ndim for t in given):
            raise RuntimeError(f"{resolve_name(func) or name}: tensors on both devices: "
                               f"{[(tuple(t.shape), self.place(t)) for t in given]}")
