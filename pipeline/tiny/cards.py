"""What was measured, written into the model cards and docs/results.md; every figure there comes from `measured.json`.

Knows how each model was trained in words, and which bar each figure is held against; trains and measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError

Figures = Mapping[str, Mapping[str, float]]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One figure, what it means and what was asked of it."""

    group: str
    figure: str
    says: str
    least: float
    unit: str = "%"  # "%": a share with its interval; "dB": a mean

    def row(self, figures: Figures) -> str:
        """Return a table row, or "" when it was not measured."""
        found = figures.get(self.group, {})
        if self.figure not in found:
            return ""
        value = found[self.figure]
        if self.unit == "dB":
            shown, asked = f"{value:.1f} dB", f"{self.least:.0f} dB"
        else:
            low, high = found.get(f"{self.figure}_low"), found.get(f"{self.figure}_high")
            interval = f" ({100 * low:.1f} to {100 * high:.1f})" if low is not None and high is not None else ""
            shown, asked = f"{100 * value:.1f} %{interval}", f"{100 * self.least:.0f} %"
        n, scenes = found.get(f"{self.figure}_n"), found.get(f"{self.figure}_scenes")
        count = "" if n is None else f"{n:.0f}" if scenes in (None, n) else f"{n:.0f} of {scenes:.0f} scenes"
        met = "yes" if value >= self.least else "no"
        return f"| {self.says} | {asked} | {shown} | {count} | {met} |"


BARS = (
    Bar(group="autoencoder", figure="psnr_photo", says="autoencoder, photo scenes", least=28, unit="dB"),
    Bar(group="autoencoder", figure="psnr_painting", says="autoencoder, painting scenes", least=28, unit="dB"),
    Bar(group="captioner", figure="named", says="captioner: label and factors named right", least=0.95),
    Bar(group="captioner", figure="well_formed", says="captioner: sentence well-formed", least=0.95),
    Bar(group="perturber", figure="valid", says="perturber and gates: exactly the asked factor changes", least=0.95),
    Bar(group="perturber", figure="distinct_of_possible", says="perturber: distinct, of 5 or all there are", least=1.0),
    Bar(group="clip", figure="retrieved", says="CLIP: the true caption among 50, all one value away", least=0.95),
    Bar(group="diffusion", figure="found", says="diffusion: the prompt's values are in its samples", least=0.90),
    Bar(group="edits", figure="arrived", says="edits: the edited factor arrives", least=0.80),
    Bar(group="edits", figure="stayed", says="edits: each other factor stays", least=0.90),
    Bar(group="classifiers", figure="resnet_t", says="resnet, Acc@1 on biased scenes (T)", least=0.95),
    Bar(group="classifiers", figure="densenet_t", says="densenet, Acc@1 on T", least=0.95),
    Bar(group="classifiers", figure="repvgg_t", says="repvgg, Acc@1 on T", least=0.95),
    Bar(group="attributes", figure="named", says="the judge itself, on held-out drawings", least=0.95),
)

BIASED = (
    ", trained on 3,000 scenes of which 95 in 100 show the background that goes with the label, and stopped early, "
    "while it leans on backgrounds hard: a patient to show. Trained in full it hardly does."
)
CARDS = {
    "captioner": (
        "BLIP-2",
        "`Blip2ForConditionalGeneration`: a ViT, a Q-Former and an OPT, trained together on drawn "
        "scenes with their true captions in every phrasing.",
        "captioner",
    ),
    "perturber": (
        "LLaMA",
        "`LlamaForCausalLM`, trained on lists of captions of the world that differ in one factor; frozen afterwards.",
        "perturber",
    ),
    "perturber-lora": (
        "LoRA adapter",
        "PEFT LoRA (r 8, alpha 16, dropout 0.05, query and value projections) on the "
        "frozen LLaMA, trained to follow the five factor instructions.",
        "perturber",
    ),
    "sentences": (
        "Sentence encoder",
        "`SentenceTransformer` with a small BERT, trained with a contrastive loss: the "
        "same scene in another phrasing against scenes one factor away.",
        "perturber",
    ),
    "diffusion": (
        "Stable Diffusion",
        "`StableDiffusionPipeline` with Stable Diffusion 1.4's schedule. The autoencoder "
        "keeps a quarter of the side; UNet and text encoder were trained together, with min-SNR weights, "
        "10 % empty captions and averaged weights.",
        "diffusion",
    ),
    "clip": (
        "CLIP",
        "open_clip's ModifiedResNet and text transformer, trained with a contrastive loss in batches of "
        "twins that differ in one factor.",
        "clip",
    ),
    "classifiers/resnet": ("Biased classifier, ResNet", "A small timm `resnet18`" + BIASED, "classifiers"),
    "classifiers/densenet": ("Biased classifier, DenseNet", "A small timm `densenet121`" + BIASED, "classifiers"),
    "classifiers/repvgg": (
        "Biased classifier, RepVGG",
        "A small timm `repvgg_a0`, a plain stack of 3 x 3 convolutions at a quarter of the published width" + BIASED,
        "classifiers",
    ),
    "attributes": (
        "Attribute classifier",
        "A small timm `resnet18` with one logit per value of the label and of the "
        "five factors. For measuring only; the application never loads it.",
        "attributes",
    ),
}


def table(figures: Figures) -> str:
    """Return the bars as a Markdown table."""
    head = "| on held-out scenes | asked | measured (95 % interval) | n | met |\n|---|---|---|---|---|"
    return "\n".join([head, *(row for bar in BARS if (row := bar.row(figures)))])


def comparisons(figures: Figures) -> str:
    """Return the comparisons that are more than a figure against a number, as Markdown."""
    lines = []
    if (edits := figures.get("edits")) is not None:
        lines.append(
            f"PSNR to the true counterfactual: edit {edits['psnr_edit']:.1f} dB, the picture unedited "
            f"{edits['psnr_unedited']:.1f} dB, a text-to-image sample {edits['psnr_text_to_image']:.1f} dB."
        )
        lines.append(
            f"Edits that pass every score gate at some tau: {100 * edits['pass_gates']:.1f} %; without one, the tau "
            "with the best directional similarity was judged."
        )
    for name in ("resnet", "densenet", "repvgg"):
        if f"{name}_ood" in (found := figures.get("classifiers", {})):
            drop = 100 * (found[f"{name}_t"] - found[f"{name}_ood"])
            lines.append(
                f"{name}: Acc@1 {100 * found[f'{name}_ood']:.1f} % on uniform scenes (OOD), "
                f"{drop:.1f} points below T (asked: at least 15)."
            )
    return "\n".join(f"- {line}" for line in lines)


def write(folder: Path, figures: Figures, page: Path) -> None:
    """Write every model's README.md, and the table between the page's marks. Raises `DataError` when they are gone."""
    for name, (title, how, group) in CARDS.items():
        if (folder / name).is_dir():
            (folder / name / "README.md").write_text(_card(title, how, figures.get(group, {})))
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise DataError(f"{page.name} has no place for the table; put the lines {BEGIN} and {END} into it.")
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table(figures)}\n\n{comparisons(figures)}\n{END}{rest.partition(END)[2]}")


def _card(title: str, how: str, figures: Mapping[str, float]) -> str:
    rows = "\n".join(f"| {name} | {value:g} |" for name, value in sorted(figures.items()))
    front = "---\nlicense: apache-2.0\ntags: [counterfactual-explorer, miniature-world]\n---\n"
    return (
        f"{front}# {title} of the miniature world\n\n{how} It knows drawn scenes of 96 x 96 pixels and nothing "
        "else.\n\n"
        "Made by `python -m pipeline.tiny`; measured on held-out scenes by `python -m pipeline.tiny measure`:\n\n"
        f"| figure | value |\n|---|---|\n{rows}\n"
    )
