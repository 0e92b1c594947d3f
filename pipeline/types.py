"""The vocabulary: what the stages exchange, and what each stage promises.

Pictures are PIL RGB images between stages; tensors never leave a stage except inside `Inversion`, `Classifier.features`
and `Classifier.head`. Nothing here knows a model, a file or a page. Names follow prompt-to-prompt (Hertz et al.,
2022), null-text inversion (Mokady et al., 2023), LANCE (Prabhu et al., 2023) and WiSE-FT (Wortsman et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipeline.errors import LabelError
from pipeline.scores import Scores
from pipeline.settings import Profile, Settings

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image


LABEL_SOURCES = FOLDER, ANALYST, GUESS, UNKNOWN = "folder", "analyst", "guess", "unknown"
CONFIRMED = (FOLDER, ANALYST)  # somebody said what the picture shows; every other label counts for nothing
"""Where a photo's label comes from: a folder or list, a person, the classifier's own top-1, or nobody noted it."""

Report = Callable[[str, str], None]
"""Called as `report(raw, reason)` for every answer of the language model that is not handed over."""

Step = Callable[[int, int], None]
"""Called as `step(done, total)` once per denoising step; raising `Cancelled` from it stops the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One factor of variation."""

    name: str
    instruction: str  # what the language model is told
    help: str  # what the analyst is told
    judge: Callable[[Any], str] | None = None  # what speaks against a changed place, "" for nothing; None: any passes
    spans: bool = False  # whether it may reach over the prepositions of its place, as a background does


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one gate says of a proposal, kept or not."""

    gate: str  # "words", "label", "factor", "similarity", "length" or "distinct"
    passed: bool
    says: str  # one sentence with the figure
    figure: float | None = None  # what was measured; None where only words decide
    bound: float | None = None  # what it was held against


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """One proposed change of a caption."""

    caption: str
    edited_caption: str
    factor: str
    original: str  # the words that went ("" for a pure insertion)
    edit: str  # the words that came ("" for a pure deletion)
    rejected_by: tuple[str, ...] = ()  # one sentence per gate that was missed, with its figure
    checks: tuple[Check, ...] = ()  # every gate, those that passed too

    @property
    def accepted(self) -> bool:
        """Return whether no gate objects."""
        return not self.rejected_by


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inversion:
    """A picture as the start of a denoising trajectory that leads back to it."""

    caption: str
    method: str  # a name in `inversion.METHODS`; "latent" where an editor needs no inversion
    trajectory: torch.Tensor  # (steps + 1, C, h, w): latents from noise (first) to the picture (last)
    uncond_embeddings: torch.Tensor | None  # (steps, 1, tokens, width), one per step; None: those of the empty caption
    reconstruction: Image  # the control: what inversion alone makes of the picture
    num_inference_steps: int
    guidance_scale: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordMap:
    """Where in the picture one word of the caption is looked for."""

    word: str
    weights: np.ndarray  # (height, width) float32 in 0..1: share of the attention, mean over heads, layers and steps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edit:
    """One edited picture, as the editor hands it over."""

    index: int  # which of the edited captions that were asked for
    tau: float
    image: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What tau means to an editor: 0 is its boldest edit, 1 its most careful one."""

    name: str
    symbol: str
    help: str
    low: float = 0.0  # the editor's own value at tau 0
    high: float = 1.0  # and at tau 1

    def value(self, tau: float) -> float:
        """Return the editor's own value for a tau in 0..1."""
        return self.low + tau * (self.high - self.low)

    def label(self, tau: float) -> str:
        """Return the value under its name, such as "tau 0.40"."""
        return f"{self.name} {self.value(tau):.2f}"

    def short(self, tau: float) -> str:
        """Return the value under its symbol, such as "τ 0.40"."""
        return f"{self.symbol} {self.value(tau):.2f}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, init=False)
class Prediction:
    """What a classifier thinks of one picture: the full distribution, of which a top-5 is a view."""

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]  # (labels,), read-only, in the order of the labels; sums to 1

    def __init__(self, *, labels: tuple[str, ...], probabilities: Sequence[float] | NDArray[np.floating]) -> None:
        """Keep a read-only vector as it is, and copy anything else."""
        vector = np.asarray(probabilities, dtype=np.float32)
        if vector.flags.writeable:
            vector = vector.copy()
            vector.flags.writeable = False
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "probabilities", vector)

    def __eq__(self, other: object) -> bool:
        """Return whether the labels and their probabilities are the same."""
        if not isinstance(other, Prediction):
            return NotImplemented
        return self.labels == other.labels and np.array_equal(self.probabilities, other.probabilities)

    def __hash__(self) -> int:
        """Return a hash of both, as equality has it."""
        return hash((self.labels, self.probabilities.tobytes()))

    def top(self, k: int = 5) -> tuple[tuple[str, float], ...]:
        """Return the k most probable (label, probability) pairs, best first."""
        if k == 1:
            places = [int(self.probabilities.argmax())]
        else:
            places = np.argsort(-self.probabilities, kind="stable")[:k].tolist()
        return tuple((self.labels[place], float(self.probabilities[place])) for place in places)

    def probability(self, label: str) -> float:
        """Return p(label) in 0..1. Raises `LabelError` for a label that the classifier does not know."""
        return float(self.probabilities[self._place(label)])

    def rank(self, label: str) -> int:
        """Return the label's rank, 1 for the most probable. Raises `LabelError` for an unknown one."""
        return 1 + int((self.probabilities > self.probabilities[self._place(label)]).sum())

    @property
    def first(self) -> str:
        """Return the most probable label."""
        return self.labels[int(self.probabilities.argmax())]

    def standing(self, label: str, place: int | None = None) -> Standing:
        """Return how the label stands, whose `place` may be known. Raises `LabelError` for an unknown one."""
        place = self._place(label) if place is None else place
        values = self.probabilities
        others = max(values[:place].max(initial=0), values[place + 1 :].max(initial=0))
        return Standing(
            label=label,
            rank=1 + int(np.count_nonzero(values > values[place])),
            probability=float(values[place]),
            rival=float(others),
            first=self.first,
        )

    def _place(self, label: str) -> int:
        try:
            return self.labels.index(label)
        except ValueError as error:
            known = ", ".join(self.labels[:20])
            raise LabelError(f"The classifier does not know the label '{label}'. Choose one of: {known}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one label stands in a prediction: what a record of many thousands keeps of a vector of a thousand numbers."""

    label: str
    rank: int  # 1 for the most probable label
    probability: float
    rival: float  # the greatest probability of another label
    first: str  # the most probable label

    def standing(self, label: str) -> Standing:
        """Return itself. Raises `LabelError` for another label, of which nothing was kept."""
        if label != self.label:
            raise LabelError(f"How the label '{label}' stands was not kept, only '{self.label}'; load the whole study.")
        return self


class Judge(Protocol):
    """Whose predictions they are: a classifier, or what is left of one in a record."""

    @property
    def name(self) -> str:
        """Return the name by which the profile calls it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the class names, in the order of the head's rows."""
        ...

    @property
    def fingerprint(self) -> str:
        """Return a hash of its weights, labels and preprocessing; "" where nobody noted it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A `Judge` by its record."""

    name: str
    labels: tuple[str, ...]
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotoRecord:
    """What is known of a photo beside its picture: all that figures need, light enough for many thousands."""

    key: str  # sha256 of the picture's re-encoded bytes
    label: str  # what the picture shows and every edit must keep
    prediction: Prediction
    name: str = ""  # file name, for people only
    classifier: str = ""  # name of the classifier that every prediction of this study comes from
    fingerprint: str = ""  # and its fingerprint, "" where nobody noted it
    label_source: str = UNKNOWN  # one of `LABEL_SOURCES`
    label_analyst: str = ""  # who gave the label, where visitors sign in

    @property
    def confirmed(self) -> bool:
        """Return whether somebody said what the picture shows."""
        return self.label_source in CONFIRMED

    @property
    def protected(self) -> str:
        """Return the label that edits must keep; "" while nobody said what the picture shows."""
        return self.label if self.confirmed else ""

    @property
    def judge(self) -> Judge:
        """Return whose predictions this study holds."""
        return Judged(name=self.classifier, labels=self.prediction.labels, fingerprint=self.fingerprint)

    def with_image(self, image: Image) -> Photo:
        """Return the same with its picture."""
        return Photo(image=image, **_fields(self))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photo(PhotoRecord):
    """A picture under study."""

    image: Image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CounterfactualRecord:
    """Everything measured on one edited picture; one per perturbation, tau and settings."""

    key: str  # hash of everything that drew the picture
    perturbation: Perturbation
    tau: float
    scores: Scores
    prediction: Prediction | Standing  # of the photo's label, where many are read at once
    missed: tuple[str, ...]  # one sentence per score gate that was missed, with its figure
    seed: int | None = None  # of everything drawn at random on the way; None where that was not noted
    models: dict[str, str] = field(default_factory=dict)  # role -> what made it, hub ids with their revision
    settings: dict[str, Any] | None = None  # what drew it, as `keys.drawing_of` has it; None where nobody noted it
    scorer: str = ""  # fingerprint of the CLIP that scored it, "" where nobody noted it

    def with_image(self, image: Image, prediction: Prediction) -> Counterfactual:
        """Return the same with its picture and all of its prediction."""
        return Counterfactual(**{**_fields(self), "image": image, "prediction": prediction})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counterfactual(CounterfactualRecord):
    """One edited picture with everything measured on it."""

    image: Image
    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyRecord:
    """What is known of one photo and its edits beside the pictures."""

    photo: PhotoRecord
    caption: str = ""
    control: Prediction | None = None  # prediction on the reconstruction: what inversion alone changed
    counterfactuals: tuple[CounterfactualRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study(StudyRecord):
    """All that is known of one photo. Grows stage by stage; each stage returns a new one."""

    photo: Photo
    reconstruction: Image | None = None
    perturbations: tuple[Perturbation, ...] = ()
    counterfactuals: tuple[Counterfactual, ...] = ()


def _fields(record: PhotoRecord | CounterfactualRecord) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an analyst decided about one counterfactual; a log entry, never changed."""

    id: str  # client uuid: the same decision sent twice counts once
    counterfactual: str  # its key
    verdict: str  # "keep", "reject" or "unsure"; "" takes an earlier verdict back
    reason: str = ""
    analyst: str = ""
    time: float = 0.0  # seconds since the epoch
    act: str = ""  # what is undone together; the decision's own id when not given
    kind: str = ""  # "resolve" overrules all analysts; "undo" and "redo" of the act `of`
    of: str = ""
    number: int = 0  # its place in the log, given by the store
    label: str = ""  # what the edit really shows, "" where the photo's label is right
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewording:
    """What an analyst made of a photo's caption; a log entry, never changed."""

    photo: str  # its key
    before: str  # "" when there was no caption
    caption: str
    analyst: str = ""
    time: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualSet:
    """A frozen, numbered selection of counterfactuals."""

    name: str
    version: int
    items: tuple[str, ...]  # counterfactual keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """A share of edits with its 95 % interval; all three in 0..1."""

    n: int  # edits, or whatever is counted
    value: float
    low: float
    high: float
    photos: int = 0  # behind them; 0 where a record of an earlier version does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What theta(alpha) says of every picture of one split, by rows of the head; one entry per alpha of the run."""

    names: tuple[str, ...]  # a photo's or a counterfactual's key; the place in its test set; "" for what is not stored
    photos: tuple[str, ...]  # whose picture each is: those of one photo are alike; () where a run did not keep it
    targets: tuple[int, ...]
    predicted: tuple[tuple[int, ...], ...]
    ranks: tuple[tuple[int, ...], ...] = ()  # the target's place, from 0; () where a run did not keep it
    losses: tuple[float, ...] = ()  # mean cross-entropies; () where a run did not keep them

    def hits(self, place: int, k: int = 1) -> list[bool]:
        """Return whose target is among the k first answers at this place of the curve; k above 1 needs `ranks`."""
        if k == 1:
            return [said == target for said, target in zip(self.predicted[place], self.targets, strict=True)]
        return [rank < k for rank in self.ranks[place]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Somebody saw the test sets of a run at this alpha; a log entry, never changed."""

    alpha: float
    analyst: str = ""
    time: float = 0.0  # seconds since the epoch; 0 where it is not known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reinforcement:
    """A reinforced head, or block and head: theta(alpha) = (1 - alpha) theta_0 + alpha theta_1 (WiSE-FT).

    Holds what was said of every picture at every alpha; `pipeline/reinforcement/figures.py` makes figures of it.
    """

    classifier: str
    labels: tuple[str, ...]
    theta_0: tuple[torch.Tensor, ...]  # as `parameters` name them: weight (classes, features), bias (classes,)
    theta_1: tuple[torch.Tensor, ...]
    alphas: tuple[float, ...]  # the curve: from 0 to 1, ascending
    alpha: float  # in use
    answers: dict[str, Answers]  # test split ->
    validation: dict[str, Answers] = field(default_factory=dict)  # split -> ; {} where a run did not keep it
    chosen: float | None = None  # the alpha that is best on validation; None where a run did not keep it
    given: float | None = None  # the alpha that came with the recipe; None: the chosen one was to be used
    looks: tuple[Look, ...] = ()  # in the order of time; the first fixed alpha
    earlier: bool = False  # a version made it that showed the test sets at every alpha
    losses: tuple[float, ...]  # validation loss: of theta_0 first, then after each epoch
    accuracies: tuple[float, ...] = ()  # Acc@1 on validation, in the order of `losses`
    method: str = "counterfactual"  # one of `recipes.METHODS`
    seed: int = 0  # of the split by photo and of the training
    stopped: bool = False  # the training was cancelled and the best head until then kept
    source: str = ""  # what was learnt from: a set and its version, in words
    block: str = ""  # the block that was trained beside the head; "" when the head alone was
    parameters: tuple[str, ...] = ("weight", "bias")  # of the head; with a block, of the network


class Captioner(Protocol):
    """Image -> caption."""

    def caption(self, image: Image, settings: Settings) -> str:
        """Return one sentence that describes the picture."""
        ...

    def captions(self, images: Sequence[Image], settings: Settings) -> tuple[str, ...]:
        """Return one sentence for each picture."""
        ...

    def candidates(self, image: Image, settings: Settings, n: int) -> tuple[str, ...]:
        """Return at most `n` different sentences to choose from, the one that `caption` gives first."""
        ...


class Perturber(Protocol):
    """Caption, factor -> proposed perturbations."""

    def perturb(
        self, caption: str, factor: Factor, label: str, settings: Settings, report: Report | None = None
    ) -> tuple[Perturbation, ...]:
        """Return `settings.proposals` distinct proposals, gates already judged. Raises `PerturbationError`.

        `report` hears of every answer that is not handed over.
        """
        ...

    def judge(self, caption: str, edited_caption: str, factor: str, label: str, settings: Settings) -> Perturbation:
        """Return a written perturbation with its word diff and gates judged; used for the analyst's own words."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return (n, width) unit vectors of the sentence encoder."""
        ...


class Editor(Protocol):
    """Invert once, edit for many captions and many tau."""

    @property
    def fingerprint(self) -> str:
        """Return a hash of family, configurations, precision, weights and schedulers, all beside the words."""
        ...

    def invert(self, image: Image, caption: str, settings: Settings, step: Step | None = None) -> Inversion:
        """Return the trajectory that leads to the picture under its caption."""
        ...

    def edit(
        self, inversion: Inversion, edited_captions: Sequence[str], settings: Settings, step: Step | None = None
    ) -> Iterator[Edit]:
        """Yield every caption at every `settings.taus`, each handed over as soon as it is ready."""
        ...

    def word_maps(self, inversion: Inversion, step: Step | None = None) -> tuple[WordMap, ...]:
        """Return which word of the inversion's caption looks where, in the caption's order."""
        ...

    def round_trip(self, image: Image) -> float:
        """Return the PSNR in dB of encoding and decoding the picture: how well the autoencoder knows its kind."""
        ...


class Scorer(Protocol):
    """CLIP scores."""

    @property
    def fingerprint(self) -> str:
        """Return a hash of its weights and preprocessing."""
        ...

    def score(self, image: Image, caption: str, edited: Sequence[tuple[Image, str]]) -> tuple[Scores, ...]:
        """Return the scores of each (edited picture, edited caption) against one source."""
        ...

    def embed(self, images: Sequence[Image]) -> NDArray[np.floating]:
        """Return (n, width) unit vectors of the pictures."""
        ...


class Classifier(Judge, Protocol):
    """The model under study."""

    def predict(self, images: Sequence[Image]) -> tuple[Prediction, ...]:
        """Return full distributions, one per picture."""
        ...

    def features(self, images: Sequence[Image]) -> torch.Tensor:
        """Return (n, features) float32: what the head sees."""
        ...

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return copies of weight (classes, features) and bias (classes,), float32."""
        ...

    def grad_cam(self, images: Sequence[Image], label: str) -> tuple[NDArray[np.float32], ...]:
        """Return where it looks for the label: a (height, width) map, at least 0, per picture; () if it cannot tell."""
        ...


class Models(Protocol):
    """All parts of one profile, each loaded on first use."""

    @property
    def profile(self) -> Profile: ...
    @property
    def axis(self) -> Axis:
        """Return what tau means to the profile's editor; known without opening it."""
        ...

    @property
    def captioner(self) -> Captioner: ...
    @property
    def perturber(self) -> Perturber: ...
    @property
    def editor(self) -> Editor: ...
    @property
    def scorer(self) -> Scorer: ...
    def classifier(self, name: str = "") -> Classifier:
        """Return it by its name in the profile, "" for the first. Raises `InputError` for any other text."""
        ...

    def adopt(self, root: Path) -> None:
        """Make the classifiers of this data folder selectable beside the profile's."""
        ...
