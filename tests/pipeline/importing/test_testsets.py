"""Test sets of one's own, on folder trees made here: ImageNet's two layouts, ImageFolders, CSV files, roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import DataError, SettingsError
from pipeline.importing.testsets import (
    HARD_IMAGENET,
    LIST,
    TestSet,
    hybrid,
    load_hard_imagenet,
    load_test_set,
)
from tests.seams import folder_of, picture

SKI, PATIO, TENCH = "n04228054", "n03899768", "n01440764"


def jpeg(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture("red").save(path, format="JPEG")
    return path


def test_sorted_folders_of_imagenet_give_the_hard_classes_alone(tmp_path: Path) -> None:
    for key in (SKI, TENCH, PATIO):
        for number in range(2):
            jpeg(tmp_path / "val" / key / f"ILSVRC2012_val_{number}.JPEG")
    found = load_hard_imagenet(tmp_path)
    assert [picture.label for picture in found] == ["ski", "ski", "patio", "patio"]
    assert {picture.path.parent.name for picture in found} == {SKI, PATIO}
    assert load_hard_imagenet(tmp_path / "val") == found
    assert load_test_set(f"id:hard-imagenet={tmp_path}").pictures == found
    assert len(HARD_IMAGENET) == 15


@pytest.mark.parametrize("numbers", [False, True])
def test_the_official_list_names_flat_pictures(tmp_path: Path, numbers: bool) -> None:
    keys = [TENCH, SKI, PATIO, SKI]
    for number in range(1, 5):
        jpeg(tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    lines = {TENCH: "1", PATIO: "2", SKI: "3"}
    listed = tmp_path / "data" / LIST
    listed.parent.mkdir()
    written = [lines[key] if numbers else key for key in keys]
    listed.write_text("\n".join(written) + "\n")
    if numbers:
        with pytest.raises(DataError, match="put synsets"):
            load_hard_imagenet(tmp_path)
        listed.with_name("synsets.txt").write_text(f"{TENCH}\n{PATIO}\n{SKI}\n")
    found = load_hard_imagenet(tmp_path)
    assert [(picture.path.name[-9:], picture.label) for picture in found] == [
        ("0002.JPEG", "ski"), ("0003.JPEG", "patio"), ("0004.JPEG", "ski"),
    ]  # fmt: skip
    jpeg(tmp_path / "val" / "ILSVRC2012_val_00000005.JPEG")
    with pytest.raises(DataError, match="names 4 pictures, but 5"):
        load_hard_imagenet(tmp_path)


def test_a_folder_without_imagenet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no picture of HardImageNet"):
        load_hard_imagenet(tmp_path)


def test_roles_and_the_hybrid_of_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a")
    (tmp_path / "b.csv").write_text("file,label\na/red/0.png,red\na/blue/1.png,blue\n")
    named = load_test_set(f"ood:beach={folder}")
    assert (named.name, named.role, len(named.pictures)) == ("beach", "ood", 6)
    plain, table = load_test_set(f"beach={folder}"), load_test_set(f"ID={tmp_path / 'b.csv'}")
    assert (plain.role, table.role, table.name) == ("ood", "id", "ID")
    both = hybrid([named, table])
    assert [(test_set.role, len(test_set.pictures)) for test_set in both] == [("ood", 6), ("id", 2), ("hybrid", 8)]
    own = TestSet(name="mine", role="hybrid", pictures=table.pictures)
    assert hybrid([named, table, own]) == (named, table, own)
    assert hybrid([named]) == (named,)
    for text in ("beach", "=x", f"near:beach={folder}"):
        with pytest.raises(SettingsError, match="ROLE:NAME=PATH"):
            load_test_set(text)
    picture("red").save(tmp_path / "a" / "loose.png")
    with pytest.raises(DataError, match="1 of 7 pictures of 'beach' have no label"):
        load_test_set(f"beach={folder}")


def test_a_test_set_with_faults_is_refused_and_tells_them(tmp_path: Path) -> None:
    picture("red").save(tmp_path / "a.png")
    (tmp_path / "set.csv").write_text("file,label\na.png,x\n../b.png,x\nc.png,x\n")
    with pytest.raises(DataError, match=r"2 faults; mend them: set.csv: Line 3 .* outside .* Line 4 names 'c.png'"):
        load_test_set(f"ood={tmp_path / 'set.csv'}")
    (tmp_path / "set.csv").write_text("file,label\na.png,\n")
    with pytest.raises(DataError, match="1 of 1 pictures of 'ood' have no label"):
        load_test_set(f"ood={tmp_path / 'set.csv'}")
