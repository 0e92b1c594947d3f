"""Editing by instruction: the orders that a word diff becomes, and an InstructPix2Pix of the real class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.editing.axes import AXES, IMAGE_GUIDANCE, TAU
from pipeline.editing.instruction import InstructPix2PixEditor, instruction
from pipeline.errors import Cancelled, CaptionError, EditingError, ModelError
from pipeline.models.loader import EDITORS
from pipeline.settings import Settings
from pipeline.types import Edit
from tests import twins

CAPTION = "a photo of a brown dog with a sled next to a tree in a snowy field"
EDITED = CAPTION.replace("brown", "white"), CAPTION.replace("photo", "sketch")
SETTINGS = Settings(num_inference_steps=3, taus=(0.0, 1.0), guidance_scale=3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twins.instruct_pix2pix(tmp_path_factory.mktemp("instruct"))


@pytest.fixture(scope="module")
def editor(folder: Path) -> InstructPix2PixEditor:
    return InstructPix2PixEditor.from_pretrained(str(folder))


@pytest.fixture
def picture() -> Image.Image:
    y, x = np.mgrid[0:64, 0:64]
    return Image.fromarray(np.stack((x * 4, y * 4, 255 * ((x // 8 + y // 8) % 2)), axis=-1).astype(np.uint8))


def levels(edit: Edit) -> np.ndarray:
    return np.asarray(edit.image, dtype=int)


@pytest.mark.parametrize(
    ("edited", "order"),
    [
        ("a photo of a white dog with a sled next to a tree in a snowy field", "turn the brown dog into a white dog"),
        ("a photo of a dog with a sled next to a tree in a snowy field", "turn the brown dog into a dog"),
        ("a photo of a brown dog with a red sled next to a tree in a snowy field", "turn the sled into a red sled"),
        (
            "a photo of a brown dog with a sled next to a tree on a sandy beach",
            "turn the snowy field into a sandy beach",
        ),
        ("a sketch of a brown dog with a sled next to a tree in a snowy field", "turn the photo into a sketch"),
        ("a photo of a brown dog with a sled in a snowy field", "remove the tree"),
        ("a photo of a brown dog with a sled next to a tree in a snowy field, in the rain.", "add the rain"),
        (
            "a photo of a brown cat with a sled next to a house in a snowy field",
            "turn the brown dog into a brown cat, and turn the tree into a house",
        ),
    ],
)
def test_what_changed_becomes_an_order(edited: str, order: str) -> None:
    assert instruction(CAPTION, edited) == order


@pytest.mark.parametrize("edited", ["", "  ", CAPTION, CAPTION.upper() + "."])
def test_nothing_changed_is_no_order(edited: str) -> None:
    with pytest.raises(CaptionError):
        instruction(CAPTION, edited)


def test_every_caption_at_every_guidance(editor: InstructPix2PixEditor, picture: Image.Image) -> None:
    inversion = editor.invert(picture, CAPTION, SETTINGS)
    steps: list[tuple[int, int]] = []
    edits = list(editor.edit(inversion, EDITED, SETTINGS, lambda done, total: steps.append((done, total))))
    assert [(edit.index, edit.tau) for edit in edits] == [(0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0)]
    assert steps == [(done, 12) for done in range(1, 13)]
    assert all(edit.image.size == picture.size for edit in edits)
    assert all(np.abs(levels(a) - levels(b)).max() > 2 for a, b in [(edits[0], edits[1]), (edits[0], edits[2])])
    again = list(editor.edit(inversion, EDITED[:1], SETTINGS))
    assert np.array_equal(levels(again[0]), levels(edits[0]))


def test_the_axis_is_the_image_guidance_of_the_pipeline(
    editor: InstructPix2PixEditor, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (IMAGE_GUIDANCE.value(0), IMAGE_GUIDANCE.value(0.5), IMAGE_GUIDANCE.value(1)) == (1.0, 1.5, 2.0)
    assert (IMAGE_GUIDANCE.label(0.5), TAU.short(0.4)) == ("image guidance 1.50", "τ 0.40")
    assert set(AXES) == set(EDITORS)
    inversion = editor.invert(picture, CAPTION, SETTINGS)
    seen = [editor._pipe.image_guidance_scale for _ in editor.edit(inversion, EDITED[:1], SETTINGS)]
    assert seen == [1.0, 2.0]


def test_the_control_is_what_the_autoencoder_makes_of_it(editor: InstructPix2PixEditor, picture: Image.Image) -> None:
    inversion = editor.invert(picture.resize((90, 40)), CAPTION, SETTINGS)
    assert inversion.trajectory.shape == (1, 4, 8, 8)
    assert inversion.reconstruction.size == (64, 64)
    control = np.asarray(editor.invert(picture, CAPTION, SETTINGS).reconstruction, dtype=float)
    error = float(np.mean((control - np.asarray(picture, dtype=float)) ** 2))
    assert editor.round_trip(picture) == pytest.approx(10 * np.log10(255**2 / error))


def test_cancelling_stops_within_a_step(editor: InstructPix2PixEditor, picture: Image.Image) -> None:
    calls: list[int] = []

    def step(done: int, total: int) -> None:
        calls.append(done)
        if done == 4:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        list(editor.edit(editor.invert(picture, CAPTION, SETTINGS), EDITED, SETTINGS, step))
    assert calls == [1, 2, 3, 4]


def test_captions_are_refused_at_once(editor: InstructPix2PixEditor, picture: Image.Image) -> None:
    inversion = editor.invert(picture, CAPTION, SETTINGS)
    with pytest.raises(CaptionError, match="reads at most 77"):
        editor.edit(inversion, [CAPTION + " with " + " ".join(["zebra"] * 80)], SETTINGS)
    with pytest.raises(CaptionError, match="empty"):
        editor.invert(picture, " ", SETTINGS)


def test_weights_that_are_not_numbers(folder: Path, picture: Image.Image) -> None:
    broken = InstructPix2PixEditor.from_pretrained(str(folder))
    inversion = broken.invert(picture, CAPTION, SETTINGS)
    broken._pipe.unet.conv_out.weight.data.fill_(torch.inf)
    with pytest.raises(EditingError, match="not numbers"):
        list(broken.edit(inversion, EDITED, SETTINGS))


def test_another_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes 4 channels"):
        InstructPix2PixEditor.from_pretrained(str(twins.diffusion(tmp_path / "plain")))
    with pytest.raises(ModelError, match="could not be loaded"):
        InstructPix2PixEditor.from_pretrained(str(tmp_path))
