"""Reinforcing a head: the arithmetic of blending, what training keeps, and what is refused."""

import contextlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import PIL.Image
import pytest
import torch
from PIL.Image import Image

from pipeline.errors import Cancelled, DataError, LabelError, ModelError, SettingsError
from pipeline.reinforcement.cards import card
from pipeline.reinforcement.figures import Figure, curve, figures, told_together
from pipeline.reinforcement.heads import Epoch, Part
from pipeline.reinforcement.reinforcement import (
    ALPHAS,
    HELD_OUT,
    Item,
    Recipe,
    at_alpha,
    changes,
    interpolate,
    reinforce,
    save,
    train_head,
)
from pipeline.reinforcement.runs import read_run, runs
from pipeline.types import Reinforcement
from tests.seams import LABELS, ColourClassifier, picture

RECIPE = Recipe(learning_rate=0.05, alpha=0.5)


def blended(colour: str, other: str, seed: int, share: float) -> Image:
    return PIL.Image.blend(picture(colour, seed), picture(other, seed + 1000), share)


def items_of(each: int = 10) -> list[Item]:
    """Counterfactuals that are mostly of the next colour, which the plain head mistakes for it."""
    items = []
    for place, label in enumerate(LABELS):
        for number in range(each):
            seed = 100 * place + number
            photo = picture(label, seed)
            other = blended(label, LABELS[(place + 1) % 3], seed, 0.6)
            items.append(Item(label, photo, other, f"{label}-{number}"))
    return items


def evaluation(seed: int = 5000) -> dict[str, list[tuple[Image, str]]]:
    return {"original": [(picture(label, seed + number), label) for number in range(6) for label in LABELS]}


def random_head(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(3, 12, generator=draw), torch.randn(3, generator=draw)


@pytest.fixture(scope="module")
def made() -> Reinforcement:
    return reinforce(ColourClassifier.plain(), items_of(), evaluation(), RECIPE)


def test_interpolation_is_exact_at_both_ends() -> None:
    zero, one = random_head(0), random_head(1)
    for alpha, expected in ((0.0, zero), (1.0, one)):
        assert all(map(torch.equal, interpolate(zero, one, alpha), expected))
    middle = interpolate(zero, one, 0.3)
    assert torch.allclose(middle[0], 0.7 * zero[0] + 0.3 * one[0])
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingsError):
            interpolate(zero, one, alpha)


def test_blending_heads_is_blending_logits() -> None:
    zero, one, features = random_head(0), random_head(1), torch.randn(7, 12, generator=torch.Generator().manual_seed(2))
    for alpha in ALPHAS:
        weight, bias = interpolate(zero, one, alpha)
        logits = (1 - alpha) * (features @ zero[0].T + zero[1]) + alpha * (features @ one[0].T + one[1])
        assert torch.allclose(features @ weight.T + bias, logits, atol=1e-5)


def part(seed: int, n: int = 60) -> Part:
    features = torch.randn(n, 12, generator=torch.Generator().manual_seed(seed))
    return Part(features, (features @ random_head(7)[0].T).argmax(-1))


def test_training_lowers_the_loss_and_keeps_the_best_epoch() -> None:
    zero, told = random_head(0), list[Epoch]()
    theta, losses, accuracies, stopped = train_head(part(1), part(2), zero, recipe=RECIPE, progress=told.append)
    features, targets = part(2)
    reached = float(torch.nn.functional.cross_entropy(features @ theta[0].T + theta[1], targets))
    assert reached == pytest.approx(min(losses), abs=1e-6)
    assert min(losses) < 0.5 * losses[0]
    assert not stopped
    assert [epoch.number for epoch in told] == list(range(1, len(losses)))
    assert [(epoch.loss, epoch.accuracy) for epoch in told] == list(zip(losses[1:], accuracies[1:], strict=True))
    assert accuracies[-1] > accuracies[0]
    assert told[-1].training_loss < told[0].training_loss
    assert all(map(torch.equal, zero, random_head(0)))


def test_training_that_only_harms_gives_theta_0_back_and_stops_early() -> None:
    zero = random_head(7)
    features, targets = part(1)
    wrong = Part(features, (targets + 1) % 3)
    theta, losses, *_ = train_head(wrong, part(2), zero, recipe=replace(RECIPE, patience=3))
    assert all(map(torch.equal, theta, zero))
    assert len(losses) == 1 + 3


def test_patience_counts_epochs_without_enough_improvement() -> None:
    recipe = replace(RECIPE, learning_rate=1e-7, patience=4)
    theta, losses, *_ = train_head(part(1), part(2), random_head(0), recipe=recipe)
    assert len(losses) == 1 + 4
    assert not torch.equal(theta[0], random_head(0)[0])


def test_training_is_repeatable() -> None:
    first, again = (train_head(part(1), part(2), random_head(0), recipe=RECIPE) for _ in range(2))
    assert first.losses == again.losses
    assert torch.equal(first[0][0], again[0][0])


def figures_of(made: Reinforcement) -> dict[tuple[str, str, int], Figure]:
    """Every figure on test pictures by split, class and k."""
    return {(one.split, one.label, one.k): one for one in told_together(figures(made, made.answers))}


def test_reinforcing_mends_the_counterfactuals_and_forgets_nothing(made: Reinforcement) -> None:
    found = figures_of(made)
    held = found["held-out counterfactuals", "", 1]
    assert held.before.value < 0.2
    assert held.after.value > 0.8
    assert (held.n, held.photos, held.change.p) == (6, 6, 2 / 2**6)
    assert not held.reliable, "six photos do not hold up against chance beside eight other changes"
    assert found["original", "", 1].after.value == 1.0
    assert not found["original", "", 1].reliable
    assert {split for split, _, _ in found} == {"original", *HELD_OUT}
    assert {label for _, label, _ in found} == {"", *LABELS}


def test_classes_are_told_split_by_split(made: Reinforcement) -> None:
    found = figures_of(made)
    for split, n in (("original", 6), ("held-out originals", 2), ("held-out counterfactuals", 2)):
        assert [found[split, label, 1].n for label in LABELS] == [n, n, n]


def test_every_figure_comes_with_its_top_five(made: Reinforcement) -> None:
    """Of three labels the right one is always among the five first."""
    found = figures_of(made)
    assert {k for _, _, k in found} == {1, 5}
    assert {one.after.value for one in found.values() if one.k == 5} == {1.0}
    said = made.answers["held-out counterfactuals"]
    assert set(said.ranks[0]) == {1}  # the next colour is taken for it
    assert [rank == 0 for rank in said.ranks[0]] == said.hits(0)
    assert said.hits(0, k=3) == [True] * len(said.targets)


def test_the_curve_is_one_of_validation_photos_alone(made: Reinforcement) -> None:
    found = curve(made)
    assert tuple(alpha for alpha, _ in found) == ALPHAS
    splits = {"validation originals", "validation counterfactuals"}
    assert {split for _, shares in found for split, _ in shares} == set(made.validation) == splits
    photos = {photo for one in made.validation.values() for photo in one.photos}
    tested = {photo for one in made.answers.values() for photo in one.photos}
    assert len(photos) == 6
    assert not photos & tested
    place = made.alphas.index(0.5)
    one = made.validation["validation counterfactuals"]
    assert found[place][1]["validation counterfactuals", 1].value == sum(one.hits(place)) / len(one.targets)


def test_the_curve_runs_from_theta_0_to_theta_1(made: Reinforcement) -> None:
    plain = ColourClassifier.plain()
    assert all(map(torch.equal, made.theta_0, plain.head()))
    labels = [label for _, label in evaluation()["original"]]
    told = [one.top(1)[0][0] for one in plain.predict([image for image, _ in evaluation()["original"]])]
    assert [LABELS[row] for row in made.answers["original"].targets] == labels
    assert [LABELS[row] for row in made.answers["original"].predicted[0]] == told
    with pytest.raises(SettingsError, match=r"alpha 0\.25 was not measured"):
        at_alpha(made, 0.25)


def test_alpha_is_chosen_on_validation_when_it_is_not_given(made: Reinforcement) -> None:
    chosen = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, alpha=None))
    assert (chosen.given, made.given) == (None, 0.5)
    assert chosen.alpha == chosen.chosen == made.chosen
    assert chosen.alpha > 0.3
    assert chosen.answers == made.answers
    right = [sum(sum(one.hits(place)) for one in made.validation.values()) for place in range(len(made.alphas))]
    assert right[made.alphas.index(chosen.alpha)] == max(right)
    harmful = [item._replace(label=LABELS[(LABELS.index(item.label) + 1) % 3]) for item in items_of()]
    confused = reinforce(ColourClassifier.plain(), [*harmful, *harmful], {}, replace(RECIPE, alpha=None))
    assert confused.alpha in ALPHAS


def test_no_photo_is_in_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture carries its photo in its pixels; what the head is trained on never meets what it is tested on."""
    seen: list[set[bytes]] = []

    class Watching(ColourClassifier):
        def features(self, images: "list[Image]") -> torch.Tensor:  # type: ignore[override]
            seen.append({image.tobytes() for image in images})
            return super().features(images)

    watching = Watching(*(part.numpy() for part in ColourClassifier.plain().head()))
    items = items_of()
    reinforce(watching, [*items, *items], {}, RECIPE)
    photos = {picture.tobytes(): item.photo_key for item in items for picture in (item.photo, item.counterfactual)}
    batches = [{photos[pixels] for pixels in batch} for batch in seen[1:]]  # the first is the check of the head
    assert sum(len(batch) for batch in batches) >= 30
    assert not batches[0] & batches[-1]
    assert not batches[0] & batches[-2]


def test_originals_can_be_left_out() -> None:
    with_them = reinforce(ColourClassifier.plain(), items_of(), {}, RECIPE)
    without = reinforce(ColourClassifier.plain(), items_of(), {}, replace(RECIPE, originals=False))
    assert not torch.equal(with_them.theta_1[0], without.theta_1[0])


def test_what_cannot_be_learned_from_is_refused() -> None:
    plain, items = ColourClassifier.plain(), items_of()
    red = [item for item in items if item.label == "red"]
    with pytest.raises(DataError, match="no counterfactual"):
        reinforce(plain, [], evaluation(), RECIPE)
    with pytest.raises(DataError, match="All counterfactuals show 'red'"):
        reinforce(plain, red, evaluation(), RECIPE)
    with pytest.raises(LabelError, match="'sled'"):
        reinforce(plain, [item._replace(label="sled") for item in items], evaluation(), RECIPE)
    with pytest.raises(LabelError, match="'sled'"):
        reinforce(plain, items, {"ood": [(picture("red", 7), "sled")]}, RECIPE)
    with pytest.raises(DataError, match="too few"):
        reinforce(plain, [red[0], items[-1]], evaluation(), RECIPE)


def test_counterfactuals_without_a_label_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 30 counterfactuals have no label"):
        reinforce(ColourClassifier.plain(), [items_of()[0]._replace(label=""), *items_of()[1:]], {}, RECIPE)


@pytest.mark.parametrize("method", ["afr", "dfr", "fine-tuning", "standard"])
def test_every_recipe_is_measured_on_the_same_splits(method: str, made: Reinforcement) -> None:
    rival = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, method=method))
    assert {name: one.predicted[0] for name, one in rival.answers.items()} == {
        name: one.predicted[0] for name, one in made.answers.items()
    }
    assert rival.alpha == (0.5 if method == "standard" else 1.0)
    assert f"Recipe: {method}" in card(rival)
    what = "augmentations" if method == "standard" else "counterfactuals"
    assert set(rival.validation) == {"validation originals", f"validation {what}"}
    assert all(rival.validation[f"validation {what}"].names) == (method == "counterfactual")
    learnt = figures_of(rival)["held-out counterfactuals", "", 1].after.value
    assert learnt < 0.5 if method == "standard" else learnt > 0.8


def refusal(items: list[Item], splits: dict[str, list[tuple[Image, str]]], seed: int) -> str:
    """How the refusal begins, or "" when there is none."""
    try:
        reinforce(ColourClassifier.plain(), items, splits, replace(RECIPE, seed=seed, max_epochs=1))
    except DataError as told:
        return str(told).partition(" are trained")[0]
    return ""


def test_an_evaluation_picture_that_is_trained_on_is_refused() -> None:
    items = items_of()
    for leak in (items[0].photo, items[0].counterfactual):
        every = {"ood": [*evaluation()["original"], (leak.copy(), "red")]}
        told = [refusal(items, every, seed) for seed in range(12)]
        assert set(told) <= {"", "1 of 19 pictures of 'ood'"}
        assert 6 <= len(list(filter(None, told))) <= 12  # a photo in the held-out part is not trained on


def test_a_head_that_is_not_the_classifiers_is_refused() -> None:
    class Foreign(ColourClassifier):
        def head(self) -> tuple[torch.Tensor, torch.Tensor]:
            return random_head(3)

    with pytest.raises(ModelError, match="head"):
        reinforce(Foreign(*(part.numpy() for part in random_head(0))), items_of(), {}, RECIPE)


def test_a_cancel_keeps_the_best_head_so_far() -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Cancelled("stopped")

    whole = train_head(part(1), part(2), random_head(0), recipe=RECIPE)
    cut = train_head(part(1), part(2), random_head(0), recipe=RECIPE, progress=stop)
    assert cut.stopped
    assert cut.losses == whole.losses[:4]
    features, targets = part(2)
    kept = float(torch.nn.functional.cross_entropy(features @ cut.theta[0].T + cut.theta[1], targets))
    assert kept == pytest.approx(min(cut.losses), abs=1e-6)
    made = reinforce(ColourClassifier.plain(), items_of(), {}, RECIPE, stop)
    assert made.stopped
    assert len(made.losses) == 4
    assert "stopped by hand" in card(made)


def test_a_cancel_before_anything_improved_has_nothing_to_keep() -> None:
    def stop(epoch: Epoch) -> None:
        raise Cancelled("stopped")

    features, targets = part(1)
    with pytest.raises(Cancelled):
        train_head(Part(features, (targets + 1) % 3), part(2), random_head(7), recipe=RECIPE, progress=stop)


@pytest.mark.parametrize(
    "change", [{"alpha": 1.5}, {"alpha": float("nan")}, {"learning_rate": 0.0}, {"batch_size": 0}, {"patience": 0}]
)
def test_a_recipe_is_checked(change: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        Recipe(**change)  # type: ignore[arg-type]


def test_what_is_saved_opens_and_predicts_as_theta_alpha(made: Reinforcement, tmp_path: Path) -> None:
    save(made, ColourClassifier.plain(), tmp_path / "out")
    opened = ColourClassifier.from_folder(tmp_path / "out")
    weight, bias = interpolate(made.theta_0, made.theta_1, made.alpha)
    assert torch.allclose(opened.head()[0], weight)
    assert torch.allclose(opened.head()[1], bias)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "alpha = 0.5 came with the recipe, before anything was seen" in text
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir() if path.name != "config.json"} == {
        0o644
    }
    with pytest.raises(DataError, match="not empty"):
        save(made, ColourClassifier.plain(), tmp_path / "out")


@pytest.mark.parametrize("part", ["write_run", "metrics"])
def test_a_save_that_is_cut_off_leaves_no_folder_in_the_way(
    part: str, made: Reinforcement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"pipeline.reinforcement.reinforcement.{part}", killed)
        with pytest.raises(KeyboardInterrupt):
            save(made, ColourClassifier.plain(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    save(made, ColourClassifier.plain(), tmp_path / "out")
    assert read_run(tmp_path / "out").alpha == made.alpha


def test_another_alpha_has_all_its_figures_without_new_features(made: Reinforcement) -> None:
    other = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, alpha=0.9))
    assert figures_of(at_alpha(made, 0.9)) == figures_of(other) != figures_of(at_alpha(made, 0.0))


def test_an_alpha_between_the_steps_is_on_the_curve() -> None:
    made = reinforce(ColourClassifier.plain(), items_of(), evaluation(), replace(RECIPE, alpha=0.25))
    assert made.alphas == tuple(sorted({*ALPHAS, 0.25}))
    assert at_alpha(made, 0.25).alpha == made.alpha == 0.25
    assert made.chosen in ALPHAS


def test_every_picture_that_is_named_wrong_is_told_with_its_name(made: Reinforcement) -> None:
    named = [item._replace(key=f"edit-{number}") for number, item in enumerate(items_of())]
    run = reinforce(ColourClassifier.plain(), named, evaluation(), RECIPE)
    found = changes(run, run.answers)
    held = [one for one in found if one.split == "held-out counterfactuals"]
    labels = {item.key: item.label for item in named}
    assert all(labels[one.name] == one.label != one.before for one in held)
    assert [one.after == one.label for one in held] == [one.kind == "fixed" for one in held]
    right = run.answers["held-out counterfactuals"].hits(run.alphas.index(run.alpha))
    assert sum(one.kind == "fixed" for one in held) == sum(right)
    assert {one.photo for one in held} <= {item.photo_key for item in named}
    assert changes(at_alpha(run, 0.0), run.answers) == tuple(
        one._replace(kind="still failing", after=one.before) for one in found if one.kind != "newly broken"
    )


def test_a_run_is_read_as_it_was_written(made: Reinforcement, tmp_path: Path) -> None:
    save(made, ColourClassifier.plain(), tmp_path / "one")
    save(at_alpha(made, 0.8), ColourClassifier.plain(), tmp_path / "two")
    assert set(runs(tmp_path)) == {tmp_path / "one", tmp_path / "two"}
    again = read_run(tmp_path / "one")
    tensors = ("theta_0", "theta_1")
    for name in (one.name for one in fields(made) if one.name not in tensors):
        assert getattr(again, name) == getattr(made, name), name
    assert all(map(torch.equal, (*again.theta_0, *again.theta_1), (*made.theta_0, *made.theta_1)))
    assert figures_of(at_alpha(again, 0.8)) == figures_of(read_run(tmp_path / "two"))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"labels": 3}'])
def test_a_damaged_run_is_told(text: str, made: Reinforcement, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no run"):
        read_run(tmp_path)
    save(made, ColourClassifier.plain(), tmp_path / "one")
    (tmp_path / "one" / "run.json").write_text(text)
    with pytest.raises(DataError, match="damaged or of another version"):
        read_run(tmp_path / "one")


@pytest.mark.parametrize("method", ["counterfactual", "afr"])
@pytest.mark.parametrize("fault", [Cancelled, RuntimeError])
def test_a_training_that_was_cut_off_goes_on_to_the_same_head(
    method: str, fault: type[Exception], tmp_path: Path
) -> None:
    recipe, file = replace(RECIPE, method=method, learning_rate=0.01), tmp_path / "half" / "one.safetensors"
    whole = train_head(part(1), part(2), random_head(0), recipe=recipe)
    assert len(whole.losses) > 9

    def stop_at(number: int) -> Callable[[Epoch], None]:
        def stop(epoch: Epoch) -> None:
            if epoch.number == number:
                raise fault("cut off")

        return stop

    for number in (3, 7):
        with contextlib.suppress(RuntimeError):
            cut = train_head(part(1), part(2), random_head(0), recipe=recipe, progress=stop_at(number), checkpoint=file)
            assert cut.stopped
            assert len(cut.losses) == number + 1
        assert file.is_file()
    told = list[Epoch]()
    again = train_head(part(1), part(2), random_head(0), recipe=recipe, progress=told.append, checkpoint=file)
    assert told[0].number == 8
    assert (again.losses, again.accuracies, again.stopped) == (whole.losses, whole.accuracies, False)
    assert all(map(torch.equal, again.theta, whole.theta))
    assert not file.exists()


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise Cancelled("stopped")

    file = tmp_path / "one.safetensors"
    for other, recipe in ((part(3), RECIPE), (part(1), replace(RECIPE, learning_rate=0.02))):
        train_head(other, part(2), random_head(0), recipe=recipe, progress=stop, checkpoint=file)
        whole = train_head(part(1), part(2), random_head(0), recipe=RECIPE)
        assert train_head(part(1), part(2), random_head(0), recipe=RECIPE, checkpoint=file).losses == whole.losses
    file.write_bytes(b"cut off")
    assert train_head(part(1), part(2), random_head(0), recipe=RECIPE, checkpoint=file).losses == whole.losses


def test_a_stopped_training_goes_on_when_more_epochs_are_allowed(tmp_path: Path) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.number == 4:
            raise Cancelled("stopped")

    file, recipe = tmp_path / "one.safetensors", replace(RECIPE, learning_rate=0.01)
    train_head(part(1), part(2), random_head(0), recipe=replace(recipe, max_epochs=5), progress=stop, checkpoint=file)
    longer = train_head(part(1), part(2), random_head(0), recipe=recipe, checkpoint=file)
    assert longer.losses == train_head(part(1), part(2), random_head(0), recipe=recipe).losses
