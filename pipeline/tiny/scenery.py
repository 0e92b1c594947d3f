"""The places the miniature world's scenes are set in: a sky, a ground and a few large features each.

A place knows its horizon, its seeded texture and the pen it is drawn with. It knows nothing of what stands in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import numpy as np
from PIL import Image

from pipeline.tiny.shapes import WHITE, Colour, Pen

SIZE = 96
"""Width and height of a finished picture, in pixels."""
SCALE = 3
"""How many canvas pixels are drawn for each pixel of the finished picture, across and down."""

_PENCIL: Colour = (128, 128, 134)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """What a background is drawn with; lengths are scene pixels."""

    pen: Pen
    picture: Image.Image
    horizon: float
    rng: Random
    sketched: bool

    def fade(self, top: float, bottom: float, first: Colour, second: Colour) -> None:
        """Draw a band of colour across the picture, from one colour at its top to another at its bottom."""
        tone = self.pen.tone
        rows = round((bottom - top) * SCALE)
        band = _fade(rows, tone(first), tone(second))
        self.picture.paste(band, (0, round(top * SCALE)))
        if self.sketched and top > 0:
            self.pen.canvas.line((0, top * SCALE, SIZE * SCALE, top * SCALE), fill=_PENCIL, width=4)

    def hill(self, colour: Colour, x: float, half: float, height: float) -> None:
        """Draw a round hill that stands on the horizon."""
        self.mass(colour, x, self.horizon, half, height)

    def mass(self, colour: Colour, x: float, y: float, across: float, up: float) -> None:
        """Draw a round mass; in a sketch it has a pencil outline."""
        if self.sketched:
            replace(self.pen, tone=lambda _: _PENCIL).oval(colour, x, y, across + 1.2, up + 1.2)
        self.pen.oval(colour, x, y, across, up)

    def block(self, colour: Colour, left: float, top: float, right: float, bottom: float) -> None:
        """Draw an upright block; in a sketch it has a pencil outline."""
        if self.sketched:
            pencil = replace(self.pen, tone=lambda _: _PENCIL)
            pencil.box(colour, left - 1.2, top - 1.2, right + 1.2, bottom)
        self.pen.box(colour, left, top, right, bottom)


@cache
def _fade(rows: int, first: Colour, second: Colour) -> Image.Image:
    share = np.linspace(0, 1, rows)[:, None, None]
    band = np.asarray(first) * (1 - share) + np.asarray(second) * share
    return Image.fromarray(np.broadcast_to(band, (rows, SIZE * SCALE, 3)).round().astype(np.uint8))


def _snowy_field(scenery: Scenery) -> None:
    rng, horizon = scenery.rng, scenery.horizon
    scenery.fade(0, horizon, (150, 195, 228), (208, 228, 242))
    scenery.hill((226, 236, 246), rng.uniform(15, 30), 40, rng.uniform(11, 15))
    scenery.hill((214, 227, 241), rng.uniform(68, 84), 36, rng.uniform(14, 19))
    scenery.fade(horizon, SIZE, (238, 244, 251), (219, 231, 245))
    for index in range(9):
        x, y = 6 + (index % 3) * 36 + rng.uniform(-5, 12), 7 + (index // 3) * 13 + rng.uniform(-3, 3)
        scenery.pen.oval((165, 185, 225) if scenery.sketched else WHITE, x, y, 1.7, 1.7)


def _sandy_beach(scenery: Scenery) -> None:
    rng, horizon = scenery.rng, scenery.horizon
    scenery.fade(0, horizon - 10, (92, 186, 240), (182, 226, 248))
    scenery.mass((255, 226, 90), rng.uniform(48, 56), rng.uniform(12, 17), 7.5, 7.5)
    scenery.fade(horizon - 10, horizon, (24, 110, 190), (52, 165, 215))
    scenery.fade(horizon, SIZE, (250, 226, 168), (236, 200, 132))
    scenery.pen.line(WHITE, 2, *((x, horizon + (2 if x % 24 else 0.6)) for x in range(-12, SIZE + 13, 12)))


def _green_meadow(scenery: Scenery) -> None:
    rng, horizon = scenery.rng, scenery.horizon
    scenery.fade(0, horizon, (96, 178, 245), (196, 228, 250))
    x, y = rng.uniform(38, 54), rng.uniform(12, 18)
    for dx, dy, radius in ((-7, 1, 4), (0, -1, 5.5), (7, 1, 4)):
        scenery.mass(WHITE, x + dx, y + dy, radius * 1.3, radius)
    scenery.hill((112, 190, 92), rng.uniform(60, 78), 46, rng.uniform(8, 11))
    scenery.fade(horizon, SIZE, (118, 200, 76), (70, 158, 56))
    for index in range(8):
        x, y = 5 + (index % 4) * 26 + rng.uniform(-4, 9), horizon + 13 + (index // 4) * 27 + rng.uniform(-3, 4)
        petals = ((255, 235, 90), (255, 255, 255))[index % 2]
        scenery.pen.oval(petals, x, y, 1.9, 1.9)


def _desert(scenery: Scenery) -> None:
    rng, horizon = scenery.rng, scenery.horizon
    scenery.fade(0, horizon, (236, 132, 74), (255, 208, 138))
    scenery.hill((206, 122, 66), rng.uniform(56, 76), 34, rng.uniform(13, 18))
    scenery.hill((222, 146, 82), rng.uniform(14, 34), 44, rng.uniform(8, 11))
    scenery.fade(horizon, SIZE, (232, 176, 106), (214, 150, 84))
    for y in (horizon + 16, horizon + 34):
        start = y + rng.uniform(-2, 2)
        scenery.pen.line((196, 132, 72), 1.4, *((x, start + (2 if x // 16 % 2 else 0)) for x in range(-8, 112, 16)))


def _city_street_at_night(scenery: Scenery) -> None:
    rng, horizon = scenery.rng, scenery.horizon
    scenery.fade(0, horizon, (14, 18, 56), (46, 48, 104))
    scenery.mass((250, 244, 200), rng.uniform(50, 54), 7, 4, 4)
    for column in range(6):
        left, top = column * 16.5 - 1, horizon - rng.uniform(22, 36)
        scenery.block(((52, 56, 94), (66, 66, 108))[column % 2], left, top, left + 15, horizon)
        for row in range(int((horizon - top - 4) // 7)):
            for side in (2.6, 8.8):
                lit = rng.random() < 0.75
                window = (255, 214, 96) if lit else (36, 38, 70)
                scenery.pen.box(window, left + side, top + 3 + row * 7, left + side + 3.4, top + 7 + row * 7)
    scenery.fade(horizon, horizon + 6, (124, 124, 142), (112, 112, 132))
    scenery.fade(horizon + 6, SIZE, (78, 80, 102), (66, 68, 90))
    for x in range(-6, SIZE, 27):
        scenery.pen.box((238, 214, 120), x, horizon + 19, x + 13, horizon + 21.4)


def _forest(scenery: Scenery) -> None:
    rng, horizon = scenery.rng, scenery.horizon
    scenery.fade(0, horizon, (44, 92, 62), (26, 62, 46))
    for index in range(7):
        x = index * 16 + rng.uniform(-3, 3)
        scenery.block((74, 52, 38), x - 2.4, 14, x + 2.4, horizon + 1)
    for row, colour in enumerate(((52, 112, 66), (34, 88, 54))):
        for index in range(6):
            x = index * 20 - row * 10 + rng.uniform(-2, 2)
            scenery.mass(colour, x, 20 - row * 13 + rng.uniform(-1.5, 1.5), 12.5, 10)
    scenery.fade(horizon, SIZE, (92, 112, 58), (70, 88, 46))
    for index in range(6):
        x, y = 8 + (index % 3) * 34 + rng.uniform(-4, 8), horizon + 16 + (index // 3) * 24 + rng.uniform(-3, 3)
        scenery.pen.oval((178, 116, 52), x, y, 2.4, 1.4)


BACKDROPS: dict[str, Callable[[Scenery], None]] = {
    "snowy field": _snowy_field,
    "sandy beach": _sandy_beach,
    "green meadow": _green_meadow,
    "desert": _desert,
    "city street at night": _city_street_at_night,
    "forest": _forest,
}
SHADOWS: dict[str, Colour] = {
    "snowy field": (172, 190, 216),
    "sandy beach": (198, 160, 100),
    "green meadow": (46, 116, 44),
    "desert": (166, 106, 56),
    "city street at night": (40, 40, 60),
    "forest": (44, 56, 32),
}
