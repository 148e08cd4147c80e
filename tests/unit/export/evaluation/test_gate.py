"""The gate: which figures pass, and what it says of those that do not."""

import copy
from pathlib import Path

import pytest

from export.errors import ExportError
from export.evaluation import gate
from export.packaging.package import package
from export.run import Run

REPORT = {
    "model_sha256": "0" * 64,
    "model_bytes": 2_700_000,
    "held_out": {
        "data": "drawn, fold 0 (10 pictures in 9 groups)",
        "int8": {
            "accuracy": 0.90,
            "macro_f1": 0.88,
            "per_class": {
                "metal": {"pictures": 6, "recall": 0.95},
                "trash": {"pictures": 4, "recall": 0.60},
                "glass": {"pictures": 0, "recall": 0.0},
            },
        },
        "float": {"accuracy": 0.905},
        "calibration": {"ece": 0.031, "accepted_precision": 0.99, "accepted_share": 0.7},
    },
    "pooled": None,
    "chambers": {
        "chamber_a": {"steps": {"whole": {"accuracy": 0.3}, "cropped": {"accuracy": 0.6}}}
    },
    "unknown": {},
}


def judged(**limits: object) -> dict:
    return gate.verdict(REPORT, gate.demands({"recipe": "drawn", "gate": limits}))


def test_a_model_that_meets_every_demand_passes() -> None:
    verdict = judged(
        accuracy=0.9,
        macro_f1=0.85,
        recall={"metal": 0.9, "trash": 0.6},
        accepted_precision=0.985,
        accepted_share=0.6,
        ece=0.05,
        int8_loss=0.005,
        chambers={"chamber_a": 0.6},
        kilobytes=4000,
    )

    assert verdict["passed"]
    assert len(verdict["checks"]) == 10
    gate.refuse_what_misses(verdict)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"accuracy": 0.95}, "accuracy 0.9, at least 0.95 wanted: misses it by 0.05"),
        (
            {"recall": {"trash": 0.65}},
            "recall of trash 0.6, at least 0.65 wanted: misses it by 0.05",
        ),
        (
            {"ece": 0.02},
            "expected calibration error 0.031, at most 0.02 wanted: misses it by 0.011",
        ),
        ({"int8_loss": 0.001}, "accuracy lost by int8 0.005, at most 0.001 wanted"),
        (
            {"kilobytes": 2000},
            "size of the model in kB 2700, at most 2000 wanted: misses it by 700",
        ),
        (
            {"chambers": {"chamber_b": 0.5}},
            "accuracy in chamber_b: not measured, at least 0.5 wanted",
        ),
        ({"recall": {"glass": 0.5}}, "recall of glass: not measured, at least 0.5 wanted"),
        ({"unknown_accepted": 0.15}, "things never shown: not measured, at most 0.15 wanted"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_misses_is_refused_with_figure_and_shortfall(limits: dict, words: str) -> None:
    verdict = judged(**limits)

    assert not verdict["passed"]
    with pytest.raises(ExportError, match="the gate refuses this model") as refused:
        gate.refuse_what_misses(verdict)
    assert words in str(refused.value)


@pytest.mark.parametrize("ece", [0.05001, float("nan")])
def test_a_hair_is_a_miss_and_so_is_what_is_no_number(ece: float) -> None:
    report = copy.deepcopy(REPORT)
    report["held_out"]["calibration"]["ece"] = ece

    assert not gate.verdict(report, gate.Demands({"ece": 0.05}, ()))["passed"]


def test_only_what_misses_is_named_in_a_refusal() -> None:
    with pytest.raises(ExportError) as refused:
        gate.refuse_what_misses(judged(accuracy=0.95, ece=0.05))

    assert "calibration" not in str(refused.value)


def test_a_recipe_that_asks_for_nothing_lets_everything_pass() -> None:
    assert judged() == {
        "passed": True,
        "judged_on": "drawn, fold 0 (10 pictures in 9 groups)",
        "checks": [],
    }


def test_pooled_figures_are_judged_where_there_are_some() -> None:
    report = copy.deepcopy(REPORT)
    report["pooled"] = copy.deepcopy(REPORT["held_out"])
    report["pooled"]["int8"]["accuracy"] = 0.7

    assert not gate.verdict(report, gate.Demands({"accuracy": 0.9}, ()))["passed"]
    assert gate.quoted(report) is report["pooled"]


def test_a_demand_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ExportError, match="no such demand: beauty"):
        gate.demands({"recipe": "drawn", "gate": {"beauty": 1}})


def test_thresholds_aim_where_the_gate_stands() -> None:
    assert gate.demands({"recipe": "x", "gate": {}}).target_precision == gate.TARGET_PRECISION
    assert (
        gate.demands({"recipe": "x", "gate": {"accepted_precision": 0.9}}).target_precision == 0.9
    )


def test_every_demand_of_a_recipe_is_known_to_the_gate() -> None:
    import dataclasses

    from export.recipes.schema import Gate

    known = {*gate.AT_LEAST, *gate.AT_MOST}

    assert {field.name for field in dataclasses.fields(Gate)} == known


def test_nothing_is_packaged_that_the_gate_refuses(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create()
    content = b"a model"
    run.write_bytes("model.tflite", content)
    run.write_json("config.json", {"recipe": "drawn", "gate": {"accuracy": 0.95}})
    import hashlib

    run.write_json(
        "evaluation.json", {**REPORT, "model_sha256": hashlib.sha256(content).hexdigest()}
    )

    with pytest.raises(ExportError, match="misses it by 0.05"):
        package(run, tmp_path / "package", 1)
    assert not (tmp_path / "package").exists()
