"""The perturber on a tiny LLaMA taught three answers in the test, a random LoRA and a random sentence encoder."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.captions import perturbation
from pipeline.captions.examples import examples
from pipeline.captions.factors import FACTORS
from pipeline.captions.gates import Gates
from pipeline.captions.perturbation import (
    MAX_CAPTION_WORDS,
    LlamaPerturber,
    Writer,
    build_chat,
    build_prompt,
    encode_prompt,
    parse_answer,
)
from pipeline.errors import CaptionError, ModelError, PerturbationError
from pipeline.settings import Settings

CAPTION = "a photo of a brown dog with a sled"
ANSWERS = ("a photo of a brown cat with a sled", "a photo of a brown horse with a sled", CAPTION)
TRAPS = ("a photo of a brown dog with a kite",)
SUBJECT = FACTORS["subject"]
EASY = Settings(
    proposals=2,
    max_label_similarity=1.1,
    max_definition_similarity=1.1,
    max_word_similarity=1.1,
    min_caption_similarity=-1.1,
)


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


def opened(llama: Path, sentences: Path) -> LlamaPerturber:
    """Without the examples that `from_pretrained` shows a model that has no adapter."""
    model, words = LlamaForCausalLM.from_pretrained(llama), PreTrainedTokenizerFast.from_pretrained(llama)
    return LlamaPerturber(Writer(model, words), Gates(SentenceTransformer(str(sentences), device="cpu")))


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
    said = [
        perturber.perturb(CAPTION, SUBJECT, "sled", replace(EASY, proposals=1, seed=seed))[0].edit for seed in range(8)
    ]
    assert set(said) == {"cat", "horse"}


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


def test_every_answer_that_is_not_used_is_told(perturber: LlamaPerturber) -> None:
    told: list[tuple[str, str]] = []
    all_of_them = replace(EASY, proposals=20)
    perturber.perturb(CAPTION, SUBJECT, "sled", all_of_them, lambda raw, why: told.append((raw, why)))
    assert (CAPTION, "the same as the caption or as an earlier answer") in told


def test_two_wordings_of_one_thing_are_one_proposal(llama: Path, sentences: Path) -> None:
    alike = replace(EASY, max_word_similarity=-1.0)
    proposals = opened(llama, sentences).perturb(CAPTION, SUBJECT, "sled", alike)
    assert proposals
    assert all("have similarity" in variation.rejected_by[0] for variation in proposals)


def test_the_adapter_changes_what_the_model_says(llama: Path, sentences: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(LlamaForCausalLM.from_pretrained(llama), lora)
    fit(adapted, TRAPS, steps=100)
    adapted.save_pretrained(str(tmp_path))
    sober = replace(EASY, temperature=0.1)
    taught = LlamaPerturber.from_pretrained(str(llama), str(tmp_path), str(sentences), device="cpu", dtype="float32")
    bare = opened(llama, sentences)
    said = [
        {variation.edited_caption for variation in p.perturb(CAPTION, SUBJECT, "sled", sober)} for p in (taught, bare)
    ]
    assert TRAPS[0] in said[0]
    assert TRAPS[0] not in said[1]


def test_an_adapter_without_safetensors_is_refused(llama: Path, sentences: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match="safetensors"):
        LlamaPerturber.from_pretrained(str(llama), str(tmp_path), str(sentences), device="cpu", dtype="float32")


@pytest.mark.parametrize("text", ["", "  ", "very " * (MAX_CAPTION_WORDS + 1), "x" * 10_000])
def test_an_unusable_caption_is_refused(perturber: LlamaPerturber, text: str) -> None:
    with pytest.raises(CaptionError):
        perturber.judge(CAPTION, text, "subject", "sled", EASY)
    with pytest.raises(CaptionError):
        perturber.perturb(text, SUBJECT, "sled", EASY)


@pytest.mark.parametrize(
    ("edited", "settings", "sentence"),
    [
        (ANSWERS[0], EASY, ""),
        (TRAPS[0], EASY, "the label 'sled' is named 0 times instead of 1"),
        (CAPTION.upper(), EASY, "the edited caption is the same as the caption (0 words changed)"),
        (
            "a photo of a white cat with a sled",
            EASY,
            "'brown dog' to 'white cat' also changes what the subject is like",
        ),
        ("a sketch of a brown cat with a sled", EASY, "2 places of the caption changed, but one factor is one place"),
        (ANSWERS[0], replace(EASY, max_word_similarity=-1.0), "the old words 'dog' and the new words 'cat'"),
        (ANSWERS[0], replace(EASY, min_caption_similarity=1.1), "similarity of both captions"),
    ],
)
def test_gates(perturber: LlamaPerturber, edited: str, settings: Settings, sentence: str) -> None:
    judged = perturber.judge(CAPTION, edited, "subject", "sled", settings)
    if not sentence:
        assert judged.accepted, judged.rejected_by
        assert [check.gate for check in judged.checks] == ["words", "label", "factor", "similarity"]
    else:
        assert judged.rejected_by[0].startswith(sentence)


def test_an_empty_edit_cannot_be_judged(perturber: LlamaPerturber) -> None:
    with pytest.raises(CaptionError, match="empty"):
        perturber.judge(CAPTION, "  ", "subject", "sled", EASY)


def test_a_broken_sentence_encoder_is_reported(llama: Path, sentences: Path) -> None:
    broken = SentenceTransformer(str(sentences))
    with torch.no_grad():
        for weight in broken.parameters():
            weight.fill_(float("nan"))
    perturber = LlamaPerturber(Writer(LlamaForCausalLM.from_pretrained(llama), tokenizer()), Gates(broken))
    with pytest.raises(ModelError, match="not numbers"):
        perturber.judge(CAPTION, ANSWERS[0], "subject", "sled", EASY)


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("a photo of a cat\n\nAnother one", "a photo of a cat"),
        ('\n  1. "a photo of a cat ."', "a photo of a cat."),
        ("- a photo of a cat", "a photo of a cat"),
        (build_prompt("do", "a dog") + "a cat\n### Input:\na horse", "a cat"),
        ("Edited caption: a photo of a cat", "a photo of a cat"),
        ("a photo\u200b of a\u00a0cat\x00", "a photo of a cat"),
        ("ein Foto von einer Katze", "ein Foto von einer Katze"),
    ],
)
def test_parse_answer(text: str, caption: str) -> None:
    assert parse_answer(text) == caption


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 words"),
        ("### Input:", "###"),
        ("cat", "1 words"),
        ("1 2 3", "no letters"),
        ("very " * 200, "200 words"),
        ("<script>alert(1)</script> a dog", "<script>"),
        ('{"caption": "a cat on a mat"}', "{"),
        ("[INST] a cat [/INST]", "[INST]"),
        ("a cat <|eot_id|> user", "<|eot_id|>"),
        ("see https://example.org for a cat", "https:"),
    ],
)
def test_an_answer_that_cannot_be_read_carries_its_raw_text(text: str, reason: str) -> None:
    with pytest.raises(PerturbationError) as caught:
        parse_answer(text)
    assert reason in str(caught.value)
    assert caught.value.raw == text


def test_a_prompt_ends_where_its_answer_begins() -> None:
    prompt = build_prompt("Change it.", CAPTION)
    assert prompt == f"### Instruction:\nChange it.\n\n### Input:\n{CAPTION}\n\n### Variation:\n"


def test_examples_stand_in_front_of_the_question() -> None:
    shown = examples("subject", 2)
    prompt = build_prompt("Change it.", CAPTION, shown)
    assert prompt.endswith(build_prompt("Change it.", CAPTION))
    assert all(f"{old}\n\n### Variation:\n{new}\n" in prompt for old, new in shown)
    chat = build_chat("Change it.", CAPTION, shown)
    assert [turn["role"] for turn in chat] == ["user", "assistant", "user", "assistant", "user"]
    assert chat[-1]["content"].endswith(CAPTION)


def test_a_chat_template_is_used_where_there_is_one() -> None:
    words = tokenizer()
    plain = encode_prompt(words, SUBJECT.instruction, CAPTION)
    assert plain == words(build_prompt(SUBJECT.instruction, CAPTION)).input_ids
    words.chat_template = "{{ bos_token }} photo {% for turn in messages %}{{ turn['content'] }} {% endfor %}sled"
    templated = encode_prompt(words, SUBJECT.instruction, CAPTION)
    assert words.decode(templated).startswith("<start> photo")
    assert words.decode(templated).endswith("sled sled")
    assert templated.count(2) == 1  # the template's own begin token only


def test_a_model_without_an_adapter_is_shown_examples(llama: Path) -> None:
    asked: list[int] = []

    class Listening(LlamaForCausalLM):  # type: ignore[misc]
        def generate(self, **inputs: object) -> torch.Tensor:
            asked.append(inputs["input_ids"].shape[1])  # type: ignore[attr-defined]
            return super().generate(**inputs | {"max_new_tokens": 1})

    model = Listening.from_pretrained(llama)
    for few_shot in (False, True):
        next(Writer(model, tokenizer(), few_shot=few_shot).answers(CAPTION, SUBJECT, EASY))
    assert asked[1] > 3 * asked[0]


def hostile() -> list[str]:
    """Captions and answers that were made to break something."""
    tricks = [
        "", " ", "\n\n", "\x00\x01\x1b[31mred", "\u202eevil\u202c text here", "\ud800 lone surrogate",
        "<s></s>[INST]a dog[/INST]", "<|begin_of_text|><|eot_id|>a dog", "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)> a dog", "&lt;b&gt; a dog", "javascript:alert(1) a dog", "1. a dog\n2. a cat",
        "- a dog\n- a cat", '{"edited_caption": "a cat"}', '["a", "b"]', "```python\nprint(1)\n```",
        "una foto de un perro", "一只狗和雪橇的照片", "صورة كلب", "фото собаки с санями", "🐶🛷🐶🛷",
        "a photo of a dog\n" * 50, "### Instruction:\n### Input:\n### Variation:\n", "'; DROP TABLE studies; --",
        "%s %d {0} {x}", "../../etc/passwd and more", "a " * 10_000, "word " * 10_000, "x" * 100_000,
        "a\tphoto\vof\fa\rdog", "...", "?!", "\\",
    ]  # fmt: skip
    return [*tricks, *(f"{CAPTION} {trick}" for trick in tricks), *(f"{trick} {CAPTION}" for trick in tricks)]


def test_hostile_text_gives_a_typed_error_or_a_clean_caption(perturber: LlamaPerturber) -> None:
    texts = hostile()
    assert len(texts) >= 100
    for text in texts:
        with suppress(PerturbationError):
            parsed = parse_answer(text)
            assert parsed.isprintable()
            assert not set(parsed) & set("<>{}")
        for factor in ("subject", "domain", "weather", "own words"):
            try:
                judged = perturber.judge(CAPTION, text, factor, "sled", EASY)
            except CaptionError:
                continue
            assert judged.checks


@pytest.mark.slow
def test_hostile_captions_are_varied_or_refused(perturber: LlamaPerturber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perturbation, "ROUNDS", 1)
    brief = replace(EASY, proposals=1)
    for text in hostile()[::2]:
        try:
            proposals = perturber.perturb(text, SUBJECT, "sled", brief)
        except (CaptionError, PerturbationError):
            continue
        assert all(variation.edited_caption.isprintable() for variation in proposals)
