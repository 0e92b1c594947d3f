"""Distances of two pictures that rest on networks of others: LPIPS and the structure distance on a DINO.

Used where the profile names their weights under [measures], as folders with model.safetensors; of what it does not name
`open_distances` gives the reason. LPIPS is Zhang et al.'s (2018) on AlexNet, as torchmetrics has it; the structure
distance is Tumanyan et al.'s (2022): how differently the keys of the last block resemble one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL.Image import Image

from pipeline.errors import ModelError, display_name
from pipeline.runtime.hub import located

if TYPE_CHECKING:
    import torch

Distance = Callable[[Image, Image], float]
"""Two pictures of one size -> 0 for the same, more for the less alike."""

ABSENT = {
    "LPIPS": "its weights are published as pickles only, which are not opened here; save its state in safetensors "
    "elsewhere and name the folder as lpips under [measures] in the profile",
    "DINO structure": "the profile names no DINO; name a vision transformer of timm, such as "
    "timm/vit_base_patch8_224.dino, as dino under [measures]",
    "FID": "the weights of its Inception are published as a pickle only, which is not opened here; "
    "KID on the profile's own CLIP stands in for it",
}


def open_distances(named: Mapping[str, str], device: str) -> tuple[dict[str, Distance], dict[str, str]]:
    """Open the distances whose weights are named; return them, and why each of the others is not measured.

    Raises `ModelError` for weights that are named and cannot be opened.
    """
    makers = {"lpips": ("LPIPS", lpips), "dino": ("DINO structure", structure)}
    if unknown := sorted(set(named) - set(makers)):
        raise ModelError(f"The profile names '{unknown[0]}' under measures; use {' or '.join(makers)}.")
    found = {}
    for role, text in named.items():
        name, make = makers[role]
        try:
            found[name] = make(Path(located(role, text)), device)
        except (OSError, ValueError, RuntimeError, LookupError, AttributeError) as error:
            raise ModelError(
                f"The weights '{display_name(text)}' of {name} could not be opened ({type(error).__name__}); name a "
                "folder with model.safetensors and, for DINO, timm's config.json.",
                path=text,
                detail=(str(error).strip().splitlines() or ["no reason given"])[0][:200],
            ) from error
    return found, {name: reason for name, reason in ABSENT.items() if name not in found}


def lpips(folder: Path, device: str) -> Distance:
    """Open LPIPS on AlexNet, with all weights from the folder."""
    import torch
    from safetensors.torch import load_model
    from torchmetrics.functional.image.lpips import _LPIPS

    network = _LPIPS(pretrained=False, net="alex", pnet_rand=True)  # the same class as the library's own, unfilled
    load_model(network, folder / "model.safetensors")
    network.to(device)

    def distance(image: Image, other: Image) -> float:
        with torch.inference_mode():
            return float(network(_tensor(image).to(device), _tensor(other).to(device), normalize=True))

    return distance


def structure(folder: Path, device: str) -> Distance:
    """Open the structure distance on the vision transformer of timm in the folder, with its own preprocessing."""
    import timm
    import torch
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    if not (folder / "model.safetensors").is_file():  # timm would take a pickle instead
        message = f"The DINO '{display_name(folder)}' has no model.safetensors; other formats are not opened."
        raise ModelError(message, path=folder)
    network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).to(device).eval()
    preprocess = create_transform(**resolve_model_data_config(network), is_training=False)  # type: ignore[no-untyped-call]
    seen: list[torch.Tensor] = []
    network.blocks[-1].attn.qkv.register_forward_hook(lambda _, inputs, output: seen.append(output))

    def resemblance(image: Image) -> torch.Tensor:
        """Return (tokens, tokens) cosines of the keys."""
        with torch.inference_mode():
            network(cast("torch.Tensor", preprocess(image)).unsqueeze(0).to(device))
            keys = torch.nn.functional.normalize(seen.pop()[0].chunk(3, dim=-1)[1].float(), dim=-1)
            return keys @ keys.T

    return lambda image, other: float((resemblance(image) - resemblance(other)).square().mean())


def _tensor(image: Image) -> torch.Tensor:
    """Return (1, 3, h, w), 0..1."""
    from torchvision.transforms.functional import to_tensor

    return cast("torch.Tensor", to_tensor(image.convert("RGB"))).unsqueeze(0)
