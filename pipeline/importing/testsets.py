"""Test sets of one's own: ImageNet's validation pictures of HardImageNet's classes, folders, lists, archives.

A test set is "NAME=PATH" or "ROLE:NAME=PATH", where the role is id, ood or hybrid: what the classifier was trained for,
what it was not, and both; the name hard-imagenet takes ImageNet's folder. HardImageNet (Moayeri et al., 2022) is
fifteen classes that lean on what is around them; its pictures are ImageNet's own, found by the official validation
list. Reads no picture and knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError, SettingsError, display_name
from pipeline.importing.archives import open_source
from pipeline.importing.folders import LabelledImage

TOLD = 3  # faults told by name
ROLES = ("id", "ood", "hybrid")
LIST = "ILSVRC2012_validation_ground_truth.txt"
HARD_IMAGENET = {
    "n03218198": "dog sled", "n02492660": "howler monkey", "n04162706": "seat belt", "n04228054": "ski",
    "n04356056": "sunglasses", "n02807133": "swimming cap", "n02777292": "balance beam", "n03535780": "horizontal bar",
    "n03899768": "patio", "n04019541": "hockey puck", "n03770439": "miniskirt", "n04264628": "space bar",
    "n04540053": "volleyball", "n09835506": "baseball player", "n04251144": "snorkel",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSet:
    """Labelled pictures to measure on."""

    name: str
    role: str  # one of `ROLES`
    pictures: tuple[LabelledImage, ...]

    __test__ = False  # no test, whatever pytest makes of its name


def load_test_set(text: str) -> TestSet:
    """Return the set behind "ood:beach=FOLDER", "ood=FOLDER" or "ood=FILE" of a list or an archive.

    A name without a role, which is none itself, counts as ood.

    Raises `SettingsError` for another form, `DataError` for what cannot be read or has no labels.
    """
    left, _, path = text.partition("=")
    role, _, name = left.rpartition(":")
    name = name.strip()
    role = role.strip().lower() or (name.lower() if name.lower() in ROLES else "ood")
    if not name or not path or role not in ROLES:
        shown = "=".join(map(display_name, text.split("=", 1)))
        raise SettingsError(
            f"The test set '{shown}' is not understood; write ROLE:NAME=PATH with id, ood or hybrid.", path=text
        )
    place = Path(path)
    if name == "hard-imagenet":
        pictures = load_hard_imagenet(place)
    else:
        found = open_source(place)
        if found.faults:
            told = " ".join(f"{fault.name}: {fault.reason}" for fault in found.faults[:TOLD])
            raise DataError(f"The test set '{name}' has {len(found.faults)} faults; mend them: {told}")
        pictures = found.pictures
    unlabelled = sum(not picture.label for picture in pictures)
    if unlabelled:
        raise DataError(
            f"{unlabelled} of {len(pictures)} pictures of '{name}' have no label; put each into its folder."
        )
    return TestSet(name=name, role=role, pictures=pictures)


def hybrid(sets: Sequence[TestSet]) -> tuple[TestSet, ...]:
    """Return the sets, and all id and ood pictures together as "hybrid" when there are both and nobody gave one."""
    roles = {test_set.role for test_set in sets}
    if not {"id", "ood"} <= roles or "hybrid" in roles:
        return tuple(sets)
    both = tuple(picture for test_set in sets for picture in test_set.pictures)
    return (*sets, TestSet(name="hybrid", role="hybrid", pictures=both))


def load_hard_imagenet(root: Path) -> tuple[LabelledImage, ...]:
    """Return HardImageNet's classes in a user's ImageNet, in either of its two common layouts.

    Either <root>/val/<synset>/*.JPEG, or the official archive: flat ILSVRC2012_val_*.JPEG beside a list that names one
    class a line, `ILSVRC2012_validation_ground_truth.txt`, as a synset or as a number of the development kit, then with
    `synsets.txt` (line n is the synset of number n) beside it. Raises `DataError` when neither is there.
    """
    sorted_folders = [
        folder for folder in (root / "val", root) if any((folder / key).is_dir() for key in HARD_IMAGENET)
    ]
    if sorted_folders:
        places = [(path, key) for key in HARD_IMAGENET for path in sorted((sorted_folders[0] / key).glob("*.JPEG"))]
    else:
        places = _listed(root)
    if not places:
        raise DataError(
            f"There is no picture of HardImageNet's classes in '{display_name(root)}'; give ImageNet's folder with "
            f"val/<synset>/*.JPEG or the official validation pictures with {LIST} beside them.",
            path=root,
        )
    return tuple(LabelledImage(path=path, label=HARD_IMAGENET[key]) for path, key in places)


def _listed(root: Path) -> list[tuple[Path, str]]:
    """Return (picture, synset) of HardImageNet's classes by the official list."""
    lists = sorted(root.rglob(LIST))
    pictures = sorted(root.rglob("ILSVRC2012_val_*.JPEG"))
    if not lists or not pictures:
        return []
    keys = lists[0].read_text(encoding="utf-8").split()
    if len(keys) != len(pictures):
        message = f"{LIST} names {len(keys)} pictures, but {len(pictures)} are beside it; fetch the rest."
        raise DataError(message, path=lists[0])
    names = lists[0].with_name("synsets.txt")
    if keys and keys[0].isdigit():
        if not names.is_file():
            message = f"{LIST} holds numbers; put {names.name} beside it, whose line n is the synset of n."
            raise DataError(message, path=lists[0])
        synsets = names.read_text(encoding="utf-8").split()
        if max(map(int, keys)) > len(synsets) or min(map(int, keys)) < 1:
            message = f"{LIST} holds numbers that {names.name} has no line for; take both from one archive."
            raise DataError(message, path=lists[0])
        keys = [synsets[int(key) - 1] for key in keys]
    return [(path, key) for path, key in zip(pictures, keys, strict=True) if key in HARD_IMAGENET]
