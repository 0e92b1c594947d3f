"""Caption and factor -> proposed changes of the caption, and the gates that judge them.

Knows no pictures. A frozen LLaMA with a LoRA adapter writes the variations and a sentence-BERT measures what they mean,
as in Li et al. (2024) and LANCE (Prabhu et al., 2023). Beyond both, the label is protected word by word: cosines alone
let "howler monkey" become "a group of monkeys". Prompt, parsing and word diff are pure; importing this module loads no
model library, so training builds its prompts from here too.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, cast

from pipeline.errors import CaptionError, ModelError, PerturbationError
from pipeline.types import Factor, Perturbation, Settings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerBase

PROMPT = "### Instruction:\n{instruction}\n\n### Input:\n{caption}\n\n### Variation:\n"

ROUNDS = 4  # batches of answers before the search for distinct ones ends
SPARE = 2  # answers sampled for each one that is missing: some are equal, some miss a gate
SPARE_TOKENS = 24  # by which an answer may be longer than its caption
MAX_BATCH = 16  # answers sampled at once
MAX_ANSWER_WORDS = 120  # a longer answer is rambling, not a caption

ARTICLES = frozenset({"a", "an", "the"})
PRONOUNS = frozenset({"he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their"})


class LanguageModel(Protocol):
    """What is used of a causal language model."""

    @property
    def device(self) -> torch.device:
        """Where its inputs belong."""
        ...

    def generate(self, **inputs: object) -> torch.Tensor:
        """(sequences, tokens), each with its prompt."""
        ...


class LlamaPerturber:
    """A causal language model, its adapter and a sentence encoder; implements `types.Perturber`."""

    def __init__(
        self, model: LanguageModel, tokenizer: PreTrainedTokenizerBase, sentences: SentenceTransformer
    ) -> None:
        """Takes what `from_pretrained` opened."""
        self._model = model
        self._tokenizer = tokenizer
        self._sentences = sentences

    @classmethod
    def from_pretrained(cls, path: str, adapter: str, sentences: str, *, device: str, dtype: str) -> Self:
        """Opens local folders or hub ids, safetensors only; `adapter` is a PEFT folder or "" for the bare model."""
        from peft import PeftModel
        from sentence_transformers import SentenceTransformer
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if adapter and Path(adapter).is_dir() and not any(Path(adapter).glob("*.safetensors")):
            raise ModelError(f"The adapter '{adapter}' holds no .safetensors weights; other formats are not opened.")
        model = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, dtype=dtype)
        if adapter:
            with warnings.catch_warnings():
                # peft 0.21 reads a property that transformers 5 has renamed; nothing a person could act on.
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                # Merged, because an unmerged adapter costs four more kernels a layer for every token.
                model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        encoder = SentenceTransformer(sentences, device=device, model_kwargs={"use_safetensors": True})
        cast("torch.nn.Module", model).to(device).train(False)
        return cls(cast("LanguageModel", model), AutoTokenizer.from_pretrained(path), encoder)

    def perturb(self, caption: str, factor: Factor, label: str, settings: Settings) -> tuple[Perturbation, ...]:
        """Distinct proposals that differ from the caption, accepted ones first, at most `settings.proposals`.

        A proposal that misses a gate is handed over only where too few pass, and says why. Fewer than asked for, or
        none, when the model keeps repeating itself. Raises `PerturbationError` when no answer could be read.
        """
        if not caption.strip():
            raise CaptionError("There is no caption to vary; describe the picture first.")
        found: dict[str, Perturbation] = {}
        raw = ""
        readable = False
        for answers in self._rounds(caption, factor.instruction, settings):
            for raw in answers:
                edited = parse_answer(raw)
                readable = readable or bool(edited)
                key = _key(edited)
                if edited and key != _key(caption) and key not in found:
                    found[key] = self.judge(caption, edited, factor.name, label, settings)
            if sum(proposal.accepted for proposal in found.values()) >= settings.proposals:
                break
        if not readable:
            raise PerturbationError(
                f"The language model was asked to vary the {factor.name} of '{caption}', but none of its answers could "
                "be read; try again with another seed or write the variation by hand.",
                raw=raw,
            )
        ordered = sorted(found.values(), key=lambda proposal: not proposal.accepted)
        return tuple(ordered[: settings.proposals])

    def judge(self, caption: str, edited_caption: str, factor: str, label: str, settings: Settings) -> Perturbation:
        """The perturbation with its word diff and one sentence per gate it misses.

        Raises `CaptionError` when the edited caption is empty.
        """
        if not edited_caption.strip():
            raise CaptionError("The edited caption is empty; write what the edited picture should show.")
        original, edit = word_diff(caption, edited_caption)
        return Perturbation(
            caption=caption,
            edited_caption=edited_caption,
            factor=factor,
            original=original,
            edit=edit,
            rejected_by=tuple(self._objections(caption, edited_caption, original, label, settings)),
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """(n, width) unit vectors of the sentence encoder. Raises `ModelError` when they are not numbers."""
        return self._embed(list(texts)).cpu().numpy()

    def _objections(
        self, caption: str, edited_caption: str, original: str, label: str, settings: Settings
    ) -> Iterator[str]:
        if _key(caption) == _key(edited_caption):
            yield "the edited caption is the same as the caption (0 words changed)"
            return
        names = label_names(label)
        vectors = self._embed([caption, edited_caption, original or caption, *names])
        to_label = max((float(vectors[2] @ name) for name in vectors[3:]), default=-1.0)
        to_caption = float(vectors[0] @ vectors[1])
        if lost := lost_label(caption, edited_caption, label):
            yield lost
        elif original and to_label >= settings.max_label_similarity:
            yield (
                f"the replaced words '{original}' mean nearly the label '{label}': similarity {to_label:.2f} "
                f"is not below {settings.max_label_similarity:.2f}"
            )
        if to_caption < settings.min_caption_similarity:
            yield f"similarity of both captions {to_caption:.2f} is below {settings.min_caption_similarity:.2f}"
        if (places := len(_places(caption, edited_caption))) > 1:
            yield f"{places} places of the caption changed, but one factor is one place"

    def _embed(self, texts: list[str]) -> torch.Tensor:
        """(n, width) unit vectors. Raises `ModelError` when they are not numbers."""
        vectors = self._sentences.encode(
            texts, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        ).float()
        if not vectors.isfinite().all():
            raise ModelError(
                f"The sentence encoder gave values that are not numbers for '{texts[-1]}', so its gates cannot be "
                "judged; check the weights of the profile's `sentences`."
            )
        return vectors

    def _rounds(self, caption: str, instruction: str, settings: Settings) -> Iterator[list[str]]:
        """Batches of raw answers; the same settings give the same answers, whatever ran before."""
        import torch

        prompt = self._tokenizer(
            build_prompt(instruction, caption), return_tensors="pt", return_token_type_ids=False
        ).to(self._model.device)
        begin = prompt.input_ids.shape[1]
        longest = len(self._tokenizer(caption).input_ids) + SPARE_TOKENS
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        batch = min(MAX_BATCH, settings.proposals * SPARE)
        # A round starts from its own seed: while this generator pauses, the caller's random state is its own again.
        for number in range(ROUNDS):
            with torch.random.fork_rng(devices=devices), torch.inference_mode():
                torch.manual_seed(settings.seed * ROUNDS + number)
                tokens = self._model.generate(
                    **prompt,
                    do_sample=True,
                    temperature=settings.temperature,
                    num_return_sequences=batch,
                    max_new_tokens=longest,
                    pad_token_id=self._pad_token(),
                )
            yield self._tokenizer.batch_decode(tokens[:, begin:], skip_special_tokens=True)

    def _pad_token(self) -> int | None:
        """LLaMA's tokenizer has no padding token; what follows the end token is skipped anyway."""
        tokenizer = self._tokenizer
        return cast("int | None", tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def build_prompt(instruction: str, caption: str) -> str:
    """What the language model reads; its answer follows directly. Training and inference both use it."""
    return PROMPT.format(instruction=instruction, caption=caption)


def parse_answer(text: str) -> str:
    """The caption in an answer: its first line, without numbering, quotes or loose spaces. "" when there is none."""
    answer = text.rpartition("### Variation:")[2]
    line = next((line for line in answer.splitlines() if line.strip()), "")
    line = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip().strip("\"'`").strip()
    line = re.sub(r"\s+([,.;!?])", r"\1", " ".join(line.split()))
    words = line.split()
    if "###" in line or not 1 < len(words) <= MAX_ANSWER_WORDS or not re.search(r"[^\W\d_]", line):
        return ""
    return line


def word_diff(caption: str, edited_caption: str) -> tuple[str, str]:
    """The words that went and the words that came, "" on the side of a pure insertion or deletion.

    Places that are apart are joined by ", "; an article is left out where only it had to follow its noun.
    """
    places = _places(caption, edited_caption)
    return ", ".join(old for old, _ in places if old), ", ".join(new for _, new in places if new)


def label_names(label: str) -> tuple[str, ...]:
    """The names of a label, in lower case: "dogsled, dog_sled" -> ("dogsled", "dog sled")."""
    plain = re.sub(r"\(.*?\)", " ", label).replace("_", " ")  # "crane (n03126707)"
    names = (" ".join(_words(name)) for name in plain.split(","))
    return tuple(name for name in names if name)


def lost_label(caption: str, edited_caption: str, label: str) -> str:
    """A sentence when the caption names the label more often than the edited caption does, otherwise "".

    A name counts in singular and plural; where no full name occurs, its last word stands for it ("monkey" for
    "howler monkey").
    """
    for names in (label_names(label), tuple(name.split()[-1] for name in label_names(label))):
        before = sum(_count(caption, name) for name in names)
        after = sum(_count(edited_caption, name) for name in names)
        if before:
            return f"the label '{label}' is named {after} times instead of {before}" if after < before else ""
    return ""


def _places(caption: str, edited_caption: str) -> list[tuple[str, str]]:
    """(words that went, words that came) of every contiguous place that changed."""
    old, new = caption.split(), edited_caption.split()
    matcher = difflib.SequenceMatcher(None, [_bare(word) for word in old], [_bare(word) for word in new], False)
    spans: list[tuple[int, int, int, int]] = []
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        # "in a field" -> "on a beach" is one place: an article between two changes does not part them.
        if spans and {_bare(word) for word in old[spans[-1][1] : i]} <= ARTICLES:
            first, _, first_new, _ = spans.pop()
            spans.append((first, i_end, first_new, j_end))
        else:
            spans.append((i, i_end, j, j_end))
    places = [_phrases(old[i:i_end], new[j:j_end]) for i, i_end, j, j_end in spans]
    return [place for place in places if not _is_agreement(*place)] or places


def _phrases(old: Sequence[str], new: Sequence[str]) -> tuple[str, str]:
    went, came = [_trim(word) for word in old], [_trim(word) for word in new]
    if went and came and went[0].lower() in ARTICLES and came[0].lower() in ARTICLES and len(went) + len(came) > 2:
        went, came = went[1:], came[1:]
    return " ".join(went), " ".join(came)


def _is_agreement(old: str, new: str) -> bool:
    """True when only pronouns changed, as they must when a man becomes a woman."""
    return bool(old and new) and {*_words(old), *_words(new)} <= PRONOUNS


def _count(text: str, name: str) -> int:
    """How often the name occurs in the text as whole words, singular or plural."""
    words, wanted = [_singular(word) for word in _words(text)], [_singular(word) for word in name.split()]
    return sum(words[start : start + len(wanted)] == wanted for start in range(len(words)))


def _singular(word: str) -> str:
    """Near enough to compare by: both forms of a noun give the same string."""
    if word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 2:
        word = word[:-1]
    return re.sub(r"ie$", "y", re.sub(r"(s|x|z|ch|sh)e$", r"\1", word))


def _words(text: str) -> list[str]:
    return [_bare(word) for word in text.split() if _bare(word)]


def _bare(word: str) -> str:
    return _trim(word).lower()


def _trim(word: str) -> str:
    """Without the punctuation around it, unless it is nothing else."""
    return word.strip(".,;:!?\"'()") or word


def _key(text: str) -> str:
    """Equal for captions that differ in case, spaces and punctuation only."""
    return " ".join(_words(text))
