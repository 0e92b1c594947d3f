"""What a classifier of one's own is: its family, told by the folder or the name, and bare weights with their labels.

Refuses whatever would run foreign code or open a pickle. Knows the forms in which classifiers come, and none of the
classes that open them; `models.py` has a class for each family.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from pipeline.classifiers.labels import distinct_labels
from pipeline.errors import DataError, InputError, ModelError, display_name
from pipeline.importing.lists import read_labels
from pipeline.profiles import source_parts
from pipeline.runtime.hub import HubModel, hub_model

if TYPE_CHECKING:
    import torch

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy")
MOST_LABELS = 100_000
TORCHVISION = "torchvision:"  # before an architecture or a name
HUB = "hf-hub:"  # before owner/name
PUBLISHED = re.compile(r"(torchvision:)?[A-Za-z0-9][\w.-]{0,99}", re.ASCII)  # a name of timm's or torchvision's


class BareWeights(NamedTuple):
    """'architecture + weights.safetensors + labels.txt': weights that no configuration lies beside."""

    architecture: str  # as timm or torchvision calls it
    weights: Path
    labels: tuple[str, ...]


def names_classifier(text: str) -> bool:
    """Return whether the text says by its form that it names a classifier, whether that is there or not."""
    return len(source_parts(text)) > 1 or text.startswith((HUB, TORCHVISION))


def is_folder(text: str) -> bool:
    """Return whether this is a folder here, by its absolute path: no other text is ever looked for on the disk."""
    return Path(text).is_absolute() and Path(text).is_dir()


def published_model(text: str) -> HubModel:
    """Return the repository behind a name of timm, torchvision:NAME, OWNER/NAME or hf-hub:OWNER/NAME, with @REVISION.

    These are the names that a visitor may give; none of them is a path. Raises `InputError` for any other text and for
    a name that timm does not list.
    """
    if PUBLISHED.fullmatch(text):
        return _of_timm(text)
    model = hub_model("classifier", HUB + text.removeprefix(HUB))
    if model is None:
        raise InputError(
            "This does not name a published classifier; give a name that timm lists, torchvision:NAME or "
            "OWNER/NAME@COMMIT of a hub, or choose one from the list of folders."
        )
    return model


def _of_timm(text: str) -> HubModel:
    """Return where timm says that the weights of a name are."""
    from timm.models import get_pretrained_cfg

    name = timm_name(text)
    try:
        config = get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        config = None
    repository = str(config.hf_hub_id) if config is not None and config.hf_hub_id else ""
    if config is not None and repository.endswith("/"):
        repository += f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    model = hub_model("classifier", HUB + repository)
    if model is None:
        raise InputError(
            f"timm lists no weights '{name}' on the hub; use a name such as resnet50.tv_in1k, or a classifier's folder."
        )
    return model


def family_of(text: str) -> str:
    """Return the entry of `models.CLASSIFIERS` for a folder, a name or bare weights.

    Raises `ModelError` with the reason when it is refused.
    """
    if len(source_parts(text)) > 1:
        return "torchvision" if text.startswith(TORCHVISION) else "timm"
    refuse_pickles(text)
    if not is_folder(text):
        return "timm"
    config = _config(Path(text))
    if "auto_map" in config:
        raise ModelError(
            f"The classifier '{display_name(text)}' asks in its config.json (auto_map) for code of its own to be run, "
            "which is refused; use an architecture that timm, transformers or torchvision has.",
            path=text,
        )
    if "arguments" in config:  # as `families.TorchvisionConfig` writes it; timm has model_args
        return "torchvision"
    return "transformers" if "model_type" in config and "architecture" not in config else "timm"


def refuse_pickles(text: str) -> None:
    """Raise `ModelError` for a folder without safetensors and for a file that may be a pickle."""
    folder = Path(text)
    if text.endswith(PICKLES):
        raise _pickle(text)
    if is_folder(text) and not any(folder.glob("*.safetensors")):
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        if pickles:
            raise _pickle(str(folder / pickles[0]))
        name = display_name(folder)
        raise ModelError(
            f"The classifier folder '{name}' holds no .safetensors weights; other formats are not opened.", path=folder
        )


def bare_weights(text: str) -> BareWeights | None:
    """Return the three parts of bare weights, with the labels read; None when the text is a folder or a name.

    Raises `ModelError` when a part is missing or is not what it should be.
    """
    parts = source_parts(text)
    if len(parts) == 1:
        return None
    if len(parts) != 3:
        raise ModelError(
            f"The classifier '{display_name(text)}' has {len(parts)} parts; write 'architecture + weights.safetensors "
            "+ labels.txt'.",
            path=text,
        )
    for file in parts[1:]:
        if not Path(file).is_file():
            raise ModelError(
                f"The classifier '{display_name(text)}' names the file '{display_name(file)}', which is not there; "
                "correct its path.",
                path=file,
            )
    if not parts[1].endswith(".safetensors"):
        raise _pickle(parts[1])
    return BareWeights(parts[0].removeprefix(TORCHVISION), Path(parts[1]), _read_labels(Path(parts[2])))


def timm_name(text: str) -> str:
    """Return the name under which timm has it: torchvision publishes pickles, timm the same weights in safetensors."""
    return f"{text.removeprefix(TORCHVISION)}.tv_in1k" if text.startswith(TORCHVISION) else text


def load_weights(network: torch.nn.Module, architecture: str, weights: Path, labels: Sequence[str]) -> None:
    """Load the weights into the network; a prefix that all their names have, such as "module.", is taken off.

    Raises `ModelError` when they do not fit.
    """
    from safetensors.torch import load_file, load_model

    try:
        if prefix := prefix_of([weights]):
            network.load_state_dict({name.removeprefix(prefix): weight for name, weight in load_file(weights).items()})
        else:
            load_model(network, weights)
    except RuntimeError as error:
        raise ModelError(
            f"The weights '{display_name(weights)}' do not fit a {architecture} with these labels; name the "
            "architecture they were trained with and one label per row of its head.",
            path=weights,
        ) from error


def prefix_of(files: Sequence[Path]) -> str:
    """Return what all names of the weights begin with, "module." for example, where a wrapper was saved; else ""."""
    firsts = {name.partition(".")[0] for name in names_in(files)}
    return f"{next(iter(firsts))}." if len(firsts) == 1 else ""


def names_in(files: Sequence[Path]) -> list[str]:
    """Return the names of all weights in safetensors files."""
    from safetensors import safe_open

    names: list[str] = []
    for file in files:
        with safe_open(file, framework="pt") as opened:
            names += opened.keys()
    return names


def explain_misfit(name: str, folder: Path) -> str:
    """Return why the weights of a classifier's folder do not fit its architecture, as far as their names tell."""
    prefix = prefix_of(sorted(folder.glob("*.safetensors")))
    cause = f"; all their names begin with '{prefix}': save them without it" if prefix else ""
    return f"The weights of the classifier '{name}' do not fit the architecture in its config.json{cause}."


def _config(folder: Path) -> Mapping[str, object]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The classifier folder '{display_name(folder)}' has no config.json that can be read; save it with the "
            "library that made it, or write 'architecture + weights.safetensors + labels.txt' in a profile instead.",
            path=folder,
        ) from error
    return cast("Mapping[str, object]", config) if isinstance(config, dict) else {}


def _read_labels(file: Path) -> tuple[str, ...]:
    """Read one label a line, in the order of the head's rows."""
    name = display_name(file)
    try:
        labels = read_labels(file.read_bytes(), name)
    except (OSError, DataError) as error:
        why = f": {error}" if isinstance(error, DataError) else "; give a text file in UTF-8."
        raise ModelError(f"The labels '{name}' could not be read{why}", path=file) from error
    if not 1 < len(labels) <= MOST_LABELS:
        raise ModelError(
            f"The labels '{name}' cannot be used; write two or more, one a line, in the order of the head's rows.",
            path=file,
        )
    return distinct_labels(labels)


def _pickle(file: str) -> ModelError:
    return ModelError(
        f"The classifier '{display_name(file)}' is not in safetensors: such files may be pickles, which run code when "
        "they are opened, and are refused; convert the weights with safetensors.torch.save_file.",
        path=file,
    )
