"""Word maps: those of the picture's own trajectory, whole and small."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from pipeline.settings import Settings
from tests.benchmarks.reference import Injection, PlainAttention

CAPTION = "a photo of a zebra"
SETTINGS = Settings(num_inference_steps=4)


def test_one_map_a_word_in_order(editor: StableDiffusionEditor, picture: Image.Image) -> None:
    calls: list[tuple[int, int]] = []
    before = dict(editor.model.unet.attn_processors)
    inversion = editor.invert(picture, CAPTION, SETTINGS)
    maps = editor.word_maps(inversion, lambda done, total: calls.append((done, total)))
    assert " ".join(word_map.word for word_map in maps) == CAPTION
    assert all(word_map.weights.shape == (8, 8) and word_map.weights.dtype == np.float32 for word_map in maps)
    total = np.sum([word_map.weights for word_map in maps], axis=0)
    assert (total > 0).all()
    assert (total < 1).all(), "begin, end and padding take their share"
    assert calls == [(done, 4) for done in range(1, 5)]
    assert editor.model.unet.attn_processors == before


@torch.no_grad()
def test_maps_equal_those_written_out(editor: StableDiffusionEditor, picture: Image.Image) -> None:
    model, inversion = editor.model, editor.invert(picture, CAPTION, SETTINGS)
    injection = Injection(None, 0, torch.zeros(1), step=1)  # type: ignore[arg-type]  # nothing is injected
    injection.alignment = type("None", (), {"matrix": torch.eye(20), "own": 0.0, "weight": 1.0})()
    processors = dict(model.unet.attn_processors)
    model.unet.set_attn_processor(PlainAttention(injection))
    embeddings = model.embed(CAPTION).expand(4, -1, -1)
    for i, timestep in enumerate(model.timesteps(4)):
        model.predict(inversion.trajectory[i].expand(4, -1, -1, -1), timestep, embeddings)
    model.unet.set_attn_processor(processors)
    plain = torch.stack([maps[0] for maps in injection.word_maps if maps.shape[2] == 64]).mean(dim=(0, 1))
    maps = editor.word_maps(inversion)
    assert np.allclose(maps[0].weights, plain[:, 1].view(8, 8), atol=1e-5)
    assert np.allclose(maps[4].weights, plain[:, 5:10].sum(dim=1).view(8, 8), atol=1e-5), "z, e, b, r, a: five tokens"
