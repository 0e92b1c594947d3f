"""What folders, archives and uploads hold: one walk, whatever the door."""

from __future__ import annotations

import io
import json
import tarfile
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from pipeline.errors import DataError
from pipeline.images import encode, is_picture
from pipeline.importing.archives import open_source, unpacked
from pipeline.importing.folders import OTHERS, SYSTEMS, Found, gather, load_folder
from tests.seams import picture

PNG = encode(picture("red"))


def saved(form: str) -> bytes:
    stream = io.BytesIO()
    picture("red").save(stream, form)
    return stream.getvalue()


def folder_of(place: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


@pytest.fixture(params=["folder", "zip", "tar"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def looked(door: str, tmp_path: Path, files: Mapping[str, bytes]) -> Found:
    if door == "folder":
        return load_folder(folder_of(tmp_path / "in", files))
    if door == "zip":
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as zipped:
            for name, data in files.items():
                zipped.writestr(name, data)
    else:
        with tarfile.open(tmp_path / "in.tar", "w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return unpacked(tmp_path / f"in.{door}", tmp_path / "out")


def labels(door: str, tmp_path: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """The label of every picture by its place, seen from the folder."""
    root = tmp_path / ("in" if door == "folder" else "out")
    found = looked(door, tmp_path, files)
    return {picture.path.relative_to(root).as_posix(): picture.label for picture in found.pictures}


def jsonl(*rows: object) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


# files -> labels; "@" stands for the bytes of a picture
TREES: list[tuple[dict[str, bytes], dict[str, str]]] = [
    # class folders, and pictures outside them
    ({"red/1.png": PNG, "blue/deep/2.png": PNG, "3.png": PNG},
     {"red/1.png": "red", "blue/deep/2.png": "blue", "3.png": ""}),
    # no label anywhere
    ({"IMG_1.png": PNG}, {"IMG_1.png": ""}),
    # split folders, with and without classes
    ({"train/red/1.png": PNG, "validation/blue/2.png": PNG, "test/3.png": PNG},
     {"train/red/1.png": "red", "validation/blue/2.png": "blue", "test/3.png": ""}),
    # a class called train, in split folders and beside other classes
    ({"train/train/1.png": PNG, "train/boat/1.png": PNG, "val/train/1.png": PNG, "val/boat/1.png": PNG},
     {"train/train/1.png": "train", "train/boat/1.png": "boat", "val/train/1.png": "train", "val/boat/1.png": "boat"}),
    ({"train/1.png": PNG, "boat/1.png": PNG}, {"train/1.png": "train", "boat/1.png": "boat"}),
    ({"train/red/1.png": PNG, "extra/1.png": PNG}, {"train/red/1.png": "red", "extra/1.png": "extra"}),
    # one folder around everything
    ({"set/red/1.png": PNG, "set/blue/1.png": PNG}, {"set/red/1.png": "red", "set/blue/1.png": "blue"}),
    ({"red/1.png": PNG, "red/2.png": PNG}, {"red/1.png": "red", "red/2.png": "red"}),
    # Hugging Face's layout: a list in each split, its names seen from there
    ({"train/images/1.png": PNG, "train/metadata.csv": b"file_name,label\nimages/1.png,sled\n",
      "test/images/1.png": PNG, "test/metadata.csv": b"file_name,label\nimages/1.png,kite\n"},
     {"train/images/1.png": "sled", "test/images/1.png": "kite"}),
    ({"train/1.png": PNG, "train/metadata.jsonl": jsonl({"file_name": "1.png", "label": "ball"})},
     {"train/1.png": "ball"}),
    # the nearest list counts, and one above speaks for what it names
    ({"a/1.png": PNG, "a/2.png": PNG, "a/metadata.csv": b"file_name,label\n1.png,near\n",
      "metadata.csv": b"file_name,label\na/1.png,far\na/2.png,far\n", "b/3.png": PNG},
     {"a/1.png": "near", "a/2.png": "far", "b/3.png": "b"}),
    # a list by another name, at the top alone
    ({"red/1.png": PNG, "red/2.png": PNG, "labels.csv": b"path,label\nred/1.png,blue\n",
      "blue/labels.csv": b"path,label\n3.png,green\n", "blue/3.png": PNG},
     {"red/1.png": "blue", "red/2.png": "red", "blue/3.png": "blue"}),
    # no label told falls back to the folder
    ({"red/1.png": PNG, "blue/2.png": PNG, "metadata.jsonl": jsonl({"file_name": "red/1.png", "label": None})},
     {"red/1.png": "red", "blue/2.png": "blue"}),
    # names of macOS, decomposed, and of everybody else
    ({unicodedata.normalize("NFD", "caf\u00e9/\u00e9.png"): PNG, "tea/1.png": PNG,
      "metadata.csv": "file_name,label\ncaf\u00e9/\u00e9.png,caf\u00e9\n".encode()},
     {unicodedata.normalize("NFD", "caf\u00e9/\u00e9.png"): "caf\u00e9", "tea/1.png": "tea"}),
    ({unicodedata.normalize("NFD", "caf\u00e9/1.png"): PNG, "tea/1.png": PNG},
     {unicodedata.normalize("NFD", "caf\u00e9/1.png"): "caf\u00e9", "tea/1.png": "tea"}),
    # a sample of WebDataset
    ({"k.png": PNG, "k.original.png": PNG, "k.json": b'{"label": "sled"}'}, {"k.png": "sled"}),
]  # fmt: skip


@pytest.mark.parametrize(("files", "right"), TREES)
def test_labels_are_those_of_the_nearest_list_else_of_the_class_folder(
    door: str, tmp_path: Path, files: Mapping[str, bytes], right: Mapping[str, str]
) -> None:
    assert labels(door, tmp_path, files) == right


def test_a_picture_is_what_its_first_bytes_say(door: str, tmp_path: Path) -> None:
    jpeg, webp = saved("JPEG"), saved("WEBP")
    names = {
        "p0.JPG": jpeg,
        "p1.jfif": jpeg,
        "p2.jpe": jpeg,
        "p3.Png": PNG,
        "p4": PNG,
        "p5.dat": webp,
        "p6": saved("TIFF"),
    }
    files = {f"red/{name}": data for name, data in names.items()}
    found = looked(door, tmp_path, files | {"red/notes.txt": b"red", "red/fake.png": b"no picture", "README": b""})
    assert {picture.path.name for picture in found.pictures} == {
        *names,
        "fake.png",
    }  # which is told to be none when it is opened
    assert found.passed == {OTHERS: 2}
    assert not any(map(is_picture, (b"", b"RIFF....WAVE", b"\0\0\0\0ftypmp42", b"%PDF")))


def test_what_systems_leave_behind_is_passed_over_and_counted(door: str, tmp_path: Path) -> None:
    left = ("__MACOSX/sled/two.png", "sled/@eaDir/one.png/THUMB.png", ".ipynb_checkpoints/one.png", "sled/._one.png",
            "Thumbs.db", "sled/desktop.ini", "$RECYCLE.BIN/a.png", "sled/.DS_Store")  # fmt: skip
    found = looked(door, tmp_path, {"sled/one.png": PNG} | dict.fromkeys(left, PNG))
    assert [(picture.path.name, picture.label) for picture in found.pictures] == [("one.png", "sled")]
    assert found.passed == {SYSTEMS: len(left)}
    assert found.told == (f"{len(left)} files passed over: of the system, or hidden.",)


def test_faults_of_lists_are_told_and_leave_no_label_of_the_folder(door: str, tmp_path: Path) -> None:
    rows = jsonl(
        {"file_name": "red/1.png", "label": 0.5},
        {"file_name": "red/none.png", "label": "x"},
        {"file_name": "red/2.png", "label": "x", "original_file_name": "red/o.png"},
    )
    files = {f"red/{name}.png": PNG for name in "12o"} | {
        "blue/1.png": PNG,
        "metadata.jsonl": rows,
        "metadata.csv": b"",
    }
    found = looked(door, tmp_path, files)
    told = {picture.path.parent.name + picture.path.name[0]: picture.label for picture in found.pictures}
    assert told == {"red1": "", "red2": "x", "blue1": "blue"}
    assert sorted((fault.name, fault.reason) for fault in found.faults) == [
        ("metadata.csv", "metadata.jsonl lies beside it and counts; remove one of them."),
        ("metadata.jsonl", "Line 1 holds a label that is neither text nor a whole number."),
        ("metadata.jsonl", "Line 2 names 'red/none.png', which is not there."),
    ]
    assert found.passed == {"pictures that a list names beside others": 1}


def test_two_uploads_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    for place in ("a", "b", "c"):
        folder_of(tmp_path / place, {"1.png": PNG})
    (tmp_path / "l.csv").write_text("path,label\n1.png,red\n")
    paths = [tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "l.csv"]
    found = gather([(PurePosixPath(path.name), path) for path in paths], chosen=True)
    assert [picture.label for picture in found.pictures] == ["", ""]
    reason = "Line 2 names '1.png', and several files are called so; rename them."
    assert [(fault.name, fault.reason) for fault in found.faults] == [("l.csv", reason)]


def test_a_zip_of_windows_parts_its_names_by_backslashes(tmp_path: Path) -> None:
    files = {"set\\red\\1.png": PNG, "set\\blue\\2.png": PNG, "set\\red\\..\\..\\up.png": PNG}
    found = looked("zip", tmp_path, files)
    assert {picture.path.name: picture.label for picture in found.pictures} == {"1.png": "red", "2.png": "blue"}
    assert [fault.name for fault in found.faults] == ["set\\red\\..\\..\\up.png"]


def test_links_and_devices_of_a_tar_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"red/link-{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("red/1.png")
        member.size = len(PNG)
        tar.addfile(member, io.BytesIO(PNG))
    found = unpacked(tmp_path / "in.tar", tmp_path / "out")
    assert [picture.path.name for picture in found.pictures] == ["1.png"]
    assert len(found.faults) == 4
    assert all("link or a device" in fault.reason for fault in found.faults)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    for name in ("a.7z", "a.tar.gz", "a.tar", "a.zip"):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(DataError, match=r"no zip or tar archive"):
            open_source(tmp_path / name)


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(DataError, match="There is no"):
            load_folder(place)
