"""Recipes: every choice of a study, as checked data. Pure pydantic; of esen, only its error is imported."""

from esen.recipe.data import DataSpec, ReferencesFileSpec, SourceSpec
from esen.recipe.load import dump_recipe, flatten, load_recipe, resolve_paths
from esen.recipe.model import (
    BesselSpec,
    ConservativeSpec,
    CutoffGraphSpec,
    DirectSpec,
    GateSpec,
    GaussianSpec,
    GridEdgesSpec,
    GridSpec,
    ModelSpec,
    NearestGraphSpec,
    NoEnvelopeSpec,
    PolynomialEnvelopeSpec,
    SmoothEnvelopeSpec,
)
from esen.recipe.recipe import EvaluateSpec, MaeSpec, Recipe, TrackingSpec
from esen.recipe.stage import at_stage, describe_stage
from esen.recipe.train import (
    BatchSpec,
    DensSpec,
    LossSpec,
    OptimizerSpec,
    ScheduleSpec,
    StageSpec,
    TrainSpec,
)

__all__ = [
    "BatchSpec",
    "BesselSpec",
    "ConservativeSpec",
    "CutoffGraphSpec",
    "DataSpec",
    "DensSpec",
    "DirectSpec",
    "EvaluateSpec",
    "GateSpec",
    "GaussianSpec",
    "GridEdgesSpec",
    "GridSpec",
    "LossSpec",
    "MaeSpec",
    "ModelSpec",
    "NearestGraphSpec",
    "NoEnvelopeSpec",
    "OptimizerSpec",
    "PolynomialEnvelopeSpec",
    "Recipe",
    "ReferencesFileSpec",
    "ScheduleSpec",
    "SmoothEnvelopeSpec",
    "SourceSpec",
    "StageSpec",
    "TrackingSpec",
    "TrainSpec",
    "at_stage",
    "describe_stage",
    "dump_recipe",
    "flatten",
    "load_recipe",
    "resolve_paths",
]
