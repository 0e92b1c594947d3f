"""The figures of word maps: lit where a word looks, dark elsewhere, and words stay text."""

import numpy as np
from PIL import Image

from explorer.components.word_maps import DARK, SIDE, highlight, word_maps_markup
from pipeline.types import WordMap

PHOTO = Image.new("RGB", (SIDE, SIDE), (200, 100, 50))


def test_the_photo_is_lit_where_the_word_looks() -> None:
    weights = np.zeros((4, 4), np.float32)
    weights[:, :2] = 0.3
    shown = np.asarray(highlight(PHOTO, WordMap(word="dog", weights=weights)))
    assert shown[SIDE // 2, 4].tolist() == [200, 100, 50]
    assert shown[SIDE // 2, -4].tolist() == [round(DARK * value) for value in (200, 100, 50)]


def test_a_map_without_any_difference_is_dark_everywhere() -> None:
    flat = np.asarray(highlight(PHOTO, WordMap(word="dog", weights=np.ones((4, 4), np.float32))))
    assert flat.max() == round(DARK * 200)


def test_a_figure_a_word_and_words_are_text() -> None:
    maps = [WordMap(word=word, weights=np.eye(4, dtype=np.float32)) for word in ("a", "<b>")]
    markup = word_maps_markup(PHOTO, maps)
    assert markup.count("<figure") == 2
    assert "<b>" not in markup
    assert "no word" in word_maps_markup(PHOTO, [])
