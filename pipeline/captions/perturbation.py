"""Caption and factor -> proposed changes of the caption, written by a LLaMA with a LoRA adapter (Li et al., 2024).

Knows no pictures and judges nothing itself: `gates.py` does. Prompts and parsing are pure; importing this module loads
no model library, so the training of the adapter (`adapter.py`) builds its prompts from here too.
"""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, cast

from pipeline.captions.examples import examples
from pipeline.captions.gates import Gates
from pipeline.captions.wording import key, word_diff
from pipeline.errors import CaptionError, ModelError, PerturbationError
from pipeline.runtime.devices import weights_in
from pipeline.settings import Settings
from pipeline.types import Factor, Perturbation, Report

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PROMPT = "### Instruction:\n{instruction}\n\n### Input:\n{caption}\n\n### Variation:\n"

ROUNDS = 8  # batches of answers before the search for distinct ones ends
SPARE = 2  # answers sampled for each one that is missing: some are equal, some miss a gate
SPARE_TOKENS = 24  # by which an answer may be longer than its caption
MAX_BATCH = 16  # answers sampled at once
MAX_CAPTION_WORDS = 300  # a longer caption is a text, and costs minutes
MAX_ANSWER_WORDS = 120  # a longer answer is rambling, not a caption
EXAMPLES = 3  # written ones in front of the question where no adapter has learned the task

Shot = tuple[str, str]  # caption, edited caption: an example in front of the question


class LanguageModel(Protocol):
    """What is used of a causal language model."""

    @property
    def device(self) -> torch.device:
        """Return where its inputs belong."""
        ...

    def generate(self, **inputs: object) -> torch.Tensor:
        """Return (sequences, tokens), each with its prompt."""
        ...


class Writer:
    """A causal language model that is asked for variations: prompt in, raw answers out."""

    def __init__(self, model: LanguageModel, tokenizer: PreTrainedTokenizerBase, *, few_shot: bool = False) -> None:
        """Take what was opened elsewhere; `few_shot` shows the model written examples before it is asked."""
        self._model = model
        self._tokenizer = tokenizer
        self._few_shot = few_shot

    def answers(self, caption: str, factor: Factor, settings: Settings) -> Iterator[str]:
        """Yield raw answers; the same settings give the same ones in the same order, whatever ran before."""
        import torch

        shown = examples(factor.name, EXAMPLES) if self._few_shot else ()
        tokens = encode_prompt(self._tokenizer, factor.instruction, caption, shown)
        prompt = torch.tensor([tokens], device=self._model.device)
        longest = len(self._tokenizer(caption).input_ids) + SPARE_TOKENS
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        # A round starts from its own seed: while this generator pauses, the caller's random state is its own again.
        for number in range(ROUNDS):
            with torch.random.fork_rng(devices=devices), torch.inference_mode():
                torch.manual_seed(settings.seed * ROUNDS + number)
                said = self._model.generate(
                    input_ids=prompt,
                    attention_mask=torch.ones_like(prompt),
                    do_sample=True,
                    temperature=settings.temperature,
                    num_return_sequences=min(MAX_BATCH, settings.proposals * SPARE),
                    max_new_tokens=longest,
                    pad_token_id=_pad_token(self._tokenizer),
                )
            yield from self._tokenizer.batch_decode(said[:, len(tokens) :], skip_special_tokens=True)


class LlamaPerturber:
    """A writer and the gates; implements `types.Perturber`."""

    def __init__(self, writer: Writer, gates: Gates) -> None:
        """Take what `from_pretrained` opened."""
        self._writer = writer
        self._gates = gates

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        adapter: str,
        sentences: str,
        *,
        device: str,
        dtype: str,
        quantization: str = "",
        diffusion: str = "",
    ) -> Self:
        """Open local folders or hub ids, safetensors only.

        `adapter` is a PEFT folder or "" for the bare model, which is shown examples instead. `quantization` is "8-bit",
        "4-bit" or "". `diffusion` names the editor whose text encoder has to read the captions; "" where there is none.
        """
        from peft import PeftModel
        from sentence_transformers import SentenceTransformer
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if adapter and Path(adapter).is_dir() and not any(Path(adapter).glob("*.safetensors")):
            raise ModelError("The adapter holds no .safetensors weights; other formats are not opened.", path=adapter)
        told = weights_in(device, dtype, quantization)
        model = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, **told)
        if adapter:
            with warnings.catch_warnings():
                # peft 0.21 reads a property that transformers 5 has renamed; nothing a person could act on.
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
                model = PeftModel.from_pretrained(model, adapter)
                if not quantization:  # few bits cannot hold what merging adds
                    # Merged, because an unmerged adapter costs four more kernels a layer for every token.
                    model = model.merge_and_unload()
        encoder = SentenceTransformer(sentences, device=device, model_kwargs={"use_safetensors": True})
        network = cast("torch.nn.Module", model)
        (network if quantization else network.to(device)).train(False)
        text = AutoTokenizer.from_pretrained(diffusion, subfolder="tokenizer") if diffusion else None
        tokenizer = AutoTokenizer.from_pretrained(path)
        writer = Writer(cast("LanguageModel", model), tokenizer, few_shot=not adapter)
        return cls(writer, Gates(encoder, text))

    def perturb(
        self, caption: str, factor: Factor, label: str, settings: Settings, report: Report | None = None
    ) -> tuple[Perturbation, ...]:
        """Propose distinct variations that differ from the caption, accepted first, at most `settings.proposals`.

        A proposal that misses a gate is handed over only where too few pass, and says why. `report` hears of every
        answer that is not handed over, and the log does. Fewer than asked for, or none, when the model keeps repeating
        itself. Raises `PerturbationError` when no answer could be read, and `CaptionError` for an unusable caption.
        """
        _refuse(caption)
        found: dict[str, tuple[str, Perturbation]] = {}  # by what it says: the raw answer and what became of it
        unread: list[str] = []
        for raw in self._writer.answers(caption, factor, settings):
            if sum(proposal.accepted for _, proposal in found.values()) >= settings.proposals:
                break
            try:
                edited = parse_answer(raw)
            except PerturbationError as error:
                unread.append(raw)
                _report(report, raw, str(error))
                continue
            if key(edited) in (key(caption), *found):
                _report(report, raw, "the same as the caption or as an earlier answer")
            else:
                found[key(edited)] = raw, self._judge_proposal(caption, edited, factor.name, label, settings, found)
        if unread and not found:
            raise PerturbationError(
                f"The language model was asked to vary the {factor.name} of '{caption}', but none of its answers could "
                "be read; try again with another seed or write the variation by hand.",
                raw="\n---\n".join(dict.fromkeys(unread)),
            )
        ordered = sorted(found.values(), key=lambda pair: not pair[1].accepted)
        for raw, proposal in ordered[settings.proposals :]:
            _report(report, raw, "; ".join(proposal.rejected_by) or "more than were asked for")
        return tuple(proposal for _, proposal in ordered[: settings.proposals])

    def judge(self, caption: str, edited_caption: str, factor: str, label: str, settings: Settings) -> Perturbation:
        """Return the perturbation with its word diff, every gate's check, and one sentence per gate it misses.

        Raises `CaptionError` when the edited caption is empty or a whole text.
        """
        _refuse(caption)
        _refuse(edited_caption, "edited caption is empty; write what the edited picture should show")
        original, edit = word_diff(caption, edited_caption)
        checks = self._gates.checks(caption, edited_caption, factor, label, settings)
        return Perturbation(
            caption=caption,
            edited_caption=edited_caption,
            factor=factor,
            original=original,
            edit=edit,
            rejected_by=tuple(check.says for check in checks if not check.passed),
            checks=checks,
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """Return (n, width) unit vectors of the sentence encoder. Raises `ModelError` when they are not numbers."""
        return self._gates.embed(list(texts)).cpu().numpy()

    def _judge_proposal(
        self,
        caption: str,
        edited: str,
        factor: str,
        label: str,
        settings: Settings,
        found: dict[str, tuple[str, Perturbation]],
    ) -> Perturbation:
        """Judge a proposal as `judge` does, and against the accepted ones that were found before."""
        proposal = self.judge(caption, edited, factor, label, settings)
        others = [other for _, other in found.values() if other.accepted]
        check = self._gates.repeat(proposal.edited_caption, proposal.edit, others, settings)
        missed = proposal.rejected_by if check.passed else (*proposal.rejected_by, check.says)
        return replace(proposal, checks=(*proposal.checks, check), rejected_by=missed)


def build_prompt(instruction: str, caption: str, shown: Sequence[Shot] = ()) -> str:
    """Return what the language model reads, the shown examples first; its answer follows directly.

    Training and inference both use it.
    """
    before = (PROMPT.format(instruction=instruction, caption=old) + f"{new}\n\n" for old, new in shown)
    return "".join(before) + PROMPT.format(instruction=instruction, caption=caption)


def build_chat(instruction: str, caption: str, shown: Sequence[Shot] = ()) -> list[dict[str, str]]:
    """Return the same prompt as a conversation, for models that were trained on such."""
    asked = f"{instruction} Answer with the changed caption only.\n\nCaption: "
    turns = [(asked + old, new) for old, new in shown]
    before = [
        message
        for question, answer in turns
        for message in ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    ]
    return [*before, {"role": "user", "content": asked + caption}]


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, instruction: str, caption: str, shown: Sequence[Shot] = ()
) -> list[int]:
    """Return the tokens of the question: in the tokenizer's own chat template, or plain where it has none."""
    if tokenizer.chat_template:
        chat = build_chat(instruction, caption, shown)
        text = cast("str", tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        return cast("list[int]", tokenizer(text, add_special_tokens=False).input_ids)
    return cast("list[int]", tokenizer(build_prompt(instruction, caption, shown)).input_ids)


def parse_answer(text: str) -> str:
    """Return the caption in an answer: its first line, without numbering, quotes, a "Caption:" or loose spaces.

    Raises `PerturbationError` with the raw text when there is none.
    """
    answer = text.rpartition("### Variation:")[2]
    line = next((line for line in answer.splitlines() if line.strip()), "")
    line = "".join(" " if character.isspace() else character for character in line if not _is_invisible(character))
    line = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip()
    line = re.sub(r"^(?:edited |changed |new )?(?:caption|variation|answer)\s*:\s*", "", line, flags=re.IGNORECASE)
    line = re.sub(r"\s+([,.;!?])", r"\1", " ".join(line.strip("\"'`").split()))
    if reason := _unreadable(line):
        raise PerturbationError(f"The answer could not be read: {reason}.", raw=text)
    return line


def _unreadable(line: str) -> str:
    """Return why this line is no caption, "" when it is one."""
    count = len(line.split())
    if count < 2:
        return f"it has {count} words"
    if count > MAX_ANSWER_WORDS:
        return f"it has {count} words, more than {MAX_ANSWER_WORDS}"
    if not re.search(r"[^\W\d_]", line):
        return "it holds no letters"
    if found := re.search(r"###|<\|?/?\w[^>]*>|\[/?INST\]|[{}<>]|<<|https?:", line):
        return f"it holds '{found[0]}', which belongs to no caption"
    return ""


def _pad_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the padding token, or the end token: LLaMA's tokenizer has none, and what follows the end is skipped."""
    return cast("int | None", tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") and not character.isspace()


def _refuse(caption: str, empty: str = "caption is empty; describe the picture first") -> None:
    count = len(caption.split())
    if not count:
        raise CaptionError(f"The {empty}.")
    if any(unicodedata.category(character) == "Cs" for character in caption):
        raise CaptionError("The caption holds half a character that no text can store; write it anew.")
    if count > MAX_CAPTION_WORDS or len(caption) > 20 * MAX_CAPTION_WORDS:
        raise CaptionError(f"The caption has {count} words; use at most {MAX_CAPTION_WORDS}, none overlong.")


def _report(report: Report | None, raw: str, reason: str) -> None:
    logger.info("an answer was not used (%s): %r", reason, raw)
    if report is not None:
        report(raw, reason)
