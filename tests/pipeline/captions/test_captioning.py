"""The captioners on tiny random checkpoints with a whole-word vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

from pipeline.captions.captioning import BEAMS, PICTURES, Blip2Captioner, BlipCaptioner, caption_notes
from pipeline.errors import ModelError
from pipeline.settings import Settings

WORDS = ["<pad>", "<unk>", "<start>", "<end>", "<image>", "a", "photo", "of", "sketch", "brown", "dog", "cat", "sled"]
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
SHORT = Settings(caption_prefix="", caption_min_tokens=4, caption_max_tokens=9, repetition_penalty=1.0)


def tokenizer(template: str) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, WORDS.index(word)) for word in ("<start>", "<end>")]
    words.post_processor = processors.TemplateProcessing(single=template, special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<start>", eos_token="<end>", unk_token="<unk>", pad_token="<pad>"
    )


def pictures() -> BlipImageProcessor:
    return BlipImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def make_blip2(folder: Path, *, image_token: int | None = 4, says: str = "") -> Path:
    """A random BLIP-2; with `says` its language model prefers that word whatever it sees."""
    opt = OPTConfig(
        vocab_size=len(WORDS), hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64, bos_token_id=2, eos_token_id=3, pad_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    config = Blip2Config(
        vision_config=Blip2VisionConfig(image_size=32, patch_size=8, **SMALL).to_dict(),
        qformer_config=Blip2QFormerConfig(vocab_size=len(WORDS), encoder_hidden_size=32, **SMALL).to_dict(),
        text_config=opt.to_dict(),
        num_query_tokens=4,
        image_token_index=image_token,
        tie_word_embeddings=False,
    )
    torch.manual_seed(1)
    model = Blip2ForConditionalGeneration(config)
    words = model.language_model.get_output_embeddings().weight
    torch.nn.init.normal_(words)
    if says:
        last = model.language_model.model.decoder.final_layer_norm
        torch.nn.init.zeros_(last.weight)
        last.bias.data = 0.1 * words[WORDS.index(says)].detach()
    model.save_pretrained(folder)
    Blip2Processor(pictures(), tokenizer("<start> $A"), num_query_tokens=4).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_blip2(tmp_path_factory.mktemp("blip2"))


@pytest.fixture(scope="module")
def captioner(folder: Path) -> Blip2Captioner:
    return opened(folder)


def opened(folder: Path) -> Blip2Captioner:
    return Blip2Captioner.from_pretrained(str(folder), device="cpu", dtype="float32")


def picture(seed: int = 0) -> Image.Image:
    pixels = torch.randint(0, 256, (32, 48, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


@pytest.mark.parametrize("prefix", ["", "a photo of"])
def test_a_caption_is_what_transformers_own_prompt_gives(folder: Path, captioner: Blip2Captioner, prefix: str) -> None:
    model = Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    processor = Blip2Processor.from_pretrained(folder)
    inputs = processor(images=picture(), text=prefix or None, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, min_new_tokens=4, max_new_tokens=9, num_beams=BEAMS, do_sample=False)
    expected = processor.tokenizer.decode(tokens[0], skip_special_tokens=True)
    settings = Settings(caption_prefix=prefix, caption_min_tokens=4, caption_max_tokens=9, repetition_penalty=1.0)
    assert captioner.caption(picture(), settings) == " ".join(expected.split())
    assert expected.startswith(prefix)


def test_the_same_picture_gives_the_same_caption_and_another_picture_another(captioner: Blip2Captioner) -> None:
    first = captioner.caption(picture(), SHORT)
    torch.manual_seed(99)
    assert captioner.caption(picture(), SHORT) == first
    assert any(captioner.caption(picture(seed), SHORT) != first for seed in range(1, 6))


def test_several_pictures_at_once_are_described_as_each_alone(captioner: Blip2Captioner) -> None:
    images = [picture(seed) for seed in range(PICTURES + 1)]
    assert captioner.captions(images, SHORT) == tuple(captioner.caption(image, SHORT) for image in images)


@pytest.mark.parametrize("n", [1, 3, BEAMS + 1])
def test_candidates_differ_and_begin_with_the_caption(captioner: Blip2Captioner, n: int) -> None:
    found = captioner.candidates(picture(), SHORT, n)
    assert len(set(found)) == len(found) <= n
    if n <= BEAMS:
        assert found[0] == captioner.caption(picture(), SHORT)
    assert (len(found) > 1) == (n > 1)


@pytest.mark.parametrize(
    ("caption", "label", "note"),
    [
        ("a photo of a brown dog with a sled next to a tree", "sled", ""),
        ("a photo of a brown dog with a sled next to a tree", "kite", "does not name the label 'kite'"),
        ("a photo of a dog", "", "has 5 words"),
        ("a dog on a sled and a dog on a sled in the snow", "", "repeats itself: 'a dog on'"),
    ],
)
def test_quality(caption: str, label: str, note: str) -> None:
    notes = caption_notes(caption, label)
    assert len(notes) == bool(note)
    assert note in "".join(notes)


def test_the_bounds_count_new_words(tmp_path: Path) -> None:
    dog = opened(make_blip2(tmp_path / "dog", says="dog"))
    assert dog.caption(picture(), SHORT) == " ".join(["dog"] * 9)
    silent = opened(make_blip2(tmp_path / "silent", says="<end>"))
    settings = Settings(caption_prefix="", caption_min_tokens=4, caption_max_tokens=9)
    assert len(silent.caption(picture(), settings).split()) >= 3


def test_the_repetition_penalty_keeps_words_from_coming_again(tmp_path: Path) -> None:
    dog = opened(make_blip2(tmp_path, says="dog"))
    penal = Settings(caption_prefix="", caption_min_tokens=6, caption_max_tokens=9, repetition_penalty=50.0)
    assert len(set(dog.caption(picture(), penal).split())) > 1


def test_an_empty_caption_is_an_error(tmp_path: Path) -> None:
    silent = opened(make_blip2(tmp_path, says="<end>"))
    with pytest.raises(ModelError, match="nothing to say"):
        silent.caption(picture(), Settings(caption_min_tokens=0, repetition_penalty=1.0))


def test_checkpoints_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="image_token_index"):
        opened(make_blip2(tmp_path / "old", image_token=None))
    t5 = T5Config(vocab_size=len(WORDS), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(image_size=32, patch_size=8, **SMALL).to_dict(),
        qformer_config=Blip2QFormerConfig(vocab_size=len(WORDS), encoder_hidden_size=32, **SMALL).to_dict(),
        text_config=t5.to_dict(),
        num_query_tokens=4,
        image_token_index=4,
    )
    Blip2ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    with pytest.raises(ModelError, match="decoder-only"):
        opened(tmp_path / "t5")


def test_blip_begins_with_the_prefix_and_keeps_the_bounds(tmp_path: Path) -> None:
    text = BlipTextConfig(
        vocab_size=len(WORDS), encoder_hidden_size=32, max_position_embeddings=32, bos_token_id=2, sep_token_id=3,
        eos_token_id=3, pad_token_id=0, is_decoder=True, **SMALL,
    )  # fmt: skip
    vision = BlipVisionConfig(image_size=32, patch_size=8, **SMALL)
    config = BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    torch.manual_seed(0)
    BlipForConditionalGeneration(config).save_pretrained(tmp_path)
    BlipProcessor(pictures(), tokenizer("<start> $A <end>")).save_pretrained(tmp_path)
    captioner = BlipCaptioner.from_pretrained(str(tmp_path), device="cpu", dtype="float32")
    settings = Settings(caption_prefix="a photo of", caption_min_tokens=4, caption_max_tokens=6)
    caption = captioner.caption(picture(), settings)
    assert caption.startswith("a photo of ")
    assert caption == captioner.caption(picture(), settings)
    assert captioner.captions([picture()] * 2, settings) == (caption, caption)
    assert captioner.candidates(picture(), settings, 2)[0] == caption
    assert len(caption.split()) <= 3 + 6
