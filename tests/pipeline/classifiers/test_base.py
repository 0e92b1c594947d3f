"""The timm classifier on tiny random checkpoints of the paper's three architectures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from pipeline.classifiers.families import TimmClassifier
from pipeline.errors import ModelError, StoreError

LABELS = ("sled", "ball", "umbrella", "kite", "drum", "balloon")
ARCHITECTURES: dict[str, dict[str, object]] = {
    "resnet18": {"channels": (8, 16, 16, 24)},
    "densenet121": {"growth_rate": 4, "block_config": (1, 1, 1, 1)},
    "repvgg_a0": {"width_factor": 0.05},
}


def make(folder: Path, architecture: str = "resnet18", classes: int = 6, **config: object) -> Path:
    torch.manual_seed(0)
    preprocessing = {"input_size": (3, 32, 32), "crop_pct": 1.0, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    model = timm.create_model(
        architecture, num_classes=classes, pretrained_cfg_overlay=preprocessing, **ARCHITECTURES[architecture]
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # one pass in training mode sets its statistics
            module.momentum = 1.0
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 32, 32))
    torch.nn.init.normal_(model.get_classifier().weight, std=0.3)
    save_for_hf(model, str(folder), model_config=config or {"label_names": list(LABELS)}, safe_serialization=True)
    return folder


@pytest.fixture(scope="module", params=ARCHITECTURES)
def classifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TimmClassifier:
    folder = make(tmp_path_factory.mktemp("classifier"), request.param)
    return TimmClassifier.from_pretrained(str(folder), name="tiny", device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("resnet"))


def noise(count: int, size: int = 32) -> list[Image.Image]:
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)
    return [Image.fromarray(picture.numpy()) for picture in pixels]


def test_a_prediction_is_a_whole_distribution(classifier: TimmClassifier) -> None:
    predictions = classifier.predict(noise(3))
    assert len(predictions) == 3
    for prediction in predictions:
        assert prediction.labels == classifier.labels == LABELS
        assert sum(prediction.probabilities) == pytest.approx(1.0)
    assert predictions[0] != predictions[1]
    assert (classifier.name, classifier.predict([])) == ("tiny", ())


def test_features_and_head_make_the_prediction(classifier: TimmClassifier) -> None:
    pictures = noise(3)
    features, (weight, bias) = classifier.features(pictures), classifier.head()
    assert features.dtype == weight.dtype == bias.dtype == torch.float32
    assert (weight.shape, bias.shape) == ((len(LABELS), features.shape[1]), (len(LABELS),))
    expected = (features @ weight.T + bias).softmax(dim=1)
    predicted = torch.tensor([prediction.probabilities.tolist() for prediction in classifier.predict(pictures)])
    torch.testing.assert_close(predicted, expected, atol=1e-5, rtol=0)
    assert classifier.features([]).shape == (0, features.shape[1])


def test_another_head_leaves_the_classifier_as_it_was(classifier: TimmClassifier) -> None:
    pictures = noise(2)
    before = classifier.predict(pictures)
    weight, bias = classifier.head()
    other = classifier.with_head(torch.zeros_like(weight), torch.tensor([0.0, 0, 0, 9, 0, 0]))
    assert [prediction.top(1)[0][0] for prediction in other.predict(pictures)] == ["kite", "kite"]
    torch.testing.assert_close(other.features(pictures), classifier.features(pictures))
    weight.zero_()
    assert classifier.predict(pictures) == before
    with pytest.raises(ModelError, match="head of shape"):
        classifier.with_head(weight[:, :-1], bias)


def test_a_saved_classifier_opens_with_the_same_predictions(classifier: TimmClassifier, tmp_path: Path) -> None:
    weight, bias = classifier.head()
    changed = classifier.with_head(weight * 0.5, bias + torch.arange(6.0))
    folder = tmp_path / "new" / "saved"
    changed.save(folder, "# How it was made")
    changed.save(folder, "# How it was made, again")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (folder / "README.md").read_text(encoding="utf-8") == "# How it was made, again"
    again = TimmClassifier.from_pretrained(str(folder), name="again", device="cpu")
    assert again.predict(noise(2)) == changed.predict(noise(2)) != classifier.predict(noise(2))


@pytest.mark.slow
def test_a_fresh_process_opens_a_saved_classifier(folder: Path, tmp_path: Path) -> None:
    classifier = TimmClassifier.from_pretrained(str(folder), name="tiny", device="cpu")
    classifier.save(tmp_path / "saved", "card")
    noise(1)[0].save(tmp_path / "picture.png")
    program = (
        "import json, sys; from PIL import Image; from pipeline.classifiers.families import TimmClassifier; "
        "opened = TimmClassifier.from_pretrained(sys.argv[1], name='x', device='cpu'); "
        "print(json.dumps(opened.predict([Image.open(sys.argv[2])])[0].top(6)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "saved"), str(tmp_path / "picture.png")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [tuple(pair) for pair in json.loads(printed)] == list(classifier.predict(noise(1))[0].top(6))


def test_batches_do_not_change_a_prediction(folder: Path) -> None:
    classifier = TimmClassifier.from_pretrained(str(folder), name="tiny", device="cpu")
    pictures = noise(70)
    together, alone = classifier.predict(pictures), classifier.predict(pictures[65:66])[0]
    assert len(together) == 70
    assert together[65].probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert classifier.features(pictures).shape == (70, 24)


def test_features_may_be_trained_on(folder: Path) -> None:
    classifier = TimmClassifier.from_pretrained(str(folder), name="tiny", device="cpu")
    weight, _ = classifier.head()
    weight.requires_grad_()
    (classifier.features(noise(2)) @ weight.T).sum().backward()
    assert weight.grad is not None


def test_imagenet_labels_are_named_and_distinct(tmp_path: Path) -> None:
    make(tmp_path, classes=1000, origin="test")
    labels = TimmClassifier.from_pretrained(str(tmp_path), name="imagenet", device="cpu").labels
    assert len(set(labels)) == 1000
    assert labels[537] == "dogsled, dog sled, dog sleigh"
    assert labels[517] == "crane (n03126707)"


def test_described_labels_are_preferred_to_their_keys(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(6)]
    make(tmp_path, label_names=names, label_descriptions=dict(zip(names, LABELS, strict=True)))
    assert TimmClassifier.from_pretrained(str(tmp_path), name="tiny", device="cpu").labels == LABELS


def test_missing_labels_and_foreign_heads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not one label name for each of its classes"):
        TimmClassifier.from_pretrained(str(make(tmp_path / "a", origin="test")), name="x", device="cpu")
    folder = make(tmp_path / "b", label_names=list(LABELS[:5]))
    with pytest.raises(ModelError, match="not one label name for each of its classes"):
        TimmClassifier.from_pretrained(str(folder), name="x", device="cpu")
    model = timm.create_model("resnet18", num_classes=0, channels=(8, 8, 8, 8))
    with pytest.raises(ModelError, match="no linear head"):
        TimmClassifier(model, "x", LABELS, lambda image: torch.zeros(3, 32, 32))


def test_only_safetensors_are_opened(folder: Path, tmp_path: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ModelError, match="safetensors"):
        TimmClassifier.from_pretrained(str(tmp_path), name="tiny", device="cpu")


def test_values_that_are_not_numbers_are_reported(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["conv1.weight"][0] = float("nan")
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    broken = TimmClassifier.from_pretrained(str(tmp_path), name="broken", device="cpu")
    with pytest.raises(ModelError, match="'broken' gave values that are not numbers"):
        broken.predict(noise(1))
    with pytest.raises(ModelError, match="not numbers"):
        broken.features(noise(1))


def test_a_folder_that_cannot_be_written_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    classifier = TimmClassifier.from_pretrained(str(folder), name="tiny", device="cpu")
    with pytest.raises(StoreError, match="'tiny' could not be saved"):
        classifier.save(tmp_path / "file", "card")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
