"""How the words of an edited caption correspond to those of its source.

Follows prompt-to-prompt (Hertz et al., 2022), sections 3.2 and 3.3: word swap (here "replace"), prompt refinement
("refine") and attention re-weighting. Pure: knows token ids and positions, but no tokenizer, model or picture.

A caption is a sequence of words, a word a tuple of token ids. The begin and end marks are words of their own; what
follows up to the length of the text window is padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

Word = tuple[int, ...]
Span = range  # of positions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """Cross-attention of the edit from that of the source: `(A_source @ matrix + A_edited * own) * weight`.

    With n the length of the text window:
    `matrix` (n, n): column j says which source tokens the edited token j takes its attention from;
    `own` (n,): 1 where an edited token has no counterpart and keeps its own attention, 0 elsewhere;
    `weight` (n,): re-weighting of the tokens that are new, 1 elsewhere.
    """

    matrix: torch.Tensor
    own: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Neighbouring words of the source that neighbouring words of the edited caption stand for; one may be empty."""

    source: range  # of word indices
    edited: range
    equal: bool


def align(
    source: Sequence[Word], edited: Sequence[Word], length: int, *, mapping: str = "refine", word_weight: float = 1.0
) -> Alignment:
    """Align two captions in a text window of `length` tokens.

    `mapping` "refine": new words keep their own attention; "replace": new words take over the attention of the words
    that they replace, split evenly where the numbers of tokens differ; "auto": "replace" where words were swapped one
    for one, "refine" where they became more or fewer. Inserted words keep their own in all of them.
    `word_weight` multiplies the attention to new words.
    """
    if mapping == "auto":
        mapping = "replace" if _is_swap(source, edited) else "refine"
    matrix, own, weight = torch.zeros(length, length), torch.ones(length), torch.ones(length)
    source_spans, edited_spans = spans(source), spans(edited)
    # 1. Words: the longest common part is carried over, the blocks between are new.
    for block in blocks(source, edited):
        if not block.equal:
            new = _positions(edited_spans, block.edited)
            weight[new.start : new.stop] = word_weight
        if block.equal or (mapping == "replace" and block.source and block.edited):
            for before, after in _pairs(block, source_spans, edited_spans):
                _carry(matrix, own, before, after)
    # 2. Padding: the k-th of the one is the k-th of the other; a surplus keeps its own attention.
    padding = zip(range(_end(source_spans), length), range(_end(edited_spans), length), strict=False)
    for before_position, after_position in padding:
        _carry(matrix, own, range(before_position, before_position + 1), range(after_position, after_position + 1))
    return Alignment(matrix=matrix, own=own, weight=weight)


def changed_tokens(source: Sequence[Word], edited: Sequence[Word]) -> tuple[list[int], list[int]]:
    """Return the positions of the tokens that went from the source, and of those that came into the edited caption."""
    source_spans, edited_spans = spans(source), spans(edited)
    new = [block for block in blocks(source, edited) if not block.equal]
    went = [position for block in new for position in _positions(source_spans, block.source)]
    came = [position for block in new for position in _positions(edited_spans, block.edited)]
    return went, came


def occurrences(caption: Sequence[Word], phrase: Sequence[Word]) -> list[int]:
    """Return the positions of the tokens of every place where the caption holds these words in a row."""
    places = spans(caption)
    starts = [k for k in range(len(caption) - len(phrase) + 1) if tuple(caption[k : k + len(phrase)]) == tuple(phrase)]
    return [position for start in starts for position in _positions(places, range(start, start + len(phrase)))]


def spans(words: Sequence[Word]) -> list[Span]:
    """Return the token positions of each word."""
    result: list[Span] = []
    for word in words:
        start = _end(result)
        result.append(range(start, start + len(word)))
    return result


def blocks(source: Sequence[Word], edited: Sequence[Word]) -> list[Block]:
    """Cut both captions, in order, into equal single words and the blocks of changed words between them."""
    result: list[Block] = []
    i = j = 0
    for match_i, match_j in [*matches(source, edited), (len(source), len(edited))]:
        if i < match_i or j < match_j:
            result.append(Block(source=range(i, match_i), edited=range(j, match_j), equal=False))
        if match_i < len(source):
            result.append(Block(source=range(match_i, match_i + 1), edited=range(match_j, match_j + 1), equal=True))
        i, j = match_i + 1, match_j + 1
    return result


def matches(source: Sequence[Word], edited: Sequence[Word]) -> list[tuple[int, int]]:
    """Return the indices of equal words in a best global alignment (Needleman and Wunsch, 1970).

    A match counts 1, a gap 0, and a mismatch is never taken. Of several best alignments, it is the one whose matches
    lie as far to the left as possible.
    """
    m, n = len(source), len(edited)
    # 1. score[i][j]: the most matches between source[i:] and edited[j:].
    score = [[0] * (n + 1) for _ in range(m + 1)]
    for i in reversed(range(m)):
        for j in reversed(range(n)):
            diagonal = score[i + 1][j + 1] + (source[i] == edited[j])
            score[i][j] = max(diagonal, score[i + 1][j], score[i][j + 1])
    # 2. Walk back from the start, along a path that attains it.
    result: list[tuple[int, int]] = []
    i = j = 0
    while i < m and j < n:
        if source[i] == edited[j] and score[i][j] == score[i + 1][j + 1] + 1:
            result.append((i, j))
            i, j = i + 1, j + 1
        elif score[i][j] == score[i + 1][j]:
            i += 1
        else:
            j += 1
    return result


def _is_swap(source: Sequence[Word], edited: Sequence[Word]) -> bool:
    """Return whether every word that came stands for exactly one that went."""
    return all(block.equal or len(block.source) == len(block.edited) for block in blocks(source, edited))


def _pairs(block: Block, source: Sequence[Span], edited: Sequence[Span]) -> Iterator[tuple[Span, Span]]:
    """Yield token spans that belong together: word by word where the numbers of words agree, else the whole block."""
    if len(block.source) == len(block.edited):
        for i, j in zip(block.source, block.edited, strict=True):
            yield source[i], edited[j]
    else:
        yield _positions(source, block.source), _positions(edited, block.edited)


def _carry(matrix: torch.Tensor, own: torch.Tensor, before: Span, after: Span) -> None:
    """Hand the attention of the tokens `before` to the tokens `after`, all of it and evenly."""
    own[after.start : after.stop] = 0
    if len(before) == len(after):
        matrix[list(before), list(after)] = 1
    else:
        matrix[before.start : before.stop, after.start : after.stop] = 1 / len(after)


def _positions(word_spans: Sequence[Span], words: range) -> Span:
    return range(word_spans[words[0]].start, word_spans[words[-1]].stop) if words else range(0)


def _end(word_spans: Sequence[Span]) -> int:
    return word_spans[-1].stop if word_spans else 0
