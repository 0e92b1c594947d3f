"""Where a convolutional classifier looks for a label: Grad-CAM (Selvaraju et al., 2017), computed by Captum.

Knows no classifier family: the layer is found by watching the network at work, and which part of a picture it covers by
sending a ramp through the preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Forward = Callable[["torch.Tensor"], "torch.Tensor"]
Preprocess = Callable[[Image.Image], "torch.Tensor"]
Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of the picture


def grad_cam(
    model: torch.nn.Module, logits: Forward, preprocess: Preprocess, images: Sequence[Image.Image], target: int
) -> tuple[NDArray[np.float32], ...]:
    """Return one (height, width) map per picture, at least 0 and all on one scale; () where no layer has such a map.

    `logits` is the model's forward pass, (n, 3, h, w) -> (n, classes); `target` the row of the label.
    """
    import torch
    from captum.attr import LayerGradCam

    device = next(model.parameters()).device
    pixels = torch.stack([preprocess(image) for image in images]).to(device)
    layer = last_feature_map(model, logits, pixels[:1])
    if layer is None:
        return ()
    with torch.enable_grad():
        maps = LayerGradCam(logits, layer).attribute(pixels.requires_grad_(), target=target, relu_attributions=True)
    found = maps.detach().float().cpu().numpy()[:, 0]
    return tuple(
        _laid_over(cells, field_of_view(preprocess, image.size), image.size)
        for cells, image in zip(found, images, strict=True)
    )


def last_feature_map(model: torch.nn.Module, logits: Forward, pixels: torch.Tensor) -> torch.nn.Module | None:
    """Return the part with convolutions whose output is the last feature map, (n, channels, h, w) of several cells.

    None when linear layers work on tokens behind it, as in a vision transformer: there such a map is only the input.
    """
    import torch

    found: list[torch.nn.Module] = []

    def watch(module: torch.nn.Module, inputs: tuple[object, ...], output: object) -> None:
        first = inputs[0] if inputs else None
        if isinstance(module, torch.nn.Linear) and isinstance(first, torch.Tensor) and first.dim() > 2:
            found.clear()
        is_map = isinstance(output, torch.Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1
        if is_map and any(isinstance(part, torch.nn.Conv2d) for part in module.modules()):
            found.append(module)

    hooks = [module.register_forward_hook(watch) for module in model.modules()]
    try:
        with torch.no_grad():
            logits(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return found[-1] if found else None


def field_of_view(preprocess: Preprocess, size: tuple[int, int]) -> Box:
    """Return which part of a picture of this size (width, height) the network gets to see, in shares of its sides."""
    black, white = (preprocess(Image.new("RGB", size, colour)) for colour in ("black", "white"))
    ramp = Image.linear_gradient("L")  # black at the top, white at the bottom
    spans = []
    for axis, gradient in ((-1, ramp.rotate(90)), (-2, ramp)):
        seen = preprocess(gradient.resize(size, Image.Resampling.BILINEAR).convert("RGB"))
        share = ((seen - black) / (white - black)).mean(dim=(0, -3 - axis)).tolist()  # over colours and the other axis
        inner = len(share) // 4  # the ramp is flat within half a pixel of its ends, so its slope is taken inside
        slope = (share[-1 - inner] - share[inner]) / (len(share) - 1 - 2 * inner)
        low = share[inner] - slope * (inner + 0.5)
        spans.append((max(0.0, low), min(1.0, low + slope * len(share))))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom


def _laid_over(cells: NDArray[np.float32], box: Box, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the cells over the part of the picture that they cover, 0 elsewhere."""
    width, height = size
    left, right = round(box[0] * width), round(box[2] * width)
    top, bottom = round(box[1] * height), round(box[3] * height)
    inside = Image.fromarray(cells).resize((max(1, right - left), max(1, bottom - top)), Image.Resampling.BILINEAR)
    whole = np.zeros((height, width), np.float32)
    whole[top : top + inside.height, left : left + inside.width] = np.asarray(inside)
    return whole
