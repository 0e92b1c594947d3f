"""The fine-tuning of a LoRA adapter on a frozen LLaMA, so that it varies captions as it is told (Li et al., 2024).

W = W_pt + B A on the query and value projections (Hu et al., 2021), with peft and the transformers Trainer: the same
for the tiny LLaMA on a CPU and for a 7 B in bfloat16 or 4 bits on a GPU. Reads no file of variations itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.captions.examples import WrittenVariation
from pipeline.captions.factors import FACTORS
from pipeline.captions.gates import count_names
from pipeline.captions.grammar import objection
from pipeline.captions.lexicon import synonyms
from pipeline.captions.perturbation import LanguageModel, Writer, encode_prompt, parse_answer
from pipeline.captions.wording import key
from pipeline.errors import CaptionError, DataError, ModelError, PerturbationError, SettingsError
from pipeline.settings import Settings
from pipeline.statistics.intervals import share
from pipeline.types import Proportion, Step

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

log = logging.getLogger(__name__)
IGNORED = -100  # tokens that the loss passes over: the prompt and the padding
DTYPES = ("float32", "bfloat16", "4-bit")
CHECKPOINTS = "checkpoints"
CURVE = "loss.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRecipe:
    """How an adapter is trained; the defaults are those of Li et al. (2024) and LANCE (Prabhu et al., 2023)."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: float = 3e-4
    epochs: float = 3.0
    steps: int = 0  # optimiser steps; 0 for as many as the epochs take
    batch: int = 8
    accumulation: int = 1  # batches per optimiser step
    max_tokens: int = 256
    dtype: str = "float32"  # "bfloat16", or "4-bit" for a base quantised by bitsandbytes on CUDA
    attention: str = "sdpa"  # or "eager", whose backward pass is the faster one for tiny models on a CPU
    checkpointing: bool = False  # of activations: less memory, a third more time
    save_every: int = 100  # steps between the checkpoints from which an interrupted training goes on
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with `SettingsError`."""
        if self.dtype not in DTYPES:
            raise SettingsError(f"The dtype '{self.dtype}' is unknown; use one of {', '.join(DTYPES)}.")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"The dropout is {self.dropout}; give a share from 0 to below 1, such as 0.05.")
        counts = (self.rank, self.alpha, self.batch, self.accumulation, self.max_tokens, self.save_every)
        if min(counts) < 1 or self.steps < 0 or self.learning_rate <= 0 or self.epochs <= 0 or not self.targets:
            raise SettingsError("Rank, alpha, batch, steps, tokens and the learning rate have to be above 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to."""

    trainable: int  # weights of the adapter
    frozen: int  # weights of the base
    losses: tuple[tuple[int, float], ...]  # (step, loss)
    held_out: dict[str, Proportion]  # "valid", "single factor", "label kept", "distinct", "all of it"


class Texts:
    """Variations as tokens: prompt and answer, of which only the answer is learned."""

    def __init__(
        self, variations: Sequence[WrittenVariation], tokenizer: PreTrainedTokenizerBase, longest: int
    ) -> None:
        """Keep the variations; each becomes at most `longest` tokens when it is asked for."""
        self._variations = variations
        self._tokenizer = tokenizer
        self._longest = longest

    def __len__(self) -> int:
        return len(self._variations)

    def __getitem__(self, number: int) -> dict[str, list[int]]:
        variation = self._variations[number]
        given = encode_prompt(self._tokenizer, FACTORS[variation.factor].instruction, variation.caption)
        said = self._tokenizer(variation.edited_caption, add_special_tokens=False).input_ids
        said = [*said, cast("int", self._tokenizer.eos_token_id)]
        ids, labels = [*given, *said], [*[IGNORED] * len(given), *said]
        return {"input_ids": ids[: self._longest], "labels": labels[: self._longest]}


def attach(model: torch.nn.Module, recipe: AdapterRecipe) -> PeftModel:
    """Return the model with a fresh adapter and everything else frozen.

    Raises `ModelError` when it has no such layers.
    """
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets),
        task_type="CAUSAL_LM",
    )
    try:
        return cast("PeftModel", get_peft_model(model, lora))
    except ValueError as error:
        raise ModelError(f"The base has no layers {', '.join(recipe.targets)} for an adapter: {error}") from error


def count_weights(model: torch.nn.Module) -> tuple[int, int]:
    """Return how many weights are trained and how many are frozen."""
    counts = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(n for n, trains in counts if trains), sum(n for n, trains in counts if not trains)


def train(
    base: str,
    variations: Sequence[WrittenVariation],
    out: Path,
    recipe: AdapterRecipe,
    told: str,
    step: Step | None = None,
) -> Trained:
    """Train on the split "train", measure on "test", and write adapter, loss curve, figures and card to `out`.

    The same call again goes on from the last checkpoint in `out`. `told` is a sentence on the data, for the card.
    """
    from transformers import AutoTokenizer, PrinterCallback, Trainer, set_seed

    taught, held_out = (
        [variation for variation in variations if variation.split == split] for split in ("train", "test")
    )
    if not taught:
        raise DataError("No variation is in the split 'train'; assets/perturbations.jsonl shows the form.")
    tokenizer = AutoTokenizer.from_pretrained(base)
    set_seed(recipe.seed)
    model = attach(_open_base(base, recipe), recipe)
    trainable, frozen = count_weights(model)
    log.info("%d weights are trained, %d are frozen", trainable, frozen)
    trainer = Trainer(
        model=model,
        args=_arguments(out, recipe),
        train_dataset=cast(
            "torch.utils.data.Dataset[dict[str, list[int]]]", Texts(taught, tokenizer, recipe.max_tokens)
        ),
        data_collator=lambda rows: _pad_batch(rows, tokenizer),
    )
    trainer.remove_callback(PrinterCallback)  # it would write between the rows of the command line
    if step is not None:
        trainer.add_callback(_listener(step))
    trainer.train(resume_from_checkpoint=_last_checkpoint(out))
    losses = tuple((row["step"], row["loss"]) for row in trainer.state.log_history if "loss" in row)
    model.train(False)
    model.save_pretrained(str(out))
    figures = evaluate(Writer(cast("LanguageModel", model), tokenizer), held_out)
    made = Trained(trainable=trainable, frozen=frozen, losses=losses, held_out=figures)
    (out / CURVE).write_text("".join(json.dumps({"step": n, "loss": loss}) + "\n" for n, loss in losses))
    (out / "README.md").write_text(model_card(base, recipe, made, told))
    return made


def evaluate(
    writer: Writer, held_out: Sequence[WrittenVariation], proposals: int = 2, captions: int = 25
) -> dict[str, Proportion]:
    """Judge raw answers on held-out captions by their words: no gate has sorted them.

    `proposals` answers for each factor of the first `captions` captions.
    """
    asked = list(dict.fromkeys((variation.caption, variation.factor, variation.label) for variation in held_out))
    known = list(dict.fromkeys(caption for caption, _, _ in asked))[:captions]
    found: dict[str, list[bool]] = {
        name: [] for name in ("valid", "single factor", "label kept", "distinct", "all of it")
    }
    captions_of: list[str] = []  # answers to one caption are alike
    for caption, factor, label in (question for question in asked if question[0] in known):
        seen = {key(caption)}
        answers = writer.answers(caption, FACTORS[factor], Settings(proposals=proposals))
        for raw, _ in zip(answers, range(proposals), strict=False):
            verdict = _verdict(raw, caption, factor, label, seen)
            captions_of.append(caption)
            for name, value in zip(found, (*verdict, all(verdict)), strict=True):
                found[name].append(value)
    return {name: share(hits, captions_of) for name, hits in found.items() if hits}


def model_card(base: str, recipe: AdapterRecipe, made: Trained, told: str) -> str:
    """Return the text of the adapter's README.md."""
    rows = "\n".join(
        f"| {name} | {100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f}) | {share.n} |"
        for name, share in made.held_out.items()
    )
    settings = "\n".join(f"| {name} | {value} |" for name, value in asdict(recipe).items())
    losses = f"{made.losses[0][1]:.3f} to {made.losses[-1][1]:.3f}" if made.losses else "not logged"
    return (
        f"---\nlibrary_name: peft\nbase_model: {Path(base).name}\ntags: [counterfactual-explorer, lora]\n---\n"
        f"# LoRA adapter that varies captions\n\n{told} The base stayed frozen: {made.trainable:,} weights were "
        f"trained, {made.frozen:,} were not. The loss went from {losses}; `{CURVE}` holds the curve.\n\n"
        "Single answers on held-out captions, before any gate:\n\n"
        f"| | share (95 % interval) | n |\n|---|---|---|\n{rows}\n\n"
        f"| setting | value |\n|---|---|\n{settings}\n\nThe licence is that of the base model.\n"
    )


def _verdict(raw: str, caption: str, factor: str, label: str, seen: set[str]) -> tuple[bool, bool, bool, bool]:
    """Judge an answer: readable, one change of the factor, label kept, not said before. Adds its words to `seen`."""
    try:
        edited = parse_answer(raw)
    except (PerturbationError, CaptionError):
        return False, False, False, False
    before, after = count_names(caption, edited, synonyms(label))
    new = key(edited) not in seen
    single = key(edited) != key(caption) and not objection(caption, edited, factor)
    seen.add(key(edited))
    return True, single, after >= before, new


def _open_base(base: str, recipe: AdapterRecipe) -> torch.nn.Module:
    """Open the base in the recipe's precision."""
    import torch
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if recipe.dtype != "4-bit":
        # On a CPU the weights stay float32 and only the arithmetic is bfloat16.
        dtype = torch.bfloat16 if recipe.dtype == "bfloat16" and torch.cuda.is_available() else torch.float32
        how = {"dtype": dtype, "attn_implementation": recipe.attention}
        return cast("torch.nn.Module", AutoModelForCausalLM.from_pretrained(base, use_safetensors=True, **how))
    if not torch.cuda.is_available():
        raise SettingsError("A 4-bit base needs CUDA, and there is none here; use --dtype bfloat16 or float32.")
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(base, use_safetensors=True, quantization_config=quantised)
    ready = prepare_model_for_kbit_training(model, recipe.checkpointing)  # type: ignore[no-untyped-call]
    return cast("torch.nn.Module", ready)


def _listener(step: Step) -> TrainerCallback:
    """Return a callback that tells how far the training is; what `step` raises ends it, the last checkpoint stays."""
    from transformers import TrainerCallback, TrainerControl, TrainerState

    class Listener(TrainerCallback):
        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
        ) -> None:
            step(state.global_step, state.max_steps)

    return Listener()


def _arguments(out: Path, recipe: AdapterRecipe) -> TrainingArguments:
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulation,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,  # as a share of all steps
        weight_decay=0.0,
        adam_beta2=0.99,
        bf16=recipe.dtype != "float32",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=recipe.checkpointing,
        logging_steps=10,
        save_steps=recipe.save_every,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        seed=recipe.seed,
    )


def _pad_batch(rows: Sequence[dict[str, list[int]]], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
    """Return (batch, longest) each: ids, labels and which of them are no padding."""
    import torch

    def pad_rows(name: str, filler: int) -> torch.Tensor:
        texts = [torch.tensor(row[name]) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=filler)

    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    seen = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row["input_ids"])) for row in rows], batch_first=True)
    return {
        "input_ids": pad_rows("input_ids", cast("int", pad)),
        "labels": pad_rows("labels", IGNORED),
        "attention_mask": seen.long(),
    }


def _last_checkpoint(out: Path) -> str | None:
    from transformers.trainer_utils import get_last_checkpoint

    folder = out / CHECKPOINTS
    return cast("str | None", get_last_checkpoint(str(folder))) if folder.is_dir() else None
