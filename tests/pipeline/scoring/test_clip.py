"""CLIP scores on a tiny random open_clip folder; gates and the choice of tau on written figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pipeline.errors import ModelError
from pipeline.scores import Scores
from pipeline.scoring.clip import OpenClipScorer, choose_tau, missed_gates
from pipeline.settings import Settings
from pipeline.types import Counterfactual, Perturbation, Prediction

WORDS = ["<pad>", "<unk>", "a", "photo", "of", "sketch", "brown", "dog", "cat", "with", "sled", "<start>", "<end>"]
CONFIG: dict[str, object] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": len(WORDS),
        "hf_tokenizer_name": "local",
        "width": 32,
        "heads": 2,
        "layers": 2,
        "pool_type": "argmax",
    },
}
GOOD = Scores(
    image_similarity=0.9, source_alignment=0.3, edited_alignment=0.3, directional_similarity=0.4, prefers_edit=0.1
)


def save_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, WORDS.index(word)) for word in ("<start>", "<end>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<start>", eos_token="<end>", unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip")
    save_tokenizer(path)
    torch.manual_seed(0)
    clip = open_clip.CLIP(CONFIG["embed_dim"], CONFIG["vision_cfg"], CONFIG["text_cfg"])
    save_file(
        {key: value.contiguous() for key, value in clip.state_dict().items()}, path / "open_clip_model.safetensors"
    )
    config = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def scorer(folder: Path) -> OpenClipScorer:
    return OpenClipScorer.from_pretrained(str(folder), device="cpu")


def noise(seed: int) -> Image.Image:
    pixels = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def test_scores_are_the_cosines_of_open_clip(scorer: OpenClipScorer, folder: Path) -> None:
    words, new_words = "a photo of a brown dog", "a sketch of a brown dog"
    scores = scorer.score(noise(0), words, [(noise(1), new_words)])[0]

    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")([words, new_words])
    with torch.inference_mode():
        i, i_new = model.eval().encode_image(torch.stack([preprocess(noise(0)), preprocess(noise(1))]), normalize=True)
        c, c_new = model.encode_text(tokens, normalize=True)
    cosine = torch.nn.functional.cosine_similarity
    assert scores.image_similarity == pytest.approx(float(i @ i_new), abs=1e-5)
    assert scores.source_alignment == pytest.approx(float(i @ c), abs=1e-5)
    assert scores.edited_alignment == pytest.approx(float(i_new @ c_new), abs=1e-5)
    assert scores.directional_similarity == pytest.approx(float(cosine(i_new - i, c_new - c, dim=0)), abs=1e-4)
    assert scores.prefers_edit == pytest.approx(float(i_new @ c_new - i_new @ c), abs=1e-5)


def test_a_batch_gives_what_single_edits_give(scorer: OpenClipScorer) -> None:
    edits = [(noise(1), "a photo of a cat"), (noise(2), "a sketch of a dog"), (noise(3), "a photo of a cat")]
    together = scorer.score(noise(0), "a photo of a dog", edits)
    alone = [scorer.score(noise(0), "a photo of a dog", [edit])[0] for edit in edits]
    assert len(together) == 3
    for first, other in zip(together, alone, strict=True):
        assert first.image_similarity == pytest.approx(other.image_similarity, abs=1e-5)
        assert first.directional_similarity == pytest.approx(other.directional_similarity, abs=1e-4)
    assert together[0].image_similarity != pytest.approx(together[2].image_similarity, abs=1e-4)


def test_nothing_changed_has_no_direction(scorer: OpenClipScorer) -> None:
    scores = scorer.score(noise(0), "a photo of a dog", [(noise(0), "a photo of a dog")])[0]
    assert scores.image_similarity == pytest.approx(1.0, abs=1e-5)
    assert (scores.directional_similarity, scores.prefers_edit) == (0.0, 0.0)
    assert scorer.score(noise(0), "a photo of a dog", []) == ()


def test_weights_that_are_not_numbers_are_reported(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "open_clip_model.safetensors")
    weights["visual.proj"][:] = float("nan")
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    broken = OpenClipScorer.from_pretrained(str(tmp_path), device="cpu")
    with pytest.raises(ModelError, match="not numbers"):
        broken.score(noise(0), "a dog", [(noise(1), "a cat")])


def test_sources_that_cannot_be_opened_say_so(tmp_path: Path) -> None:
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match="safetensors"):
        OpenClipScorer.from_pretrained(str(tmp_path), device="cpu")
    with pytest.raises(ModelError, match="correct the profile"):
        OpenClipScorer.from_pretrained("ViT-B-32", device="cpu")


def test_an_edit_above_all_thresholds_misses_no_gate() -> None:
    settings = Settings()
    assert missed_gates(GOOD, settings) == ()
    on_the_line = replace(GOOD, image_similarity=settings.min_image_similarity)
    assert missed_gates(on_the_line, settings) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_similarity": 0.5}, "image similarity 0.50 is below 0.70"),
        ({"source_alignment": 0.1}, "original caption match 0.10 is below 0.20"),
        ({"edited_alignment": -0.1}, "edited caption match -0.10 is below 0.20"),
        ({"directional_similarity": 0.12}, "directional similarity 0.12 is below 0.20"),
        ({"directional_similarity": 0.1999}, "directional similarity 0.1999 is below 0.20"),
        ({"prefers_edit": 0.0}, "preference for new words +0.000 is not above 0"),
    ],
)
def test_a_missed_gate_is_one_sentence_with_its_figures(change: dict[str, float], sentence: str) -> None:
    assert missed_gates(replace(GOOD, **change), Settings()) == (sentence,)


def test_every_missed_gate_is_told() -> None:
    bad = Scores(image_similarity=0, source_alignment=0, edited_alignment=0, directional_similarity=0, prefers_edit=-1)
    assert len(missed_gates(bad, Settings())) == 5


def candidates(figures: Sequence[tuple[float, float, bool]]) -> list[Counterfactual]:
    change = Perturbation(caption="a dog", edited_caption="a cat", factor="subject", original="dog", edit="cat")
    return [
        Counterfactual(
            key=str(tau),
            perturbation=change,
            tau=tau,
            image=noise(0),
            scores=replace(GOOD, directional_similarity=directional),
            prediction=Prediction(labels=("sled",), probabilities=(1.0,)),
            missed=() if passes else ("missed",),
        )
        for tau, directional, passes in figures
    ]


def test_the_best_passing_tau_is_chosen_and_not_the_last_one() -> None:
    chosen = choose_tau(candidates([(0.4, 0.3, True), (0.5, 0.6, True), (0.6, 0.9, False), (0.7, 0.25, True)]))
    assert chosen is not None
    assert chosen.tau == 0.5


def test_the_choice_does_not_depend_on_the_order() -> None:
    figures = [(0.4, 0.3, True), (0.5, 0.6, True), (0.8, 0.6, True)]
    for order in (figures, figures[::-1]):
        chosen = choose_tau(iter(candidates(order)))
        assert chosen is not None
        assert chosen.tau == 0.8


def test_no_tau_is_chosen_when_all_miss_a_gate() -> None:
    assert choose_tau(candidates([(0.4, 0.9, False), (0.5, 0.8, False)])) is None
    assert choose_tau([]) is None
