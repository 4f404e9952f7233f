"""The type checker of the import hook in conftest.py."""

from collections.abc import Callable
from typing import Any, Self

from beartype import BeartypeConf, beartype

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype, except for methods that name `Self`, which it refuses outside a decorated class."""
    if Self in getattr(function, "__annotations__", {}).values():
        return function
    return _beartype(function)
