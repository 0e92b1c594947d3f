"""The gates that a proposed caption has to pass: each gives its figure and its reason, whether it passes or not.

Words decide where they can, and a sentence-BERT where they cannot: cosines alone let "howler monkey" become "a group of
monkeys" (Prabhu et al., 2023, and Li et al., 2024, use nothing else). Knows no language model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.captions.grammar import objection
from pipeline.captions.lexicon import definitions, is_actor, is_material, is_medium, is_thing, synonyms
from pipeline.captions.wording import find_name_ends, key, word_diff, words
from pipeline.errors import ModelError
from pipeline.settings import Settings
from pipeline.types import Check, Perturbation

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerBase

REMEMBERED = 4096  # texts whose vectors are kept: labels and captions come again with every proposal
ENDLESS = 10**6  # a tokenizer without a window says a number far above this


class Gates:
    """A sentence encoder and, where the editor has one, the tokenizer of its text encoder."""

    def __init__(self, sentences: SentenceTransformer, text: PreTrainedTokenizerBase | None = None) -> None:
        """Take what was opened elsewhere; without `text` the length is not judged."""
        self._sentences = sentences
        self._text = text
        self._known: dict[str, torch.Tensor] = {}

    def checks(
        self, caption: str, edited_caption: str, factor: str, label: str, settings: Settings
    ) -> tuple[Check, ...]:
        """Return every gate's check of the edited caption. Raises `ModelError` when the encoder gives no numbers."""
        if key(caption) == key(edited_caption):
            says = "the edited caption is the same as the caption (0 words changed)"
            return (Check(gate="words", passed=False, says=says, figure=0, bound=1),)
        vectors = self.embed([caption, edited_caption])
        found = [self.words(caption, edited_caption, settings)]
        if label:
            found.append(self.label(caption, edited_caption, label, settings))
        found += [factor_check(caption, edited_caption, factor), _similarity(float(vectors[0] @ vectors[1]), settings)]
        return (*found, *self._length(edited_caption))

    def words(self, caption: str, edited_caption: str, settings: Settings) -> Check:
        """Refuse other words for the same thing: they are no change."""
        original, edit = word_diff(caption, edited_caption)
        if not original or not edit:
            says = f"words were {'added' if edit else 'taken away'}: '{edit or original}'"
            return Check(gate="words", passed=True, says=says)
        vectors = self.embed([original, edit])
        figure = float(vectors[0] @ vectors[1])
        says = f"the old words '{original}' and the new words '{edit}' have similarity {figure:.2f}"
        return _bounded("words", says, figure, settings.max_word_similarity)

    def label(self, caption: str, edited_caption: str, label: str, settings: Settings) -> Check:
        """Ask whether the label is kept: by name where the caption names it, else by what the replaced words mean."""
        names = synonyms(label)
        before, after = count_names(caption, edited_caption, names)
        if before:
            says = f"the label '{label}' is named {after} time{'s' * (after != 1)}"
            says = says if after >= before else f"{says} instead of {before}"
            return Check(gate="label", passed=after >= before, says=says, figure=after, bound=before)
        original, _ = word_diff(caption, edited_caption)
        if not original:
            return Check(gate="label", passed=True, says="no word went, so none that meant the label")
        first, *others = self.embed([original, *names, *definitions(label)])
        cosines = [float(first @ vector) for vector in others]
        measured = [("the label", max(cosines[: len(names)]), settings.max_label_similarity)]
        if described := cosines[len(names) :]:
            measured.append(("the definition of the label", max(described), settings.max_definition_similarity))
        what, figure, bound = max(measured, key=lambda measure: measure[1] - measure[2])
        says = f"the replaced words '{original}' and {what} '{label}' have similarity {figure:.2f}"
        return _bounded("label", says, figure, bound)

    def repeat(self, edited_caption: str, edit: str, others: Sequence[Perturbation], settings: Settings) -> Check:
        """Ask whether the proposal says in other words what one of the others says already."""
        if not others:
            return Check(gate="distinct", passed=True, says="there is no other proposal yet")
        vectors = self.embed([edit or edited_caption, *(other.edit or other.edited_caption for other in others)])
        cosines = (vectors[1:] @ vectors[0]).tolist()
        figure, nearest = max(zip(cosines, (other.edit for other in others), strict=True))
        says = f"the new words '{edit}' and those of another proposal, '{nearest}', have similarity {figure:.2f}"
        return _bounded("distinct", says, figure, settings.max_word_similarity)

    def _length(self, edited_caption: str) -> Iterator[Check]:
        if self._text is None or self._text.model_max_length > ENDLESS:
            return
        window = self._text.model_max_length
        count = len(self._text(edited_caption, verbose=False).input_ids)
        says = f"{count} tokens of the {window} that the picture's text encoder reads"
        lost = f"{count} tokens, but the picture's text encoder reads {window}; shorten the caption or its end is lost"
        passed = count <= window
        yield Check(gate="length", passed=passed, says=says if passed else lost, figure=count, bound=window)

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (n, width) unit vectors, remembered by their text. Raises `ModelError` when they are not numbers."""
        import torch

        if fresh := [text for text in dict.fromkeys(texts) if text not in self._known]:
            vectors = self._sentences.encode(
                fresh, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
            ).float()
            if not vectors.isfinite().all():
                raise ModelError(
                    f"The sentence encoder gave values that are not numbers for '{fresh[0]}', so its gates cannot be "
                    "judged; check the weights of the profile's `sentences`."
                )
            if len(self._known) + len(fresh) > REMEMBERED:
                self._known = {text: self._known[text] for text in texts if text in self._known}
            self._known |= dict(zip(fresh, vectors, strict=True))
        return torch.stack([self._known[text] for text in texts])


def count_names(caption: str, edited_caption: str, names: Sequence[str]) -> tuple[int, int]:
    """Count how often the caption and the edited caption name the label.

    Names in front of another noun do not count ("ski lodge", "goldfish sticker"), nor do toys of animals. Where the
    caption holds no full name, the names' last words stand for them ("monkey" for "howler monkey").
    """
    old, new = words(caption), words(edited_caption)
    judges: tuple[Callable[[Sequence[str], Sequence[str]], int], ...] = (
        _count_meant,
        lambda text, wanted: len(find_name_ends(text, wanted)),
    )
    for wanted in (names, tuple(dict.fromkeys(name.split()[-1] for name in names))):
        for judge in judges:
            if before := judge(old, wanted):
                return before, judge(new, wanted)
    return 0, 0


def _count_meant(text: Sequence[str], names: Sequence[str]) -> int:
    return sum(_is_meant(text, end, names) for end in find_name_ends(text, names))


def _is_meant(text: Sequence[str], end: int, names: Sequence[str]) -> bool:
    follows = next(iter(text[end + 1 : end + 2]), "")
    if is_actor(follows) or is_thing(follows) or is_medium(follows):
        return False
    length = max(len(name.split()) for name in names if find_name_ends(text[: end + 1], [name])[-1:] == (end,))
    before = next(iter(text[end - length : end - length + 1]), "") if end >= length else ""
    return not (is_actor(text[end]) and is_material(before))


def factor_check(caption: str, edited_caption: str, factor: str) -> Check:
    """Ask whether one place of the caption changed, and of this factor."""
    found = objection(caption, edited_caption, factor)
    return Check(gate="factor", passed=not found, says=found or f"one place changed, and it may be the {factor}")


def _similarity(figure: float, settings: Settings) -> Check:
    bound = settings.min_caption_similarity
    passed = figure >= bound
    says = f"similarity of both captions {figure:.2f} is {'not ' if passed else ''}below {bound:.2f}"
    return Check(gate="similarity", passed=passed, says=says, figure=figure, bound=bound)


def _bounded(gate: str, says: str, figure: float, bound: float) -> Check:
    passed = figure < bound
    says = f"{says}, which is {'' if passed else 'not '}below {bound:.2f}"
    return Check(gate=gate, passed=passed, says=says, figure=figure, bound=bound)
