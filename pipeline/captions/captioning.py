"""Picture -> one sentence that describes it, with BLIP-2 (Li et al., 2023) or its small forerunner BLIP (2022).

Knows no factors: what the sentence is used for is decided elsewhere. Decoding follows Li et al. (2024): a lower bound
on the length and a repetition penalty, so that the sentence names enough to be varied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self, TypedDict, TypeVar, cast

from pipeline.captions.lexicon import synonyms
from pipeline.captions.wording import find_name_ends, words
from pipeline.errors import ModelError
from pipeline.runtime.devices import weights_in

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import (
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipForConditionalGeneration,
        BlipProcessor,
        OPTConfig,
    )

    from pipeline.settings import Settings

Model = TypeVar("Model", bound="torch.nn.Module")

BEAMS = 5  # BLIP's and BLIP-2's own choice for captions
PICTURES = 8  # described at once
FEW_WORDS = 8  # fewer leave little to vary
SAME_WORDS = 3  # in a row, that a sentence does not say twice unless it repeats itself


class Decoding(TypedDict):
    """How the words are searched for; without sampling, so the same picture gives the same caption."""

    min_new_tokens: int
    max_new_tokens: int
    repetition_penalty: float
    num_beams: int
    num_return_sequences: int
    do_sample: bool


class _Captioner(ABC):
    """What both models have in common: from what they speak to captions."""

    def caption(self, image: Image, settings: Settings) -> str:
        """Return one line of text, `settings.caption_prefix` first: for the same picture and settings the same line.

        Raises `ModelError` when the model has nothing to say.
        """
        return self.captions([image], settings)[0]

    def captions(self, images: Sequence[Image], settings: Settings) -> tuple[str, ...]:
        """Return a caption for each picture, as `caption` gives it, several pictures at a time."""
        return _caption_each(self._generate, images, settings)

    def candidates(self, image: Image, settings: Settings, n: int) -> tuple[str, ...]:
        """Return at most `n` different captions to choose from, the one that `caption` gives first."""
        return _distinct_captions(self._generate([image], settings, n), settings)

    @abstractmethod
    def _generate(self, images: Sequence[Image], settings: Settings, each: int) -> list[str]:
        """Return `each` beams for every picture, best first, without the prefix."""


class Blip2Captioner(_Captioner):
    """A BLIP-2 model with its processor; implements `types.Captioner`."""

    def __init__(self, model: Blip2ForConditionalGeneration, processor: Blip2Processor) -> None:
        """Take what `from_pretrained` opened."""
        self._model = model
        self._processor = processor

    @classmethod
    def from_pretrained(cls, path: str, *, device: str, dtype: str, quantization: str = "") -> Self:
        """Open a local folder or hub id, safetensors only; `quantization` is "8-bit", "4-bit" or "".

        Raises `ModelError` for a checkpoint from before BLIP-2 had an image token, or one with T5 instead of OPT.
        """
        from transformers import Blip2ForConditionalGeneration, Blip2Processor

        told = weights_in(device, dtype, quantization)
        model = Blip2ForConditionalGeneration.from_pretrained(path, use_safetensors=True, **told)
        if model.config.image_token_index is None or model.language_model.config.is_encoder_decoder:
            raise ModelError(
                "The captioner has no image_token_index in its config.json or no decoder-only language model; use a "
                "BLIP-2 checkpoint such as Salesforce/blip2-opt-2.7b.",
                path=path,
            )
        return cls(_prepare(model, "" if quantization else device), Blip2Processor.from_pretrained(path))

    def _generate(self, images: Sequence[Image], settings: Settings, each: int) -> list[str]:
        import torch

        prompt = self._prompt(settings.caption_prefix)
        pixels = self._processor.image_processor(images=list(images), return_tensors="pt").pixel_values
        with torch.inference_mode():
            tokens = self._model.generate(
                pixel_values=pixels.to(self._model.device, self._model.dtype),
                input_ids=cast("torch.LongTensor", torch.tensor([prompt] * len(images), device=self._model.device)),
                **_decoding(settings, each),
            )
        return cast(
            "list[str]", self._processor.tokenizer.batch_decode(tokens[:, len(prompt) :], skip_special_tokens=True)
        )

    def _prompt(self, prefix: str) -> list[int]:
        """Return image tokens, begin token, prefix: BLIP-2's own order, whatever version the processor's files have."""
        config = self._model.config
        image_token, begin = cast("int", config.image_token_index), cast("OPTConfig", config.text_config).bos_token_id
        words: list[int] = self._processor.tokenizer(prefix, add_special_tokens=False).input_ids if prefix else []
        return [image_token] * config.num_query_tokens + [cast("int", begin)] + words


class BlipCaptioner(_Captioner):
    """A BLIP model with its processor; implements `types.Captioner`."""

    def __init__(self, model: BlipForConditionalGeneration, processor: BlipProcessor) -> None:
        """Take what `from_pretrained` opened."""
        self._model = model
        self._processor = processor

    @classmethod
    def from_pretrained(cls, path: str, *, device: str, dtype: str, quantization: str = "") -> Self:
        """Open a local folder or hub id, safetensors only; `quantization` is "8-bit", "4-bit" or ""."""
        from transformers import BlipForConditionalGeneration, BlipProcessor

        told = weights_in(device, dtype, quantization)
        model = BlipForConditionalGeneration.from_pretrained(path, use_safetensors=True, **told)
        return cls(_prepare(model, "" if quantization else device), BlipProcessor.from_pretrained(path))

    def _generate(self, images: Sequence[Image], settings: Settings, each: int) -> list[str]:
        import torch

        # BLIP puts its begin token over the first of these and drops the last.
        prompt = self._processor.tokenizer([settings.caption_prefix] * len(images), return_tensors="pt").input_ids
        pixels = self._processor.image_processor(images=list(images), return_tensors="pt").pixel_values
        with torch.inference_mode():
            tokens = self._model.generate(
                pixel_values=pixels.to(self._model.device, self._model.dtype),
                input_ids=prompt.to(self._model.device),
                **_decoding(settings, each),
            )
        begin = prompt.shape[1] - 1
        return cast("list[str]", self._processor.tokenizer.batch_decode(tokens[:, begin:], skip_special_tokens=True))


def caption_notes(caption: str, label: str = "") -> tuple[str, ...]:
    """Return what an analyst should look at before relying on the caption; () when nothing stands out."""
    said, notes = words(caption), []
    if len(said) < FEW_WORDS:
        notes.append(f"The caption has {len(said)} words; with fewer than {FEW_WORDS} there is little to vary.")
    runs = Counter(tuple(said[start : start + SAME_WORDS]) for start in range(len(said) - SAME_WORDS + 1))
    if repeated := [" ".join(run) for run, times in runs.items() if times > 1]:
        notes.append(f"The caption repeats itself: '{repeated[0]}'.")
    if label and not find_name_ends(said, synonyms(label)):
        notes.append(f"The caption does not name the label '{label}'; name it, so that no variation replaces it.")
    return tuple(notes)


def _caption_each(
    spoken: Callable[[Sequence[Image], Settings, int], list[str]], images: Sequence[Image], settings: Settings
) -> tuple[str, ...]:
    portions = (images[start : start + PICTURES] for start in range(0, len(images), PICTURES))
    texts = (text for portion in portions for text in spoken(portion, settings, 1))
    return tuple(_sentence(settings.caption_prefix, text) for text in texts)


def _distinct_captions(spoken: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """Return the sentences without repetitions and empty ones, in order. Raises `ModelError` when all are empty."""
    texts = [text for text in spoken if text.strip()] or list(spoken[:1])
    return tuple(dict.fromkeys(_sentence(settings.caption_prefix, text) for text in texts))


def _prepare(model: Model, device: str) -> Model:
    """Set the model to inference, on the device unless that is "": quantised weights are where they have to be."""
    network = cast("torch.nn.Module", model)
    (network.to(device) if device else network).train(False)
    return model


def _decoding(settings: Settings, each: int) -> Decoding:
    return Decoding(
        min_new_tokens=settings.caption_min_tokens,
        max_new_tokens=settings.caption_max_tokens,
        repetition_penalty=settings.repetition_penalty,
        num_beams=max(BEAMS, each),
        num_return_sequences=each,
        do_sample=False,
    )


def _sentence(prefix: str, spoken: str) -> str:
    if not spoken.strip():
        raise ModelError(
            "The captioner had nothing to say about this picture; write the caption by hand, "
            "or lower the repetition penalty."
        )
    return " ".join(f"{prefix} {spoken}".split())
