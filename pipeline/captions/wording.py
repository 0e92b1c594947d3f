"""The words of captions: what changed between two of them, and where a label is named.

Pure and without models. Knows nothing of gates or factors; both the perturber and the training of its adapter use it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

ARTICLES = frozenset({"a", "an", "the"})
PRONOUNS = frozenset({"he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPlace:
    """One contiguous place that changed, as words in lower case without punctuation."""

    went: tuple[str, ...]
    came: tuple[str, ...]
    before: tuple[str, ...]  # the caption's words in front of it
    after: tuple[str, ...]  # and behind it
    changes_medium: bool = False  # whether the kind of picture changed, as `grammar.objection` finds


def word_diff(caption: str, edited_caption: str) -> tuple[str, str]:
    """Return the words that went and the words that came, "" on the side of a pure insertion or deletion.

    Places that are apart are joined by ", "; an article is left out where only it had to follow its noun.
    """
    old, new = caption.split(), edited_caption.split()
    phrases = [_phrases(old[i:i_end], new[j:j_end]) for i, i_end, j, j_end in _spans(old, new)]
    return ", ".join(went for went, _ in phrases if went), ", ".join(came for _, came in phrases if came)


def places(caption: str, edited_caption: str) -> tuple[ChangedPlace, ...]:
    """Return every place that changed, in order. A pronoun that follows its noun is no place of its own."""
    old, new = caption.split(), edited_caption.split()
    found = []
    for i, i_end, j, j_end in _spans(old, new):
        went, came = (_phrases(old[i:i_end], new[j:j_end])[side].split() for side in (0, 1))
        start = i + (len(old[i:i_end]) - len(went))
        found.append(
            ChangedPlace(went=_plain(went), came=_plain(came), before=_plain(old[:start]), after=_plain(old[i_end:]))
        )
    return tuple(found)


def label_names(label: str) -> tuple[str, ...]:
    """Return the names of a label, in lower case: "dogsled, dog_sled" -> ("dogsled", "dog sled")."""
    plain = re.sub(r"\(.*?\)", " ", label).replace("_", " ")  # "crane (n03126707)"
    return tuple(name for name in (" ".join(words(name)) for name in plain.split(",")) if name)


def find_name_ends(text: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """Return where a name ends, in singular or plural: indices of the names' last words, each once, in order."""
    found, wanted = [singular(word) for word in text], [tuple(map(singular, name.split())) for name in names]
    starts = {(start, name) for name in wanted for start in range(len(found) - len(name) + 1)}
    return tuple(sorted({s + len(name) - 1 for s, name in starts if tuple(found[s : s + len(name)]) == name}))


def occurs(phrase: str, caption: str) -> bool:
    """Return whether the caption holds these words one after the other, whatever their case."""
    wanted, held = words(phrase.lower()), words(caption.lower())
    return any(held[start : start + len(wanted)] == wanted for start in range(len(held) - len(wanted) + 1))


def singular(word: str) -> str:
    """Return a form that is near enough to compare by: both forms of a noun give the same string."""
    if word.endswith("men"):
        return f"{word[:-3]}man"
    if word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 2:
        word = word[:-1]
    return re.sub(r"ie$", "y", re.sub(r"(s|x|z|ch|sh)e$", r"\1", word))


def words(text: str) -> list[str]:
    """Return the words in lower case, without punctuation."""
    return [_bare(word) for word in text.split() if _bare(word)]


def key(text: str) -> str:
    """Return the caption's words as one string, equal for captions that differ in case, spaces and punctuation only."""
    return " ".join(words(text))


def _spans(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """Return (start, end) in the old and in the new words of every place that changed."""
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
    return [span for span in spans if not _is_agreement(old[span[0] : span[1]], new[span[2] : span[3]])] or spans


def _phrases(old: Sequence[str], new: Sequence[str]) -> tuple[str, str]:
    went, came = [_trim(word) for word in old], [_trim(word) for word in new]
    if went and came and went[0].lower() in ARTICLES and came[0].lower() in ARTICLES and len(went) + len(came) > 2:
        went, came = went[1:], came[1:]
    return " ".join(went), " ".join(came)


def _is_agreement(old: Sequence[str], new: Sequence[str]) -> bool:
    """Return whether only pronouns changed, as they must when a man becomes a woman."""
    return bool(old and new) and {_bare(word) for word in (*old, *new)} <= PRONOUNS


def _plain(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(_bare(text) for text in texts)


def _bare(word: str) -> str:
    return _trim(word).lower()


def _trim(word: str) -> str:
    """Return the word without the punctuation around it, unless it is nothing else."""
    return word.strip(".,;:!?\"'()") or word
