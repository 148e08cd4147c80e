"""The table of a set of rendered items."""

from __future__ import annotations

import pytest

from export.errors import ExportError
from export.views.renderings import Rendered, read_renderings

TABLE = """\
file,label,empty,mask,seed
b/1.png,metal,empty/1.jpg,b/1_mask.png,7
a/0.png,glass,empty/0.jpg,a/0_mask.png,3
c/2.png,organic,empty/2.jpg,c/2_mask.png,9
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "items.csv").write_text(TABLE)
    return tmp_path


def test_items_come_in_the_order_of_the_table_with_their_files(folder):
    assert read_renderings(folder, ("glass", "metal", "organic"))[:2] == [
        Rendered("b/1.png", "metal", "empty/1.jpg", "b/1_mask.png"),
        Rendered("a/0.png", "glass", "empty/0.jpg", "a/0_mask.png"),
    ]


def test_items_of_other_classes_are_left_out(folder):
    found = read_renderings(folder, ("glass", "metal", "paper"))
    assert [item.label for item in found] == ["metal", "glass"]


def test_a_missing_set_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ExportError) as caught:
        read_renderings(tmp_path / "studio", ("glass",))
    words = str(caught.value)
    assert words.startswith(f"{tmp_path / 'studio' / 'items.csv'}: no such file")
    assert "make studio" in words
    assert "--set training.rendered=null" in words


def test_a_set_of_none_of_the_classes_is_refused(folder):
    with pytest.raises(ExportError, match="holds no item of the classes paper, trash"):
        read_renderings(folder, ("paper", "trash"))


def test_a_row_without_its_mask_is_named(folder):
    (folder / "items.csv").write_text(TABLE.replace("a/0_mask.png", ""))
    with pytest.raises(ExportError, match=r"items\.csv:3: needs a value in .*'mask'"):
        read_renderings(folder, ("glass", "metal"))
