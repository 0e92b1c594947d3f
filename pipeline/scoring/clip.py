"""How well an edit did: CLIP cosines, the gates on them, and the tau that is chosen.

Knows neither labels nor classifiers, and of the scores themselves only what `pipeline/scores.py` says. `missed_gates`
and `choose_tau` are pure; importing this module loads no model library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast

from pipeline.errors import ModelError, display_name
from pipeline.runtime.fingerprints import of_preprocessing, of_weights
from pipeline.scores import SCORES, Embedded, Scores, unit
from pipeline.settings import Settings
from pipeline.types import CounterfactualRecord

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

Made = TypeVar("Made", bound=CounterfactualRecord)
BATCH = 32  # pictures or sentences a pass


class ClipModel(Protocol):
    """What is used of an open_clip model."""

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """Turn (n, 3, h, w) into (n, width)."""
        ...

    def encode_text(self, text: torch.Tensor) -> torch.Tensor:
        """Turn (n, tokens) into (n, width)."""
        ...


class OpenClipScorer:
    """An open_clip model with its preprocessing and tokenizer; implements `types.Scorer`."""

    def __init__(
        self,
        model: ClipModel,
        preprocess: Callable[[Image], torch.Tensor],
        tokenize: Callable[[list[str]], torch.Tensor],
        device: str,
    ) -> None:
        """Take what `from_pretrained` opened; the model is in evaluation mode on the device."""
        self._device = device
        self._model = model
        self._preprocess = preprocess
        self._tokenize = tokenize
        self._fingerprint = ""

    @classmethod
    def from_pretrained(cls, path: str, *, device: str) -> Self:
        """Open a local folder, "hf-hub:owner/name", or "architecture:weights" as open_clip lists them."""
        import open_clip

        name, weights = _source(path)
        model, preprocess = open_clip.create_model_from_pretrained(
            name, pretrained=weights, precision="fp32", device=device
        )
        return cls(cast("ClipModel", model.eval()), preprocess, open_clip.get_tokenizer(name), device)

    @property
    def fingerprint(self) -> str:
        """Return a hash of weights and preprocessing."""
        if not self._fingerprint:
            network = cast("torch.nn.Module", self._model)
            self._fingerprint = of_weights(network, of_preprocessing(self._preprocess))
        return self._fingerprint

    def score(self, image: Image, caption: str, edited: Sequence[tuple[Image, str]]) -> tuple[Scores, ...]:
        """Return the scores of each (edited picture, edited caption) against one source, all in one batch.

        Raises `ModelError` when a cosine is not a number.
        """
        if not edited:
            return ()
        images = self._embed_images([image, *(picture for picture, _ in edited)])
        captions = self._embed_captions([caption, *(words for _, words in edited)])
        found = Embedded(image=images[:1], caption=captions[:1], edited_image=images[1:], edited_caption=captions[1:])
        columns = [score.formula(found).expand(len(edited)).tolist() for score in SCORES.values()]
        return tuple(Scores(**dict(zip(SCORES, row, strict=True))) for row in zip(*columns, strict=True))

    def embed(self, images: Sequence[Image]) -> NDArray[np.floating]:
        """Return (n, width) unit vectors of the pictures. Raises `ModelError` when one is not a number."""
        return self._embed_images(images).numpy()

    def _embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Return (n, width) unit vectors."""
        import torch

        pixels = torch.stack([self._preprocess(image) for image in images])
        return self._embed(self._model.encode_image, pixels)

    def _embed_captions(self, captions: Sequence[str]) -> torch.Tensor:
        """Return (n, width) unit vectors; each distinct caption is read once."""
        distinct = list(dict.fromkeys(captions))
        vectors = self._embed(self._model.encode_text, self._tokenize(distinct))
        return vectors[[distinct.index(caption) for caption in captions]]

    def _embed(self, encode: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            parts = [encode(part.to(self._device)).float() for part in torch.split(inputs, BATCH)]
        vectors = torch.cat(parts).cpu()
        if not torch.isfinite(vectors).all():
            raise ModelError(
                "CLIP gave values that are not numbers for these pictures or captions, so the edits cannot be scored; "
                "check the scorer's weights, or run it in float32."
            )
        return unit(vectors)


def missed_gates(scores: Scores, settings: Settings) -> tuple[str, ...]:
    """Return a sentence, with its figures, per gate that the scores miss; () when the edit may be kept."""
    sentences = (score.missed(getattr(scores, name), settings) for name, score in SCORES.items())
    return tuple(sentence for sentence in sentences if sentence)


def choose_tau(counterfactuals: Iterable[Made]) -> Made | None:
    """Return the candidate of the best directional similarity that misses no gate; of equal ones the larger tau.

    None when every candidate misses a gate.
    """
    passing = [candidate for candidate in counterfactuals if not candidate.missed]
    return max(passing, key=lambda candidate: (candidate.scores.directional_similarity, candidate.tau), default=None)


def _source(path: str) -> tuple[str, str | None]:
    """Return open_clip's (model name, pretrained tag) for what a profile says."""
    if Path(path).is_dir():
        if not any(Path(path).glob("*.safetensors")):
            raise ModelError("The CLIP folder holds no .safetensors weights; other formats are not opened.", path=path)
        return f"local-dir:{path}", None
    if path.startswith("hf-hub:"):
        return path, None
    name, _, tag = path.partition(":")
    if not tag:
        raise ModelError(
            f"The CLIP model '{display_name(path)}' is neither a folder nor of the form 'ViT-L-14-quickgelu:openai' or "
            "'hf-hub:owner/name'; correct the profile.",
            path=path,
        )
    return name, tag
