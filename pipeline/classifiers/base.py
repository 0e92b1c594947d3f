"""The model under study: full distributions, features and head of a classifier, and how two predictions differ.

Knows neither captions nor edits; the networks of torchvision and transformers are in `families.py`. Head-only
changes follow WiSE-FT (Wortsman et al., 2022): `features` and `head` are all that training needs, `with_head` puts the
result back. Flip, sensitivity and shift are pure and read the full distribution, not a top-5; importing this module
loads no model library.
"""

from __future__ import annotations

import copy
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, cast

from pipeline.classifiers.attribution import grad_cam
from pipeline.classifiers.labels import distinct
from pipeline.classifiers.sources import HUB, bare, fill, is_folder, misfit, published, refuse_pickles
from pipeline.errors import LabelError, ModelError, StoreError
from pipeline.runtime.fingerprints import of_preprocessing, of_weights
from pipeline.runtime.hub import located
from pipeline.types import Prediction, Standing

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipeline.classifiers.last_block import LastBlock

BATCH = 32  # pictures a pass


class TimmModel(Protocol):
    """What is used of a timm model beside what every network has."""

    pretrained_cfg: Mapping[str, object]
    num_classes: int
    feature_info: object  # stages, the last one last: [{"module": name}]

    def get_classifier(self) -> torch.nn.Module:
        """The last layer."""
        ...


class LinearHeadClassifier(ABC):
    """A network whose last layer is linear, with its labels and preprocessing; implements `types.Classifier`.

    A family says how to open and to write its networks, and where it differs how to find the head and the logits.
    """

    def __init__(
        self,
        model: object,
        name: str,
        labels: tuple[str, ...],
        preprocess: Callable[[Image], torch.Tensor],
    ) -> None:
        """Takes what `from_pretrained` opened; raises `ModelError` when the head is not linear."""
        self._model = model
        self._name = name
        self._labels = labels
        self._preprocess = preprocess
        self._fingerprint = ""
        self._linear()

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Writes config.json, model.safetensors and what else `from_pretrained` needs."""

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w), normalised -> (n, classes)."""
        return cast("torch.Tensor", cast("Callable[..., object]", self._model)(pixels))

    def _find_head(self) -> object:
        """The last linear layer with a row per label."""
        import torch

        layers = cast("torch.nn.Module", self._model).modules()
        linear = [one for one in layers if isinstance(one, torch.nn.Linear) and one.out_features == len(self._labels)]
        return linear[-1] if linear else None

    def _last_stage(self) -> str:
        """Name of the last part of the network with weights before pooling and head; "" when it cannot be told."""
        return ""

    @property
    def name(self) -> str:
        """As the profile calls it."""
        return self._name

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the head's rows; no two are equal."""
        return self._labels

    @property
    def fingerprint(self) -> str:
        """Of weights, labels and preprocessing."""
        if not self._fingerprint:
            known = (type(self).__name__, self._labels, of_preprocessing(self._preprocess))
            self._fingerprint = of_weights(cast("torch.nn.Module", self._model), *known)
        return self._fingerprint

    def predict(self, images: Sequence[Image]) -> tuple[Prediction, ...]:
        """Full distributions, one per picture. Raises `ModelError` when they are not numbers."""
        if not images:
            return ()
        probabilities = self._run(self._logits, images).double().softmax(dim=-1)
        return tuple(Prediction(labels=self._labels, probabilities=row) for row in probabilities.float().numpy())

    def features(self, images: Sequence[Image]) -> torch.Tensor:
        """(n, features) float32 on the CPU: what the head sees. Raises `ModelError` when they are not numbers."""
        import torch

        if not images:
            return torch.zeros(0, self._linear().in_features)
        seen: list[torch.Tensor] = []

        def run(pixels: torch.Tensor) -> torch.Tensor:
            self._logits(pixels)
            return seen.pop().flatten(1)

        hook = self._linear().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            return self._run(run, images)
        finally:
            hook.remove()

    def grad_cam(self, images: Sequence[Image], label: str) -> tuple[NDArray[np.float32], ...]:
        """Where it looks for the label: one (height, width) map per picture; () when it ends in no feature map.

        Raises `LabelError` for an unknown label.
        """
        if label not in self._labels:
            raise LabelError(f"The classifier '{self._name}' does not know the label '{label}'; use one of its own.")
        network = cast("torch.nn.Module", self._model)
        return grad_cam(network, self._logits, self._preprocess, images, self._labels.index(label))

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Copies of weight (classes, features) and bias (classes,), float32 on the CPU."""
        head = self._linear()
        return head.weight.detach().float().cpu().clone(), head.bias.detach().float().cpu().clone()

    def last_block(self) -> LastBlock:
        """A copy of the network, cut before its last block; raises `ModelError` when the block cannot be told."""
        from PIL import Image

        from pipeline.classifiers.last_block import LastBlock

        other, name = self._copy(), self._last_stage()
        if not name:
            raise ModelError(f"The last block of the classifier '{self._name}' cannot be told; train the head alone.")
        head = other._linear()
        blank = self._preprocess(Image.new("RGB", (64, 64)))[None].to(head.weight.device)
        return LastBlock(cast("torch.nn.Module", other._model), name, head, other._logits, other._run, blank)

    def with_parameters(self, values: Mapping[str, torch.Tensor]) -> Self:
        """The same classifier with other values of the named parameters; this one stays as it is.

        Raises `ModelError` when the network has no such parameters of these shapes.
        """
        import torch

        other = self._copy()
        held = dict(cast("torch.nn.Module", other._model).named_parameters())
        with torch.no_grad():
            for name, value in values.items():
                if name not in held or held[name].shape != value.shape:
                    raise ModelError(
                        f"The classifier '{self._name}' has no parameter {name} of shape {tuple(value.shape)}; take "
                        "the classifier that was trained."
                    )
                held[name].copy_(value)
        return other

    def with_head(self, weight: torch.Tensor, bias: torch.Tensor) -> Self:
        """The same classifier with another head; this one stays as it is.

        weight (classes, features), bias (classes,). Raises `ModelError` when the shapes do not fit.
        """
        import torch

        other = self._copy()
        head = other._linear()
        if weight.shape != head.weight.shape or bias.shape != head.bias.shape:
            raise ModelError(
                f"A head of shape {tuple(weight.shape)} and {tuple(bias.shape)} was given to the classifier "
                f"'{self._name}', whose head has {tuple(head.weight.shape)} and {tuple(head.bias.shape)}."
            )
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.copy_(bias)
        return other

    def save(self, folder: Path, card: str) -> None:
        """Writes weights, config.json with labels and preprocessing, and the card as README.md.

        `from_pretrained` opens the folder again with the same predictions. config.json comes last, so a folder that
        was cut off does not open. Raises `StoreError` when it cannot be written.
        """
        from safetensors import SafetensorError

        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as part:
                self._write(Path(part))
                (Path(part) / "README.md").write_text(card, encoding="utf-8")
                for file in sorted(Path(part).iterdir(), key=lambda file: file.name == "config.json"):
                    file.chmod(0o644)  # safetensors writes for the owner only
                    file.replace(folder / file.name)
        except (OSError, SafetensorError) as error:
            raise StoreError(
                f"The classifier '{self._name}' could not be saved to '{folder}': {error}. "
                "Free some space or choose another folder, then save again."
            ) from error

    def _copy(self) -> Self:
        return type(self)(copy.deepcopy(self._model), self._name, self._labels, self._preprocess)

    def _linear(self) -> torch.nn.Linear:
        import torch

        head = self._find_head()
        if not isinstance(head, torch.nn.Linear) or head.bias is None or head.out_features != len(self._labels):
            raise ModelError(
                f"The classifier '{self._name}' has no linear head with a bias and {len(self._labels)} rows, which "
                f"reinforcing needs; its head is {head}. Choose a timm model such as resnet50.tv_in1k."
            )
        return head

    def _run(self, model: Callable[[torch.Tensor], torch.Tensor], images: Sequence[Image]) -> torch.Tensor:
        """(n, width) float32 on the CPU."""
        import torch

        device = self._linear().weight.device
        outputs = []
        for start in range(0, len(images), BATCH):
            pixels = torch.stack([self._preprocess(image) for image in images[start : start + BATCH]])
            with torch.inference_mode():
                outputs.append(model(pixels.to(device)).float().cpu())
        output = torch.cat(outputs)
        if not torch.isfinite(output).all():
            raise ModelError(
                f"The classifier '{self._name}' gave values that are not numbers for {len(images)} pictures; "
                "check its weights."
            )
        # A clone made outside inference mode may be trained on.
        return output.clone()


class TimmClassifier(LinearHeadClassifier):
    """A timm model."""

    @classmethod
    def from_pretrained(cls, path: str, *, name: str, device: str) -> Self:
        """Opens a folder (config.json and safetensors), a timm name, "hf-hub:owner/name", or bare weights with labels.

        Raises `ModelError` when the model has no linear head or its labels are unknown.
        """
        import timm
        from timm.data.config import resolve_model_data_config
        from timm.data.transforms_factory import create_transform

        if given := bare(path):
            network = timm.create_model(given.architecture, pretrained=False, num_classes=len(given.labels))
            fill(network, *given)
        else:
            source = _source(path)
            try:
                network = timm.create_model(source, pretrained=True)
            except RuntimeError as error:
                raise ModelError(misfit(name, Path(source.partition(":")[2]))) from error
        model = cast("TimmModel", network.to(device).eval())
        preprocess = create_transform(**resolve_model_data_config(network), is_training=False)  # type: ignore[no-untyped-call]
        labels = given.labels if given else _labels(model.pretrained_cfg, model.num_classes, name)
        return cls(model, name, labels, preprocess)

    def _find_head(self) -> object:
        return cast("TimmModel", self._model).get_classifier()

    def _last_stage(self) -> str:
        from pipeline.classifiers.last_block import last_stage

        stages = cast("TimmModel", self._model).feature_info
        name = str(stages[-1]["module"]) if isinstance(stages, list) and stages else ""
        return last_stage(cast("torch.nn.Module", self._model), name) if name else ""

    def _write(self, folder: Path) -> None:
        from timm.models import save_for_hf

        names = {"label_names": list(self._labels)}
        save_for_hf(cast("torch.nn.Module", self._model), str(folder), model_config=names, safe_serialization=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One label in two predictions: probabilities in 0..1, ranks from 1."""

    label: str
    p_before: float
    p_after: float
    rank_before: int
    rank_after: int


def is_prediction_flip(before: Prediction | Standing, after: Prediction | Standing) -> bool:
    """True when the most probable label is another one."""
    return before.first != after.first


def sensitivity(label: str, control: Prediction, after: Prediction) -> float:
    """Signed change of p(label), -1..1: below 0 when the edit cost confidence.

    `control` is the prediction on the reconstruction, so that the inversion's own loss does not count.
    Raises `LabelError` for an unknown label.
    """
    return after.probability(label) - control.probability(label)


def shift(before: Prediction, after: Prediction, k: int = 5) -> tuple[Shift, ...]:
    """Every label of both top-k with its probability and rank in both, the most probable before first."""
    labels = dict.fromkeys(label for prediction in (before, after) for label, _ in prediction.top(k))
    return tuple(
        Shift(
            label=label,
            p_before=before.probability(label),
            p_after=after.probability(label),
            rank_before=before.rank(label),
            rank_after=after.rank(label),
        )
        for label in labels
    )


def _source(path: str) -> str:
    """What timm opens for what a profile says: always a folder, because by name it would open pickles too.

    Raises `ModelError` for a name that timm does not list, and as `hub.located` does.
    """
    refuse_pickles(path)
    if is_folder(path):
        return f"local-dir:{path}"
    if Path(path).is_absolute():
        raise ModelError(f"There is no folder '{path}' on this computer; correct the classifier's path.")
    return f"local-dir:{located('classifier', f'{HUB}{published(path)}')}"


def _labels(config: Mapping[str, object], classes: int, name: str) -> tuple[str, ...]:
    """One distinct name per row of the head: the checkpoint's own, or ImageNet's for ImageNet models."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    given, described = config.get("label_names"), config.get("label_descriptions")
    if isinstance(given, dict):
        given = [given[key] for key in sorted(given, key=int)]
    if isinstance(given, list | tuple):
        keys = [str(key) for key in given]
        texts = [str(described.get(key, key)) for key in keys] if isinstance(described, dict) else keys
    elif subset := infer_imagenet_subset({"num_classes": classes}):
        info = ImageNetInfo(subset)
        keys = list(info.label_names())  # type: ignore[no-untyped-call]
        texts = [info.label_name_to_description(key) for key in keys]
    else:
        keys, texts = [], []
    if len(keys) != classes:
        raise ModelError(
            f"The classifier '{name}' has not one label name for each of its classes; add label_names, in the order of "
            "the head's rows, to its config.json."
        )
    return distinct(texts, keys)  # ImageNet has two cranes, a bird and a machine: there the key tells them apart
