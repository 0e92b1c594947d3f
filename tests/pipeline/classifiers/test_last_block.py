"""The last block unfrozen: what is trained and what is not, blending of weights, and the folder that comes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from PIL.Image import Image
from timm.data.transforms_factory import create_transform
from torchvision.models import get_model
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.classifiers.families import (
    TimmClassifier,
    TorchvisionClassifier,
    TorchvisionConfig,
    TransformersClassifier,
)
from pipeline.classifiers.last_block import last_stage
from pipeline.errors import Cancelled, ModelError, SettingsError
from pipeline.models import loader as loading
from pipeline.reinforcement.cards import card
from pipeline.reinforcement.features import BlockInputs
from pipeline.reinforcement.heads import Epoch, Part, interpolate, train_head
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import checkpoint_file, reinforce
from pipeline.reinforcement.runs import read_run
from pipeline.reinforcement.saving import at_alpha, save
from pipeline.reinforcement.training_data import Example
from pipeline.types import Reinforcement
from tests.pipeline.classifiers.test_families import transformers_folder
from tests.seams import LABELS, ColourClassifier, SeamModels, folder_of, picture

pytestmark = pytest.mark.slow

RECIPE = Recipe(learning_rate=0.02, alpha=0.5, max_epochs=12, unfreeze="last-block")


@pytest.fixture(scope="module")
def judge() -> TimmClassifier:
    """A very narrow ResNet whose batch norms have seen something."""
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=3, channels=(4, 4, 8, 8), stem_width=4, pretrained_cfg_overlay=
                                {"input_size": (3, 32, 32), "label_names": list(LABELS)})  # fmt: skip
    network.train()(torch.rand(16, 3, 32, 32))
    transform = create_transform((3, 32, 32))
    return TimmClassifier(network.eval(), "narrow", LABELS, transform)


@pytest.fixture(scope="module")
def items() -> list[Example]:
    return [
        Example(
            label, picture(label, 10 * row + n), picture(label, 500 + 10 * row + n), f"{label}-{n}", key=f"{row}{n}"
        )
        for row, label in enumerate(LABELS)
        for n in range(8)
    ]


@pytest.fixture(scope="module")
def tests() -> dict[str, list[tuple[Image, str]]]:
    return {"original": [(picture(label, 900 + n), label) for n in range(4) for label in LABELS]}


@pytest.fixture(scope="module")
def made(judge: TimmClassifier, items: list[Example], tests: dict[str, list[tuple[Image, str]]]) -> Reinforcement:
    return reinforce(judge, items, tests, RECIPE)


def state(classifier: TimmClassifier) -> dict[str, torch.Tensor]:
    network = classifier._model
    assert isinstance(network, torch.nn.Module)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def logits(classifier: TimmClassifier, images: list[Image]) -> torch.Tensor:
    return classifier._run(classifier._logits, images)


def shown(tests: dict[str, list[tuple[Image, str]]]) -> list[Image]:
    return [image for image, _ in tests["original"]]


def test_both_ends_are_exact_and_weights_are_not_logits(
    judge: TimmClassifier, made: Reinforcement, tests: dict[str, list[tuple[Image, str]]]
) -> None:
    inputs = BlockInputs(judge)
    zero, answer, part = made.theta_0, made.theta_1, inputs.part(tests["original"])
    blend = inputs.blend(zero, answer, tests["original"])
    ends = inputs.logits(zero, part.features), inputs.logits(answer, part.features)
    assert all(map(torch.equal, (blend.at(0.0), blend.at(1.0)), ends))
    torch.testing.assert_close(ends[0], logits(judge, shown(tests)), atol=1e-5, rtol=1e-4)
    middle = blend.at(0.5)
    assert not torch.allclose(middle, 0.5 * ends[0] + 0.5 * ends[1], atol=1e-2)
    mixed = judge.with_parameters(dict(zip(made.parameters, interpolate(zero, answer, 0.5), strict=True)))
    torch.testing.assert_close(middle, logits(mixed, shown(tests)), atol=1e-5, rtol=1e-4)
    said = [LABELS[row] for row in made.answers["original"].predicted[0]]
    assert said == [prediction.top(1)[0][0] for prediction in judge.predict(shown(tests))]


def test_only_the_block_and_the_head_are_trained(judge: TimmClassifier, items: list[Example]) -> None:
    before = state(judge)
    run = reinforce(judge, items, {}, RECIPE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(judge).items())
    assert run.block == "layer4"
    assert {name.split(".")[0] for name in run.parameters} == {"layer4", "fc"}
    assert all(not torch.equal(old, new) for old, new in zip(run.theta_0, run.theta_1, strict=True))
    after = state(judge.with_parameters(dict(zip(run.parameters, run.theta_1, strict=True))))
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == set(run.parameters)  # so no running mean, variance or count, within the block either
    assert any("running_var" in name for name in set(after) - moved if name.startswith("layer4"))


def test_it_learns_what_it_is_shown(made: Reinforcement) -> None:
    answer = made.answers["original"]
    assert min(made.losses) < 0.5 * made.losses[0]
    assert sum(answer.hits(-1)) > sum(answer.hits(0)) + 0.2 * len(answer.targets)


def test_inputs_are_computed_once_per_picture(
    judge: TimmClassifier, items: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    run = BlockInputs._seen
    monkeypatch.setattr(BlockInputs, "_seen", lambda self, images: (seen.append(len(images)), run(self, images))[1])
    reinforce(judge, items, {}, replace(RECIPE, max_epochs=3))
    assert sum(seen) == 2 * len(items)


def stopping(number: int) -> Callable[[Epoch], None]:
    def stop(epoch: Epoch) -> None:
        if epoch.number == number:
            raise Cancelled("stopped")

    return stop


def parts(judge: TimmClassifier, items: list[Example]) -> tuple[BlockInputs, Part, Part]:
    inputs = BlockInputs(judge)
    pictures = [(item.counterfactual, item.label) for item in items]
    return inputs, inputs.part(pictures[::2]), inputs.part(pictures[1::2])


def test_a_cancel_keeps_the_best_and_a_training_goes_on(
    judge: TimmClassifier, items: list[Example], tmp_path: Path
) -> None:
    inputs, taught, checked = parts(judge, items)
    file, theta_0 = tmp_path / "half.safetensors", inputs.theta_0()
    whole = train_head(taught, checked, theta_0, recipe=RECIPE, network=inputs.logits)
    cut = train_head(
        taught, checked, theta_0, recipe=RECIPE, network=inputs.logits, progress=stopping(3), checkpoint=file
    )
    assert cut.stopped
    assert cut.losses == whole.losses[:4]
    reached = torch.nn.functional.cross_entropy(inputs.logits(cut.theta, checked.features), checked.targets)
    assert float(reached) == pytest.approx(min(cut.losses), abs=1e-6)
    again = train_head(taught, checked, theta_0, recipe=RECIPE, network=inputs.logits, checkpoint=file)
    assert again.losses == whole.losses
    assert all(map(torch.equal, again.theta, whole.theta))
    head = replace(RECIPE, unfreeze="head")
    assert checkpoint_file(tmp_path, "narrow", RECIPE) != checkpoint_file(tmp_path, "narrow", head)


def test_a_cancelled_run_says_so(judge: TimmClassifier, items: list[Example]) -> None:
    stopped = reinforce(judge, items, {}, RECIPE, stopping(2))
    assert stopped.stopped
    assert len(stopped.losses) == 3
    assert "stopped by hand" in card(stopped)


def test_the_run_is_read_and_saved_again_at_any_alpha(
    judge: TimmClassifier, made: Reinforcement, tests: dict[str, list[tuple[Image, str]]], tmp_path: Path
) -> None:
    save(made, judge, tmp_path / "one")
    again = read_run(tmp_path / "one")
    assert (again.block, again.parameters, again.answers) == (made.block, made.parameters, made.answers)
    assert all(map(torch.equal, (*again.theta_0, *again.theta_1), (*made.theta_0, *made.theta_1)))
    save(at_alpha(again, 0.8), judge, tmp_path / "two")
    opened = TimmClassifier.from_pretrained(str(tmp_path / "two"), name="two", device="cpu")
    expected = judge.with_parameters(dict(zip(made.parameters, interpolate(made.theta_0, made.theta_1, 0.8),
                                              strict=True)))  # fmt: skip
    assert all(torch.equal(tensor, state(expected)[name]) for name, tensor in state(opened).items())
    text = (tmp_path / "one" / "README.md").read_text()
    assert "The block `layer4` and the classification head were trained" in text
    with pytest.raises(ModelError, match="cannot take other weights in its block 'layer4'"):
        save(made, ColourClassifier.plain(), tmp_path / "three")


FRESH = """
import json, sys
from pathlib import Path
from PIL import Image
from pipeline.classifiers.families import TimmClassifier
opened = TimmClassifier.from_pretrained(sys.argv[1], name="new", device="cpu")
files = sorted(Path(sys.argv[2]).glob("*.png"))
print(json.dumps([opened.predict([Image.open(file)])[0].top(1)[0][0] for file in files]))
"""


def test_a_fresh_process_gives_the_reported_figures(
    judge: TimmClassifier, made: Reinforcement, tests: dict[str, list[tuple[Image, str]]], tmp_path: Path
) -> None:
    save(made, judge, tmp_path / "new")
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(shown(tests)):
        image.save(tmp_path / "pictures" / f"{number:02}.png")
    arguments = [sys.executable, "-c", FRESH, str(tmp_path / "new"), str(tmp_path / "pictures")]
    told = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
    labels = [label for _, label in tests["original"]]
    right = sum(answer == label for answer, label in zip(told, labels, strict=True))
    place = made.alphas.index(made.alpha)
    assert right == sum(made.answers["original"].hits(place))
    assert told == [LABELS[row] for row in made.answers["original"].predicted[place]]


@pytest.mark.parametrize("method", ["afr", "dfr"])
def test_methods_on_fixed_features_are_refused(method: str) -> None:
    with pytest.raises(SettingsError, match="fits a head to fixed features"):
        Recipe(method=method, unfreeze="last-block")


def test_what_cannot_be_unfrozen_is_refused(items: list[Example]) -> None:
    with pytest.raises(SettingsError, match="'everything' cannot be unfrozen"):
        Recipe(unfreeze="everything")
    with pytest.raises(ModelError, match="last block of the classifier 'colour' cannot be told"):
        reinforce(ColourClassifier.plain(), items, {}, RECIPE)


def test_a_network_that_cannot_be_cut_is_refused(judge: TimmClassifier, items: list[Example]) -> None:
    class Leaking(torch.nn.Module):
        """Its head sees what came before the block too."""

        def __init__(self) -> None:
            super().__init__()
            self.early, self.layer4, self.fc = torch.nn.Linear(3, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 3)
            self.feature_info = [{"module": "layer4"}]

        def get_classifier(self) -> torch.nn.Module:
            return self.fc

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            early: torch.Tensor = self.early(pixels.mean((2, 3)))
            return self.fc(self.layer4(early) + early)  # type: ignore[no-any-return]

    with pytest.raises(ModelError, match="cannot be cut before its block 'layer4'"):
        reinforce(TimmClassifier(Leaking().eval(), "leaking", LABELS, judge._preprocess), items, {}, RECIPE)
    bare = Leaking().eval()
    bare.feature_info = []
    with pytest.raises(ModelError, match="'bare' cannot be told"):
        reinforce(TimmClassifier(bare, "bare", LABELS, judge._preprocess), items, {}, RECIPE)


@pytest.mark.parametrize(
    ("architecture", "block"),
    [("densenet121", "features.denseblock4"), ("repvgg_a0", "stages.3"), ("vgg11", "features.18"),
     ("vit_tiny_patch16_224", "blocks.11")],
)  # fmt: skip
def test_timm_names_its_stages(architecture: str, block: str) -> None:
    with torch.device("meta"):
        network = timm.create_model(architecture)
    assert last_stage(network, str(network.feature_info[-1]["module"])) == block


def test_the_other_families_are_cut_too(tmp_path: Path) -> None:
    config = TorchvisionConfig(architecture="squeezenet", label_names=list(LABELS), arguments={})
    for architecture, block in (("resnet18", "layer4"), ("mobilenet_v3_small", "features.12")):
        network = get_model(architecture, num_classes=3).eval()
        answer = TorchvisionClassifier(network, "x", LABELS, config.preprocess())
        answer.config = config
        inputs = BlockInputs(answer)
        assert inputs.block == block
        inputs.refuse_foreign_head(inputs.theta_0(), picture("red"))
    for kind, block in (("vit", "0"), ("resnet", "1")):
        (tmp_path / kind).mkdir()
        other = TransformersClassifier.from_pretrained(
            str(transformers_folder(tmp_path / kind, kind)), name="x", device="cpu"
        )
        inputs = BlockInputs(other)
        assert inputs.block.endswith(f".{block}")
        inputs.refuse_foreign_head(inputs.theta_0(), picture("red"))


def test_the_command_line_trains_the_block(
    judge: TimmClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = SeamModels()
    models.classifiers = {"colour": judge, "narrow": judge}  # type: ignore[dict-item]
    monkeypatch.setattr(loading, "load", lambda profile, device: models)
    monkeypatch.setattr("pipeline.profiles.load_profile", lambda name: models.profile)
    folder_of(tmp_path / "pictures", each=5)
    for arguments in (["stress", "pictures", "--out", "run"], ["reinforce", "run", "--out", "new"]):
        options = ["--unfreeze", "last-block", "--json"] if arguments[0] == "reinforce" else []
        paths = [str(tmp_path / answer) if answer in ("pictures", "run", "new") else answer for answer in arguments]
        result = CliRunner().invoke(app, [*paths, *options])
        assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[0])["block"] == "layer4"
    assert read_run(tmp_path / "new").block == "layer4"
    refused = CliRunner().invoke(
        app, ["reinforce", str(tmp_path / "run"), "--out", str(tmp_path / "no"), "--unfreeze", "last-block",
              "--method", "dfr"],
    )  # fmt: skip
    assert refused.exit_code == 2
    assert "fixed features" in refused.stderr
