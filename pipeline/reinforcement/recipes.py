"""The recipes: from what a head learns, and how; settings common to all of them, and what tells them apart.

To add a recipe, add its entry to `METHODS`: page, command line, jobs and reproduction offer and train it by that. A
rival takes other pictures in the edits' places (a `PictureKind`), weighs them otherwise, or fits a head by other means
than descent. Importing this loads no model library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import SettingsError
from pipeline.reinforcement.training_data import AUGMENTATIONS, EDITS, RECONSTRUCTIONS, SAMPLES, PictureKind

if TYPE_CHECKING:
    import torch

    from pipeline.reinforcement.heads import Part, Theta, Training

    # p(label) of each picture under theta_0 and the size of its class, (n,) each -> how much it counts, up to a factor
    Weigh = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    # what is learnt from, the group of each, validation, theta_0, seed
    Fit = Callable[[Part, Sequence[str], Part, Theta, int], Training]

AFR_GAMMA = 4.0  # how much more a picture counts that theta_0 gets wrong: weight exp(-gamma p(label))
UNFREEZE = {"head": "the linear head alone", "last-block": "the last block before pooling, and the head"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningMethod:
    """One way to learn from counterfactuals, or from as many pictures of another kind; the defaults are the paper's."""

    name: str  # as the page calls it
    help: str  # what is done, in words for reports
    kind: PictureKind = EDITS
    blended: bool = True  # with theta_0; otherwise theta_1 is used as it is
    weigh: Weigh | None = None
    pull: float = 0.0  # of the squared distance to theta_0, in the loss
    fit: Fit | None = None  # instead of descent

    @property
    def on_features(self) -> bool:
        """Return whether it is defined for a last layer on fixed features only."""
        return self.weigh is not None or self.fit is not None


def weigh_mistakes(p: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Return AFR's weights, exp(-gamma p(label)) over the size of the class."""
    return (-AFR_GAMMA * p).exp() / sizes


def regress(train: Part, groups: Sequence[str], validation: Part, theta_0: Theta, seed: int) -> Training:
    """Return DFR's head, as `heads.balanced_regression` has it."""
    from pipeline.reinforcement.heads import balanced_regression

    return balanced_regression(train, groups, validation, theta_0, seed)


METHODS = {
    "counterfactual": LearningMethod(
        name="Counterfactual, the paper's",
        help="the head is fine-tuned on counterfactuals and blended with the old one (Li et al.)",
    ),
    "fine-tuning": LearningMethod(
        name="Counterfactual, not blended",
        help="the same head, not blended",
        blended=False,
    ),
    "afr": LearningMethod(
        name="AFR",
        help="fine-tuned on counterfactuals, weighing what the old head gets wrong, pulled towards it (AFR)",
        blended=False,
        weigh=weigh_mistakes,
        pull=0.01,
    ),
    "dfr": LearningMethod(
        name="DFR",
        help="logistic regression on equally many originals and counterfactuals of every class (DFR)",
        blended=False,
        fit=regress,
    ),
    "standard": LearningMethod(
        name="Standard: plain augmentation",
        help="as counterfactual, on as many plainly augmented originals",
        kind=AUGMENTATIONS,
    ),
    "reconstruction": LearningMethod(
        name="Reconstructions: the editor without an edit",
        help="as counterfactual, on as many reconstructions: what the editor does without an edit",
        kind=RECONSTRUCTIONS,
    ),
    "text-to-image": LearningMethod(
        name="Samples: the edited captions alone",
        help="as counterfactual, on as many pictures made from the edited captions alone",
        kind=SAMPLES,
    ),
}
OFFERED = {name: method for name, method in METHODS.items() if method.kind is not SAMPLES}
"""What jobs can do: samples are made by the reproduction only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train; the defaults are Li et al.'s."""

    method: str = "counterfactual"  # one of `METHODS`
    learning_rate: float = 1e-4  # of Adam
    batch_size: int = 8
    max_epochs: int = 50
    min_delta: float = 0.005  # an epoch counts as better when the validation loss falls by more than this
    patience: int = 5  # epochs without a better one before training stops
    alpha: float | None = 0.3  # None: chosen on validation; without effect for methods that are not blended
    seed: int = 0  # of the split and of the order of batches
    originals: bool = True  # train on the source photos too, so that they are not forgotten
    unfreeze: str = "head"  # one of `UNFREEZE`: what is trained, and blended

    def __post_init__(self) -> None:
        """Refuse values outside their range with `SettingsError`."""
        if self.method not in METHODS:
            raise SettingsError(f"The method '{self.method}' is unknown; use one of {', '.join(METHODS)}.")
        if self.unfreeze not in UNFREEZE:
            raise SettingsError(f"'{self.unfreeze}' cannot be unfrozen; use one of {', '.join(UNFREEZE)}.")
        if self.unfreeze != "head" and self.how.on_features:
            raise SettingsError(
                f"The method '{self.method}' fits a head to fixed features, so no block can be unfrozen with it; "
                "train the head alone or use another method."
            )
        if self.alpha is not None and not 0.0 <= self.alpha <= 1.0:
            raise SettingsError(f"alpha is {self.alpha}, but it blends two heads; give 0 to 1, or auto.")
        if not (self.learning_rate > 0 and self.batch_size > 0 and self.max_epochs > 0 and self.patience > 0):
            raise SettingsError("Learning rate, batch size, epochs and patience must be above 0; the defaults are.")

    @property
    def how(self) -> LearningMethod:
        """Return the entry of its method."""
        return METHODS[self.method]

    @property
    def blend(self) -> float | None:
        """Return the alpha that this method uses; None when it is to be chosen."""
        return self.alpha if self.how.blended else 1.0
