"""What one request may ask for, and which models a profile names; knows no model and no file."""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.errors import SettingsError

CROSS_ATTENTION = ("refine", "replace", "auto")
DRAWING = (
    "inversion", "null_text_learning_rate", "null_text_min_gain", "num_inference_steps", "guidance_scale",
    "cross_attention", "cross_replace_steps", "cross_replace_words", "word_weight", "local_blend",
    "local_blend_start", "seed",
)  # fmt: skip
"""The settings, beside tau, on which the pixels of an edit depend."""

# Beside its bounds an annotation has words that say what to give instead.
Fraction = Annotated[float, Field(ge=0, le=1), "a fraction from 0 to 1"]


def refusal(kind: type, name: str, value: object) -> str:
    """Say what to give for a field instead of this value; "" for one of its kind and within its bounds.

    3 passes for 3.0 and a list for a tuple, but neither true for a number nor "3" for 3.
    """
    hint, adapter = _adapters(kind)[name]
    try:
        adapter.validate_python(tuple(value) if isinstance(value, list) else value)
    except ValidationError as error:
        first = error.errors()[0]
        of_kind = first["msg"].removeprefix("Input should be ").replace("tuple", "list")
        words = getattr(hint, "__metadata__", (of_kind,))[-1]
        return f"give {words}" + "".join(f" for '{place}'" for place in first["loc"] if isinstance(place, str))
    return ""


@cache
def _adapters(kind: type) -> dict[str, tuple[Any, TypeAdapter[object]]]:
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    hints = get_type_hints(kind, include_extras=True)
    return {name: (hint, TypeAdapter(hint, config=strict)) for name, hint in hints.items() if not is_dataclass(hint)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One request. Defaults are the published reference's; a profile replaces what suits its models better."""

    factors: tuple[str, ...] = ("subject", "object", "background", "adjective", "domain")
    # perturbations asked for per factor, and how freely the language model words them
    proposals: Annotated[int, Field(ge=1, le=50), "a whole number from 1 to 50"] = 1
    temperature: Annotated[float, Field(gt=0), "a number above 0, such as 0.7"] = 0.7
    caption_prefix: str = "a photo of"  # words the captioner is made to begin with; "" for none
    caption_min_tokens: int = 20  # paper: at least 20 words
    caption_max_tokens: int = 100
    repetition_penalty: float = 1.5  # paper: "significant"
    # Sentence cosines of the gates on captions, chosen with all-MiniLM-L6-v2 on the pairs in the gates' tests:
    max_label_similarity: float = 0.55  # from here on replaced words count as the label itself
    max_definition_similarity: float = 0.3  # the same against WordNet's definition of the label
    max_word_similarity: float = 0.77  # from here on two wordings count as one ("black" and "white" have 0.76)
    min_caption_similarity: float = 0.3  # sentence cosine of both captions, below which the edit changed too much
    inversion: str = "pnp"  # one of `METHODS` in editing/inversion.py, which the editor holds it to
    # of Adam at the first denoising step; falls to half of it at the last
    null_text_learning_rate: Annotated[float, Field(gt=0), "a positive number"] = 1e-2
    null_text_min_gain: float = 0.0  # share of its loss that an inner step has to gain, or it is the last; 0: all ten
    # DDIM steps
    num_inference_steps: Annotated[int, Field(ge=1, le=1000), "a whole number from 1 to 1000, such as 50"] = 50
    guidance_scale: Annotated[float, Field(ge=1), "a number, 1 (no guidance) or more"] = 7.5
    # fraction of steps with the source's self-attention; what is not finite is refused with the other bounds of a tau
    taus: tuple[Annotated[float, Field(allow_inf_nan=True)], ...] = (0.4, 0.5, 0.6, 0.7, 0.8)
    cross_replace_steps: Fraction = 0.8  # fraction of steps with the source's cross-attention
    cross_replace_words: tuple[str, ...] = ()  # exceptions, as "beach=0.4": a word of the edited caption, its fraction
    # "refine": new words keep their own maps; "replace": they take those of the words that went; "auto": "replace"
    # for captions whose words were swapped one for one, "refine" for all others
    cross_attention: str = "refine"
    word_weight: float = 2.0  # re-weighting of the edited words' cross-attention
    # share of its maximum above which a changed word's map may be edited (prompt-to-prompt and LANCE: 0.3); 0 lets the
    # edit change the whole picture
    local_blend: Annotated[float, Field(ge=0, lt=1), "a threshold of at least 0 and below 1, such as 0.3"] = 0.0
    local_blend_start: Fraction = 0.2  # fraction of steps before the rest of the picture is held to the source
    # captions edited in one trajectory; 0: all of them, which is cheapest; 1: one is soonest
    captions_at_once: Annotated[int, Field(ge=0), "a whole number, or 0 for all of them"] = 0
    min_image_similarity: float = 0.7  # bounds of gates in scores.py; LANCE's
    min_source_alignment: float = 0.2
    min_edited_alignment: float = 0.2
    min_directional_similarity: float = 0.2
    learning_rate: float = 1e-4  # of the head's reinforcement; the paper's, for heads on 2,000 features
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their range with `SettingsError`."""
        for name in _adapters(Settings):
            if wish := refusal(Settings, name, value := getattr(self, name)):
                raise SettingsError(f"{name} is {value!r}; {wish}.")
        for tau in self.taus:
            if not 0.0 <= tau <= 1.0:
                raise SettingsError(f"tau is {tau}, but it is a fraction of the denoising steps; give 0 to 1.")
        if not self.taus:
            raise SettingsError("No tau was given; give at least one between 0 and 1, such as 0.4.")
        for entry in self.cross_replace_words:
            _word_fraction(entry)
        if self.cross_attention not in CROSS_ATTENTION:
            raise SettingsError(
                f"The cross_attention '{self.cross_attention}' is unknown; use {', '.join(CROSS_ATTENTION)}."
            )
        if not 0 <= self.caption_min_tokens <= self.caption_max_tokens or self.caption_max_tokens < 1:
            raise SettingsError(
                f"A caption of {self.caption_min_tokens} to {self.caption_max_tokens} tokens was asked for; "
                "give a least and a greatest number in that order, such as 20 and 100."
            )

    @property
    def word_fractions(self) -> tuple[tuple[str, float], ...]:
        """Return `cross_replace_words`, read: (words, fraction of steps with the source's cross-attention)."""
        return tuple(_word_fraction(entry) for entry in self.cross_replace_words)


def _word_fraction(entry: str) -> tuple[str, float]:
    """Read "beach=0.4" as ("beach", 0.4). Raises `SettingsError`."""
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
    classifiers: dict[str, str]  # name shown -> whatever `sources.family_of` knows; the first is the default
    # pixels, width and height of the pictures the editor works on
    image_size: Annotated[int, Field(ge=8), "8 pixels or more, such as 512"]
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    # captioner and language model in so many bits, on CUDA with bitsandbytes
    quantization: Annotated[Literal["", "8-bit", "4-bit"], '8-bit, 4-bit or "" for neither'] = ""
    compiled: bool = (
        False  # torch.compile for the UNet: each size of batch costs minutes once, then its calls are cheaper
    )
    licence: str = ""
    sizes: dict[str, float] = field(default_factory=dict)  # GB to fetch, by role as in `models_of`
    parameters: dict[str, float] = field(default_factory=dict)  # billions, by role; they give the memory
    seconds: str = ""  # how long one photo takes, in words
    examples: str = ""  # ImageFolder with pictures to click first
    demo: str = ""  # folder of the demo project that a new data folder starts with; "" for none
    evaluation: dict[str, str] = field(default_factory=dict)  # split name ("original", "ood") -> ImageFolder
    measures: dict[str, str] = field(default_factory=dict)  # lpips, dino -> folder with safetensors, or a hub id
    min_round_trip: float = 0.0  # dB: below it a picture lies outside what the autoencoder knows; 0 switches it off
    outside_hint: str = ""  # what to tell the analyst then
    source: str = ""  # what loads it again: the name of one that comes with the tool, else its file's name
    families: dict[str, str] = field(default_factory=dict)  # role -> entry of its dict in models.py; absent: the first
    settings: Settings = field(default_factory=Settings)
