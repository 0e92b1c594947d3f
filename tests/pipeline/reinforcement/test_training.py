"""Training a head: the arithmetic of blending, what training keeps, and how it goes on where it was cut off."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import Cancelled, SettingsError
from pipeline.reinforcement.cards import card
from pipeline.reinforcement.heads import Epoch, Part, interpolate, train_head
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import ALPHAS, reinforce
from tests.colour_items import RECIPE, items_of, part, random_head
from tests.seams import ColourClassifier


def test_interpolation_is_exact_at_both_ends() -> None:
    zero, full = random_head(0), random_head(1)
    for alpha, expected in ((0.0, zero), (1.0, full)):
        assert all(map(torch.equal, interpolate(zero, full, alpha), expected))
    middle = interpolate(zero, full, 0.3)
    assert torch.allclose(middle[0], 0.7 * zero[0] + 0.3 * full[0])
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingsError):
            interpolate(zero, full, alpha)


def test_blending_heads_is_blending_logits() -> None:
    zero, full, features = (
        random_head(0),
        random_head(1),
        torch.randn(7, 12, generator=torch.Generator().manual_seed(2)),
    )
    for alpha in ALPHAS:
        weight, bias = interpolate(zero, full, alpha)
        logits = (1 - alpha) * (features @ zero[0].T + zero[1]) + alpha * (features @ full[0].T + full[1])
        assert torch.allclose(features @ weight.T + bias, logits, atol=1e-5)


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
