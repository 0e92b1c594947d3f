"""Classifiers of timm, torchvision and transformers: how each opens, finds its head and is written.

Which of them opens a classifier is told by `sources.family_of`. Weights are safetensors only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, cast

from pipeline.classifiers.base import LinearHeadClassifier
from pipeline.classifiers.labels import distinct_labels
from pipeline.classifiers.sources import (
    HUB,
    bare_weights,
    explain_misfit,
    is_folder,
    load_weights,
    names_in,
    published_model,
    refuse_pickles,
)
from pipeline.errors import ModelError, display_name
from pipeline.runtime.hub import located

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class TimmModel(Protocol):
    """What is used of a timm model beside what every network has."""

    pretrained_cfg: Mapping[str, object]
    num_classes: int
    feature_info: object  # stages, the last one last: [{"module": name}]

    def get_classifier(self) -> torch.nn.Module:
        """Return the last layer."""
        ...


class TimmClassifier(LinearHeadClassifier):
    """A timm model."""

    @classmethod
    def from_pretrained(cls, path: str, *, name: str, device: str) -> Self:
        """Open a folder (config.json and safetensors), a timm name, "hf-hub:owner/name", or bare weights with labels.

        Raises `ModelError` when the model has no linear head or its labels are unknown.
        """
        import timm
        from timm.data.config import resolve_model_data_config
        from timm.data.transforms_factory import create_transform

        if given := bare_weights(path):
            network = timm.create_model(given.architecture, pretrained=False, num_classes=len(given.labels))
            load_weights(network, *given)
        else:
            source = _source(path)
            try:
                network = timm.create_model(source, pretrained=True)
            except RuntimeError as error:
                raise ModelError(explain_misfit(name, Path(source.partition(":")[2]))) from error
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


def _source(path: str) -> str:
    """Return what timm opens for what a profile says: always a folder, because by name it would open pickles too.

    Raises `ModelError` for a name that timm does not list, and as `hub.located` does.
    """
    refuse_pickles(path)
    if is_folder(path):
        return f"local-dir:{path}"
    if Path(path).is_absolute():
        name = display_name(path)
        raise ModelError(f"There is no folder '{name}' on this computer; correct the classifier's path.", path=path)
    return f"local-dir:{located('classifier', f'{HUB}{published_model(path)}')}"


def _labels(config: Mapping[str, object], classes: int, name: str) -> tuple[str, ...]:
    """Return a distinct name per row of the head: the checkpoint's own, or ImageNet's for ImageNet models."""
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
    return distinct_labels(texts, keys)  # ImageNet has two cranes, a bird and a machine: there the key tells them apart


# torchvision builds these otherwise for its published weights than by default, and whatever learns from those follows.
WITH_AUXILIARY = ("googlenet", "inception_v3")


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchvisionConfig:
    """config.json of a torchvision folder."""

    architecture: str  # as torchvision.models.get_model takes it
    label_names: list[str]
    arguments: dict[str, object]  # of the architecture, beside num_classes
    resize_size: int = 256  # pixels of the shorter side
    crop_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"  # or "bicubic"

    @classmethod
    def published(cls, architecture: str, labels: Sequence[str]) -> Self:
        """Return it with the preprocessing of the weights that torchvision publishes for this architecture."""
        from torchvision.models import get_model_weights

        theirs = get_model_weights(architecture)["DEFAULT"].transforms()
        return cls(
            architecture=architecture,
            label_names=list(labels),
            arguments={},
            resize_size=theirs.resize_size[0],
            crop_size=theirs.crop_size[0],
            mean=tuple(theirs.mean),
            std=tuple(theirs.std),
            interpolation=theirs.interpolation.value,
        )

    def preprocess(self) -> Callable[[Image], torch.Tensor]:
        """Return the preprocessing: resize, crop at the centre, normalise."""
        import torch
        from torchvision.transforms import InterpolationMode, v2

        return cast(
            "Callable[[Image], torch.Tensor]",
            v2.Compose(
                [
                    v2.Resize(self.resize_size, InterpolationMode(self.interpolation), antialias=True),
                    v2.CenterCrop(self.crop_size),
                    v2.PILToTensor(),
                    v2.ToDtype(torch.float32, scale=True),
                    v2.Normalize(self.mean, self.std),
                ]
            ),
        )


class TorchvisionClassifier(LinearHeadClassifier):
    """A torchvision model: a folder of config.json (`TorchvisionConfig`) and model.safetensors, or bare weights."""

    config: TorchvisionConfig

    @classmethod
    def from_pretrained(cls, path: str, *, name: str, device: str) -> Self:
        """Open either. torchvision's own downloads are pickles and not opened: timm has the same weights.

        Raises `ModelError` for anything else, for weights that do not fit and for a network without a linear head.
        """
        import torch
        from torchvision.models import get_model

        weights = Path(path) / "model.safetensors"
        if given := bare_weights(path):
            weights, config = given.weights, TorchvisionConfig.published(given.architecture, given.labels)
            if given.architecture in WITH_AUXILIARY:
                auxiliary = any(name.startswith(("aux", "AuxLogits")) for name in names_in([weights]))
                config = replace(config, arguments={"transform_input": True, "aux_logits": auxiliary})
        elif weights.is_file():
            config = TorchvisionConfig(**json.loads((Path(path) / "config.json").read_text(encoding="utf-8")))
            if any(name.startswith("weights") for name in config.arguments):  # torchvision would fetch pickles
                message = f"The classifier '{name}' asks for other weights than its own, which is refused."
                raise ModelError(message, path=path)
        else:
            raise ModelError(
                f"The classifier '{display_name(path)}' is no folder with config.json and model.safetensors; write its "
                "state dict with safetensors, or use timm's copy of it, such as resnet50.tv_in1k.",
                path=path,
            )
        more = {"init_weights": False} if config.architecture in WITH_AUXILIARY else {}
        labels = distinct_labels(config.label_names)
        network = get_model(config.architecture, num_classes=len(labels), **config.arguments, **more)
        load_weights(network, config.architecture, weights, labels)
        made = cls(network.to(torch.device(device)).eval(), name, labels, config.preprocess())
        made.config = config
        return made

    def _last_stage(self) -> str:
        """Name the last stage: "layer4" of its ResNets, else the last of what torchvision calls `features`."""
        from pipeline.classifiers.last_block import last_stage

        network = cast("torch.nn.Module", self._model)
        if hasattr(network, "layer4"):
            return "layer4"
        stages = getattr(network, "features", None)
        return last_stage(network, f"features.{list(stages._modules)[-1]}") if stages else ""

    def _copy(self) -> Self:
        other = super()._copy()
        other.config = self.config
        return other

    def _write(self, folder: Path) -> None:
        from safetensors.torch import save_model

        save_model(cast("torch.nn.Module", self._model), str(folder / "model.safetensors"))
        (folder / "config.json").write_text(json.dumps(asdict(self.config), indent=1) + "\n", encoding="utf-8")


class ImageProcessor:
    """A transformers image processor as the preprocessing of one picture."""

    def __init__(self, processor: object) -> None:
        """Take what AutoImageProcessor opened."""
        self.processor = processor

    def __call__(self, image: Image) -> torch.Tensor:
        """Return (3, h, w), normalised."""
        process = cast("Callable[..., Mapping[str, torch.Tensor]]", self.processor)
        return process(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]


class TransformersClassifier(LinearHeadClassifier):
    """An image classification model of transformers."""

    @classmethod
    def from_pretrained(cls, path: str, *, name: str, device: str) -> Self:
        """Open a folder, safetensors only and no code of its own. Raises `ModelError` when the head is not linear."""
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        safe = {"trust_remote_code": False}
        processor = AutoImageProcessor.from_pretrained(path, **safe)
        network, told = AutoModelForImageClassification.from_pretrained(
            path, use_safetensors=True, output_loading_info=True, **safe
        )
        if told["missing_keys"] or told["mismatched_keys"]:
            raise ModelError(explain_misfit(name, Path(path)))
        if network.config.problem_type == "multi_label_classification":
            raise ModelError(
                f"The classifier '{name}' gives each label a share of its own (multi-label), so that no label is the "
                "answer; give one that was trained to choose one label."
            )
        names = network.config.id2label
        labels = distinct_labels([str(names[row]) for row in sorted(names)])
        return cls(network.to(device).eval(), name, labels, ImageProcessor(processor))

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", cast("Callable[..., object]", self._model)(pixels).logits)  # type: ignore[attr-defined]

    def _last_stage(self) -> str:
        """Name the last of the encoder's stages, when there is one list of them."""
        from torch.nn import ModuleList

        lists = [(n, m) for n, m in cast("torch.nn.Module", self._model).named_modules() if isinstance(m, ModuleList)]
        outer = [
            (name, stages) for name, stages in lists if not any(name.startswith(f"{other}.") for other, _ in lists)
        ]
        return f"{outer[0][0]}.{len(outer[0][1]) - 1}" if len(outer) == 1 else ""

    def _write(self, folder: Path) -> None:
        self._model.save_pretrained(folder)  # type: ignore[attr-defined]
        cast("ImageProcessor", self._preprocess).processor.save_pretrained(folder)  # type: ignore[attr-defined]
