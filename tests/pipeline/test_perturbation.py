"""The perturber on a tiny LLaMA taught three answers in the test, a random LoRA and a random sentence encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.errors import CaptionError, ModelError, PerturbationError
from pipeline.factors import FACTORS
from pipeline.perturbation import LlamaPerturber, build_prompt, label_names, lost_label, parse_answer, word_diff
from pipeline.types import Settings

CAPTION = "a photo of a brown dog with a sled"
ANSWERS = ("a photo of a brown cat with a sled", "a photo of a brown horse with a sled", CAPTION)
TRAPS = ("a photo of a brown dog with a kite",)
SUBJECT = FACTORS["subject"]
EASY = Settings(proposals=2, max_label_similarity=1.1, min_caption_similarity=-1.1)


def vocabulary() -> list[str]:
    prompts = " ".join(build_prompt(factor.instruction, CAPTION) for factor in FACTORS.values())
    words = pre_tokenizers.Whitespace().pre_tokenize_str(" ".join((prompts, *ANSWERS, *TRAPS)))
    return ["<pad>", "<unk>", "<start>", "<end>", *dict.fromkeys(word for word, _ in words)]


def tokenizer() -> PreTrainedTokenizerFast:
    words = vocabulary()
    whole = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    whole.post_processor = processors.TemplateProcessing(single="<start> $A", special_tokens=[("<start>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=whole, bos_token="<start>", eos_token="<end>", unk_token="<unk>")


def teach(folder: Path, answers: tuple[str, ...]) -> Path:
    """A LLaMA that knows one prompt and answers it with any of `answers`; about a second."""
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=128, bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    fit(model, answers, steps=100)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def fit(model: torch.nn.Module, answers: tuple[str, ...], steps: int) -> None:
    words = tokenizer()
    prompt = words(build_prompt(SUBJECT.instruction, CAPTION)).input_ids
    spoken = [[*words(answer, add_special_tokens=False).input_ids, 3] for answer in answers]
    ids = torch.tensor([prompt + answer for answer in spoken])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(tmp_path_factory.mktemp("llama"), ANSWERS)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("sentences")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary()), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(bert)
    words = tokenizer()
    words.pad_token = "<pad>"
    words.save_pretrained(bert)
    SentenceTransformer(modules=[Transformer(str(bert)), Pooling(32)]).save(str(folder))
    return folder


@pytest.fixture(scope="module")
def perturber(llama: Path, sentences: Path) -> LlamaPerturber:
    return opened(llama, sentences)


def opened(llama: Path, sentences: Path, adapter: str = "") -> LlamaPerturber:
    return LlamaPerturber.from_pretrained(str(llama), adapter, str(sentences), device="cpu", dtype="float32")


def test_proposals_are_distinct_readable_and_differ_from_the_caption(perturber: LlamaPerturber) -> None:
    proposals = perturber.perturb(CAPTION, SUBJECT, "sled", EASY)
    assert {proposal.edited_caption for proposal in proposals} == set(ANSWERS[:2])
    assert {(proposal.original, proposal.edit) for proposal in proposals} == {("dog", "cat"), ("dog", "horse")}
    assert all(proposal.accepted and proposal.factor == "subject" for proposal in proposals)


def test_the_search_ends_when_there_are_no_more(perturber: LlamaPerturber) -> None:
    assert len(perturber.perturb(CAPTION, SUBJECT, "sled", replace(EASY, proposals=20))) < 20
    assert len(perturber.perturb(CAPTION, SUBJECT, "sled", replace(EASY, proposals=1))) == 1


def test_a_seed_gives_the_same_proposals_and_leaves_the_callers_randomness_alone(perturber: LlamaPerturber) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = perturber.perturb(CAPTION, SUBJECT, "sled", EASY)
    torch.testing.assert_close(torch.rand(3), expected)
    assert perturber.perturb(CAPTION, SUBJECT, "sled", EASY) == first
    one = [
        perturber.perturb(CAPTION, SUBJECT, "sled", replace(EASY, proposals=1, seed=seed))[0].edit for seed in range(8)
    ]
    assert set(one) == {"cat", "horse"}


def test_a_proposal_that_misses_a_gate_comes_last_and_says_why(sentences: Path, tmp_path: Path) -> None:
    tempted = opened(teach(tmp_path, (*TRAPS, ANSWERS[0])), sentences)
    proposals = tempted.perturb(CAPTION, SUBJECT, "sled", EASY)
    assert [proposal.accepted for proposal in proposals] == [True, False]
    assert proposals[0].edit == "cat"
    assert "kite" in proposals[1].edit
    assert proposals[1].rejected_by[0] == "the label 'sled' is named 0 times instead of 1"


def test_only_answers_nobody_can_read_are_an_error(sentences: Path, tmp_path: Path) -> None:
    mute = opened(teach(tmp_path / "mute", ("###",)), sentences)
    with pytest.raises(PerturbationError, match="vary the subject of 'a photo") as caught:
        mute.perturb(CAPTION, SUBJECT, "sled", EASY)
    assert caught.value.raw == "###"
    parrot = opened(teach(tmp_path / "parrot", (CAPTION,)), sentences)
    assert parrot.perturb(CAPTION, SUBJECT, "sled", replace(EASY, temperature=0.01)) == ()
    with pytest.raises(CaptionError):
        parrot.perturb(" ", SUBJECT, "sled", EASY)


def test_the_adapter_changes_what_the_model_says(llama: Path, sentences: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(LlamaForCausalLM.from_pretrained(llama), lora)
    fit(adapted, TRAPS, steps=100)
    adapted.save_pretrained(str(tmp_path))
    sober = replace(EASY, temperature=0.1)
    bare, taught = (
        {found.edited_caption for found in opened(llama, sentences, adapter).perturb(CAPTION, SUBJECT, "sled", sober)}
        for adapter in ("", str(tmp_path))
    )
    assert TRAPS[0] in taught
    assert TRAPS[0] not in bare


def test_an_adapter_without_safetensors_is_refused(llama: Path, sentences: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match="safetensors"):
        opened(llama, sentences, str(tmp_path))


@pytest.mark.parametrize(
    ("edited", "settings", "sentence"),
    [
        (ANSWERS[0], EASY, ""),
        (TRAPS[0], EASY, "the label 'sled' is named 0 times instead of 1"),
        (CAPTION.upper(), EASY, "the edited caption is the same as the caption (0 words changed)"),
        ("a photo of a white cat with a sled", EASY, ""),
        ("a sketch of a brown cat with a sled", EASY, "2 places of the caption changed, but one factor is one place"),
        (ANSWERS[0], replace(EASY, max_label_similarity=-1.0), "the replaced words 'dog' mean nearly the label 'sled'"),
        (ANSWERS[0], replace(EASY, min_caption_similarity=1.1), "similarity of both captions"),
        ("a photo of a brown dog with a sled in snow", replace(EASY, max_label_similarity=-1.0), ""),
    ],
)
def test_gates(perturber: LlamaPerturber, edited: str, settings: Settings, sentence: str) -> None:
    judged = perturber.judge(CAPTION, edited, "subject", "sled", settings)
    if not sentence:
        assert judged.accepted, judged.rejected_by
    else:
        assert len(judged.rejected_by) == 1
        assert judged.rejected_by[0].startswith(sentence)


def test_similarities_are_told_as_figures(perturber: LlamaPerturber, sentences: Path) -> None:
    vectors = SentenceTransformer(str(sentences)).encode(["dog", "sled"], normalize_embeddings=True)
    cosine = float(vectors[0] @ vectors[1])
    strict = replace(EASY, max_label_similarity=cosine - 0.01)
    assert f"similarity {cosine:.2f} " in perturber.judge(CAPTION, ANSWERS[0], "subject", "sled", strict).rejected_by[0]
    loose = replace(EASY, max_label_similarity=cosine + 0.01)
    assert perturber.judge(CAPTION, ANSWERS[0], "subject", "sled", loose).accepted


def test_an_empty_edit_cannot_be_judged(perturber: LlamaPerturber) -> None:
    with pytest.raises(CaptionError, match="empty"):
        perturber.judge(CAPTION, "  ", "subject", "sled", EASY)


def test_a_broken_sentence_encoder_is_reported(llama: Path, sentences: Path) -> None:
    broken = SentenceTransformer(str(sentences))
    with torch.no_grad():
        for weight in broken.parameters():
            weight.fill_(float("nan"))
    perturber = LlamaPerturber(LlamaForCausalLM.from_pretrained(llama), tokenizer(), broken)
    with pytest.raises(ModelError, match="not numbers"):
        perturber.judge(CAPTION, ANSWERS[0], "subject", "sled", EASY)


@pytest.mark.parametrize(
    ("edited", "diff"),
    [
        ("a photo of a brown cat with a sled", ("dog", "cat")),
        ("a photo of an old brown dog with a sled", ("", "old")),
        ("a photo of a dog with a sled", ("brown", "")),
        ("a photo of an orange cat with a sled", ("brown dog", "orange cat")),
        ("A sketch of a brown dog, with a sled.", ("photo", "sketch")),
        ("a photo of a brown dog with a sled", ("", "")),
        ("a sketch of a brown cat with a sled", ("photo, dog", "sketch, cat")),
        ("a photo of the brown dog with a sled", ("a", "the")),
        ("a photo of a brown dog with a sled on a beach", ("", "on a beach")),
    ],
)
def test_word_diff(edited: str, diff: tuple[str, str]) -> None:
    assert word_diff(CAPTION, edited) == diff


def test_an_article_between_two_changes_does_not_part_them_and_pronouns_follow() -> None:
    assert word_diff("a dog in a snowy field", "a dog on a sandy beach") == ("in a snowy field", "on a sandy beach")
    assert word_diff("a man with his dog", "a woman with her dog") == ("man", "woman")
    assert word_diff("he runs", "she runs") == ("he", "she")


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("a photo of a cat\n\nAnother one", "a photo of a cat"),
        ('\n  1. "a photo of a cat ."', "a photo of a cat."),
        ("- a photo of a cat", "a photo of a cat"),
        (build_prompt("do", "a dog") + "a cat\n### Input:\na horse", "a cat"),
        ("", ""),
        ("### Input:", ""),
        ("cat", ""),
        ("1 2 3", ""),
        ("very " * 200, ""),
    ],
)
def test_parse_answer(text: str, caption: str) -> None:
    assert parse_answer(text) == caption


def test_a_prompt_ends_where_its_answer_begins() -> None:
    prompt = build_prompt("Change it.", CAPTION)
    assert prompt == f"### Instruction:\nChange it.\n\n### Input:\n{CAPTION}\n\n### Variation:\n"


@pytest.mark.parametrize(
    ("caption", "edited", "label", "lost"),
    [
        ("a howler monkey in a tree", "a group of monkeys in a tree", "howler_monkey", True),
        ("a monkey in a tree", "two monkeys in a tree", "howler monkey", False),
        ("a monkey in a tree", "a cat in a tree", "howler monkey", True),
        ("dogs pull a sled", "cats pull a sled", "dogsled, dog sled, dog sleigh", False),
        ("a dog sled", "a dogsled", "dogsled, dog sled, dog sleigh", False),
        ("a dog sled", "a cat sled", "dogsled, dog sled, dog sleigh", True),
        ("two boxes and a box", "a box", "box", True),
        ("a crane by a lake", "a crane by a river", "crane (n03126707)", False),
        ("horses on a hill", "a horse on a hill", "horse", False),
        ("a sledge", "a kite", "sled", False),
        ("a dog", "a cat", "", False),
    ],
)
def test_a_label_is_protected_word_by_word(caption: str, edited: str, label: str, lost: bool) -> None:
    assert bool(lost_label(caption, edited, label)) is lost


def test_label_names() -> None:
    assert label_names("Dogsled, dog_sled") == ("dogsled", "dog sled")
    assert label_names("crane (n03126707)") == ("crane",)
    assert label_names("") == ()
