"""A package gone on with: from what a bin exports to a model of other classes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from workshop_python import REPOSITORY, run_workshop

from bin_daemon.model.classifier import Classifier
from bin_daemon.model.package import open_package
from export.__main__ import main
from export.data.pictures import read_split
from export.evaluation.runtimes import TfliteFile
from export.networks.mobilenet import HEAD
from export.networks.package_weights import TOLERANCE_STEPS, Shipped, dequantised
from export.run import Run
from export.views.shapes import render

WASTE6 = REPOSITORY / "models" / "waste6"
OF_EACH = 12
LABELS = ("glass", "hat")  # one that the package knows, and one that it does not

# In one process, since TensorFlow is slow to start; what runs on both runtimes is not in it.
WORKSHOP = """
import json, sys
from pathlib import Path
import numpy as np
from bin_daemon.model.package import open_package
from export.__main__ import main
from export.networks.package_weights import dequantised, steps_apart

if __name__ == "__main__":
    folder, package = Path(sys.argv[1]), open_package(Path("models/waste6"))
    weights = dequantised(package)
    apart = {"all": steps_apart(package, weights)}
    for layer in "block_2_project", "block_8_expand", "Conv_1":
        wrong = {**weights, f"{layer}/kernel": np.roll(weights[f"{layer}/kernel"], 1, axis=-1)}
        apart[layer] = steps_apart(package, wrong)
    (folder / "apart.json").write_text(json.dumps(apart))
    run = ["--run", str(folder / "run")]
    small = ["training.large_epochs=1", "training.board_epochs=1"]
    small += ["training.board_weak_light_shares=[0, 0.5]"]
    small += ["training.clean_views=1", "training.batch=8"]
    changes = [flag for change in small for flag in ("--set", change)]
    code = main(["train", "--finetune-from", str(folder / "exported"), *run, *changes])
    sys.exit(code or main(["quantize", *run]))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn crops as `samples export` lays them out: pairs of one thing, some without a label."""
    folder = tmp_path_factory.mktemp("finetune") / "exported"
    render(folder, (*LABELS, "unlabelled"), OF_EACH)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    groups = [("file", "group"), *((file, f"pair {i // 2}") for i, file in enumerate(files))]
    sessions = [("file", "session", "cropped"), *((file, "s1", "yes") for file in files)]
    for table, rows in (("groups.csv", groups), ("sessions.csv", sessions)):
        with (folder / table).open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def run(exported: Path) -> Run:
    """The export, gone on with for an epoch and a board epoch, quantised and evaluated."""
    folder = exported.parent
    (folder / "workshop.py").write_text(WORKSHOP)
    run_workshop([str(folder / "workshop.py"), str(folder)])
    assert main(["evaluate", "--run", str(folder / "run")]) == 0
    return Run(folder / "run")


def test_the_float_weights_say_what_the_int8_file_says_and_no_layer_may_be_wrong(run: Run) -> None:
    apart = json.loads((run.folder.parent / "apart.json").read_text())

    right = apart.pop("all")
    assert right < 6
    assert all(wrong > TOLERANCE_STEPS for wrong in apart.values())


def test_only_what_has_a_label_is_learnt_and_pairs_stay_together(run: Run) -> None:
    parts = read_split(run)

    pictures = [picture for part in parts.values() for picture in part]
    assert {picture.label for picture in pictures} == set(LABELS)
    assert len(pictures) == len(LABELS) * OF_EACH
    held_out = {picture.group for picture in parts["held_out"]}
    assert len(parts["held_out"]) == 2 * len(held_out) > 0
    assert held_out.isdisjoint(picture.group for picture in parts["train"])


def test_the_run_says_where_it_started_and_which_classes_come_and_go(run: Run) -> None:
    package = open_package(WASTE6)
    config = json.loads(run.path("config.json").read_text())
    log = run.path("log.txt").read_text()

    assert config["labels"] == list(LABELS)
    assert config["provenance"]["start"].startswith(package.id)
    assert package.manifest.files["model.tflite"].sha256 in config["settings"]["start"]
    assert set(package.manifest.licences.values()) <= set(config["licences"].values())
    assert "new classes: hat;" in log
    assert "will not know them: cardboard, metal, paper, plastic, trash" in log


def test_all_layers_learn_and_stay_near_the_package(run: Run) -> None:
    begun = dequantised(open_package(WASTE6))
    with np.load(run.path("weights.npz")) as trained:
        for layer in ("Conv1", "block_8_project", "Conv_1"):
            change = np.abs(trained[f"{layer}/kernel"] - begun[f"{layer}/kernel"]).max()
            assert 0 < change < 0.1 * np.abs(begun[f"{layer}/kernel"]).max()


def test_the_fine_tuning_phases_follow_the_other_epochs_and_are_kept_like_them(run: Run) -> None:
    with run.path("curves.csv").open(newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2", "3"]
    assert sorted(path.name for path in run.path("checkpoint").iterdir()) == ["0", "1", "2"]


def test_a_new_class_is_told_from_a_known_one_after_two_epochs(run: Run) -> None:
    with np.load(run.path("float.npz")) as found:
        assert np.mean(found["logits"].argmax(axis=1) == found["truth"]) >= 0.75


def test_the_model_is_measured_like_any_other_and_held_against_the_gate(run: Run) -> None:
    found = json.loads(run.path("evaluation.json").read_text())

    assert found["held_out"]["int8"]["confusion"]
    assert not any("refused" in one for one in found["runtimes"].values())
    assert {check["figure"] for check in found["gate"]["checks"]} == {
        "accuracy", "macro-F1", "accuracy lost by int8",
    }  # fmt: skip
    outputs = TfliteFile(run.path("model.tflite").read_bytes(), "tflite-runtime").run(
        np.zeros((1, 224, 224, 3), np.uint8)
    )
    assert outputs.logits.shape == (1, len(LABELS))


def test_a_known_class_keeps_its_row_and_a_new_one_starts_at_zero() -> None:
    package = open_package(WASTE6)
    shipped = Shipped(package, dequantised(package))

    head = shipped.for_labels(("paper", "hat", "glass"))

    kernel, bias = Classifier(package).shipped_head()
    paper, glass = (package.labels.index(label) for label in ("paper", "glass"))
    kept = head[f"{HEAD}/kernel"]
    assert kept[:, 0] - kept[:, 2] == pytest.approx(kernel[:, paper] - kernel[:, glass], abs=1e-5)
    assert np.diff(head[f"{HEAD}/bias"])[-1] == pytest.approx(bias[glass] - bias.mean(), abs=1e-5)
    assert not kept[:, 1].any()
    assert head[f"{HEAD}/bias"][1] == 0


def test_whole_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render(tmp_path / "pictures", LABELS, 5)

    assert main(["train", "--finetune-from", str(tmp_path / "pictures")]) == 2

    message = capsys.readouterr().err
    assert "glass/000.png is no crop of a bin (10 such pictures)" in message
    assert "samples export" in message


def test_a_recipe_of_another_kind_is_refused(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--finetune-from", str(exported), "--recipe", "smartbin7"]) == 2

    assert "recipe smartbin7: trains a network of kind 'keras'" in capsys.readouterr().err
