"""What a classifier's head sees of pictures: computed once per picture, found again by its pixels, kept on the disk.

`BlockInputs` is the same of a classifier's last block, kept in memory.

All that trains or measures a head asks here, so the network below it runs once per picture however many epochs, blends
and recipes follow. Knows no recipe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image

from pipeline.classifiers.last_block import last_block_of
from pipeline.errors import LabelError, ModelError, StoreError
from pipeline.reinforcement.blending import Blend, Logits, Weights
from pipeline.reinforcement.heads import Part, Theta, head_logits
from pipeline.reinforcement.training_data import Pictures
from pipeline.store.media import write_whole
from pipeline.types import Classifier

BATCH = 32


class Features:
    """Features of pictures under one classifier, computed once per picture and kept on the disk when told where."""

    def __init__(self, classifier: Classifier, folder: Path | None = None) -> None:
        """Read what `folder` holds of this very network; without one nothing is kept."""
        self.classifier = classifier
        self._rows = {label: row for row, label in enumerate(classifier.labels)}
        self._folder = folder and folder / classifier.fingerprint[:16]
        self._known: dict[bytes, torch.Tensor] = self._stored()

    @property
    def names(self) -> tuple[str, ...]:
        """Return what is trained, tensor by tensor."""
        return ("weight", "bias")

    @property
    def block(self) -> str:
        """Return the unfrozen block; "" when the head alone is trained."""
        return ""

    def theta_0(self) -> Theta:
        """Return what is trained, as it is now."""
        return self.classifier.head()

    def logits(self, theta: Theta, features: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, classes) of theta on what `part` gave."""
        return head_logits(theta, features)

    def blend(self, theta_0: Theta, theta_1: Theta, pictures: Pictures) -> Blend:
        """Return what theta(alpha) says of pictures."""
        return Logits.of(theta_0, theta_1, self.part(pictures))

    def part(self, pictures: Pictures, *, keep: bool = True) -> Part:
        """Return features and targets, row by row; pictures that no one asks for twice need not be kept.

        Raises `LabelError` for labels that the classifier does not know.
        """
        refuse_unknown(self.classifier, {label for _, label in pictures})
        keys = [pixels(image) for image, _ in pictures]
        fresh = {key: image for key, (image, _) in zip(keys, pictures, strict=True) if key not in self._known}
        places, seen = list(fresh), dict[bytes, torch.Tensor]()
        for start in range(0, len(places), BATCH):
            batch = places[start : start + BATCH]
            seen.update(zip(batch, self._seen([fresh[key] for key in batch]), strict=True))
        if seen and keep:
            self._known.update(seen)
            if self._folder is not None:
                self._write(seen)
        return Part(
            features=torch.stack([seen[key] if key in seen else self._known[key] for key in keys]),
            targets=torch.tensor([self._rows[label] for _, label in pictures]),
        )

    def refuse_foreign_head(self, theta: Theta, image: Image) -> None:
        """Refuse a head that is not the classifier itself on its features, or blending heads would mean nothing."""
        logits = self.logits(theta, self.part([(image, self.classifier.labels[0])]).features)
        expected = torch.tensor(self.classifier.predict([image])[0].probabilities)
        if not torch.allclose(logits.softmax(-1)[0], expected, atol=1e-3):
            name = self.classifier.name
            raise ModelError(
                f"The head of '{name}' does not give its predictions; use a classifier whose last layer is linear."
            )

    def _seen(self, images: Sequence[Image]) -> torch.Tensor:
        return self.classifier.features(images).float().cpu()

    def _stored(self) -> dict[bytes, torch.Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        known: dict[bytes, torch.Tensor] = {}
        for file in sorted(self._folder.glob("*.safetensors")) if self._folder else ():
            try:
                held = load_file(file)
                rows = zip(held["keys"], held["features"], strict=True)
                known |= {key.numpy().tobytes(): row for key, row in rows}
            except (OSError, KeyError, ValueError, SafetensorError):
                continue  # a file that is damaged or of another make is passed over, and its pictures are seen again
        return known

    def _write(self, fresh: dict[bytes, torch.Tensor]) -> None:
        """Add a file with these pictures; other processes may add theirs at the same time."""
        from safetensors.torch import save

        assert self._folder is not None
        together = b"".join(fresh)
        keys = torch.frombuffer(bytearray(together), dtype=torch.uint8).reshape(len(fresh), -1)
        data = save({"keys": keys, "features": torch.stack(list(fresh.values()))})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / f"{hashlib.sha256(together).hexdigest()[:32]}.safetensors", data)
        except OSError as error:
            raise StoreError(
                f"Features cannot be kept: {error.strerror}; free some space.", path=self._folder
            ) from error


class BlockInputs(Features):
    """What a classifier's last block sees of pictures, computed once per picture; theta is the block's and the head's.

    Memory: a map per picture, for a ResNet50 at 224 pixels 0.8 MB.
    """

    def __init__(self, classifier: Classifier) -> None:
        """Raise `ModelError` for a classifier whose last block cannot be told."""
        super().__init__(classifier)
        self._block = last_block_of(classifier)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the parameters of the network."""
        return self._block.names

    @property
    def block(self) -> str:
        """Return the block's name, as the network calls it."""
        return self._block.name

    def blend(self, theta_0: Theta, theta_1: Theta, pictures: Pictures) -> Blend:
        """Return what theta(alpha) says of pictures."""
        return Weights(theta_0=theta_0, theta_1=theta_1, part=self.part(pictures), network=self.logits)

    def theta_0(self) -> Theta:
        """Return copies of the block's and the head's parameters."""
        return self._block.theta()

    def logits(self, theta: Theta, features: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, classes): a forward pass of the block and of what follows."""
        return self._block.logits(theta, features)

    def refuse_foreign_head(self, theta: Theta, image: Image) -> None:
        """Raise `ModelError` when the block and what follows it are not the classifier itself."""
        try:
            super().refuse_foreign_head(theta, image)
        except (ModelError, RuntimeError) as error:
            raise ModelError(
                f"The network of '{self.classifier.name}' cannot be cut before its block '{self.block}', for what "
                "follows does not give its predictions; train the head alone."
            ) from error

    def _seen(self, images: Sequence[Image]) -> torch.Tensor:
        return self._block.inputs(images)


def features_folder(root: Path, classifier: str) -> Path:
    """Return where a classifier's features of a data folder's pictures are kept."""
    plain = "".join(char if char.isalnum() or char in "-_." else "-" for char in classifier)
    return root / "features" / plain[-100:]


def pixels(image: Image) -> bytes:
    """Return what tells two pictures apart, whatever their file."""
    return hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).digest()


def refuse_unknown(classifier: Classifier, labels: set[str]) -> None:
    """Raise `LabelError` when the classifier lacks one of them."""
    unknown = sorted(labels - set(classifier.labels))
    if unknown:
        shown = ", ".join(f"'{label}'" for label in unknown[:5])
        raise LabelError(f"The classifier '{classifier.name}' does not know {shown}; use the one that was studied.")
