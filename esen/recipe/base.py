"""What all specs share."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A part of a recipe: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
