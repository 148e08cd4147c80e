"""A page for people about an evaluated run: one HTML file that needs nothing else.

Reads what the steps left in the run folder, and the pictures for examples; writes `report.html`
there. It computes no figure of its own, and since it shows pictures it is never shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.data.csv_tables import read_table
from export.evaluation import gate
from export.evaluation.chambers import STEPS
from export.evaluation.evaluate import read_evaluation
from export.report import plots
from export.report.examples import choose
from export.report.template import fill
from export.run import CURVES, Run, relative

REPORT = "report.html"
TEMPLATE = Path(__file__).with_name("page.html.j2")


def report(run: Run, data: Path) -> Path:
    """Write the report of an evaluated run; returns its path.

    Examples are left out where their pictures are not in `data`. Raises ExportError where the run
    has not been evaluated, or has no figures yet.
    """
    found, config = read_evaluation(run), run.read_json("config.json", "train")
    figures = gate.quoted(found)
    page = fill(
        TEMPLATE,
        title=f"{run.folder.name} ({config['recipe']})",
        found=found,
        config=config,
        figures=figures,
        charts=[plots.themed(chart) for chart in _charts(figures, found["labels"])],
        training=[plots.themed(chart) for chart in _training(run)],
        checked=run.read_json("data.json", "train") if run.path("data.json").is_file() else None,
        examples=choose(run, found, data),
        steps=STEPS,
        versions=", ".join(f"{name} {version}" for name, version in found["versions"].items()),
    )
    run.write_bytes(REPORT, page.encode("utf-8"))
    run.log(f"report: {relative(run.path(REPORT))}, {len(page) // 1000} kB")
    return run.path(REPORT)


def _charts(figures: Mapping[str, Any], labels: Sequence[str]) -> Iterator[str]:
    calibration, curves = figures["calibration"], figures["roc"]["per_class"]
    table = np.array(figures["int8"]["confusion"])
    yield plots.confusion_plot(table, labels, "Confusion (rows: truth), pictures")
    yield plots.coverage_plot(
        calibration["coverage_precision"],
        (calibration["accepted_share"], calibration["accepted_precision"] or 0.0),
        calibration["target_precision"],
        "Coverage and precision",
    )
    yield plots.reliability_plot(calibration["reliability"], "Reliability (area: pictures)")
    shown = [label for label in labels if label in curves]
    areas = {label: (curves[label]["auc"], curves[label]["points"]) for label in shown}
    yield plots.roc_plot(areas, "ROC, one class against the rest (area)")


def _training(run: Run) -> Iterator[str]:
    """Curves of every column of curves.csv: losses in one chart, shares in another."""
    if not run.path(CURVES).is_file():
        return
    rows = [row for _, row in read_table(run.path(CURVES), ("epoch",))]
    for name in ("loss", "accuracy"):
        columns = [column for column in (rows[0] if rows else {}) if column and name in column]
        curves = {
            column.replace("_", " "): points
            for column in columns
            if (points := [(float(r["epoch"]), float(r[column])) for r in rows if r[column]])
        }
        if curves:
            yield plots.training_plot(curves, name, f"Training: {name}")
