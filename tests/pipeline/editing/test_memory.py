"""Memory: measured, linear in the rows, the same for any number of steps."""

from __future__ import annotations

import weakref

import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.editing import memory
from pipeline.editing.memory import MicroBatches
from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from pipeline.settings import Settings

CAPTION = "a photo of a dog in the snow"
EDITED = ("a photo of a cat in the snow", "a red photo of a dog in the snow", "a dog on the ball")


class Held(TorchDispatchMode):
    """The most bytes in tensors alive at once, of those made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor.untyped_storage())
        return result

    def note(self, storage: torch.UntypedStorage) -> None:
        if storage.data_ptr() not in self.known:
            self.known.add(storage.data_ptr())
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.forget, storage.data_ptr(), storage.nbytes())

    def forget(self, pointer: int, size: int) -> None:
        self.known.discard(pointer)
        self.now -= size


def held(editor: StableDiffusionEditor, picture: Image.Image, captions: int, steps: int, **changes: object) -> int:
    settings = Settings(num_inference_steps=steps, taus=(0.5,), **changes)  # type: ignore[arg-type]
    inversion = editor.invert(picture, CAPTION, settings)
    with Held() as memory_held:
        list(editor.edit(inversion, EDITED[:captions], settings))
    return memory_held.most


@pytest.fixture
def measured(editor: StableDiffusionEditor, picture: Image.Image) -> StableDiffusionEditor:
    """An editor that has measured its rows already."""
    held(editor, picture, 1, 2)
    return editor


@pytest.mark.parametrize("changes", [{}, {"local_blend": 0.3}], ids=str)
def test_memory_does_not_grow_with_the_steps(
    measured: StableDiffusionEditor, picture: Image.Image, changes: dict[str, object]
) -> None:
    few, many = (held(measured, picture, 2, steps, **changes) for steps in (4, 16))
    assert few > 100_000, "the count must see something"
    assert many < 1.02 * few


def test_memory_is_linear_in_the_rows(measured: StableDiffusionEditor, picture: Image.Image) -> None:
    single, two, three = (held(measured, picture, captions, 4) for captions in (1, 2, 3))
    assert two > 1.2 * single
    assert three - two == pytest.approx(two - single, rel=0.05)


def test_no_map_of_self_attention_is_made(measured: StableDiffusionEditor, picture: Image.Image) -> None:
    class Shapes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            shapes.update(tuple(leaf.shape) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
            return result

    shapes: set[tuple[int, ...]] = set()
    settings = Settings(num_inference_steps=4, taus=(0.5,))
    inversion = measured.invert(picture, CAPTION, settings)
    with Shapes():
        list(measured.edit(inversion, EDITED[:1], settings))
    assert (3, 64, 32) in shapes, "the count must see the hidden states"
    assert not any(shape[-2:] == (64, 64) for shape in shapes if len(shape) > 2)


def test_rows_are_measured_on_the_first_part_and_fitted_to_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    monkeypatch.setattr(memory, "free_memory", lambda _: 64 * 10)
    micro_batches = MicroBatches(network, 100)
    items = torch.ones(12, 4)
    parts = micro_batches.each(12, lambda part: network(items[part]))
    assert micro_batches.row_bytes == 2 * 8 * 4  # two layers, eight float32 each
    assert [len(part) for part in parts] == [1, 5, 5, 1]  # half of what is free holds five rows
    assert [len(part) for part in micro_batches.each(3, lambda part: items[part], rows=2, beside=1)] == [2, 1]


def test_a_shortage_halves_the_rows_until_one_item_is_too_much() -> None:
    network, sizes = torch.nn.Linear(1, 1), []
    micro_batches = MicroBatches(network, 8)
    micro_batches.row_bytes = 1

    def work(part: slice) -> int:
        sizes.append(part.stop - part.start)
        if sizes[-1] > room:
            raise torch.OutOfMemoryError("out of memory")
        return part.start

    room = 2
    assert micro_batches.each(8, work) == [0, 2, 4, 6]
    assert sizes == [8, 4, 2, 2, 2, 2]
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        micro_batches.each(8, work)


def test_other_faults_are_not_taken_for_a_shortage() -> None:
    def work(part: slice) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        MicroBatches(torch.nn.Linear(1, 1), 8).each(8, work)
