"""The tables of a report: figures flow in, HTML flows out.

What comes from outside is escaped here; no figure is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from export.evaluation.chambers import STEPS

Cell = str | tuple[str, str]
"""HTML of a cell, or that and its class."""


def runtimes(found: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The float network, the pooled figures if any, and each runtime, or why it refuses."""
    rows: list[list[Cell]] = []
    if figures["float"]:
        rows.append(["float32, before quantisation", *_averages(figures["float"]), "-"])
    if found["pooled"]:
        rows.append(["int8, pooled over folds", *_averages(figures["int8"]), "-"])
    for name, one in found["runtimes"].items():
        label = f"int8, {escape(name)} {escape(found['versions'].get(name, ''))}"
        if "refused" in one:
            rows.append([label, (escape(one["refused"]), "words bad"), "", "", "", ""])
        else:
            times = f"{one['invoke_ms']['median']:.1f} / {one['invoke_ms']['p95']:.1f} ms"
            averages = _averages(one) if "accuracy" in one else ["-"] * 4
            rows.append([label, *averages, times])
    head = ("", "accuracy", "macro precision", "macro recall", "macro-F1", "median / p95")
    agreement = found["agreement"]
    lines = []
    if "same_decision" in agreement:
        lines.append(f"The runtimes decide alike on {agreement['same_decision']:.1%}")
    if "same_decision_as_float" in agreement:
        lines.append(f"int8 decides as float on {agreement['same_decision_as_float']:.1%}")
    tail = f" of {agreement['pictures']} {agreement['on']}. " if lines else ""
    return (
        table(head, rows)
        + f'<p class="soft">{"; ".join(lines)}{tail}Intervals are 95 %, bootstrap over groups: '
        f"pictures of one object are drawn together.</p>"
    )


def _averages(one: Mapping[str, Any]) -> list[Cell]:
    return [
        f"{one['accuracy']:.3f} ({span(one['accuracy_interval'])})",
        f"{one['macro_precision']:.3f}",
        f"{one['macro_recall']:.3f}",
        f"{one['macro_f1']:.3f} ({span(one['macro_f1_interval'])})",
    ]


def classes(figures: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Precision, recall, F1, AUC and threshold of each class."""
    calibration, curves = figures["calibration"], figures["roc"]["per_class"]
    rows: list[list[Cell]] = []
    for label in labels:
        row = figures["int8"]["per_class"][label]
        never = label in calibration["residual_labels"]
        rows.append(
            [
                escape(label),
                str(row["pictures"]),
                f"{row['precision']:.3f}",
                f"{row['recall']:.3f} ({span(row['recall_interval'])})",
                f"{row['f1']:.3f}",
                number(curves.get(label, {}).get("auc")),
                "never accepted" if never else f"{calibration['thresholds'][label]:.3f}",
            ]
        )
    head = ("class", "pictures", "precision", "recall", "F1", "AUC", "threshold")
    return (
        "<h3>Each class</h3>"
        + table(head, rows)
        + f'<p class="soft">Temperature {calibration["temperature"]:.3f}. Thresholds aim at '
        f"{calibration['target_precision']:.1%} right among the accepted; the figures of what is "
        f"accepted, and the calibration error, are {escape(calibration['method'])}. Without a "
        f"temperature the calibration error is {calibration['ece_without_temperature']:.3f}.</p>"
    )


def robustness(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `export.evaluation.robustness`; nothing where there are none."""
    if not rows:
        return ""
    cells: list[list[Cell]] = [
        [
            escape(row["condition"]),
            "-" if row["strength"] is None else f"{row['strength']:g}",
            str(row["pictures"]),
            f"{row['accuracy']:.3f}",
            "-"
            if row["strength"] is None
            else (f"{-row['loss']:+.3f}", "bad" if row["loss"] > 0.1 else ""),
            f"{row['macro_recall']:.3f}",
            share(row["accepted_share"]),
            share(row["accepted_precision"]),
        ]
        for row in rows
    ]
    meanings = {row["condition"]: row["text"] for row in rows if row["strength"] is not None}
    head = ("disturbed", "strength", "pictures", "accuracy", "against clean", "macro recall")
    return (
        table((*head, "accepted", "right of those"), cells)
        + '<p class="soft">Strength is, for '
        + "; ".join(f"{name} the {escape(text)}" for name, text in meanings.items())
        + ". Clean is the same pictures undisturbed. Accepted is by the thresholds above: what a "
        "good model loses here it should lose by being unsure.</p>"
    )


def chambers(found: Mapping[str, Any]) -> str:
    """What each step is worth in each real chamber."""
    rows: list[list[Cell]] = [
        [
            escape(name),
            step,
            str(chamber["frames"]),
            f"{one['accuracy']:.3f}",
            f"{one['macro_recall']:.3f}",
            f"{chamber['majority']:.3f}",
            (
                "; ".join(
                    f"{escape(label)} {row['recall']:.2f} of {row['frames']}"
                    for label, row in one["per_class"].items()
                ),
                "words",
            ),
        ]
        for name, chamber in found.items()
        for step in STEPS
        if (one := chamber["steps"].get(step))
    ]
    head = (
        "chamber",
        "seen",
        "frames",
        "accuracy",
        "macro recall",
        "always the commonest",
        ("recall", "words"),
    )
    return table(head, rows) if rows else ""


def unknown(found: Mapping[str, Any]) -> str:
    """What was accepted of things that are none of the classes."""
    if not found:
        return ""
    rows: list[list[Cell]] = [
        [
            escape(name) + (" (kind seen in training)" if kind["trained"] else ""),
            str(kind["shown"]),
            str(kind["accepted"]),
            share(kind["accepted"] / kind["shown"]),
        ]
        for name, kind in found["kinds"].items()
    ]
    new = [kind for kind in found["kinds"].values() if not kind["trained"]]
    shown, accepted = (str(sum(kind[name] for kind in new)) for name in ("shown", "accepted"))
    rows.append(["all of kinds never seen", shown, accepted, share(found["accepted_share"])])
    return "<h3>Things that are none of the classes</h3>" + table(
        ("", "shown", "accepted", "share"), rows
    )


def making(found: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Recipe, command, versions and settings."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    rows: list[list[Cell]] = [
        ["recipe", (escape(config["recipe"]), "words")],
        ["kind", (escape(config["kind"]), "words")],
        ["data", (f"<code>{escape(config['data'])}</code>", "words")],
        ["command", (f"<code>{escape(found['command'])}</code>", "words")],
        ["model", (f"<code>sha256 {found['model_sha256']}</code>", "words")],
        ["versions", (escape(versions), "words")],
    ]
    rows += [
        [escape(name), (f"<code>{escape(str(value))}</code>", "words")]
        for name, value in config.get("settings", {}).items()
    ]
    return table(("", ""), rows)


def table(head: Iterable[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that scrolls by itself where the page is narrow."""

    def row(tag: str, cells: Iterable[Cell]) -> str:
        pairs = [(cell, "") if isinstance(cell, str) else cell for cell in cells]
        return "".join(f'<{tag} class="{kind}">{html}</{tag}>' for html, kind in pairs)

    top = f"<thead><tr>{row('th', head)}</tr></thead>"
    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'


def number(value: float | None) -> str:
    """Three decimals, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """A percentage, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.1%}"


def span(pair: Sequence[float]) -> str:
    """An interval."""
    return f"{pair[0]:.3f} to {pair[1]:.3f}"
