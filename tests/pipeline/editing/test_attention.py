"""Attention control: what is injected, and that nothing stays behind."""

from __future__ import annotations

import pytest
import torch

from pipeline.editing import attention
from pipeline.editing.alignment import align
from pipeline.editing.attention import CrossMaps, WordMapRecorder, controlled, grid
from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from pipeline.errors import Cancelled

ROWS = 5  # source, two edits, the same two unconditionally


@pytest.fixture
def batch(editor: StableDiffusionEditor) -> tuple[torch.Tensor, torch.Tensor]:
    latents = torch.randn(ROWS, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    captions = ("a photo of a dog", "a photo of a cat", "a red photo", "", "")
    return latents, torch.cat([editor.model.embed(caption) for caption in captions])


def cross_maps(editor: StableDiffusionEditor, source: str, edited: tuple[str, ...], weight: float) -> CrossMaps:
    words, window = editor.model.words, editor.model.window
    alignments = [align(words(source), words(caption), window, word_weight=weight) for caption in edited]
    return CrossMaps(
        matrix=torch.stack([a.matrix for a in alignments]),
        own=torch.stack([a.own for a in alignments]),
        weight=torch.stack([a.weight for a in alignments]),
    )


@pytest.mark.parametrize("error", [None, ValueError, Cancelled, KeyboardInterrupt])
def test_processors_are_restored(editor: StableDiffusionEditor, error: type[BaseException] | None) -> None:
    unet = editor.model.unet
    before = dict(unet.attn_processors)
    if error is None:
        with controlled(unet):
            assert all(unet.attn_processors[name] is not before[name] for name in before)
    else:
        with pytest.raises(error), controlled(unet):
            raise error("while it edits")
    assert unet.attn_processors == before


@torch.inference_mode()
def test_without_a_plan_the_control_changes_nothing(
    editor: StableDiffusionEditor, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plain = editor.model.predict(batch[0], 500, batch[1])
    with controlled(editor.model.unet):
        assert torch.equal(editor.model.predict(batch[0], 500, batch[1]), plain)


@torch.inference_mode()
def test_rows_that_use_their_own_maps_stay_as_they_are(
    editor: StableDiffusionEditor, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plain = editor.model.predict(batch[0], 500, batch[1])
    with controlled(editor.model.unet) as control:
        control.self_rows = torch.tensor([0, 1, 0, 3, 4])
        injected = editor.model.predict(batch[0], 500, batch[1])
    difference = (injected - plain).abs().amax(dim=(1, 2, 3))
    assert difference[[0, 1, 3, 4]].max() < 1e-4
    assert difference[2] > 1e-2


@torch.inference_mode()
def test_large_self_attention_maps_are_left_alone(
    editor: StableDiffusionEditor, batch: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = editor.model.predict(batch[0], 500, batch[1])
    monkeypatch.setattr(attention, "MAX_SELF_POSITIONS", 8)
    with controlled(editor.model.unet) as control:
        control.self_rows = torch.tensor([0, 0, 0, 3, 4])
        assert torch.equal(editor.model.predict(batch[0], 500, batch[1]), plain)


@torch.inference_mode()
def test_cross_attention_control_acts_on_conditional_rows_only(
    editor: StableDiffusionEditor, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plain = editor.model.predict(batch[0], 500, batch[1])
    with controlled(editor.model.unet) as control:
        control.cross_maps = cross_maps(editor, "a photo of a dog", ("a photo of a cat", "a red photo"), 2.0)
        edited = editor.model.predict(batch[0], 500, batch[1])
    difference = (edited - plain).abs().amax(dim=(1, 2, 3))
    assert difference[[0, 3, 4]].max() < 1e-4
    assert difference[[1, 2]].min() > 1e-3


def test_new_words_are_weighed_and_others_follow_the_source(editor: StableDiffusionEditor) -> None:
    maps = cross_maps(editor, "a dog", ("a cat",), 2.0)
    source, edited = torch.rand(1, 3, 20), torch.rand(1, 3, 20)
    result = maps.apply(source, edited)
    new = 2  # begin, a, cat
    assert torch.allclose(result[..., new], 2 * edited[..., new])
    others = [k for k in range(20) if k != new]
    assert torch.allclose(result[..., others], source[..., others])


def test_values_carry_the_same_edit_as_maps(editor: StableDiffusionEditor) -> None:
    """Edit(M, M*) V without ever writing a map down."""
    maps = cross_maps(editor, "a dog", ("a red cat", "the ball"), 2.0)
    source, edited, value = torch.rand(1, 3, 20), torch.rand(2, 3, 20), torch.rand(2, 1, 20, 5)
    carried, own = maps.values(value)
    assert torch.allclose(
        maps.apply(source, edited) @ value[:, 0], source @ carried[:, 0] + edited @ own[:, 0], atol=1e-5
    )


@torch.inference_mode()
def test_who_looks_changes_nothing(editor: StableDiffusionEditor, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    plain = editor.model.predict(batch[0], 500, batch[1])
    with controlled(editor.model.unet) as control:
        seen = control.seen = WordMapRecorder(3)
        assert torch.allclose(editor.model.predict(batch[0], 500, batch[1]), plain, atol=1e-4)
    assert seen.maps().shape == (3, 64, 20)
    assert torch.allclose(seen.maps().sum(dim=2), torch.ones(3, 64), atol=1e-5)


@pytest.mark.parametrize(("positions", "size"), [(64, (8, 8)), (16, (4, 4)), (32, (4, 8))])
def test_the_grid_of_a_map(positions: int, size: tuple[int, int]) -> None:
    height, width = (8, 16) if positions == 32 else (8, 8)
    assert grid(positions, height, width) == size
