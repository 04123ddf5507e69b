"""Folder layouts, on real folders."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from sorter.dataset.layout import (
    note_loose,
    read_extra,
    read_groups,
    read_labelled,
    read_unknown,
)
from sorter.domain import Bin, Category, Taxonomy
from sorter.errors import DataError
from sorter.taxonomy import read_taxonomy

BIN = Bin("x", 1, "00", "X", "甲")
TAXONOMY = Taxonomy(
    "two",
    (Category("a0", "Apple", "苹果", "x"), Category("b0", "Ball", "球", "y")),
    (BIN, Bin("y", 2, "01", "Y", "乙")),
)


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)
    return path


def test_splits_and_the_three_ways_to_name_a_class(tmp_path: Path) -> None:
    _picture(tmp_path / "train" / "a0" / "1.png")
    _picture(tmp_path / "train" / "ball" / "1.png")
    _picture(tmp_path / "val" / "苹果" / "2.png")
    found = read_labelled(tmp_path, TAXONOMY)
    assert [(s.index, s.split) for s in found] == [(0, "train"), (1, "train"), (0, "val")]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Valid", "VAL"])
def test_a_validation_split_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    _picture(tmp_path / "Train" / "a0" / "1.png")
    _picture(tmp_path / name / "a0" / "2.png")
    _picture(tmp_path / "TEST" / "a0" / "3.png")
    assert [s.split for s in read_labelled(tmp_path, TAXONOMY)] == ["train", "val", "test"]


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        _picture(tmp_path / name / "a0" / "1.png")
    with pytest.raises(DataError, match="val/ and valid/ are both the val split"):
        read_labelled(tmp_path, TAXONOMY)


def test_a_class_that_is_called_as_a_split_is_a_class(tmp_path: Path) -> None:
    test = Taxonomy("t", (Category("t0", "Test", "", "x"), *TAXONOMY.categories), TAXONOMY.bins)
    _picture(tmp_path / "Test" / "1.png")
    assert [(s.index, s.split) for s in read_labelled(tmp_path, test)] == [(0, "")]


def test_flat_folders_have_no_split(tmp_path: Path) -> None:
    _picture(tmp_path / "Apple" / "1.png")
    assert [(s.index, s.split, s.source) for s in read_labelled(tmp_path, TAXONOMY)] == [
        (0, "", "")
    ]


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    _picture(tmp_path / "Apple" / "1.png")
    _picture(tmp_path / "pear" / "1.png")
    with pytest.raises(DataError, match="pear is not a class"):
        read_labelled(tmp_path, TAXONOMY)


def test_a_class_in_val_alone_is_named(tmp_path: Path) -> None:
    _picture(tmp_path / "train" / "a0" / "1.png")
    _picture(tmp_path / "val" / "b0" / "1.png")
    with pytest.raises(DataError, match=r"b0 \(Ball\) is in val and missing in train"):
        read_labelled(tmp_path, TAXONOMY)


def test_extra_by_source_or_as_one_source(tmp_path: Path) -> None:
    _picture(tmp_path / "many" / "plant" / "a0" / "1.png")
    _picture(tmp_path / "many" / "web" / "b0" / "1.png")
    assert [(s.source, s.index) for s in read_extra(tmp_path / "many", TAXONOMY)] == [
        ("plant", 0),
        ("web", 1),
    ]
    _picture(tmp_path / "one" / "b0" / "1.png")
    assert [(s.source, s.index) for s in read_extra(tmp_path / "one", TAXONOMY)] == [("one", 1)]


def test_unknown_pictures_have_no_class(tmp_path: Path) -> None:
    _picture(tmp_path / "trays" / "deep" / "1.png")
    assert [(s.source, s.index) for s in read_unknown(tmp_path)] == [("trays", -1)]


def test_pictures_beside_the_folders_are_said(tmp_path: Path) -> None:
    _picture(tmp_path / "plant" / "a0" / "1.png")
    assert note_loose(tmp_path, read_extra(tmp_path, TAXONOMY)) == ""
    _picture(tmp_path / "stray.png")
    _picture(tmp_path / "plant" / "stray.png")
    line = note_loose(tmp_path, read_extra(tmp_path, TAXONOMY))
    assert line.startswith(f"{tmp_path}: left out 2 pictures")


@pytest.mark.parametrize("reader", [lambda p: read_labelled(p, TAXONOMY), read_unknown])
def test_nothing_there_is_an_error(tmp_path: Path, reader: object) -> None:
    assert callable(reader)
    with pytest.raises(DataError, match="no such folder"):
        reader(tmp_path / "missing")
    with pytest.raises(DataError, match="no pictures"):
        reader(tmp_path)


def test_groups_need_their_columns(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    file.write_text("path,group\na/1.png,g1\n", encoding="utf-8")
    assert read_groups(file) == {"a/1.png": "g1"}
    file.write_text("picture;group\n", encoding="utf-8")
    with pytest.raises(DataError, match="path and group"):
        read_groups(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="groups"):
        read_groups(file)


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
def test_groups_saved_by_a_spreadsheet_have_a_bom(tmp_path: Path, coding: str) -> None:
    file = tmp_path / "groups.csv"
    file.write_text("path,group\na/1.png,g1\n", encoding=coding)
    assert read_groups(file) == {"a/1.png": "g1"}


def test_a_taxonomy_may_have_a_bom(tmp_path: Path) -> None:
    file = tmp_path / "kinds.toml"
    text = '[[bins]]\nkey = "x"\nname = "X"\n[[items]]\ncode = "é"\nname = "Ä"\nbin = "x"\n'
    file.write_text(text, encoding="utf-8-sig")
    assert read_taxonomy(file).categories[0].code == "é"


def test_a_class_folder_made_on_a_mac_is_found(tmp_path: Path) -> None:
    """macOS decomposes accents in names: é becomes e and a combining accent."""
    taxonomy = Taxonomy("t", (Category("café", "Coffee", "咖啡", "x"),), (BIN,))
    decomposed = unicodedata.normalize("NFD", "Café")
    assert decomposed != "Café"
    assert taxonomy.find(decomposed) is taxonomy.categories[0]
