"""A classifier of one's own as a network, its labels and its preprocessing, whichever library it comes from.

Opens what timm lists, folders of timm, transformers or torchvision, and bare safetensors beside an architecture and a
file of labels. Preprocessing is the model's own. Whatever would run foreign code or open a pickle is refused. Knows
nothing of predictions; `classification.py` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy")
MOST_LABELS = 100_000

Preprocess = Callable[["Image"], torch.Tensor]


class Opened(NamedTuple):
    """What was opened; labels are None where the network's configuration has to tell."""

    network: torch.nn.Module
    labels: tuple[str, ...] | None
    preprocess: Preprocess


class HeadedNetwork(torch.nn.Module):
    """A network of another library with what is used of a timm model; its head is its last linear layer."""

    def __init__(self, network: torch.nn.Module, save: Callable[[torch.nn.Module, Path, Sequence[str]], None]) -> None:
        """`save` writes the network to a folder in its library's own form."""
        super().__init__()
        self.network = network
        self.save = save
        self.pretrained_cfg: Mapping[str, object] = {}
        self.num_classes = int(getattr(self.get_classifier(), "out_features", 0))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes)."""
        output = self.network(pixels)
        return cast("torch.Tensor", getattr(output, "logits", output))

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, features): what reaches the head."""
        seen: list[torch.Tensor] = []
        handle = self.get_classifier().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.network(pixels)
        finally:
            handle.remove()
        return seen[-1].flatten(1)

    def forward_head(self, features: torch.Tensor, *, pre_logits: bool) -> torch.Tensor:
        """The features themselves with `pre_logits`, otherwise logits."""
        return features if pre_logits else cast("torch.Tensor", self.get_classifier()(features))

    def get_classifier(self) -> torch.nn.Module:
        """The last linear layer; a network without one is its own."""
        layers = [one for one in self.network.modules() if isinstance(one, torch.nn.Linear)]
        return layers[-1] if layers else self.network


def open_network(text: str) -> Opened:
    """Opens what a profile or the command line names. Raises `ModelError`, with the reason when it is refused."""
    if " + " in text:
        return _bare(*_pieces(text))
    text = text.removeprefix("local-dir:")
    if Path(text).is_dir():
        return _folder(Path(text))
    if text.endswith(PICKLES):
        raise ModelError(_pickle(text))
    if text.startswith("torchvision:"):
        # timm publishes torchvision's weights in safetensors; torchvision's own files are pickles.
        text = f"{text.removeprefix('torchvision:')}.tv_in1k"
    return _timm(text)


def _timm(name: str) -> Opened:
    import timm

    return _with_timm_preprocessing(timm.create_model(name, pretrained=True), None)


def _with_timm_preprocessing(network: torch.nn.Module, labels: tuple[str, ...] | None) -> Opened:
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    preprocess = create_transform(**resolve_model_data_config(network), is_training=False)  # type: ignore[no-untyped-call]
    return Opened(network, labels, cast("Preprocess", preprocess))


def _folder(folder: Path) -> Opened:
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        raise ModelError(
            _pickle(f"{folder}/{pickles[0]}")
            if pickles
            else f"The classifier folder '{folder}' holds no .safetensors weights; other formats are not opened."
        )
    config = _config(folder)
    if "auto_map" in config:
        raise ModelError(
            f"The classifier '{folder}' asks in its config.json (auto_map) for code of its own to be run, which is "
            "refused; use an architecture that timm, transformers or torchvision has."
        )
    if "torchvision" in config:
        return _torchvision(str(config["torchvision"]), folder / "model.safetensors", _names(config, folder))
    if "architecture" in config or "model_type" not in config:
        return _timm(f"local-dir:{folder}")
    return _transformers(folder)


def _config(folder: Path) -> Mapping[str, object]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The classifier folder '{folder}' has no config.json that can be read ({error}); save it with the library "
            "that made it, or write 'architecture + weights.safetensors + labels.txt' instead."
        ) from error
    return cast("Mapping[str, object]", config) if isinstance(config, dict) else {}


def _names(config: Mapping[str, object], folder: Path) -> tuple[str, ...]:
    names = config.get("label_names")
    if not isinstance(names, list):
        raise ModelError(f"The config.json of '{folder}' lacks label_names, in the order of the head's rows; add them.")
    return tuple(str(name) for name in names)


def _transformers(folder: Path) -> Opened:
    """An image classifier of transformers, with its image processor and the labels of its configuration."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    network = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    named = network.config.id2label

    def save(changed: torch.nn.Module, out: Path, labels: Sequence[str]) -> None:
        changed.save_pretrained(out)  # type: ignore[operator]
        processor.save_pretrained(out)

    def preprocess(image: Image) -> torch.Tensor:
        return cast("torch.Tensor", processor(image.convert("RGB"), return_tensors="pt").pixel_values[0])

    labels = tuple(str(named[row]) for row in sorted(named))
    return Opened(HeadedNetwork(network, save), labels, preprocess)


def _bare(architecture: str, weights: Path, labels: Path) -> Opened:
    """Weights of an architecture that timm or torchvision has; the file of labels decides how many classes."""
    from safetensors.torch import load_file

    names = _read_labels(labels)
    if weights.suffix != ".safetensors":
        raise ModelError(_pickle(str(weights)))
    if architecture.startswith("torchvision:"):
        return _torchvision(architecture.removeprefix("torchvision:"), weights, names)
    import timm

    network = timm.create_model(architecture, pretrained=False, num_classes=len(names))
    _fill(network, load_file(weights), architecture, weights, names)
    return _with_timm_preprocessing(network, names)


def _torchvision(architecture: str, weights: Path, labels: tuple[str, ...]) -> Opened:
    from safetensors.torch import load_file, save_file
    from torchvision.models import get_model, get_model_weights

    network = get_model(architecture, weights=None, num_classes=len(labels))
    _fill(network, load_file(weights), architecture, weights, labels)

    def save(changed: torch.nn.Module, out: Path, names: Sequence[str]) -> None:
        save_file({key: value.contiguous() for key, value in changed.state_dict().items()}, out / "model.safetensors")
        config = {"torchvision": architecture, "label_names": list(names)}
        (out / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")

    preprocess = cast("Preprocess", get_model_weights(architecture)["DEFAULT"].transforms())
    return Opened(HeadedNetwork(network, save), labels, preprocess)


def _fill(
    network: torch.nn.Module, state: dict[str, torch.Tensor], architecture: str, weights: Path, labels: Sequence[str]
) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"The weights '{weights}' do not fit a {architecture} with {len(labels)} labels ({reason}); name the "
            "architecture they were trained with and one label per row of its head."
        ) from error


def _pieces(text: str) -> tuple[str, Path, Path]:
    pieces = [piece.strip() for piece in text.split(" + ")]
    if len(pieces) != 3:
        raise ModelError(
            f"The classifier '{text}' has {len(pieces)} parts; write 'architecture + weights.safetensors + labels.txt'."
        )
    for file in pieces[1:]:
        if not Path(file).is_file():
            raise ModelError(f"The classifier '{text}' names the file '{file}', which is not there; correct its path.")
    return pieces[0], Path(pieces[1]), Path(pieces[2])


def _read_labels(file: Path) -> tuple[str, ...]:
    """One label a line, in the order of the head's rows."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"The labels '{file}' could not be read ({error}); give a text file in UTF-8.") from error
    labels = tuple(line for line in lines if line)
    if not 1 < len(labels) <= MOST_LABELS or len(set(labels)) != len(labels):
        raise ModelError(
            f"The labels '{file}' are {len(labels)}, {len(set(labels))} of them distinct; write one label a line, no "
            "two alike, in the order of the head's rows."
        )
    return labels


def _pickle(name: str) -> str:
    return (
        f"The classifier '{name}' is not in safetensors: such files may be pickles, which run code when they are "
        "opened, and are refused; convert the weights with safetensors.torch.save_file."
    )
