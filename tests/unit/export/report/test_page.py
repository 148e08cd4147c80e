"""Evaluating, pooling and reporting runs of drawn pictures with the shipped model."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from export.__main__ import main
from export.data.pictures import Picture, write_split
from export.errors import ExportError
from export.evaluation import evaluate as evaluation
from export.evaluation.evaluate import evaluate
from export.evaluation.pooling import pool
from export.packaging.card import card
from export.packaging.package import package
from export.report.page import report
from export.report.plots import confusion_plot, themed
from export.run import Run, training_time
from export.views import unknown

MODEL = Path(__file__).resolve().parents[4] / "models" / "waste6" / "model.tflite"
LABELS = ["cardboard", "glass", "metal", "paper", "plastic", "trash"]
EACH = 1


def draw(folder: Path) -> list[Picture]:
    """Pictures of each class: a coloured box on a board."""
    rng = np.random.default_rng(0)
    pictures = []
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for i in range(EACH):
            canvas = np.full((80, 96, 3), 228, np.uint8)
            colour = tuple(int(level) for level in rng.integers(0, 200, 3))
            cv2.rectangle(canvas, (30, 20), (66, 60), colour, -1)
            file = f"{label}/{i}.png"
            cv2.imwrite(str(folder / file), canvas)
            pictures.append(Picture(file, label, file, 0))
    return pictures


def make_run(folder: Path, held_out: list[Picture], fold: int | None = None, **more: object) -> Run:
    """A quantised run with the shipped model that holds these pictures out."""
    run = Run(folder)
    run.create()
    config = {
        "recipe": "drawn",
        "kind": "imported",
        "labels": LABELS,
        "size": 224,
        "settings": {},
        "data": "drawn",
        "fold": fold,
        "residual_labels": ["trash"],
        "gate": {"accuracy": 0.999, "kilobytes": 4000},
    }
    run.write_json("config.json", {**config, **more})
    shown = [Picture("metal/0.png", "metal", "shown", 0)]
    write_split(run, {"train": shown, "held_out": held_out})
    run.write_bytes("model.tflite", MODEL.read_bytes())
    return run


@pytest.fixture(scope="module", autouse=True)
def few_drawn_things() -> Iterator[None]:
    """Two unknown things of each kind: this is not about how many are accepted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unknown, "DRAWN", 2)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drawn"
    draw(folder)
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Run:
    pictures = [
        Picture(f"{label}/{i}.png", label, f"{label}{i}", 0)
        for label in LABELS
        for i in range(EACH)
    ]
    run = make_run(tmp_path_factory.mktemp("runs") / "drawn", pictures, version=4)
    run.write_bytes("curves.csv", b"epoch,loss,seconds\n1,1.5,90\n2,0.9,114\n")
    run.write_json("versions.json", {"machine": "aarch64, 4 cores, Linux"})
    evaluate(run, data, ["evaluate", "--run", "drawn"])
    return run


def evaluation_of(run: Run) -> dict:
    return json.loads(run.path("evaluation.json").read_text())


def test_each_runtime_is_measured_on_the_file_itself(evaluated: Run) -> None:
    found = evaluation_of(evaluated)

    main = found["runtimes"][found["main_runtime"]]
    assert np.sum(main["confusion"]) == len(LABELS) * EACH
    assert main["invoke_ms"]["p95"] >= main["invoke_ms"]["median"] > 0
    assert found["model_bytes"] == MODEL.stat().st_size
    assert found["held_out"]["float"] is None
    assert found["held_out"]["calibration"]["residual_labels"] == ["trash"]


def test_the_verdict_of_the_gate_stands_in_the_evaluation(evaluated: Run) -> None:
    checks = {check["figure"]: check for check in evaluation_of(evaluated)["gate"]["checks"]}

    assert not evaluation_of(evaluated)["gate"]["passed"]
    assert checks["size of the model in kB"]["passed"]
    assert checks["accuracy"]["missed_by"] > 0


def test_a_training_took_as_long_as_its_epochs(evaluated: Run) -> None:
    found = evaluation_of(evaluated)

    assert found["minutes"] == 3.4
    assert found["trained_on"] == "aarch64, 4 cores, Linux"


@pytest.mark.parametrize("curves", [None, b"", b"epoch,loss\n1,1.5\n", b"epoch,seconds\n1,\n"])
def test_a_run_that_does_not_say_how_long_it_took_has_no_time(
    tmp_path: Path, curves: bytes | None
) -> None:
    run = Run(tmp_path)
    run.write_json("versions.json", {"machine": "aarch64, 4 cores, Linux"})
    if curves is not None:
        run.write_bytes("curves.csv", curves)

    assert training_time(run) == {}


def test_time_counts_where_the_machine_or_some_epochs_are_not_known(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_bytes("curves.csv", b"epoch,loss,seconds\n1,1.5,\n2,0.9,120\n")

    assert training_time(run) == {"minutes": 2.0}


@pytest.fixture
def good(evaluated: Run, tmp_path: Path) -> Run:
    """The evaluated run, of a recipe that demands nothing."""
    run = Run(Path(shutil.copytree(evaluated.folder, tmp_path / "good")))
    config = run.read_json("config.json", "train")
    run.write_json("config.json", {**config, "gate": {}, "provenance": {}, "licences": {}})
    return run


@pytest.mark.parametrize(("asked", "version"), [(None, 4), (7, 7)])
def test_the_recipe_names_the_version_unless_another_is_asked_for(
    good: Run, tmp_path: Path, asked: int | None, version: int
) -> None:
    made = package(good, tmp_path / "drawn", asked)

    assert made.version == version
    assert f"# drawn, version {version}\n" in (tmp_path / "drawn" / "card.md").read_text()


def test_a_package_names_those_runtimes_alone_that_take_it(good: Run, tmp_path: Path) -> None:
    told = evaluation_of(good)
    main = told["main_runtime"]
    for name in told["runtimes"].keys() - {main}:
        told["runtimes"][name] = {"refused": "op FANCY has version 9"}
    good.write_json("evaluation.json", told)

    assert package(good, tmp_path / "drawn").minimum_runtime == {main: told["versions"][main]}


def test_a_package_takes_the_place_of_the_one_before(good: Run, tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    made = package(good, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["confusion.png"] = manifest["files"]["card.md"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "confusion.png").touch()
    (folder / "notes.txt").touch()

    package(good, folder)

    assert {path.name for path in folder.iterdir()} == {*made.files, "manifest.json", "notes.txt"}


def test_what_the_gate_refuses_is_packaged_on_a_persons_word_which_the_card_repeats(
    good: Run, tmp_path: Path
) -> None:
    config = good.read_json("config.json", "train")
    good.write_json("config.json", {**config, "gate": {"accuracy": 1.1}})

    with pytest.raises(ExportError, match="misses it by"):
        package(good, tmp_path / "drawn")
    made = package(good, tmp_path / "drawn", despite="Better than nothing.")

    assert made.metrics["gate"]["despite"] == "Better than nothing."
    words = (tmp_path / "drawn/card.md").read_text(encoding="utf-8")
    assert "**Gate**: missed. Packaged all the same: Better than nothing." in words
    assert "at least 1.1 wanted: misses it by" in words


def test_the_card_says_how_long_the_training_took_and_where(good: Run) -> None:
    config, told = good.read_json("config.json", "train"), evaluation_of(good)

    assert "- The epochs of this file took 3 minutes on aarch64, 4 cores, Linux." in card(
        "drawn", 1, told, config, 1000, teachable=True
    )
    del told["trained_on"]
    assert "- The epochs of this file took 3 minutes.\n" in card(
        "drawn", 1, told, config, 1000, teachable=True
    )
    del told["minutes"]
    assert "The epochs" not in card("drawn", 1, told, config, 1000, teachable=True)


def test_robustness_is_of_every_condition(evaluated: Run) -> None:
    rows = evaluation_of(evaluated)["robustness"]

    assert {row["condition"] for row in rows} >= {"clean", "dark", "jpeg", "ground", "scale"}
    assert all(0 <= row["accuracy"] <= 1 and row["pictures"] <= 6 for row in rows)


def test_a_runtime_that_refuses_the_model_is_reported_and_stops_nothing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = evaluation.RUNTIMES
    real = evaluation.Model

    def picky(content: bytes, runtime: str) -> object:
        if runtime == first:
            raise ExportError(f"{runtime} refuses the model: op FANCY has version 9")
        return real(content, runtime)

    monkeypatch.setattr(evaluation, "Model", picky)
    run = make_run(tmp_path / "run", [Picture("glass/0.png", "glass", "a", 0)])
    if not evaluation._open(MODEL.read_bytes())[0]:
        pytest.skip("only one runtime is installed")

    found = evaluate(run, data, [])
    page = report(run, data).read_text()

    assert found["main_runtime"] in others
    assert found["runtimes"][first] == {
        "refused": f"{first} refuses the model: op FANCY has version 9"
    }
    assert "op FANCY has version 9" in page


def test_a_model_that_no_runtime_takes_cannot_be_evaluated(tmp_path: Path, data: Path) -> None:
    run = make_run(tmp_path / "run", [Picture("glass/0.png", "glass", "a", 0)])
    run.write_bytes("model.tflite", b"no model at all")

    with pytest.raises(ExportError, match="no runtime takes the model"):
        evaluate(run, data, [])


def test_float_logits_of_another_split_are_refused(tmp_path: Path, data: Path) -> None:
    run = make_run(tmp_path / "run", [Picture("glass/0.png", "glass", "a", 0)])
    np.savez(run.path("float.npz"), logits=np.zeros((7, 6)))

    with pytest.raises(ExportError, match="is of 7 pictures, the split holds 1 out"):
        evaluate(run, data, [])


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


def test_a_report_needs_nothing_but_itself(evaluated: Run, data: Path) -> None:
    page = report(evaluated, data).read_text()
    links = Links()
    links.feed(page)

    assert links.loaded
    assert all(target.startswith("data:image/jpeg;base64,") for target in links.loaded)
    assert not {"script", "link", "iframe"} & set(links.tags)
    assert not re.search(r"url\((?!#)|@import", page)
    assert {anchor.lstrip("#") for anchor in links.anchors} <= set(links.ids)
    assert str(data) not in page


def test_a_report_shows_verdict_figures_and_examples(evaluated: Run, data: Path) -> None:
    page = report(evaluated, data).read_text()
    found = evaluation_of(evaluated)

    assert "Not to be packaged: 1 of 2 demands missed." in page
    assert f"{found['held_out']['int8']['macro_f1']:.3f}" in page
    assert page.count("<svg") == 5
    assert page.count("<figcaption>") == len(LABELS) * EACH
    assert "never accepted" in page
    assert "Out of distribution" in page


def test_names_from_outside_are_escaped_in_a_report(tmp_path: Path, data: Path) -> None:
    run = make_run(
        tmp_path / "run",
        [Picture("glass/0.png", "glass", "a", 0), Picture("metal/0.png", "metal", "b", 0)],
        recipe="<script>x</script>",
    )
    evaluate(run, data, ["<b>"])

    page = report(run, data).read_text()

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>&" not in page.replace("<b>&lt;b&gt;", "<b>&")


def test_training_curves_and_data_report_are_shown_where_there_are_some(
    tmp_path: Path, data: Path
) -> None:
    run = make_run(tmp_path / "run", [Picture("glass/0.png", "glass", "a", 0)])
    evaluate(run, data, [])
    bare = report(run, data).read_text()
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

    page = report(run, data).read_text()

    assert page.count("<svg") == bare.count("<svg") + 2
    assert "validation loss" in page
    assert "glass has 1 picture" in page


def test_figures_of_another_model_are_not_shown(evaluated: Run, data: Path, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    shutil.copytree(evaluated.folder, other.folder)
    other.write_bytes("model.tflite", b"quantised anew")
    with pytest.raises(ExportError, match="evaluate this one first"):
        report(other, data)


def test_examples_are_left_out_where_the_pictures_are_gone(evaluated: Run, tmp_path: Path) -> None:
    assert "<img" not in report(evaluated, tmp_path).read_text()


def predicted(folder: Path, fold: int, **more: object) -> Run:
    """An evaluated run of one fold: 200 pictures, of which three are wrong, all as sure."""
    held_out = [Picture(f"metal/{fold}-{i}.png", "metal", f"{fold}-{i}", 0) for i in range(200)]
    run = make_run(folder, held_out, fold, **more)
    truth = np.arange(200) % 6
    logits = np.eye(6)[truth] * 6.0
    truth[:3] = (truth[:3] + 1 + fold) % 6
    np.savez(
        run.path("predictions.npz"),
        files=np.array([picture.file for picture in held_out]),
        logits=logits,
        float_logits=logits,
        truth=truth,
        groups=np.array([picture.group for picture in held_out]),
    )
    content = run.need("model.tflite", "quantize").read_bytes()
    found = {"robustness": [], "runtimes": {}, "model_bytes": 1}
    found["model_sha256"] = hashlib.sha256(content).hexdigest()
    run.write_json("evaluation.json", found)
    return run


def without_own_figures(run: Run) -> Run:
    found = evaluation_of(run)
    run.write_json("evaluation.json", {**found, "held_out": None})
    return run


def test_pooled_figures_count_every_held_out_picture_once(tmp_path: Path) -> None:
    runs = [without_own_figures(predicted(tmp_path / str(fold), fold)) for fold in range(3)]

    found = pool(runs[0], runs[1:], ["evaluate"])

    assert found["pictures"] == 600
    assert found["folds"] == [0, 1, 2]
    assert found["int8"]["accuracy"] == pytest.approx(0.985)
    assert found["calibration"]["ece"] < 0.02
    assert evaluation_of(runs[0])["pooled"]["pictures"] == 600


def test_a_model_of_all_pictures_takes_thresholds_and_figures_from_its_folds(
    tmp_path: Path, data: Path
) -> None:
    folds = [without_own_figures(predicted(tmp_path / str(fold), fold)) for fold in range(2)]
    whole = make_run(tmp_path / "whole", [])

    pool(whole, folds, ["evaluate"])
    found = evaluate(whole, data, [])
    page = report(whole, data).read_text()

    assert found["held_out"] is None
    assert found["agreement"]["on"] == "training pictures"
    assert found["pooled"]["folds"] == [0, 1]
    assert set(found["pooled"]["calibration"]["thresholds"]) == set(LABELS)
    assert "2 of 5 folds pooled" in page


def test_what_was_judged_with_other_thresholds_is_no_longer_told(
    tmp_path: Path, data: Path
) -> None:
    folds = [without_own_figures(predicted(tmp_path / str(fold), fold)) for fold in range(3)]
    whole = make_run(tmp_path / "whole", [])
    pool(whole, folds[:2], ["evaluate"])
    assert evaluate(whole, data, [])["unknown"]

    pool(whole, folds[:2], ["evaluate"])
    assert evaluation_of(whole)["unknown"]
    pool(whole, folds, ["evaluate"])
    assert not evaluation_of(whole)["unknown"]


def test_a_run_without_any_figures_says_how_to_get_some(tmp_path: Path, data: Path) -> None:
    whole = make_run(tmp_path / "whole", [])
    evaluate(whole, data, [])

    with pytest.raises(ExportError, match="train its folds"):
        report(whole, data)


def test_runs_that_do_not_belong_together_are_not_pooled(tmp_path: Path) -> None:
    first = predicted(tmp_path / "a", 0)

    with pytest.raises(ExportError, match="each once is needed"):
        pool(first, [predicted(tmp_path / "b", 0)], [])
    with pytest.raises(ExportError, match="different recipes .settings differs"):
        pool(first, [predicted(tmp_path / "c", 1, settings={"seed": 2})], [])
    with pytest.raises(ExportError, match="different recipes .labels differs"):
        pool(first, [predicted(tmp_path / "d", 1, labels=["can", "cup"])], [])
    with pytest.raises(ExportError, match="different recipes .data differs"):
        pool(first, [predicted(tmp_path / "e", 1, data="another/set")], [])
    other = predicted(tmp_path / "f", 1)
    other.write_bytes("model.tflite", b"quantised anew")
    with pytest.raises(ExportError, match=r"of another model\.tflite; evaluate this one first"):
        pool(first, [other], [])


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
