"""The report of a run: what stands in it, what it loads, and its charts."""

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from drawn_runs import LABELS, ONE, evaluation_of, make_run

from export.__main__ import main
from export.data.pictures import Picture
from export.errors import ExportError
from export.evaluation.evaluate import evaluate
from export.report.page import report
from export.report.plots import confusion_plot, themed
from export.run import Run

pytestmark = pytest.mark.usefixtures("few_drawn_things")


class Links(HTMLParser):
    """What a page would load, and the ids it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.anchors: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "data") and value:
                (self.anchors if value.startswith("#") else self.loaded).append(value)
            if name == "id" and value:
                self.ids.append(value)


def test_a_report_needs_nothing_but_itself(evaluated: Run, drawn: Path) -> None:
    page = report(evaluated, drawn).read_text()
    links = Links()
    links.feed(page)

    assert links.loaded
    assert all(target.startswith("data:image/jpeg;base64,") for target in links.loaded)
    assert not {"script", "link", "iframe"} & set(links.tags)
    assert not re.search(r"url\((?!#)|@import", page)
    assert {anchor.lstrip("#") for anchor in links.anchors} <= set(links.ids)
    assert str(drawn) not in page


def test_a_report_shows_verdict_figures_and_examples(evaluated: Run, drawn: Path) -> None:
    page = report(evaluated, drawn).read_text()
    found = evaluation_of(evaluated)

    assert 'class="verdict missed"' in page
    assert f"{found['held_out']['int8']['macro_f1']:.3f}" in page
    assert page.count("<svg") == 5
    assert page.count("<figcaption>") == len(LABELS)
    assert "never accepted" in page
    assert 'id="chambers"' in page


def test_names_from_outside_are_escaped_in_a_report(tmp_path: Path, drawn: Path) -> None:
    run = make_run(
        tmp_path / "run",
        [Picture("glass/0.png", "glass", "a", 0), Picture("metal/0.png", "metal", "b", 0)],
        recipe="<script>x</script>",
    )
    evaluate(run, drawn, ["<b>"])

    page = report(run, drawn).read_text()

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>&" not in page.replace("<b>&lt;b&gt;", "<b>&")


def test_training_curves_and_data_report_are_shown_where_there_are_some(
    tmp_path: Path, drawn: Path
) -> None:
    run = make_run(tmp_path / "run", [ONE])
    evaluate(run, drawn, [])
    bare = report(run, drawn).read_text()
    run.write_bytes(
        "curves.csv", b"epoch,loss,accuracy,validation_loss\n1,1.5,0.4,1.6\n2,0.9,0.7,\n"
    )
    run.write_json(
        "data.json",
        {
            "pictures": {"glass": 1},
            "groups": {"glass": 1},
            "grouped_by": "perceptual hash",
            "findings": [{"severity": "warning", "kind": "few", "message": "glass has 1 picture"}],
        },
    )

    page = report(run, drawn).read_text()

    assert page.count("<svg") == bare.count("<svg") + 2
    assert "validation loss" in page
    assert "glass has 1 picture" in page


def test_figures_of_another_model_are_not_shown(
    evaluated: Run, drawn: Path, tmp_path: Path
) -> None:
    other = Run(tmp_path / "other")
    shutil.copytree(evaluated.folder, other.folder)
    other.write_bytes("model.tflite", b"quantised anew")
    with pytest.raises(ExportError, match="evaluate this one first"):
        report(other, drawn)


def test_examples_are_left_out_where_the_pictures_are_gone(evaluated: Run, tmp_path: Path) -> None:
    assert "<img" not in report(evaluated, tmp_path).read_text()


def test_a_chart_is_well_formed_the_same_every_time_and_says_names_as_they_are() -> None:
    labels = ["a<b", "$c$ & _d"]

    chart = confusion_plot(np.array([[3, 1], [0, 4]]), labels, "counts")

    root = ET.fromstring(chart)
    assert root.tag.endswith("svg")
    texts = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert texts == {*labels, "counts", "found", "truth", "3", "1", "4"}
    assert chart == confusion_plot(np.array([[3, 1], [0, 4]]), labels, "counts")


def test_a_page_may_give_its_charts_other_colours() -> None:
    chart = confusion_plot(np.array([[3, 1], [0, 4]]), ["can", "leaf"], "counts")

    assert not re.search(r"#[0-9a-f]{6}(?!\))", themed(chart))


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_a_report_says_which_library_it_misses(
    evaluated: Run, library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == library or name.startswith("export.report"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)

    assert main(["report", "--run", str(evaluated.folder)]) == 2

    assert "pip install 'bin-daemon[export]'" in capsys.readouterr().err
