"""`python -m tests.benchmarks.editing`: what the editing engine costs and how good it is, beside the plain reference.

On scenes of the miniature world, whose true counterfactuals are known. Everything is timed in one run: the reference
and the engine take turns on each scene, figures are medians over the scenes. The overhead sets the engine's time
against bare calls of the UNet, as many and as large as it made, timed in between.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import mean, median

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import conv2d

from pipeline.editing.inversion import METHODS
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from pipeline.models.loader import load
from pipeline.profiles import load_profile
from pipeline.scoring.clip import OpenClipScorer
from pipeline.settings import Settings
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import VALUES, Scene, draw, redraw, sample
from tests.benchmarks.reference import plain_edit, plain_null_text

TAUS = (0.4, 0.5, 0.6, 0.7, 0.8)
REFERENCE = "reference"  # the textbook's null-text inversion and loop
REPEATS = 2  # of each bare call, after each method on each scene
Call = tuple[int, bool]  # rows, and whether gradients were asked for


@dataclass(slots=True, kw_only=True)
class Cost:
    """What one piece of work took."""

    seconds: float = 0.0
    calls: Counter[Call] = field(default_factory=Counter)

    def __add__(self, other: Cost) -> Cost:
        return Cost(seconds=self.seconds + other.seconds, calls=self.calls + other.calls)

    @property
    def evaluations(self) -> int:
        """Of the UNet, for one sample each; backward passes apart."""
        return sum(rows * count for (rows, _), count in self.calls.items())


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one method made of one scene."""

    cost: Cost
    reconstruction: Image.Image
    edits: list[tuple[Scene, Image.Image]]  # true counterfactual, edit


class Bench:
    """The models under measurement, and the clock."""

    def __init__(self, *, busy: bool) -> None:
        models = load(load_profile("tiny"), "")
        assert isinstance(models.editor, StableDiffusionEditor)
        assert isinstance(models.scorer, OpenClipScorer)
        self.editor, self.scorer = models.editor, models.scorer
        self.model: LatentDiffusion = models.editor.model
        self.clock = time.process_time if busy else time.perf_counter
        self.bare: dict[Call, list[float]] = {}

    @contextmanager
    def measured(self) -> Iterator[Cost]:
        """Seconds and calls of the UNet."""
        cost = Cost()

        def count(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            cost.calls[len(inputs[0]), torch.is_grad_enabled()] += 1

        handle = self.model.unet.register_forward_pre_hook(count)
        start = self.clock()
        try:
            yield cost
        finally:
            cost.seconds = self.clock() - start
            handle.remove()

    def time_bare(self, calls: Counter[Call]) -> None:
        """Times calls of these sizes; those with gradients with their way back to the embedding."""
        for rows, has_gradient in calls:
            for _ in range(REPEATS):
                latents = torch.randn(rows, 4, *self._latent_size())
                text = self.model.embed("").clone().expand(rows, -1, -1).contiguous().requires_grad_(has_gradient)
                start = self.clock()
                with torch.set_grad_enabled(has_gradient):
                    prediction = self.model.unet(latents, 500, text, return_dict=False)[0]
                    if has_gradient:
                        torch.autograd.grad(prediction.sum(), text)
                self.bare.setdefault((rows, has_gradient), []).append(self.clock() - start)

    def overhead(self, cost: Cost) -> float:
        """Time over that of the bare calls."""
        return cost.seconds / sum(median(self.bare[call]) * count for call, count in cost.calls.items())

    def _latent_size(self) -> tuple[int, int]:
        width, height = self.model.image_size
        factor = 2 ** (len(self.model.vae.config["block_out_channels"]) - 1)
        return height // factor, width // factor

    def reference(self, scene: Scene, twins: list[Scene], settings: Settings) -> dict[int, Outcome]:
        """The plain loop, for the first of the twins alone and for all; the inversion is made once, counts for both."""
        with self.measured() as inverting:
            inversion = plain_null_text(self.model, draw(scene), scene.caption(), settings)
        costs, edits = [inverting], []
        for twin in twins:
            with self.measured() as editing:
                made = [plain_edit(self.model, inversion, twin.caption(), tau, settings) for tau in settings.taus]
            costs.append(editing)
            edits += [(twin, image) for image in made]
        return {
            count: Outcome(
                cost=sum(costs[1 : 1 + count], costs[0]),
                reconstruction=inversion.reconstruction,
                edits=edits[: count * len(settings.taus)],
            )
            for count in {1, len(twins)}
        }

    def engine(self, scene: Scene, twins: list[Scene], settings: Settings) -> dict[int, Outcome]:
        """The engine, with one variation and with all."""
        with self.measured() as inverting:
            inversion = self.editor.invert(draw(scene), scene.caption(), settings)
        outcomes = {}
        for count in sorted({1, len(twins)}):
            captions = [twin.caption() for twin in twins[:count]]
            with self.measured() as editing:
                made = list(self.editor.edit(inversion, captions, settings))
            edits = [(twins[figures.index], figures.image) for figures in made]
            outcomes[count] = Outcome(cost=inverting + editing, reconstruction=inversion.reconstruction, edits=edits)
        return outcomes

    def quality(self, scene: Scene, outcome: Outcome) -> dict[str, float]:
        """Of the reconstruction and, as means over variations and tau, of the edits."""
        picture = draw(scene)
        asked = [(image, twin.caption()) for twin, image in outcome.edits]
        scores = self.scorer.score(picture, scene.caption(), asked)
        return {
            "psnr": psnr(outcome.reconstruction, picture),
            "directional_similarity": mean(score.directional_similarity for score in scores),
            "psnr_truth": mean(psnr(image, draw(twin)) for twin, image in outcome.edits),
            "ssim_truth": mean(ssim(image, draw(twin)) for twin, image in outcome.edits),
        }


def psnr(figures: Image.Image, other: Image.Image) -> float:
    """dB."""
    error = np.mean((np.asarray(figures, np.float64) - np.asarray(other, np.float64)) ** 2)
    return float(20 * np.log10(255) - 10 * np.log10(max(error, 1e-9)))


def ssim(figures: Image.Image, other: Image.Image) -> float:
    """Structural similarity (Wang et al., 2004) of the grey pictures: Gaussian window of 11 pixels, sigma 1.5."""
    position = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(position**2) / (2 * 1.5**2))
    window = (line[:, None] * line[None, :] / line.sum() ** 2)[None, None]
    x, y = (torch.from_numpy(np.asarray(image.convert("L"), np.float64))[None, None] for image in (figures, other))

    def local(values: torch.Tensor) -> torch.Tensor:
        return conv2d(values, window)

    mean_x, mean_y = local(x), local(y)
    variance_x, variance_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))).mean())


def twins_of(scene: Scene, number: int) -> list[Scene]:
    """True counterfactuals, each with another factor changed, a different one first for every scene."""
    factors = list(VALUES)
    chosen = [factors[(number + k) % len(factors)] for k in range(len(factors))]
    return [redraw(scene, name, next(v for v in VALUES[name] if v != getattr(scene, name))) for name in chosen]


def rows(bench: Bench, scenes: int, settings: Settings, say: Callable[[str], None]) -> Iterator[dict[str, object]]:
    """One row for each method and number of variations, medians over the scenes."""
    found: dict[tuple[str, int], list[Outcome]] = {}
    quality: dict[tuple[str, int], list[dict[str, float]]] = {}
    bench.editor.round_trip(Image.new("RGB", bench.model.image_size))  # whatever is made once, is made now
    for number, scene in enumerate(sample(scenes, HELD_OUT_SEED + 11)):
        twins = twins_of(scene, number)
        for method in (REFERENCE, *METHODS):
            wanted = replace(settings, inversion="null-text" if method == REFERENCE else method)
            run = bench.reference if method == REFERENCE else bench.engine
            for count, outcome in run(scene, twins, wanted).items():
                say(f"scene {number + 1} of {scenes}, {method}, {count}: {outcome.cost.seconds:.1f} s")
                found.setdefault((method, count), []).append(outcome)
                quality.setdefault((method, count), []).append(bench.quality(scene, outcome))
                if method != REFERENCE:
                    bench.time_bare(outcome.cost.calls)
    for (method, count), outcomes in found.items():
        plain = found[REFERENCE, count]
        ratios = [outcome.cost.seconds / other.cost.seconds for outcome, other in zip(plain, outcomes, strict=True)]
        yield {
            "inversion": method,
            "variations": count,
            "evaluations": round(median(outcome.cost.evaluations for outcome in outcomes)),
            "seconds": round(median(outcome.cost.seconds for outcome in outcomes), 2),
            "ratio": round(median(ratios), 2),
            "overhead": None if method == REFERENCE else round(median(bench.overhead(o.cost) for o in outcomes), 3),
            **{
                name: round(median(figures[name] for figures in quality[method, count]), 4)
                for name in quality[method, count][0]
            },
        }


def table(entries: list[dict[str, object]]) -> str:
    """Columns in line, for people."""
    lines = [list(entries[0]), *([str("" if v is None else v) for v in entry.values()] for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    """Rows on standard output, progress on standard error."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--scenes", type=int, default=3, help="how many; figures are medians over them (default: 3)")
    parser.add_argument("--steps", type=int, default=50, help="DDIM steps (default: 50)")
    parser.add_argument(
        "--busy", action="store_true", help="count the processor's seconds: others use this machine too"
    )
    options = parser.parse_args()
    torch.set_num_threads(1 if options.busy else torch.get_num_threads())
    bench = Bench(busy=options.busy)
    settings = replace(load_profile("tiny").settings, taus=TAUS, num_inference_steps=options.steps, captions_at_once=0)
    found = list(rows(bench, options.scenes, settings, lambda line: sys.stderr.write(f"{line}\n")))
    sys.stdout.write("\n".join(map(json.dumps, found)) if options.json else table(found))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
