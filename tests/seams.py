"""Small models of the pipeline's protocols with real arithmetic on colours, for tests of what lies around the models.

A picture shows a colour; the classifier is a linear head on the mean colours of its quarters, the editor blends the
colour that an edited caption names into the picture, the more the smaller tau is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from PIL.Image import Image

from pipeline.editing.axes import TAU
from pipeline.errors import EditingError, InputError, PerturbationError, display_name
from pipeline.scores import Scores
from pipeline.settings import Profile, Settings
from pipeline.types import Axis, Edit, Factor, Inversion, Perturbation, Prediction, Step, WordMap

LABELS = ("red", "green", "blue")
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220), "yellow": (230, 230, 40)}
SIZE = 16
WORDS = {"background": "on yellow", "object": "beside green", "subject": "under blue"}


def picture(colour: str, seed: int = 0, size: int = SIZE) -> Image:
    """A noisy plane of one colour; every seed gives other pixels."""
    noise = np.random.default_rng(seed).integers(-25, 26, (size, size, 3))
    return PIL.Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8))


def quarters(image: Image) -> np.ndarray:
    """(12,) mean colours of the four quarters, 0..1, float32."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    rows, columns = np.array_split(np.arange(pixels.shape[0]), 2), np.array_split(np.arange(pixels.shape[1]), 2)
    return np.concatenate([pixels[np.ix_(row, column)].mean(axis=(0, 1)) for row in rows for column in columns])


def cosine(first: np.ndarray, other: np.ndarray) -> float:
    """Of the angle between two vectors; 0 when one of them is 0."""
    return float(first @ other / max(1e-9, float(np.linalg.norm(first) * np.linalg.norm(other))))


class ColourClassifier:
    """A linear head on `quarters`; weight (3, 12), bias (3,). Only what hands tensors over needs torch."""

    def __init__(self, weight: np.ndarray, bias: Sequence[float], name: str = "colour") -> None:
        self.weight, self.bias, self._name = weight.astype(np.float32), np.asarray(bias, dtype=np.float32), name
        self.seen = 0  # pictures predicted so far

    @classmethod
    def plain(cls, name: str = "colour") -> ColourClassifier:
        """Each label's row looks at its own channel alone."""
        return cls(np.tile(np.eye(3), 4) * 2, (0, 0, 0), name)

    @classmethod
    def from_folder(cls, folder: Path) -> ColourClassifier:
        """What `save` wrote."""
        stored = json.loads((folder / "config.json").read_text())
        return cls(np.array(stored["weight"]), stored["bias"], str(folder))

    @property
    def name(self) -> str:
        return self._name

    @property
    def labels(self) -> tuple[str, ...]:
        return LABELS

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.weight.tobytes() + self.bias.tobytes()).hexdigest()

    def predict(self, images: Sequence[Image]) -> tuple[Prediction, ...]:
        self.seen += len(images)
        return tuple(self._one(quarters(image)) for image in images)

    def _one(self, seen: np.ndarray) -> Prediction:
        powers = np.exp(self.weight @ seen + self.bias)
        return Prediction(labels=LABELS, probabilities=powers / powers.sum())

    def features(self, images: Sequence[Image]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.stack([quarters(image) for image in images]))

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        return torch.tensor(self.weight), torch.tensor(self.bias)

    def grad_cam(self, images: Sequence[Image], label: str) -> tuple[np.ndarray, ...]:
        """None: it has no convolution."""
        return ()

    def with_head(self, weight: torch.Tensor, bias: torch.Tensor) -> ColourClassifier:
        return ColourClassifier(weight.numpy(), bias.tolist(), self._name)

    def save(self, folder: Path, card: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(card)
        (folder / "config.json").write_text(json.dumps({"weight": self.weight.tolist(), "bias": self.bias.tolist()}))


class ColourCaptioner:
    """Names the colour that is strongest."""

    calls = 0

    def caption(self, image: Image, settings: Settings) -> str:
        self.calls += 1
        return f"a photo of a {LABELS[int(quarters(image)[:3].argmax())]} plane on white"

    def captions(self, images: Sequence[Image], settings: Settings) -> tuple[str, ...]:
        return tuple(self.caption(image, settings) for image in images)

    def candidates(self, image: Image, settings: Settings, n: int) -> tuple[str, ...]:
        return (self.caption(image, settings), "a wall on white")[:n]


class WordPerturber:
    """Appends the factor's words; the factors in `broken` get an answer that nobody can read."""

    def __init__(self, broken: tuple[str, ...] = (), rejected: tuple[str, ...] = ()) -> None:
        self.broken, self.rejected = broken, rejected

    def perturb(self, caption: str, factor: Factor, label: str, settings: Settings) -> tuple[Perturbation, ...]:
        if factor.name in self.broken:
            raise PerturbationError(f"The answer for {factor.name} could not be read.", raw="?!")
        words = WORDS.get(factor.name, f"in {factor.name}")
        return (self.judge(caption, caption.replace("on white", words), factor.name, label, settings),)

    def judge(self, caption: str, edited_caption: str, factor: str, label: str, settings: Settings) -> Perturbation:
        rejected = ("The gate of the test objects: 0.1 is below 0.2.",) if factor in self.rejected else ()
        words = WORDS.get(factor, f"in {factor}")
        return Perturbation(
            caption=caption,
            edited_caption=edited_caption,
            factor=factor,
            original="on white",
            edit=words,
            rejected_by=rejected,
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """One direction per word, so that texts with common words are alike."""
        rows = np.zeros((len(texts), 64))
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                row[sum(map(ord, word)) % 64] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def wished(caption: str) -> str:
    """The colour that the last word of a caption names; yellow when it names none."""
    last = caption.rsplit(maxsplit=1)[-1]
    return last if last in COLOURS else "yellow"


class BlendEditor:
    """Blends in the wished colour; `broken` pictures (by their mean) cannot be inverted."""

    def __init__(self) -> None:
        self.inversions = 0
        self.edited: list[str] = []
        self.broken_below = -1.0  # mean colour below which a picture cannot be inverted
        self.fingerprint = "blend"

    def invert(self, image: Image, caption: str, settings: Settings, step: Step | None = None) -> Inversion:
        self.inversions += 1
        if float(quarters(image).mean()) < self.broken_below:
            raise EditingError("The inversion gave values that are not numbers; try another picture.")
        for done in range(settings.num_inference_steps):
            if step is not None:
                step(done + 1, settings.num_inference_steps)
        return Inversion(
            caption=caption,
            method=settings.inversion,
            trajectory=torch.zeros(settings.num_inference_steps + 1, 1, 1, 1),
            uncond_embeddings=None,
            reconstruction=image.point(lambda value: value * 31 // 32),
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
        )

    def edit(
        self, inversion: Inversion, edited_captions: Sequence[str], settings: Settings, step: Step | None = None
    ) -> Iterator[Edit]:
        self.edited.extend(edited_captions)
        for done, tau in enumerate(settings.taus):  # one tau of all captions before the next, as forks come out
            for index, caption in enumerate(edited_captions):
                plane = PIL.Image.new("RGB", inversion.reconstruction.size, COLOURS[wished(caption)])
                yield Edit(index=index, tau=tau, image=PIL.Image.blend(inversion.reconstruction, plane, 1 - tau))
            if step is not None:
                step(done + 1, len(settings.taus))

    def word_maps(self, inversion: Inversion, step: Step | None = None) -> tuple[WordMap, ...]:
        return tuple(WordMap(word=word, weights=np.full((2, 2), 0.1, np.float32)) for word in inversion.caption.split())

    def round_trip(self, image: Image) -> float:
        return 30.0


class ColourScorer:
    """Cosines of mean colours; an edit that hardly changed anything has no direction."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.fingerprint = "colours"

    def score(self, image: Image, caption: str, edited: Sequence[tuple[Image, str]]) -> tuple[Scores, ...]:
        self.batches.append(len(edited))
        return tuple(self._one(image, other, words) for other, words in edited)

    def _one(self, image: Image, other: Image, words: str) -> Scores:
        before, after = quarters(image), quarters(other)
        wish = np.tile(COLOURS[wished(words)], 4) / 255
        return Scores(
            image_similarity=1 - float(np.abs(after - before).mean()),
            source_alignment=0.9,
            edited_alignment=cosine(after, wish),
            directional_similarity=cosine(after - before, wish - before) * cosine(after, wish),
            prefers_edit=float(np.linalg.norm(after - before)) - 0.1,
        )


SETTINGS = Settings(
    factors=("subject", "object", "background"),
    taus=(0.2, 0.5, 0.8),
    num_inference_steps=3,
    min_image_similarity=0.6,
    min_source_alignment=0.0,
    min_edited_alignment=0.0,
    min_directional_similarity=0.1,
)
PROFILE = Profile(
    name="seams",
    description="colours",
    captioner="c",
    perturber="p",
    perturber_adapter="",
    sentences="s",
    diffusion="d",
    clip="clip",
    classifiers={"colour": "colour", "other": "other"},
    image_size=SIZE,
    settings=SETTINGS,
)


@dataclass
class SeamModels:
    """All of the above as one profile."""

    profile: Profile = PROFILE
    axis: Axis = TAU
    captioner: ColourCaptioner = field(default_factory=ColourCaptioner)
    perturber: WordPerturber = field(default_factory=WordPerturber)
    editor: BlendEditor = field(default_factory=BlendEditor)
    scorer: ColourScorer = field(default_factory=ColourScorer)
    classifiers: dict[str, ColourClassifier] = field(
        default_factory=lambda: {
            "colour": ColourClassifier.plain(),
            "other": ColourClassifier(np.tile(np.eye(3), 4), (0.5, 0, 0), "other"),
        }
    )

    def adopt(self, root: Path) -> None:
        """Knows no folders."""

    def admit(self, text: str) -> str:
        """Every text names a classifier or is refused when it is opened."""
        return text

    def classifier(self, name: str = "") -> ColourClassifier:
        if name and name not in self.classifiers:
            if not (Path(name) / "config.json").is_file():
                raise InputError(f"There is no classifier '{display_name(name)}'.", path=name)
            return ColourClassifier.from_folder(Path(name))
        return self.classifiers[name or "colour"]


def settings(**changes: object) -> Settings:
    """`SETTINGS` with changes."""
    return replace(SETTINGS, **changes)  # type: ignore[arg-type]


def folder_of(root: Path, each: int = 2) -> Path:
    """An ImageFolder with `each` pictures of every label."""
    for number, label in enumerate(LABELS):
        (root / label).mkdir(parents=True)
        for place in range(each):
            picture(label, seed=10 * number + place).save(root / label / f"{place}.png")
    return root
