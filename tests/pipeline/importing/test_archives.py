"""What arrives from outside, welcome or not."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.images import encode
from pipeline.importing import archives as importing
from pipeline.importing.archives import arrivals, unpack
from pipeline.importing.folders import load_folder
from tests.hostile_archives import overlapping
from tests.seams import folder_of, picture

PNG = encode(picture("red"))


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def arrived(tmp_path: Path, *files: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(name -> label, name -> reason)"""
    found = arrivals(files, tmp_path / "unpacked")
    labels = {picture.path.name: picture.label for picture in found.pictures}
    return labels, {fault.name: fault.reason for fault in found.faults}


@pytest.mark.parametrize("around", ["", "photos/"])
def test_folders_in_an_archive_are_labels(tmp_path: Path, around: str) -> None:
    members = {f"{around}red/1.png": PNG, f"{around}blue/2.png": PNG, f"{around}__MACOSX/x.png": b"", "notes.txt": b""}
    assert arrived(tmp_path, zipped(tmp_path / "a.zip", members)) == ({"1.png": "red", "2.png": "blue"}, {})


def test_splits_are_no_labels(tmp_path: Path) -> None:
    members = {"train/red/1.png": PNG, "validation/blue/2.png": PNG, "test/3.png": PNG}
    assert arrived(tmp_path, zipped(tmp_path / "a.zip", members))[0] == {"1.png": "red", "2.png": "blue", "3.png": ""}


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_metadata_of_every_kind_names_the_labels(tmp_path: Path, suffix: str) -> None:
    import pandas

    folder = folder_of(tmp_path / "pictures", each=1)
    frame = pandas.DataFrame(
        {"file_name": ["red/0.png"], "label": ["sled, sleigh"], "original_file_name": ["blue/0.png"]}
    )
    buffer = io.BytesIO()
    if suffix == "parquet":
        frame.to_parquet(buffer)
    elif suffix == "csv":
        frame.to_csv(buffer, index=False)
    else:
        frame.to_json(buffer, orient="records", lines=True)
    (folder / f"metadata.{suffix}").write_bytes(buffer.getvalue())
    found = {picture.path.parent.name: picture.label for picture in load_folder(folder).pictures}
    assert found == {"red": "sled, sleigh", "green": "green"}


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "pictures", each=1)
    (folder / "metadata.parquet").write_bytes(b"PAR1 no")
    found = load_folder(folder)
    assert len(found.pictures) == 3
    assert [fault.name for fault in found.faults] == ["metadata.parquet"]
    assert "cannot be read as Parquet" in found.faults[0].reason


def test_a_list_labels_the_pictures_that_came_with_it(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "labels.csv").write_text("path,label\na.png,red\n")
    files = [tmp_path / name for name in ("a.png", "b.png", "labels.csv")]
    assert arrived(tmp_path, *files) == ({"a.png": "red", "b.png": ""}, {})


def test_a_list_in_an_archive_goes_before_its_folders(tmp_path: Path) -> None:
    members = {"red/1.png": PNG, "red/2.png": PNG, "labels.csv": b"path,label\nred/1.png,blue\n"}
    assert arrived(tmp_path, zipped(tmp_path / "a.zip", members))[0] == {"1.png": "blue", "2.png": "red"}


def test_a_bad_file_hides_no_other_and_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK no")
    (tmp_path / "bad.csv").write_text("path,label\nnone.png,red\n")
    (tmp_path / "good.png").write_bytes(PNG)
    good = zipped(tmp_path / "good.zip", {"red/1.png": PNG, "../up.png": PNG})
    labels, reasons = arrived(tmp_path, tmp_path / "bad.zip", tmp_path / "bad.csv", tmp_path / "good.png", good)
    assert labels == {"good.png": "", "1.png": "red"}
    assert set(reasons) == {"bad.zip", "bad.csv", "../up.png"}
    assert str(tmp_path) not in " ".join(reasons.values())


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x.png", "../x.png", "a/../../x.png", "a\\..\\x.png", "C:/x.png", "n" * 250 + ".png",
        "\u96ea" * 100 + ".png", "red/\u202egnp.png", "red/a\nb.png", "inner.zip", "metadata.parquet",
    ],
)  # fmt: skip
def test_members_with_odd_names_are_left_out(tmp_path: Path, name: str) -> None:
    labels, reasons = arrived(tmp_path, zipped(tmp_path / "a.zip", {name: PNG, "red/1.png": PNG}))
    assert labels == {"1.png": "red"}
    assert len(reasons) == 1
    assert [path.name for path in tmp_path.rglob("*.png")] == ["1.png"]


def test_bytes_that_are_listed_many_times_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_UNPACKED", 2 * importing.MAX_BYTES - 1)
    bomb = bytes(importing.MAX_BYTES + 1)
    (tmp_path / "a.zip").write_bytes(overlapping(zipped(tmp_path / "one.zip", {"x.png": bomb}).read_bytes(), 9))
    refusals = [fault.reason for fault in unpack(tmp_path / "a.zip", tmp_path / "a")[0]]
    assert refusals == ["It is larger than 20 MB; make it smaller."] + [importing.SAME_NAME] * 8
    two = zipped(tmp_path / "two.zip", {"x.png": bomb, "y.png": bomb})
    with pytest.raises(DataError, match="unpacks to more"):
        unpack(two, tmp_path / "b")


def test_a_list_is_small(tmp_path: Path) -> None:
    members = {"red/1.png": PNG, "labels.csv": b"path,label\n" + b"red/1.png,blue\n" * 200_000}
    labels, reasons = arrived(tmp_path, zipped(tmp_path / "a.zip", members))
    assert (labels, reasons) == ({"1.png": "red"}, {"labels.csv": "It is larger than 2 MB; make it smaller."})


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_left_out(tmp_path: Path, kind: int) -> None:
    member = zipfile.ZipInfo("red/link.png")
    member.create_system, member.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
        archive.writestr("red/1.png", PNG)
    labels, reasons = arrived(tmp_path, tmp_path / "a.zip")
    assert labels == {"1.png": "red"}
    assert "link or a device" in reasons["red/link.png"]


def test_bombs_are_left_out_whatever_they_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_BYTES", 1_000_000)
    bomb = zipped(tmp_path / "a.zip", {"red/bomb.png": b"\0" * 5_000_000, "red/1.png": PNG})
    labels, reasons = arrived(tmp_path, bomb)
    assert labels == {"1.png": "red"}
    assert "larger than" in reasons["red/bomb.png"]
    monkeypatch.setattr(importing, "MAX_UNPACKED", len(PNG) + 1)
    many = zipped(tmp_path / "b.zip", {f"red/{n}.png": PNG for n in range(3)})
    with pytest.raises(DataError, match="unpacks to more"):
        unpack(many, tmp_path / "b")
    monkeypatch.setattr(importing, "MAX_UNPACKED", 10 * len(PNG))
    monkeypatch.setattr(importing, "MAX_MEMBERS", 2)
    with pytest.raises(DataError, match="more than 2 files"):
        unpack(many, tmp_path / "c")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_archives_cut_short_are_told(tmp_path: Path, part: float) -> None:
    whole = zipped(tmp_path / "a.zip", {"red/1.png": PNG}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * part)])
    labels, reasons = arrived(tmp_path, tmp_path / "cut.zip")
    assert labels == {}
    assert "damaged" in reasons["cut.zip"]


def test_a_damaged_member_hides_no_other(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"red/1.png": PNG, "red/2.png": encode(picture("red", 1))})
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    labels, reasons = arrived(tmp_path, path)
    assert labels == {"2.png": "red"}
    assert set(reasons) == {"red/1.png"}


def test_of_two_members_with_one_name_the_first_is_taken(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("red/1.png", PNG)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("red/1.png", b"other")
    labels, reasons = arrived(tmp_path, tmp_path / "a.zip")
    assert (labels, list(reasons)) == ({"1.png": "red"}, ["red/1.png"])
    assert next((tmp_path / "unpacked").rglob("1.png")).read_bytes() == PNG
