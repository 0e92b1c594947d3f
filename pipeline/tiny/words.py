"""The tokenizers of the tiny models, in which every word of the world is one token.

The diffusion model's is CLIP's own kind of byte-pair encoding, so that other words fall apart into letters; the
language models' are plain word lists, so that they can only speak of the world.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from pipeline.tiny.world import LABELS, PHRASINGS, VALUES

TEXT_WINDOW = 32  # tokens the text encoders read; the longest caption of the world takes 21


def vocabulary() -> tuple[str, ...]:
    """Return every word that a caption of the world may hold, sorted."""
    grammar = re.sub(r"{\w+}", " ", " ".join(PHRASINGS))
    values = (value for values in (LABELS, *VALUES.values()) for value in values)
    return tuple(sorted({*grammar.split(), *" ".join(values).split(), "in", "on", "a", "an"}))


def clip_tokenizer() -> CLIPTokenizer:
    """Return byte-pair encoding whose merges were learned from the world's words."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    encoding = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    encoding.pre_tokenizer = pre_tokenizers.Whitespace()
    encoding.train_from_iterator(
        [*vocabulary()] * 2,
        trainers.BpeTrainer(vocab_size=4000, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False),
    )
    merges = [tuple(pair) for pair in json.loads(encoding.to_str())["model"]["merges"]]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocab = {piece: index for index, piece in enumerate((*pieces, "<|startoftext|>", "<|endoftext|>"))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TEXT_WINDOW)


def word_tokenizer(extra: Iterable[str] = (), *, end: bool) -> PreTrainedTokenizerFast:
    """Return whole words, lower case, `<start>` before them and, if `end`, `<end>` behind, which has the highest id."""
    words = dict.fromkeys(("<pad>", "<unk>", "<start>", *vocabulary(), *extra, "<end>"))
    vocab = {word: index for index, word in enumerate(words)}
    tokens = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>" if end else "<start> $A",
        special_tokens=[("<start>", vocab["<start>"]), ("<end>", vocab["<end>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", unk_token="<unk>", bos_token="<start>", eos_token="<end>"
    )
