"""The vocabulary: what the stages exchange, and what each stage promises.

Pictures are PIL RGB images between stages; tensors never leave a stage except inside `Inversion`, `Classifier.features`
and `Classifier.head`. Nothing here knows a model, a file or a page. Names follow prompt-to-prompt (Hertz et al.,
2022), null-text inversion (Mokady et al., 2023), LANCE (Prabhu et al., 2023) and WiSE-FT (Wortsman et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import LabelError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

INVERSIONS = ("pnp", "null-text", "negative-prompt", "ddim")
CROSS_ATTENTION = ("refine", "replace", "auto")

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
        """True when no gate objects."""
        return not self.rejected_by


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inversion:
    """A picture as the start of a denoising trajectory that leads back to it."""

    caption: str
    method: str  # one of INVERSIONS; "latent" where an editor needs no inversion
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
        """The editor's own value for a tau in 0..1."""
        return self.low + tau * (self.high - self.low)

    def label(self, tau: float) -> str:
        """Such as "tau 0.40"."""
        return f"{self.name} {self.value(tau):.2f}"

    def short(self, tau: float) -> str:
        """Such as "τ 0.40"."""
        return f"{self.symbol} {self.value(tau):.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """CLIP cosines of one edit, each in -1..1. I, c: source picture and caption; I', c': edited ones."""

    image_similarity: float  # cos(I, I')
    source_alignment: float  # cos(I, c)
    edited_alignment: float  # cos(I', c')
    directional_similarity: float  # cos(I' - I, c' - c)
    prefers_edit: float  # cos(I', c') - cos(I', c): above 0 when the edited picture prefers the new words


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a classifier thinks of one picture: the full distribution, of which a top-5 is a view."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]  # same order as labels, sums to 1

    def top(self, k: int = 5) -> tuple[tuple[str, float], ...]:
        """The k most probable (label, probability) pairs, best first."""
        return tuple(sorted(zip(self.labels, self.probabilities, strict=True), key=lambda pair: -pair[1])[:k])

    def probability(self, label: str) -> float:
        """p(label) in 0..1. Raises `LabelError` for a label that the classifier does not know."""
        if label not in self.labels:
            known = ", ".join(self.labels[:20])
            raise LabelError(f"The classifier does not know the label '{label}'. Choose one of: {known}.")
        return self.probabilities[self.labels.index(label)]

    def rank(self, label: str) -> int:
        """1 for the most probable label. Raises `LabelError` for an unknown one."""
        p = self.probability(label)
        return 1 + sum(other > p for other in self.probabilities)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photo:
    """A picture under study. `key` is the sha256 of its re-encoded bytes."""

    key: str
    image: Image
    label: str  # what the picture shows and every edit must keep
    prediction: Prediction
    name: str = ""  # file name, for people only
    classifier: str = ""  # name of the classifier that every prediction of this study comes from


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counterfactual:
    """One edited picture with everything measured on it; one per perturbation and tau."""

    key: str  # hash of everything that determined it
    perturbation: Perturbation
    tau: float
    image: Image
    scores: Scores
    prediction: Prediction
    missed: tuple[str, ...]  # one sentence per score gate that was missed, with its figure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """All that is known of one photo. Grows stage by stage; each stage returns a new one."""

    photo: Photo
    caption: str = ""
    reconstruction: Image | None = None
    control: Prediction | None = None  # prediction on the reconstruction: what inversion alone changed
    perturbations: tuple[Perturbation, ...] = ()
    counterfactuals: tuple[Counterfactual, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an analyst decided about one counterfactual; a log entry, never changed."""

    id: str  # client uuid: the same decision sent twice counts once
    counterfactual: str  # its key
    verdict: str  # "keep", "reject" or "unsure"; "" takes an earlier verdict back
    reason: str = ""
    analyst: str = ""
    time: float = 0.0  # seconds since the epoch


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
    """k of n with its 95 % Wilson interval; all three in 0..1."""

    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reinforcement:
    """A reinforced head: theta(alpha) = (1 - alpha) theta_0 + alpha theta_1 (WiSE-FT)."""

    classifier: str
    labels: tuple[str, ...]
    theta_0: tuple[torch.Tensor, torch.Tensor]  # weight (classes, features), bias (classes,)
    theta_1: tuple[torch.Tensor, torch.Tensor]
    alpha: float
    curve: tuple[tuple[float, dict[str, Proportion]], ...]  # alpha -> {split name: Acc@1}
    before: dict[str, Proportion]
    after: dict[str, Proportion]
    losses: tuple[float, ...]  # validation loss: of theta_0 first, then after each epoch
    by_class: dict[str, tuple[Proportion, Proportion]] = field(default_factory=dict)  # label -> Acc@1 before, after
    p_values: dict[str, float] = field(default_factory=dict)  # split -> exact McNemar p of before against after
    accuracies: tuple[float, ...] = ()  # Acc@1 on validation, in the order of `losses`
    method: str = "counterfactual"  # one of `heads.METHODS`
    seed: int = 0  # of the split by photo and of the training
    stopped: bool = False  # the training was cancelled and the best head until then kept
    source: str = ""  # what was learnt from: a set and its version, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One request. Defaults are the published reference's; a profile replaces what suits its models better."""

    factors: tuple[str, ...] = ("subject", "object", "background", "adjective", "domain")
    proposals: int = 1  # perturbations asked for per factor
    temperature: float = 0.7  # of the language model's sampling
    caption_prefix: str = "a photo of"  # words the captioner is made to begin with; "" for none
    caption_min_tokens: int = 20  # paper: at least 20 words
    caption_max_tokens: int = 100
    repetition_penalty: float = 1.5  # paper: "significant"
    # Sentence cosines of the gates on captions, chosen with all-MiniLM-L6-v2 on tests/pipeline/gate_pairs.jsonl:
    max_label_similarity: float = 0.55  # from here on replaced words count as the label itself
    max_definition_similarity: float = 0.3  # the same against WordNet's definition of the label
    max_word_similarity: float = 0.77  # from here on two wordings count as one ("black" and "white" have 0.76)
    min_caption_similarity: float = 0.3  # sentence cosine of both captions, below which the edit changed too much
    inversion: str = "pnp"  # PnP; "null-text" is the paper's, "negative-prompt" the cheap one, "ddim" the plain control
    null_text_learning_rate: float = 1e-2  # of Adam at the first denoising step; falls to half of it at the last
    null_text_min_gain: float = 0.0  # share of its loss that an inner step has to gain, or it is the last; 0: all ten
    num_inference_steps: int = 50  # DDIM steps
    guidance_scale: float = 7.5
    taus: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8)  # fraction of steps with the source's self-attention
    cross_replace_steps: float = 0.8  # fraction of steps with the source's cross-attention
    cross_replace_words: tuple[str, ...] = ()  # exceptions, as "beach=0.4": a word of the edited caption, its fraction
    # "refine": new words keep their own maps; "replace": they take those of the words that went; "auto": "replace"
    # for captions whose words were swapped one for one, "refine" for all others
    cross_attention: str = "refine"
    word_weight: float = 2.0  # re-weighting of the edited words' cross-attention
    # share of its maximum above which a changed word's map may be edited (prompt-to-prompt and LANCE: 0.3); 0 lets the
    # edit change the whole picture
    local_blend: float = 0.0
    local_blend_start: float = 0.2  # fraction of steps before the rest of the picture is held to the source
    captions_at_once: int = 0  # captions edited in one trajectory; 0: all of them, which is cheapest; 1: one is soonest
    min_image_similarity: float = 0.7  # gates on `Scores`; LANCE's thresholds
    min_source_alignment: float = 0.2
    min_edited_alignment: float = 0.2
    min_directional_similarity: float = 0.2
    learning_rate: float = 1e-4  # of the head's reinforcement; the paper's, for heads on 2,000 features
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses values outside their range with `SettingsError`."""
        for tau in self.taus:
            if not 0.0 <= tau <= 1.0:
                raise SettingsError(f"tau is {tau}, but it is a fraction of the denoising steps; give 0 to 1.")
        if not self.taus:
            raise SettingsError("No tau was given; give at least one between 0 and 1, such as 0.4.")
        if not 0.0 <= self.cross_replace_steps <= 1.0:
            raise SettingsError(f"cross_replace_steps is {self.cross_replace_steps}; give a fraction from 0 to 1.")
        for entry in self.cross_replace_words:
            _word_fraction(entry)
        if self.cross_attention not in CROSS_ATTENTION:
            raise SettingsError(
                f"The cross_attention '{self.cross_attention}' is unknown; use {', '.join(CROSS_ATTENTION)}."
            )
        if not (0.0 <= self.local_blend < 1.0 and 0.0 <= self.local_blend_start <= 1.0):
            raise SettingsError(
                f"local_blend is {self.local_blend} from {self.local_blend_start} of the steps on; give a threshold of "
                "at least 0 and below 1, such as 0.3, and a fraction from 0 to 1."
            )
        if self.captions_at_once < 0:
            raise SettingsError(f"captions_at_once is {self.captions_at_once}; give a number, or 0 for all of them.")
        if not 1 <= self.num_inference_steps <= 1000:
            raise SettingsError(f"num_inference_steps is {self.num_inference_steps}; give 1 to 1000, such as 50.")
        if self.guidance_scale < 1.0:
            raise SettingsError(f"guidance_scale is {self.guidance_scale}; give 1 (no guidance) or more.")
        if self.null_text_learning_rate <= 0:
            raise SettingsError(f"null_text_learning_rate is {self.null_text_learning_rate}; give a positive number.")
        if self.inversion not in INVERSIONS:
            raise SettingsError(f"The inversion '{self.inversion}' is unknown; use {', '.join(INVERSIONS)}.")
        if self.temperature <= 0:
            raise SettingsError(f"The temperature is {self.temperature}; give more than 0, such as 0.7.")
        if not 0 <= self.caption_min_tokens <= self.caption_max_tokens or self.caption_max_tokens < 1:
            raise SettingsError(
                f"A caption of {self.caption_min_tokens} to {self.caption_max_tokens} tokens was asked for; "
                "give a least and a greatest number in that order, such as 20 and 100."
            )
        if not 1 <= self.proposals <= 50:
            raise SettingsError(f"{self.proposals} proposals per factor were asked for; ask for 1 to 50.")

    @property
    def word_fractions(self) -> tuple[tuple[str, float], ...]:
        """`cross_replace_words`, read: (words, fraction of steps with the source's cross-attention)."""
        return tuple(_word_fraction(entry) for entry in self.cross_replace_words)


def _word_fraction(entry: str) -> tuple[str, float]:
    """ "beach=0.4" -> ("beach", 0.4). Raises `SettingsError`."""
    words, _, number = entry.rpartition("=")
    try:
        fraction = float(number)
    except ValueError:
        fraction = -1.0
    if not words.strip() or not 0.0 <= fraction <= 1.0:
        raise SettingsError(
            f"'{entry}' does not say for how many steps a word takes the source's cross-attention; "
            "give the word and a fraction from 0 to 1, such as beach=0.4."
        )
    return words.strip(), fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Which models, at which size. Each model is a hub id such as "owner/name@commit", or a local folder."""

    name: str
    description: str
    captioner: str
    perturber: str
    perturber_adapter: str  # PEFT adapter; "" for none
    sentences: str
    diffusion: str
    clip: str
    classifiers: dict[str, str]  # name shown -> whatever `networks.family_of` knows; the first is the default
    image_size: int  # pixels, width and height of the pictures the editor works on
    dtype: str = "float32"
    licence: str = ""
    sizes: dict[str, float] = field(default_factory=dict)  # GB to fetch, by role as in `models_of`
    parameters: dict[str, float] = field(default_factory=dict)  # billions, by role; they give the memory
    seconds: str = ""  # how long one photo takes, in words
    examples: str = ""  # ImageFolder with pictures to click first
    evaluation: dict[str, str] = field(default_factory=dict)  # split name ("original", "ood") -> ImageFolder
    min_round_trip: float = 0.0  # dB: below it a picture lies outside what the autoencoder knows; 0 switches it off
    outside_hint: str = ""  # what to tell the analyst then
    families: dict[str, str] = field(default_factory=dict)  # role -> entry of its dict in models.py; absent: the first
    settings: Settings = field(default_factory=Settings)


class Captioner(Protocol):
    """Image -> caption."""

    def caption(self, image: Image, settings: Settings) -> str:
        """One sentence that describes the picture."""
        ...

    def captions(self, images: Sequence[Image], settings: Settings) -> tuple[str, ...]:
        """One sentence for each picture."""
        ...

    def candidates(self, image: Image, settings: Settings, n: int) -> tuple[str, ...]:
        """At most `n` different sentences to choose from, the one that `caption` gives first."""
        ...


class Perturber(Protocol):
    """Caption, factor -> proposed perturbations."""

    def perturb(
        self, caption: str, factor: Factor, label: str, settings: Settings, report: Report | None = None
    ) -> tuple[Perturbation, ...]:
        """`settings.proposals` distinct proposals, gates already judged. Raises `PerturbationError`.

        `report` hears of every answer that is not handed over.
        """
        ...

    def judge(self, caption: str, edited_caption: str, factor: str, label: str, settings: Settings) -> Perturbation:
        """A written perturbation with its word diff and gates judged; used for the analyst's own words."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """(n, width) unit vectors of the sentence encoder."""
        ...


class Editor(Protocol):
    """Invert once, edit for many captions and many tau."""

    @property
    def fingerprint(self) -> str:
        """Tells models, weights and schedulers apart: what an `Inversion` depends on beside its picture and caption."""
        ...

    def invert(self, image: Image, caption: str, settings: Settings, step: Step | None = None) -> Inversion:
        """The trajectory that leads to the picture under its caption."""
        ...

    def edit(
        self, inversion: Inversion, edited_captions: Sequence[str], settings: Settings, step: Step | None = None
    ) -> Iterator[Edit]:
        """Every caption at every `settings.taus`, each handed over as soon as it is ready."""
        ...

    def word_maps(self, inversion: Inversion, step: Step | None = None) -> tuple[WordMap, ...]:
        """Which word of the inversion's caption looks where, in the caption's order."""
        ...

    def round_trip(self, image: Image) -> float:
        """PSNR in dB of encoding and decoding the picture: how well the autoencoder knows its kind."""
        ...


class Scorer(Protocol):
    """CLIP scores."""

    def score(self, image: Image, caption: str, edited: Sequence[tuple[Image, str]]) -> tuple[Scores, ...]:
        """Scores of each (edited picture, edited caption) against one source."""
        ...


class Classifier(Protocol):
    """The model under study."""

    @property
    def name(self) -> str:
        """As the profile calls it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the head's rows."""
        ...

    def predict(self, images: Sequence[Image]) -> tuple[Prediction, ...]:
        """Full distributions, one per picture."""
        ...

    def features(self, images: Sequence[Image]) -> torch.Tensor:
        """(n, features) float32: what the head sees."""
        ...

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Copies of weight (classes, features) and bias (classes,), float32."""
        ...


class Models(Protocol):
    """All parts of one profile, each loaded on first use."""

    @property
    def profile(self) -> Profile: ...
    @property
    def axis(self) -> Axis:
        """What tau means to the profile's editor; known without opening it."""
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
        """By name as in the profile, a folder written by `reinforce`, or "" for the default."""
        ...
