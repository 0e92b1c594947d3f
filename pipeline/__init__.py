"""Counterfactual pictures that find and mend a classifier's weaknesses; the public names, sorted.

Importing this loads no model library: models are opened by `load(load_profile("tiny"))`, each on first use.
"""

from pipeline.captions.factors import FACTORS
from pipeline.errors import InputError, ModelError, PipelineError, StoreError
from pipeline.models.loader import load
from pipeline.profiles import known_profiles, load_profile
from pipeline.scores import Scores
from pipeline.settings import Profile, Settings
from pipeline.types import (
    Counterfactual,
    CounterfactualSet,
    Decision,
    Factor,
    Inversion,
    Perturbation,
    Photo,
    Prediction,
    Proportion,
    Reinforcement,
    Study,
)

__all__ = [
    "FACTORS",
    "Counterfactual",
    "CounterfactualSet",
    "Decision",
    "Factor",
    "InputError",
    "Inversion",
    "ModelError",
    "Perturbation",
    "Photo",
    "PipelineError",
    "Prediction",
    "Profile",
    "Proportion",
    "Reinforcement",
    "Scores",
    "Settings",
    "StoreError",
    "Study",
    "known_profiles",
    "load",
    "load_profile",
]
