"""The model under study: full distributions, features and head of a classifier.

Knows neither captions nor edits; the networks of each library are in `families.py`. Head-only changes follow WiSE-FT
(Wortsman et al., 2022): `features` and `head` are all that training needs, `with_head` puts the result back. Importing
this module loads no model library.
"""

from __future__ import annotations

import copy
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from pipeline.classifiers.attribution import grad_cam
from pipeline.errors import LabelError, ModelError, StoreError, reason
from pipeline.runtime.fingerprints import of_preprocessing, of_weights
from pipeline.types import Prediction

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipeline.classifiers.last_block import LastBlock

BATCH = 32  # pictures a pass


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
        """Take what `from_pretrained` opened; raises `ModelError` when the head is not linear."""
        self._model = model
        self._name = name
        self._labels = labels
        self._preprocess = preprocess
        self._fingerprint = ""
        self._linear()

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Write config.json, model.safetensors and what else `from_pretrained` needs."""

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (n, classes) for pixels (n, 3, h, w), normalised."""
        return cast("torch.Tensor", cast("Callable[..., object]", self._model)(pixels))

    def _find_head(self) -> object:
        """Return the last linear layer with a row per label, None where there is none."""
        import torch

        layers = cast("torch.nn.Module", self._model).modules()
        linear = [
            layer for layer in layers if isinstance(layer, torch.nn.Linear) and layer.out_features == len(self._labels)
        ]
        return linear[-1] if linear else None

    def _last_stage(self) -> str:
        """Return the name of the last part with weights before pooling and head; "" when it cannot be told."""
        return ""

    @property
    def name(self) -> str:
        """Return the name by which the profile calls it."""
        return self._name

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the class names, in the order of the head's rows; no two are equal."""
        return self._labels

    @property
    def fingerprint(self) -> str:
        """Return a hash of weights, labels and preprocessing."""
        if not self._fingerprint:
            known = (type(self).__name__, self._labels, of_preprocessing(self._preprocess))
            self._fingerprint = of_weights(cast("torch.nn.Module", self._model), *known)
        return self._fingerprint

    def predict(self, images: Sequence[Image]) -> tuple[Prediction, ...]:
        """Return full distributions, one per picture. Raises `ModelError` when they are not numbers."""
        if not images:
            return ()
        probabilities = self._run(self._logits, images).double().softmax(dim=-1)
        return tuple(Prediction(labels=self._labels, probabilities=row) for row in probabilities.float().numpy())

    def features(self, images: Sequence[Image]) -> torch.Tensor:
        """Return what the head sees, (n, features) float32 on the CPU. Raises `ModelError` when it is no numbers."""
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
        """Return where it looks for the label: one (height, width) map per picture; () when it ends in no feature map.

        Raises `LabelError` for an unknown label.
        """
        if label not in self._labels:
            raise LabelError(f"The classifier '{self._name}' does not know the label '{label}'; use one of its own.")
        network = cast("torch.nn.Module", self._model)
        return grad_cam(network, self._logits, self._preprocess, images, self._labels.index(label))

    def head(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return copies of weight (classes, features) and bias (classes,), float32 on the CPU."""
        head = self._linear()
        return head.weight.detach().float().cpu().clone(), head.bias.detach().float().cpu().clone()

    def last_block(self) -> LastBlock:
        """Return a copy of the network, cut before its last block. Raises `ModelError` when none can be told."""
        from PIL import Image

        from pipeline.classifiers.last_block import LastBlock

        other, name = self._copy(), self._last_stage()
        if not name:
            raise ModelError(f"The last block of the classifier '{self._name}' cannot be told; train the head alone.")
        head = other._linear()
        blank = self._preprocess(Image.new("RGB", (64, 64)))[None].to(head.weight.device)
        return LastBlock(cast("torch.nn.Module", other._model), name, head, other._logits, other._run, blank)

    def with_parameters(self, values: Mapping[str, torch.Tensor]) -> Self:
        """Return the same classifier with other values of the named parameters; this one stays as it is.

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
        """Return the same classifier with another head; this one stays as it is.

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
        """Write weights, config.json with labels and preprocessing, and the card as README.md.

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
            why, detail = reason(error)
            raise StoreError(
                f"The classifier '{self._name}' could not be saved: {why}. Free some space or choose another folder, "
                "then save again.",
                path=folder,
                detail=detail,
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
        """Return (n, width) float32 on the CPU."""
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
