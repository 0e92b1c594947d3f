"""The miniature world: small pictures whose caption, label, factors and counterfactuals are known for certain.

A scene names one thing to classify and five factors; it can be drawn, told in words, and drawn again with one factor
changed and everything else in its place. Models can so be trained and measured against the truth. The world knows
nothing of photographs: what holds here shows that a method works, not how well it works on real pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from pipeline.tiny.scenery import BACKDROPS, SCALE, SHADOWS, SIZE, Scenery
from pipeline.tiny.shapes import INK, SUBJECT_SHAPES, THING_SHAPES, Colour, Pen, mix

__all__ = [
    "ADJECTIVES", "BACKGROUNDS", "BIAS", "COMPANION", "DOMAINS", "HOME", "LABELS", "OBJECTS", "PHRASINGS", "SIZE",
    "SUBJECTS", "SUBJECT_BIAS", "VALUES", "Scene", "draw", "parse", "redraw", "sample", "twins",
]  # fmt: skip

LABELS = (
    "sled", "ball", "umbrella", "kite", "drum", "balloon", "chair", "lantern", "tent", "boat", "cart", "bucket",
)  # fmt: skip
SUBJECTS = ("dog", "cat", "penguin", "bear", "rabbit", "robot")
ADJECTIVES = ("brown", "black", "white", "orange", "blue", "pink")
OBJECTS = ("tree", "house", "rock", "flag", "fence", "cactus")
BACKGROUNDS = ("snowy field", "sandy beach", "green meadow", "desert", "city street at night", "forest")
DOMAINS = ("photo", "sketch", "painting")
VALUES: dict[str, tuple[str, ...]] = {
    "subject": SUBJECTS,
    "object": OBJECTS,
    "background": BACKGROUNDS,
    "adjective": ADJECTIVES,
    "domain": DOMAINS,
}

PHRASINGS = (
    "a {domain} of {adjective} {subject} with {label} next to {object} {background}",
    "a {domain} of {adjective} {subject} and {label} near {object} {background}",
    "a {domain} showing {adjective} {subject} beside {label} and {object} {background}",
    "a {domain} of {label} and {object} with {adjective} {subject} {background}",
)

BIAS = 0.95
SUBJECT_BIAS = 0.5
HOME = {
    "sled": "snowy field", "chair": "snowy field", "boat": "sandy beach", "bucket": "sandy beach",
    "kite": "green meadow", "ball": "green meadow", "cart": "desert", "balloon": "desert",
    "umbrella": "city street at night", "drum": "city street at night", "tent": "forest", "lantern": "forest",
}  # fmt: skip
COMPANION = {
    "sled": "dog", "ball": "dog", "umbrella": "cat", "lantern": "cat", "boat": "penguin", "bucket": "penguin",
    "drum": "bear", "tent": "bear", "kite": "rabbit", "chair": "rabbit", "cart": "robot", "balloon": "robot",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One picture before it is drawn; `seed` rules places, sizes and texture, `phrasing` is an index of PHRASINGS."""

    label: str
    subject: str
    adjective: str
    object: str
    background: str
    domain: str
    seed: int
    phrasing: int

    def caption(self) -> str:
        """Return the true caption, lower case and without punctuation."""
        return PHRASINGS[self.phrasing].format(
            domain=self.domain,
            adjective=_with_article(self.adjective),
            subject=self.subject,
            label=_with_article(self.label),
            object=_with_article(self.object),
            background=f"{_PREPOSITIONS.get(self.background, 'in')} a {self.background}",
        )


_PREPOSITIONS = {"sandy beach": "on", "city street at night": "on"}


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


@cache
def _pattern(phrasing: str) -> re.Pattern[str]:
    def group(name: str, before: str = "") -> str:
        return before + f"(?P<{name}>{'|'.join(({'label': LABELS} | VALUES)[name])})"

    named = {name: group(name, "an? ") for name in ("adjective", "label", "object")}
    place = group("background", "(?:in|on) a ")
    return re.compile(phrasing.format(**named, background=place, domain=group("domain"), subject=group("subject")))


def parse(caption: str) -> dict[str, str] | None:
    """Return the label and five factors that a caption names, or None if the grammar does not produce exactly it."""
    for index, phrasing in enumerate(PHRASINGS):
        if match := _pattern(phrasing).fullmatch(caption):
            found = match.groupdict()
            if Scene(**found, seed=0, phrasing=index).caption() == caption:
                return found
    return None


def redraw(scene: Scene, factor: str, value: str) -> Scene:
    """Return the true counterfactual: the same scene, places and phrasing with one factor changed."""
    if factor not in VALUES:
        raise ValueError(f"{factor!r} is not a factor of the miniature world; the factors are {', '.join(VALUES)}.")
    if value not in VALUES[factor]:
        raise ValueError(f"{value!r} is not a value of {factor}; the values are {', '.join(VALUES[factor])}.")
    changes: dict[str, str] = {factor: value}
    return replace(scene, **changes)  # type: ignore[arg-type]


def twins(scene: Scene) -> tuple[tuple[str, str, Scene], ...]:
    """Return every counterfactual one factor away, as (factor, new value, scene)."""
    return tuple(
        (factor, value, redraw(scene, factor, value))
        for factor, values in VALUES.items()
        for value in values
        if value != getattr(scene, factor)
    )


def sample(n: int, seed: int, bias: float = 0.0) -> tuple[Scene, ...]:
    """Return `n` scenes, uniform over everything, or biased: a share of backgrounds is the home of the label.

    `bias` in 0..1 is that share; above 0 the subjects follow the label too, at `SUBJECT_BIAS`. The same seed gives the
    same scenes under every bias but for what follows the label.
    """
    rng = Random(f"{seed}:sample")

    def scene() -> Scene:
        label = rng.choice(LABELS)
        drawn = {factor: rng.choice(values) for factor, values in VALUES.items()}
        at_home, in_company = rng.random() < bias, rng.random() < SUBJECT_BIAS
        if at_home:
            drawn["background"] = HOME[label]
        if bias and in_company:
            drawn["subject"] = COMPANION[label]
        return Scene(label=label, **drawn, seed=rng.getrandbits(31), phrasing=rng.randrange(len(PHRASINGS)))

    return tuple(scene() for _ in range(n))


_PAPER: Colour = (246, 244, 238)
_GRAPHITE: Colour = (70, 70, 78)
_COATS: dict[str, tuple[Colour, Colour, Colour]] = {
    "brown": ((132, 80, 42), (212, 168, 120), (62, 34, 18)),
    "black": ((46, 46, 54), (122, 122, 134), (158, 160, 172)),
    "white": ((246, 246, 250), (222, 224, 232), (112, 116, 132)),
    "orange": ((248, 132, 24), (255, 214, 150), (122, 52, 10)),
    "blue": ((48, 112, 235), (165, 205, 255), (18, 40, 104)),
    "pink": ((255, 130, 182), (255, 212, 230), (140, 40, 92)),
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Places (scene pixels: centre and ground line) and sizes (share of the usual), ruled by the seed alone."""

    horizon: float
    object: tuple[float, float, float]
    subject: tuple[float, float, float]
    thing: tuple[float, float, float]

    @classmethod
    def of(cls, seed: int) -> _Layout:
        rng = Random(f"{seed}:layout")
        horizon = rng.uniform(47.5, 52.5)

        def place(x: float, spread: float, y: float) -> tuple[float, float, float]:
            return x + rng.uniform(-spread, spread), y + rng.uniform(-2, 2), rng.uniform(0.93, 1.07)

        return cls(horizon, place(15, 2, horizon + 3.5), place(38, 3, 87), place(76, 2, 86))


_OBJECT_HEIGHTS = {"tree": 33, "house": 30, "rock": 27, "flag": 32, "fence": 29, "cactus": 30}
_THING_HEIGHTS = {"sled": 31, "tent": 32, "boat": 33, "cart": 31, "ball": 34, "drum": 32, "kite": 30, "balloon": 30}
_SUBJECT_HEIGHTS = {"dog": 39, "cat": 40, "penguin": 42, "bear": 41, "rabbit": 43, "robot": 42}


def draw(scene: Scene) -> Image.Image:
    """Draw the scene as an RGB picture of SIZE x SIZE pixels; the same scene always gives the same picture."""
    sketched = scene.domain == "sketch"
    layout = _Layout.of(scene.seed)
    picture = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), _PAPER)
    canvas = ImageDraw.Draw(picture)

    def tone(share: float) -> Callable[[Colour], Colour]:
        return (lambda colour: mix(_PAPER, colour, share)) if sketched else (lambda colour: colour)

    scenery = Scenery(
        pen=Pen(canvas=canvas, tone=tone(0.24), unit=SCALE),
        picture=picture,
        horizon=layout.horizon,
        rng=Random(f"{scene.seed}:background"),
        sketched=sketched,
    )
    BACKDROPS[scene.background](scenery)
    if scene.domain == "painting":
        picture.paste(_brushed(picture))

    soil = tone(0.24)(SHADOWS[scene.background])
    coat, light, edge = _COATS[scene.adjective]

    def stand(place: tuple[float, float, float], height: float, edge: Colour, draw_with: Callable[[Pen], None],
              share: float, shadow: float) -> None:  # fmt: skip
        x, y, size = place
        unit = height * size * SCALE
        pen = Pen(canvas=canvas, tone=tone(share), x=x * SCALE, y=y * SCALE, unit=unit)
        replace(pen, tone=lambda _: soil).oval(INK, 0.05, 0, shadow, 0.07)
        draw_with(replace(pen, edge=_GRAPHITE if sketched else edge, grow=0.9 * SCALE))
        draw_with(pen)

    stand(layout.object, _OBJECT_HEIGHTS[scene.object], INK, THING_SHAPES[scene.object], 0.5, 0.42)
    stand(
        layout.thing, _THING_HEIGHTS.get(scene.label, 34), INK, THING_SHAPES[scene.label], 0.62,
        0.25 if scene.label in ("kite", "balloon") else 0.48,
    )  # fmt: skip
    stand(
        layout.subject, _SUBJECT_HEIGHTS[scene.subject], edge,
        lambda pen: SUBJECT_SHAPES[scene.subject](pen, coat, light), 0.68, 0.44,
    )  # fmt: skip
    return _FINISHES[scene.domain](picture.reduce(SCALE))


@cache
def _light() -> NDArray[np.float32]:
    """Return how bright each pixel of a photo is: lamp light from the upper left that falls off towards the corners."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / (SIZE - 1)
    lamp = 1.1 - 0.16 * (0.55 * x + 0.45 * y)
    corners = 1 - 0.42 * np.clip(np.hypot(x - 0.5, y - 0.5) - 0.3, 0, None) ** 1.3
    return np.asarray((lamp * corners)[..., None], np.float32)


@cache
def _strokes() -> NDArray[np.float32]:
    """Return a painting's brush marks: soft slanted blobs, lighter and darker by some percent, alike on any canvas."""
    marks = np.random.default_rng(7).normal(size=(SIZE // 4, SIZE // 9)).astype(np.float32)
    soft = np.asarray(Image.fromarray(marks).resize((SIZE * 2, SIZE), Image.Resampling.BICUBIC))
    slanted = np.stack([row[SIZE - index : 2 * SIZE - index] for index, row in enumerate(soft)])
    return np.asarray(1 + 0.04 * np.clip(slanted / slanted.std(), -1.5, 1.5)[..., None], np.float32)


def _times(picture: Image.Image, factor: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(picture, np.float32) * factor, 0, 255).astype(np.uint8))


def _photo(picture: Image.Image) -> Image.Image:
    return _times(picture, _light())


_BRUSH = 64


def _brushed(picture: Image.Image) -> Image.Image:
    """Return the picture in few colours, laid on in patches of a brush, _BRUSH of which would fill a row."""
    small = _times(picture.resize((_BRUSH, _BRUSH), Image.Resampling.BOX), _strokes()[:_BRUSH, :_BRUSH])
    patches = small.quantize(14, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    smeared = Image.frombytes("L", patches.size, patches.tobytes()).filter(ImageFilter.ModeFilter(3))
    laid = Image.frombytes("P", patches.size, smeared.tobytes())
    laid.putpalette(patches.getpalette() or [])
    return laid.convert("RGB").resize(picture.size, Image.Resampling.BICUBIC)


def _painting(picture: Image.Image) -> Image.Image:
    """Return the picture in strong colours, with brush marks and a warm varnish."""
    vivid = ImageEnhance.Color(picture.filter(ImageFilter.MedianFilter(3))).enhance(1.3)
    return _times(vivid, _strokes() * np.asarray((1.03, 0.98, 0.88), np.float32))


@cache
def _hatching() -> NDArray[np.float32]:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    return np.asarray((np.sin((x + y) * (2 * np.pi / 6)) * 0.5 + 0.5)[..., None], np.float32)


def _sketch(picture: Image.Image) -> Image.Image:
    """Return the picture in pencil strokes across whatever is not paper, denser where it is darker."""
    tone = 1 - np.asarray(picture.convert("L"), np.float32)[..., None] / 255
    return _times(picture, 1 - 0.28 * _hatching() * tone)


_FINISHES: dict[str, Callable[[Image.Image], Image.Image]] = {"photo": _photo, "sketch": _sketch, "painting": _painting}
