"""Evaluating a run of drawn pictures with the shipped model."""

import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_runs import LABELS, MODEL, ONE, evaluation_of, make_run

from bin_daemon.model.runtime import RUNTIMES
from export.errors import ExportError
from export.evaluation.evaluate import evaluate
from export.report.page import report
from export.run import Run, training_time

pytestmark = pytest.mark.usefixtures("few_drawn_things")


def test_each_runtime_is_measured_on_the_file_itself(evaluated: Run) -> None:
    found = evaluation_of(evaluated)

    main = found["runtimes"][found["main_runtime"]]
    assert np.sum(main["confusion"]) == len(LABELS)
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


def test_robustness_is_of_every_condition(evaluated: Run) -> None:
    rows = evaluation_of(evaluated)["robustness"]

    assert {row["condition"] for row in rows} >= {"clean", "dark", "jpeg", "ground", "scale"}
    assert all(0 <= row["accuracy"] <= 1 and row["pictures"] <= 6 for row in rows)


def test_a_runtime_that_cannot_be_had_is_reported_and_stops_nothing(
    tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = RUNTIMES
    pytest.importorskip(RUNTIMES[second])
    monkeypatch.setitem(sys.modules, RUNTIMES[first], None)
    run = make_run(tmp_path / "run", [ONE])

    found = evaluate(run, drawn, [])

    assert found["main_runtime"] == second
    assert f"pip install {first}" in found["runtimes"][first]["refused"]
    assert f"pip install {first}" in report(run, drawn).read_text()


def test_a_model_that_no_runtime_takes_cannot_be_evaluated(tmp_path: Path, drawn: Path) -> None:
    run = make_run(tmp_path / "run", [ONE])
    run.write_bytes("model.tflite", b"no model at all")

    with pytest.raises(ExportError, match="no runtime takes the model"):
        evaluate(run, drawn, [])


def test_float_logits_of_another_split_are_refused(tmp_path: Path, drawn: Path) -> None:
    run = make_run(tmp_path / "run", [ONE])
    np.savez(run.path("float.npz"), logits=np.zeros((7, 6)))

    with pytest.raises(ExportError, match="is of 7 pictures, the split holds 1 out"):
        evaluate(run, drawn, [])
