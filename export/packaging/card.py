"""The model card: what a person should know before trusting the model. Figures in, Markdown out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.evaluation import gate
from export.evaluation.chambers import STEPS

KINDS = {
    "folded": "MobileNetV2 1.0/224, full int8",
    "keras": "a published backbone with a head of its own, full int8",
    "imported": "an imported classifier",
}


def card(
    name: str, version: int, report: Mapping, config: Mapping, size: int, *, teachable: bool
) -> str:
    """Write the card.

    Args:
        name, version: of the package.
        report: content of evaluation.json.
        config: content of the run's config.json.
        size: bytes of the model file.
        teachable: it gives an embedding beside the scores.
    """
    figures = gate.quoted(report)
    parts = [
        f"# {name}, version {version}",
        _purpose(report, config, figures, size, teachable),
        "## Figures",
        _figures(report, figures),
        _classes(figures),
        "![confusion table](confusion.svg)",
        _calibration(figures),
        "![reliability](reliability.svg)",
        _chambers(report["chambers"]),
        _unknown(report["unknown"]),
        _robustness(figures.get("robustness") or report["robustness"], report.get("pooled")),
        _gate(report["gate"]),
        "## Limits",
        _limits(config),
        "## Made from",
        _made_from(report, config),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _purpose(report: Mapping, config: Mapping, figures: Mapping, size: int, teachable: bool) -> str:
    pixels = config["size"]
    head = ", and an embedding for a site's own head" if teachable else "; it cannot be taught"
    embedding = ", and the int8 embedding" if teachable else ""
    return f"""\
A quantised image classifier for the chamber camera of a sorting bin: one item in view,
{len(report["labels"])} classes ({", ".join(report["labels"])}){head}.
{config.get("title", config["recipe"])}; {KINDS[config["kind"]]}, {size / 1000:.0f} kB.

- **Input** uint8 RGB {pixels}x{pixels}, the whole picture stretched to the square.
- **Outputs** int8 class scores before softmax{embedding}. Divide the scores by the
  temperature {figures["calibration"]["temperature"]:.3f} before softmax.
- **Meant for** sorting single items into these classes, behind a threshold and with residual as
  the way out when in doubt. **Not for** deciding anything about people, and not for hazardous
  waste: batteries, gas cartridges and the like, where not among the classes, are not known."""


def _figures(report: Mapping, figures: Mapping) -> str:
    rows = [("float32, before quantisation", figures["float"]), ("int8", figures["int8"])]
    lines = [
        f"Measured on {figures['data']}.",
        "",
        "| | accuracy (95 % interval) | macro-F1 (95 % interval) |",
        "|---|---|---|",
        *(
            f"| {name} | {row['accuracy']:.3f} ({_span(row['accuracy_interval'])}) "
            f"| {row['macro_f1']:.3f} ({_span(row['macro_f1_interval'])}) |"
            for name, row in rows
            if row
        ),
        "",
        "Intervals are bootstrap percentiles over groups (pictures of one object share a group).",
    ]
    if "runs" in figures:
        lines.append(
            "The file in this package learnt from all pictures by the same recipe, so no picture "
            "is left to measure it on."
        )
    lines += ["", "| runtime | network, median / p95 | |", "|---|---|---|"]
    for name, found in report["runtimes"].items():
        if "refused" in found:
            lines.append(f"| {name} | | {found['refused']} |")
        else:
            times = found["invoke_ms"]
            version = report["versions"].get(name, "")
            lines.append(f"| {name} {version} | {times['median']:.1f} / {times['p95']:.1f} ms | |")
    agreement = report["agreement"]
    lines += ["", f"One thread of {report['versions']['machine']}, shared with other work."]
    if "same_decision" in agreement:
        lines.append(
            f"The runtimes decide alike on {agreement['same_decision']:.1%} of "
            f"{agreement['pictures']} {agreement['on']}."
        )
    return "\n".join(lines)


def _classes(figures: Mapping) -> str:
    thresholds = figures["calibration"]["thresholds"]
    lines = [
        "| class | pictures | precision | recall (95 % interval) | F1 | threshold |",
        "|---|---|---|---|---|---|",
    ]
    for label, row in figures["int8"]["per_class"].items():
        lines.append(
            f"| {label} | {row['pictures']} | {row['precision']:.3f} | {row['recall']:.3f} "
            f"({_span(row['recall_interval'])}) | {row['f1']:.3f} | {thresholds[label]:.3f} |"
        )
    return "\n".join(lines)


def _calibration(figures: Mapping) -> str:
    found = figures["calibration"]
    never = found["residual_labels"]
    also = f" What is taken for {' or '.join(never)} is never accepted." if never else ""
    right = found["accepted_precision"]
    are = "" if right is None else f" and are right on {right:.1%} of those"
    return f"""\
**Calibration.** Expected calibration error {found["ece"]:.3f}; without the temperature
{found["ece_without_temperature"]:.3f} ({found["method"]}).

**Thresholds** aim at {found["target_precision"]:.1%} right among the accepted: one for all classes,
and a higher one for a class that is shown to need it. Cross-fitted in the same way they accept
{found["accepted_share"]:.1%} of the pictures{are}.{also} The temperature
and thresholds shipped are fit on all held-out pictures, which no weight of their judge saw."""


def _chambers(chambers: Mapping) -> str:
    if not chambers:
        return "No frames of real chambers with these classes were at hand when this was measured."
    lines = [
        "**Real chambers**, none of whose frames was trained on; arg max over all classes.",
        "",
        "| chamber | frames | always the commonest | " + " | ".join(STEPS) + " |",
        "|---|---|---|" + "---|" * len(STEPS),
    ]
    for name, chamber in chambers.items():
        cells = [
            f"{chamber['steps'][step]['accuracy']:.3f} "
            f"(macro recall {chamber['steps'][step]['macro_recall']:.3f})"
            if step in chamber["steps"]
            else "no empty view"
            for step in STEPS
        ]
        lines.append(
            f"| {name} | {chamber['frames']} | {chamber['majority']:.3f} | {' | '.join(cells)} |"
        )
    for name, chamber in chambers.items():
        last = [step for step in STEPS if step in chamber["steps"]][-1]
        classes = "; ".join(
            f"{label} {row['recall']:.2f} of {row['frames']}"
            for label, row in chamber["steps"][last]["per_class"].items()
        )
        lines += ["", f"{name}, {last}, recall: {classes}."]
    return "\n".join(lines)


def _unknown(unknown: Mapping) -> str:
    if not unknown:
        return ""
    new, seen = (
        "; ".join(
            f"{kind['accepted']} of {kind['shown']} {name}"
            for name, kind in unknown["kinds"].items()
            if kind["trained"] is trained
        )
        for trained in (False, True)
    )
    return (
        f"**Things of no class.** With these thresholds {unknown['accepted_share']:.1%} of kinds "
        f"that training never showed are accepted: {new}. Of kinds that it showed: {seen}."
    )


def _robustness(rows: Any, pooled: Any) -> str:
    if not rows:
        return ""
    whose = " Accepted by the thresholds of each fold by itself, not by those shipped."
    lines = [
        f"**Changed pictures**, {rows[0]['pictures']} of them.{whose if pooled else ''}",
        "",
        "| change | accuracy | accepted |",
        "|---|---|---|",
    ]
    for row in rows:
        strength = "" if row["strength"] is None else f" {row['strength']:g}"
        lines.append(
            f"| {row['condition']}{strength} ({row['text']}) | {row['accuracy']:.3f} "
            f"| {row['accepted_share']:.1%} |"
        )
    return "\n".join(lines)


def _gate(verdict: Mapping) -> str:
    if not verdict["checks"]:
        return ""
    lines = [f"**Gate**: {'passed' if verdict['passed'] else 'missed'}."]
    if "despite" in verdict:
        lines[0] += f" Packaged all the same: {verdict['despite']}"
    return "\n".join([*lines, "", *(f"- {gate.words(check)}" for check in verdict["checks"])])


def _limits(config: Mapping) -> str:
    lines = [
        "A laboratory figure is not a bin's. Cut the item out against the view of the empty "
        "chamber, look more than once, and teach the site's own head (`bin-daemon teach`)."
    ]
    lines += [f"\n- {line}" for line in config.get("limits", ())]
    return "".join(lines)


def _made_from(report: Mapping, config: Mapping) -> str:
    lines = [
        *(f"- {what.capitalize()}: {words}" for what, words in config["provenance"].items()),
        *(f"- Licence of the {what}: {words}" for what, words in config["licences"].items()),
        "- No photograph is in this package; the golden inputs are drawn by a program.",
        f"- Recipe `{config['recipe']}`: {_flat(config['settings'])}",
    ]
    pooled = report.get("pooled") or {}
    if "minutes" in report:
        machine = f" on {report['trained_on']}" if "trained_on" in report else ""
        folds = f", those of its folds {pooled['minutes']:.0f} more" if pooled else ""
        lines.append(
            f"- The epochs of this file took {report['minutes']:.0f} minutes{machine}{folds}."
        )
    commands = [report["command"], *([pooled["command"]] if pooled else [])]
    return "\n".join(lines) + "\n\nMeasured by " + " and ".join(f"`{one}`" for one in commands)


def _flat(settings: Mapping) -> str:
    """Settings of any depth as one line of `key value`."""
    words = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            words.append(_flat(value))
        else:
            words.append(f"{key.replace('_', ' ')} {value}")
    return "; ".join(word for word in words if word)


def _span(pair: list[float]) -> str:
    return f"{pair[0]:.3f} to {pair[1]:.3f}"
