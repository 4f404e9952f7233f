"""Constant tensors of the network, made once per device.

A tensor that is made in a forward pass is copied from the processor to the GPU at every call, and such a copy waits for
the GPU and cannot be part of a CUDA graph.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Constants = TypeVar("Constants", Tensor, tuple[Tensor, ...])


def constant(make: Callable[Arguments, Constants]) -> Callable[Arguments, Constants]:
    """Return a function that calls `make` once per set of arguments, which must be hashable, and keeps its result.

    The result may be used in derivatives, also if the first call is in inference mode. It must not be changed.
    """

    @wraps(make)
    def outside_inference_mode(*args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode(False):
            return make(*args, **kwargs)

    return cast(Callable[Arguments, Constants], lru_cache(maxsize=None)(outside_inference_mode))
