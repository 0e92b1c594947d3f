"""Picture -> one sentence that describes it, with BLIP-2 (Li et al., 2023) or its small forerunner BLIP (2022).

Knows neither factors nor labels: what the sentence is used for is decided elsewhere. Decoding follows Li et al. (2024):
a lower bound on the length and a repetition penalty, so that the sentence names enough to be varied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypedDict, TypeVar, cast

from pipeline.errors import ModelError

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

    from pipeline.types import Settings

Model = TypeVar("Model", bound="torch.nn.Module")

BEAMS = 5  # BLIP's and BLIP-2's own choice for captions


class Decoding(TypedDict):
    """How the words are searched for; without sampling, so the same picture gives the same caption."""

    min_new_tokens: int
    max_new_tokens: int
    repetition_penalty: float
    num_beams: int
    do_sample: bool


class Blip2Captioner:
    """A BLIP-2 model with its processor; implements `types.Captioner`."""

    def __init__(self, model: Blip2ForConditionalGeneration, processor: Blip2Processor) -> None:
        """Takes what `from_pretrained` opened."""
        self._model = model
        self._processor = processor

    @classmethod
    def from_pretrained(cls, path: str, *, device: str, dtype: str) -> Self:
        """Opens a local folder or hub id, safetensors only.

        Raises `ModelError` for a checkpoint from before BLIP-2 had an image token, or one with T5 instead of OPT.
        """
        from transformers import Blip2ForConditionalGeneration, Blip2Processor

        model = Blip2ForConditionalGeneration.from_pretrained(path, use_safetensors=True, dtype=dtype)
        if model.config.image_token_index is None or model.language_model.config.is_encoder_decoder:
            raise ModelError(
                f"The captioner '{path}' has no image_token_index in its config.json or no decoder-only language "
                "model; use a BLIP-2 checkpoint such as Salesforce/blip2-opt-2.7b."
            )
        return cls(_ready(model, device), Blip2Processor.from_pretrained(path))

    def caption(self, image: Image, settings: Settings) -> str:
        """One line of text, `settings.caption_prefix` first; the same picture and settings give the same line.

        Raises `ModelError` when the model has nothing to say.
        """
        import torch

        prompt = self._prompt(settings.caption_prefix)
        pixels = self._processor.image_processor(images=image, return_tensors="pt").pixel_values
        with torch.inference_mode():
            tokens = self._model.generate(
                pixel_values=pixels.to(self._model.device, self._model.dtype),
                input_ids=cast("torch.LongTensor", torch.tensor([prompt], device=self._model.device)),
                **_decoding(settings),
            )[0]
        spoken: str = self._processor.tokenizer.decode(tokens[len(prompt) :], skip_special_tokens=True)
        return _sentence(settings.caption_prefix, spoken)

    def _prompt(self, prefix: str) -> list[int]:
        """Image tokens, begin token, prefix: BLIP-2's own order, whatever the version of the processor's files."""
        config = self._model.config
        image_token, begin = cast("int", config.image_token_index), cast("OPTConfig", config.text_config).bos_token_id
        words: list[int] = self._processor.tokenizer(prefix, add_special_tokens=False).input_ids if prefix else []
        return [image_token] * config.num_query_tokens + [cast("int", begin)] + words


class BlipCaptioner:
    """A BLIP model with its processor; implements `types.Captioner`."""

    def __init__(self, model: BlipForConditionalGeneration, processor: BlipProcessor) -> None:
        """Takes what `from_pretrained` opened."""
        self._model = model
        self._processor = processor

    @classmethod
    def from_pretrained(cls, path: str, *, device: str, dtype: str) -> Self:
        """Opens a local folder or hub id, safetensors only."""
        from transformers import BlipForConditionalGeneration, BlipProcessor

        model = BlipForConditionalGeneration.from_pretrained(path, use_safetensors=True, dtype=dtype)
        return cls(_ready(model, device), BlipProcessor.from_pretrained(path))

    def caption(self, image: Image, settings: Settings) -> str:
        """As `Blip2Captioner.caption`."""
        import torch

        # BLIP puts its begin token over the first of these and drops the last.
        prompt = self._processor.tokenizer(settings.caption_prefix, return_tensors="pt").input_ids
        pixels = self._processor.image_processor(images=image, return_tensors="pt").pixel_values
        with torch.inference_mode():
            tokens = self._model.generate(
                pixel_values=pixels.to(self._model.device, self._model.dtype),
                input_ids=prompt.to(self._model.device),
                **_decoding(settings),
            )[0]
        spoken: str = self._processor.tokenizer.decode(tokens[prompt.shape[1] - 1 :], skip_special_tokens=True)
        return _sentence(settings.caption_prefix, spoken)


def _ready(model: Model, device: str) -> Model:
    cast("torch.nn.Module", model).to(device).train(False)
    return model


def _decoding(settings: Settings) -> Decoding:
    return Decoding(
        min_new_tokens=settings.caption_min_tokens,
        max_new_tokens=settings.caption_max_tokens,
        repetition_penalty=settings.repetition_penalty,
        num_beams=BEAMS,
        do_sample=False,
    )


def _sentence(prefix: str, spoken: str) -> str:
    if not spoken.strip():
        raise ModelError(
            "The captioner had nothing to say about this picture; write the caption by hand, "
            "or lower the repetition penalty."
        )
    return " ".join(f"{prefix} {spoken}".split())
