"""A page for people about an evaluated run: one HTML file that needs nothing else.

Reads what the steps left in the run folder, and the pictures for examples; writes `report.html`
there. It computes no figure of its own, and since it shows pictures it is never shipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from export.data.csv_tables import read_table
from export.evaluation import gate
from export.evaluation.evaluate import read_evaluation
from export.report.examples import Example, choose
from export.report.plots import (
    STYLE,
    confusion_plot,
    coverage_plot,
    reliability_plot,
    roc_plot,
    training_plot,
)
from export.report.tables import (
    Cell,
    chambers,
    classes,
    making,
    number,
    robustness,
    runtimes,
    share,
    span,
    table,
    unknown,
)
from export.run import Run, relative

REPORT = "report.html"
SHEET = Path(__file__).resolve().parent / "style.css"
SECTIONS = (
    ("gate", "Gate"),
    ("figures", "Figures"),
    ("plots", "Plots"),
    ("robustness", "Robustness"),
    ("chambers", "Chambers"),
    ("training", "Training"),
    ("data", "Data"),
    ("examples", "Examples"),
    ("making", "How it was made"),
)


def report(run: Run, data: Path) -> Path:
    """Write the report of a run.

    Args:
        run: a run that has been evaluated.
        data: the folder of its pictures; examples are left out where they are not there.

    Returns:
        The path of the page.

    Raises:
        ExportError: the run has not been evaluated, or has no figures yet.
    """
    found = read_evaluation(run)
    config = run.read_json("config.json", "train")
    figures = gate.quoted(found)
    parts = {
        "gate": _verdict(found["gate"]),
        "figures": _tiles(found, figures)
        + runtimes(found, figures)
        + classes(figures, found["labels"]),
        "plots": _plots(figures, found["labels"]),
        "robustness": robustness(figures.get("robustness") or found["robustness"]),
        "chambers": chambers(found["chambers"]) + unknown(found["unknown"]),
        "training": _training(run),
        "data": _data(run),
        "examples": _examples(choose(run, found, data)),
        "making": making(found, config),
    }
    names = dict(SECTIONS)
    links = "".join(f'<a href="#{key}">{names[key]}</a>' for key, html in parts.items() if html)
    body = "".join(
        f'<section id="{key}"><h2>{names[key]}</h2>{html}</section>'
        for key, html in parts.items()
        if html
    )
    title = escape(f"{run.folder.name} ({config['recipe']})")
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{SHEET.read_text(encoding='utf-8')}{STYLE}</style></head>"
        f'<body><h1>{title}</h1><p class="soft">{escape(figures["data"])}</p>'
        f"<nav>{links}</nav>{body}</body></html>\n"
    )
    run.write_bytes(REPORT, page.encode("utf-8"))
    run.log(f"report: {relative(run.path(REPORT))}, {len(page) // 1000} kB")
    return run.path(REPORT)


def _verdict(verdict: Mapping[str, Any]) -> str:
    checks = verdict["checks"]
    missed = sum(not check["passed"] for check in checks)
    if not checks:
        kind, line = "none", "The recipe asks for nothing: the gate lets everything pass."
    elif missed:
        kind, line = "missed", f"Not to be packaged: {missed} of {len(checks)} demands missed."
    else:
        kind, line = "passed", f"Passed: all {len(checks)} demands met."
    items = "".join(
        f'<li class="{"good" if check["passed"] else "bad"}">{escape(gate.words(check))}</li>'
        for check in checks
    )
    return f'<div class="verdict {kind}"><b>{line}</b><ul>{items}</ul></div>'


def _tiles(found: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    int8, calibration = figures["int8"], figures["calibration"]
    times = found["runtimes"][found["main_runtime"]]["invoke_ms"]
    precision = calibration["accepted_precision"]
    tiles = (
        (share(int8["accuracy"]), f"accuracy ({span(int8['accuracy_interval'])})"),
        (f"{int8['macro_f1']:.3f}", f"macro-F1 ({span(int8['macro_f1_interval'])})"),
        (number(figures["roc"]["macro_auc"]), "macro AUC, one against the rest"),
        (f"{calibration['ece']:.3f}", "expected calibration error"),
        (share(precision), "right among the accepted"),
        (share(calibration["accepted_share"]), "accepted (coverage)"),
        (f"{times['median']:.1f} ms", f"median in the network, {times['threads']} thread"),
        (f"{found['model_bytes'] / 1e6:.2f} MB", "size of the model"),
    )
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for value, name in tiles
        )
        + "</div>"
    )


def _plots(figures: Mapping[str, Any], labels: Sequence[str]) -> str:
    calibration = figures["calibration"]
    curves = {
        label: (curve["auc"], curve["points"])
        for label in labels
        if (curve := figures["roc"]["per_class"].get(label))
    }
    chosen = (calibration["accepted_share"], calibration["accepted_precision"] or 0.0)
    return _charts(
        confusion_plot(
            np.array(figures["int8"]["confusion"]), labels, "Confusion (rows: truth), pictures"
        ),
        coverage_plot(
            calibration["coverage_precision"],
            chosen,
            calibration["target_precision"],
            "Coverage and precision",
        ),
        reliability_plot(calibration["reliability"], "Reliability (area: pictures)"),
        roc_plot(curves, "ROC, one class against the rest (area)"),
    )


def _training(run: Run) -> str:
    """Curves of every column of curves.csv: losses in one chart, shares in another."""
    path = run.path("curves.csv")
    if not path.is_file():
        return ""
    rows = [row for _, row in read_table(path, ("epoch",))]
    charts = []
    for name in ("loss", "accuracy"):
        columns = [column for column in (rows[0] if rows else {}) if column and name in column]
        curves = {
            column.replace("_", " "): [
                (float(row["epoch"]), float(row[column])) for row in rows if row[column]
            ]
            for column in columns
        }
        curves = {column: points for column, points in curves.items() if points}
        if curves:
            charts.append(training_plot(curves, name, f"Training: {name}"))
    return _charts(*charts) if charts else ""


def _data(run: Run) -> str:
    """What the check of the data folder said."""
    path = run.path("data.json")
    if not path.is_file():
        return ""
    found = run.read_json("data.json", "train")
    rows: list[list[Cell]] = [
        [escape(label), str(count), str(found["groups"].get(label, ""))]
        for label, count in found["pictures"].items()
    ]
    findings = "".join(
        f'<li class="{"bad" if finding["severity"] == "error" else "warn"}">'
        f"{escape(finding['message'])}</li>"
        for finding in found["findings"]
    )
    return (
        table(("class", "pictures", "groups"), rows)
        + f'<p class="soft">Groups: {escape(found["grouped_by"])}.</p>'
        + (f"<ul>{findings}</ul>" if findings else "<p>Nothing was found wrong.</p>")
    )


def _examples(chosen: Mapping[str, Sequence[Example]]) -> str:
    parts = []
    for name, examples in chosen.items():
        figures = "".join(
            f'<figure><img src="data:image/jpeg;base64,{example.jpeg}" alt="" loading="lazy">'
            f'<figcaption><b class="{"good" if example.right else "bad"}">'
            f"{escape(example.found)}</b> {example.confidence:.0%}"
            + ("" if example.right else f"<br>is {escape(example.truth)}")
            + f'<br><span class="soft">{escape(example.file)}</span></figcaption></figure>'
            for example in examples
        )
        parts.append(f'<h3>{escape(name)}</h3><div class="examples">{figures}</div>')
    return "".join(parts)


def _charts(*charts: str) -> str:
    return f'<div class="charts">{"".join(f"<figure>{chart}</figure>" for chart in charts)}</div>'
