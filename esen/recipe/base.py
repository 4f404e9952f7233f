"""The base of all specs."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A part of a recipe: immutable, and an unknown key is an error.

    The docstring under a key is its description in the JSON Schema.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
