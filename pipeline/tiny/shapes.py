"""Everything that stands in the miniature world, as flat shapes a pen can draw.

A shape is a function of a pen and of its colours. It draws in its own units: x to the right with 0 in the middle,
y downwards with 0 on the ground and -1 at its top, so that a unit is its height. It knows neither the place nor the
style it is drawn in: the pen does. Shapes are drawn twice, first grown and in one colour, which gives the outline of
the whole silhouette, then in their own colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL.ImageDraw import ImageDraw

Colour = tuple[int, int, int]
Position = tuple[float, float]

INK: Colour = (38, 34, 44)
WHITE: Colour = (250, 250, 250)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour on the way from `first` (share 0) to `second` (share 1)."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Draws in a shape's units at (x, y) with `unit` canvas pixels to a unit; all its lengths are canvas pixels.

    `tone` turns a true colour into the style's; with `edge` every shape is drawn `grow` pixels larger in that colour.
    """

    canvas: ImageDraw
    tone: Callable[[Colour], Colour]
    x: float = 0.0
    y: float = 0.0
    unit: float = 1.0
    edge: Colour | None = None
    grow: float = 0.0

    def at(self, x: float, y: float, unit: float) -> Pen:
        """Return the same pen at another place and size (canvas pixels)."""
        return replace(self, x=x, y=y, unit=unit)

    def poly(self, colour: Colour, *points: Position) -> None:
        """Draw a filled polygon."""
        places = [self._place(point) for point in points]
        self.canvas.polygon(places, fill=self._fill(colour))
        if self.edge:
            self._stroke([*places, places[0]], 2 * self.grow, self.edge)

    def line(self, colour: Colour, width: float, *points: Position) -> None:
        """Draw a line with round ends, `width` units thick."""
        self._stroke([self._place(point) for point in points], width * self.unit + 2 * self.grow, self._fill(colour))

    def oval(self, colour: Colour, x: float, y: float, across: float, up: float) -> None:
        """Draw a filled ellipse around (x, y) with these radii."""
        self.canvas.ellipse(self._box(x - across, y - up, x + across, y + up), fill=self._fill(colour))

    def slice(self, colour: Colour, x: float, y: float, radii: Position, start: float, end: float) -> None:
        """Draw a piece of an ellipse's pie, from `start` to `end` degrees clockwise from the right."""
        box = self._box(x - radii[0], y - radii[1], x + radii[0], y + radii[1])
        self.canvas.pieslice(box, start, end, fill=self._fill(colour))

    def box(self, colour: Colour, left: float, top: float, right: float, bottom: float, radius: float = 0.0) -> None:
        """Draw a filled rectangle with rounded corners."""
        box = self._box(left, top, right, bottom)
        self.canvas.rounded_rectangle(box, radius * self.unit + self.grow, fill=self._fill(colour))

    def _fill(self, colour: Colour) -> Colour:
        return self.edge or self.tone(colour)

    def _place(self, point: Position) -> Position:
        return self.x + point[0] * self.unit, self.y + point[1] * self.unit

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        (x0, y0), (x1, y1) = self._place((left, top)), self._place((right, bottom))
        return x0 - self.grow, y0 - self.grow, x1 + self.grow, y1 + self.grow

    def _stroke(self, places: list[Position], width: float, colour: Colour) -> None:
        self.canvas.line(places, fill=colour, width=max(1, round(width)), joint="curve")
        half = width / 2
        for x, y in (places[0], places[-1]):
            self.canvas.ellipse((x - half, y - half, x + half, y + half), fill=colour)


def eyes(pen: Pen, y: float, *xs: float, size: float = 0.042) -> None:
    """Draw bright round eyes that can be seen on any coat."""
    for x in xs:
        pen.oval(WHITE, x, y, size * 1.35, size * 1.5)
        pen.oval(INK, x + size * 0.25, y + size * 0.1, size * 0.95, size * 1.1)


def dog(pen: Pen, coat: Colour, light: Colour) -> None:
    dark = mix(coat, INK, 0.38)
    pen.line(coat, 0.1, (-0.3, -0.5), (-0.42, -0.66), (-0.4, -0.8))
    for x in (-0.24, 0.17):
        pen.box(dark, x, -0.34, x + 0.13, 0, 0.05)
    pen.box(coat, -0.36, -0.62, 0.28, -0.26, 0.16)
    for x in (-0.36, 0.06):
        pen.box(coat, x, -0.4, x + 0.14, 0, 0.06)
    pen.poly(coat, (0.02, -0.5), (0.1, -0.8), (0.32, -0.72), (0.28, -0.4))
    pen.oval(coat, 0.2, -0.78, 0.19, 0.19)
    pen.box(light, 0.24, -0.8, 0.49, -0.62, 0.08)
    pen.oval(INK, 0.46, -0.77, 0.055, 0.05)
    pen.oval(dark, 0.07, -0.73, 0.085, 0.18)
    eyes(pen, -0.84, 0.25)
    pen.line((220, 50, 50), 0.06, (0.07, -0.53), (0.28, -0.53))


def cat(pen: Pen, coat: Colour, light: Colour) -> None:
    pen.line(coat, 0.11, (0.2, -0.08), (0.38, -0.12), (0.43, -0.28), (0.36, -0.44))
    pen.oval(coat, 0, -0.26, 0.27, 0.27)
    pen.oval(light, 0, -0.22, 0.13, 0.18)
    for side in (-1, 1):
        pen.poly(coat, (side * 0.28, -1), (side * 0.28, -0.68), (side * 0.04, -0.82))
        pen.poly((240, 150, 160), (side * 0.235, -0.91), (side * 0.235, -0.76), (side * 0.12, -0.82))
        pen.oval(coat, side * 0.1, -0.05, 0.1, 0.06)
    pen.oval(coat, 0, -0.64, 0.29, 0.22)
    for x in (-0.12, 0.12):
        pen.oval((150, 235, 90), x, -0.67, 0.07, 0.075)
        pen.oval(INK, x, -0.67, 0.028, 0.07)
    pen.oval(light, 0, -0.54, 0.1, 0.06)
    pen.poly((235, 90, 120), (-0.045, -0.59), (0.045, -0.59), (0, -0.535))


def penguin(pen: Pen, coat: Colour, light: Colour) -> None:
    for side in (-1, 1):
        pen.oval((250, 160, 30), side * 0.13, -0.03, 0.12, 0.05)
        pen.poly(coat, (side * 0.2, -0.66), (side * 0.4, -0.26), (side * 0.24, -0.3))
    pen.oval(coat, 0, -0.37, 0.28, 0.35)
    pen.oval(coat, 0, -0.77, 0.21, 0.22)
    pen.oval(WHITE, 0, -0.32, 0.18, 0.27)
    for x in (-0.08, 0.08):
        pen.oval(WHITE, x, -0.76, 0.1, 0.11)
        pen.oval(INK, x, -0.78, 0.042, 0.05)
    pen.poly((250, 160, 30), (-0.09, -0.71), (0.09, -0.71), (0, -0.6))


def bear(pen: Pen, coat: Colour, light: Colour) -> None:
    for side in (-1, 1):
        pen.oval(coat, side * 0.23, -0.89, 0.11, 0.11)
        pen.oval(light, side * 0.23, -0.89, 0.055, 0.055)
        pen.oval(coat, side * 0.34, -0.38, 0.11, 0.17)
        pen.oval(coat, side * 0.2, -0.08, 0.15, 0.09)
        pen.oval(light, side * 0.2, -0.06, 0.08, 0.045)
    pen.oval(coat, 0, -0.32, 0.34, 0.31)
    pen.oval(light, 0, -0.28, 0.2, 0.19)
    pen.oval(coat, 0, -0.73, 0.31, 0.24)
    pen.oval(light, 0, -0.64, 0.15, 0.11)
    pen.oval(INK, 0, -0.69, 0.06, 0.045)
    eyes(pen, -0.79, -0.12, 0.12)


def rabbit(pen: Pen, coat: Colour, light: Colour) -> None:
    for side in (-1, 1):
        pen.oval(coat, side * 0.11, -0.8, 0.085, 0.2)
        pen.oval((250, 165, 185), side * 0.11, -0.79, 0.04, 0.14)
        pen.oval(coat, side * 0.15, -0.06, 0.14, 0.06)
    pen.oval(WHITE, 0.24, -0.12, 0.1, 0.1)
    pen.oval(coat, 0, -0.22, 0.23, 0.22)
    pen.oval(light, 0, -0.18, 0.12, 0.14)
    pen.oval(coat, 0, -0.5, 0.23, 0.18)
    pen.oval(light, 0, -0.43, 0.1, 0.07)
    pen.oval((235, 90, 120), 0, -0.465, 0.04, 0.03)
    pen.box(WHITE, -0.04, -0.42, 0.04, -0.36)
    eyes(pen, -0.54, -0.11, 0.11)


def robot(pen: Pen, coat: Colour, light: Colour) -> None:
    steel: Colour = (150, 160, 175)
    pen.line(steel, 0.04, (0, -0.82), (0, -0.94))
    pen.oval((240, 50, 60), 0, -0.95, 0.06, 0.06)
    for side in (-1, 1):
        pen.box(steel, side * 0.16 - 0.07, -0.2, side * 0.16 + 0.07, 0, 0.02)
        pen.line(steel, 0.09, (side * 0.28, -0.46), (side * 0.4, -0.36), (side * 0.4, -0.26))
        pen.box(steel, side * 0.31 - 0.05, -0.74, side * 0.31 + 0.05, -0.6)
    pen.box(coat, -0.28, -0.52, 0.28, -0.12, 0.04)
    pen.box(coat, -0.31, -0.86, 0.31, -0.5, 0.05)
    pen.box(INK, -0.24, -0.79, 0.24, -0.58, 0.06)
    for x in (-0.11, 0.11):
        pen.oval((90, 240, 255), x, -0.685, 0.06, 0.06)
    pen.box(light, -0.15, -0.42, 0.15, -0.22, 0.03)
    pen.oval((240, 60, 70), -0.07, -0.32, 0.05, 0.05)
    pen.oval((60, 190, 90), 0.07, -0.32, 0.05, 0.05)


def sled(pen: Pen) -> None:
    for x in (-0.34, 0.0, 0.32):
        pen.line((90, 50, 30), 0.07, (x, -0.42), (x, -0.08))
    pen.line((70, 40, 30), 0.09, (-0.52, -0.05), (0.38, -0.05), (0.53, -0.16), (0.53, -0.34), (0.42, -0.42))
    pen.box((225, 35, 45), -0.52, -0.54, 0.42, -0.36, 0.06)
    pen.line((255, 190, 80), 0.05, (-0.44, -0.45), (0.32, -0.45))


def ball(pen: Pen) -> None:
    for index, colour in enumerate(((230, 40, 50), WHITE, (40, 90, 220), WHITE, (250, 205, 40), WHITE)):
        pen.slice(colour, 0, -0.4, (0.4, 0.4), 20 + index * 60, 81 + index * 60)
    pen.oval(WHITE, 0, -0.4, 0.1, 0.1)


def umbrella(pen: Pen) -> None:
    pen.line((110, 70, 40), 0.06, (0, -0.95), (0, -0.06), (0.06, -0.02), (0.13, -0.06))
    pen.slice((125, 50, 190), 0, -0.46, (0.52, 0.48), 180, 360)
    pen.slice((255, 210, 50), 0, -0.46, (0.3, 0.48), 180, 360)
    pen.slice((125, 50, 190), 0, -0.46, (0.1, 0.48), 180, 360)


def kite(pen: Pen) -> None:
    pen.line((235, 235, 225), 0.035, (0, -1.05), (0.1, -0.8), (-0.06, -0.5), (0.0, -0.2), (-0.2, 0.1))
    for x, y in ((0.08, -0.78), (-0.05, -0.52)):
        pen.poly((230, 50, 50), (x - 0.12, y - 0.07), (x - 0.12, y + 0.07), (x + 0.12, y - 0.07), (x + 0.12, y + 0.07))
    pen.poly((255, 205, 40), (0, -2.05), (0.36, -1.6), (0, -1.0), (-0.36, -1.6))
    pen.poly((235, 60, 45), (0, -2.05), (0.36, -1.6), (0, -1.6))
    pen.poly((235, 60, 45), (0, -1.0), (-0.36, -1.6), (0, -1.6))


def drum(pen: Pen) -> None:
    pen.oval((200, 30, 45), 0, -0.14, 0.42, 0.14)
    pen.box((200, 30, 45), -0.42, -0.62, 0.42, -0.14)
    pen.line(WHITE, 0.05, (-0.38, -0.5), (-0.2, -0.08), (0, -0.46), (0.2, -0.08), (0.38, -0.5))
    pen.oval((240, 190, 60), 0, -0.62, 0.42, 0.16)
    pen.oval((250, 244, 225), 0, -0.64, 0.36, 0.12)
    pen.line((120, 75, 40), 0.05, (-0.36, -0.96), (-0.02, -0.66))
    pen.line((120, 75, 40), 0.05, (0.4, -0.96), (0.08, -0.66))


def balloon(pen: Pen) -> None:
    pen.line((240, 240, 240), 0.035, (0, -1.05), (0.06, -0.7), (-0.05, -0.35), (0.02, 0.05))
    pen.poly((225, 40, 110), (-0.09, -1.02), (0.09, -1.02), (0, -1.16))
    pen.oval((245, 60, 130), 0, -1.58, 0.38, 0.46)
    pen.oval((255, 175, 205), -0.14, -1.76, 0.08, 0.13)


def chair(pen: Pen) -> None:
    for x in (-0.3, 0.28):
        pen.line((20, 125, 120), 0.09, (x, -0.4), (x, -0.04))
    pen.line((20, 125, 120), 0.09, (-0.3, -0.96), (-0.3, -0.4))
    pen.line((20, 125, 120), 0.09, (0.0, -0.96), (0.0, -0.4))
    for y in (-0.92, -0.7):
        pen.box((40, 185, 170), -0.34, y, 0.04, y + 0.14, 0.03)
    pen.poly((60, 205, 190), (-0.36, -0.36), (-0.28, -0.5), (0.34, -0.5), (0.36, -0.36))
    for x in (-0.12, 0.12):
        pen.line((20, 125, 120), 0.08, (x, -0.36), (x, -0.14))


def lantern(pen: Pen) -> None:
    dark: Colour = (70, 62, 75)
    pen.line(dark, 0.06, (-0.15, -0.82), (-0.13, -0.97), (0.13, -0.97), (0.15, -0.82))
    pen.poly(dark, (-0.3, -0.68), (-0.14, -0.86), (0.14, -0.86), (0.3, -0.68))
    pen.box((255, 200, 60), -0.24, -0.68, 0.24, -0.14)
    pen.oval((255, 245, 180), 0, -0.38, 0.13, 0.2)
    pen.oval((250, 130, 30), 0, -0.33, 0.06, 0.11)
    for x in (-0.24, 0.24):
        pen.line(dark, 0.06, (x, -0.68), (x, -0.1))
    pen.box(dark, -0.32, -0.14, 0.32, 0, 0.04)


def tent(pen: Pen) -> None:
    pen.poly((30, 140, 75), (-0.58, 0), (0, -0.9), (0.58, 0))
    pen.poly((150, 215, 90), (-0.36, 0), (0, -0.9), (0.36, 0))
    pen.poly((35, 60, 50), (-0.17, 0), (0, -0.56), (0.17, 0))


def boat(pen: Pen) -> None:
    pen.line((110, 70, 40), 0.06, (0, -0.98), (0, -0.2))
    pen.poly(WHITE, (0.05, -0.96), (0.42, -0.34), (0.05, -0.34))
    pen.poly((255, 225, 120), (-0.06, -0.84), (-0.34, -0.34), (-0.06, -0.34))
    pen.poly((40, 80, 170), (-0.54, -0.27), (0.54, -0.27), (0.36, 0), (-0.34, 0))
    pen.line((245, 245, 245), 0.05, (-0.46, -0.19), (0.46, -0.19))


def cart(pen: Pen) -> None:
    pen.line((95, 60, 35), 0.07, (0.4, -0.46), (0.56, -0.66))
    pen.poly((200, 135, 65), (-0.5, -0.72), (0.46, -0.72), (0.38, -0.28), (-0.42, -0.28))
    for y in (-0.58, -0.43):
        pen.line((135, 85, 40), 0.045, (-0.42, y), (0.38, y))
    for x in (-0.26, 0.22):
        pen.oval((95, 60, 35), x, -0.19, 0.19, 0.19)
        pen.oval((235, 200, 140), x, -0.19, 0.11, 0.11)
        pen.oval((95, 60, 35), x, -0.19, 0.045, 0.045)


def bucket(pen: Pen) -> None:
    handle = ((-0.34, -0.6), (-0.26, -0.88), (0.26, -0.88), (0.34, -0.6))
    pen.line((235, 235, 235), 0.06, *handle)
    pen.poly((30, 170, 235), (-0.38, -0.6), (0.38, -0.6), (0.25, 0), (-0.25, 0))
    pen.oval((20, 110, 180), 0, -0.6, 0.38, 0.11)
    pen.oval((120, 215, 255), 0, -0.58, 0.3, 0.07)
    pen.poly((255, 215, 60), (-0.33, -0.38), (0.33, -0.38), (0.3, -0.22), (-0.3, -0.22))


def tree(pen: Pen) -> None:
    pen.box((115, 72, 40), -0.07, -0.35, 0.07, 0)
    for y, half in ((-0.2, 0.36), (-0.42, 0.29), (-0.64, 0.22)):
        pen.poly((30, 130, 60), (-half, y), (0, y - 0.38), (half, y))


def house(pen: Pen) -> None:
    pen.box((165, 60, 50), 0.16, -0.95, 0.28, -0.6)
    pen.box((240, 215, 170), -0.34, -0.55, 0.34, 0)
    pen.poly((190, 65, 50), (-0.44, -0.52), (0, -0.95), (0.44, -0.52))
    pen.box((110, 65, 40), -0.24, -0.34, -0.06, 0)
    pen.box((110, 190, 235), 0.06, -0.38, 0.24, -0.18)


def rock(pen: Pen) -> None:
    pen.poly((135, 137, 145), (-0.5, 0), (-0.44, -0.38), (-0.14, -0.68), (0.22, -0.6), (0.46, -0.26), (0.5, 0))
    pen.poly((175, 178, 186), (-0.38, -0.36), (-0.12, -0.6), (0.16, -0.52), (-0.06, -0.32))
    pen.poly((105, 107, 116), (0.1, 0), (0.22, -0.56), (0.44, -0.24), (0.46, 0))


def flag(pen: Pen) -> None:
    pen.line((225, 225, 230), 0.07, (-0.26, -0.97), (-0.26, 0))
    pen.poly((225, 40, 50), (-0.22, -0.98), (0.42, -0.76), (-0.22, -0.52))


def fence(pen: Pen) -> None:
    for y in (-0.44, -0.2):
        pen.box((205, 185, 150), -0.46, y - 0.06, 0.46, y + 0.04)
    for x in (-0.34, -0.115, 0.115, 0.34):
        pen.poly((240, 225, 195), (x - 0.075, 0), (x - 0.075, -0.54), (x, -0.66), (x + 0.075, -0.54), (x + 0.075, 0))


def cactus(pen: Pen) -> None:
    green: Colour = (70, 165, 70)
    pen.line(green, 0.15, (-0.05, -0.36), (-0.3, -0.36), (-0.3, -0.62))
    pen.line(green, 0.15, (0.05, -0.24), (0.3, -0.24), (0.3, -0.52))
    pen.line(green, 0.22, (0, -0.86), (0, -0.1))
    pen.box(green, -0.11, -0.3, 0.11, 0)
    pen.oval((250, 110, 160), 0, -0.95, 0.08, 0.05)


SUBJECT_SHAPES: dict[str, Callable[[Pen, Colour, Colour], None]] = {
    "dog": dog, "cat": cat, "penguin": penguin, "bear": bear, "rabbit": rabbit, "robot": robot,
}  # fmt: skip
THING_SHAPES: dict[str, Callable[[Pen], None]] = {
    "sled": sled, "ball": ball, "umbrella": umbrella, "kite": kite, "drum": drum, "balloon": balloon, "chair": chair,
    "lantern": lantern, "tent": tent, "boat": boat, "cart": cart, "bucket": bucket,
    "tree": tree, "house": house, "rock": rock, "flag": flag, "fence": fence, "cactus": cactus,
}  # fmt: skip
