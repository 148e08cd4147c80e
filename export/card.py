"""The model card: what a person should know before trusting the model. Figures in, Markdown out."""

from __future__ import annotations

from .data import LABELS
from .equalise import CALIBRATION
from .evaluate import MAIN_RUNTIME, TARGET_PRECISION

TEMPLATE = """\
# {name}, version {version}

A quantised image classifier for the chamber camera of a sorting bin: one item in view, six classes
({labels}), and an embedding of 1280 values for
a site's own head. MobileNetV2 1.0/224, all layers fine-tuned, full int8, {kilobytes} kB.

- **Input** uint8 RGB 224x224, the whole picture stretched to the square.
- **Outputs** int8 class scores before softmax, and the int8 embedding. Divide the scores by the
  temperature {temperature:.3f} before softmax.
- **Meant for** telling household recyclables apart, behind a threshold and with residual as the
  way out when in doubt. **Not for** deciding anything about people, and not for hazardous waste:
  batteries, gas cartridges and the like are not among the classes.

## Figures

Measured on the very file in this package, on {data}.

| | accuracy (95 % interval) | macro-F1 (95 % interval) | network, median / p95 |
|---|---|---|---|
{figures}

Intervals are bootstrap percentiles over groups (pictures of one object share a group). The
runtimes decide alike on {same:.1%} of the pictures. Times are for one thread on {machine},
shared with other work; tflite-runtime runs its plain kernels here, which the daemon replaces with
those of XNNPACK.

| class | pictures | precision | recall | F1 | threshold |
|---|---|---|---|---|---|
{classes}

![confusion table](confusion.png)

**Calibration.** Expected calibration error {ece:.3f}; without the temperature {ece_plain:.3f}
({method}).

**Thresholds** aim at {target:.0%} right among the accepted, drawn towards a common one where a
class has few pictures. Cross-fitted in the same way they accept {accepted:.1%} of the pictures and
are right on {precision:.1%} of those. The temperature and thresholds shipped are fit on the whole
held-out fold, which no weight was trained on.

![reliability](reliability.png)

## Limits

{chambers}
That is far below the laboratory figure and the model should not sort such frames unaided: cut the
item out against the view of the empty chamber, normalise the light, look more than once, and teach
the site's own head.

- TrashNet shows one object on a white board in daylight. Crushed, wet, dirty, overlapping and dark
  items are rare in it, and there is no organic class.
- Some of its labels are debatable (coated paper cups, wrappers, pieces of foil), `trash` is small
  ({trash} held-out pictures), so its row has a wide interval.

## Made from

- Backbone: MobileNetV2 1.0/224 trained on ImageNet (TF-slim checkpoint), Apache-2.0.
- Pictures: TrashNet by Gary Thung and Mindy Yang, MIT; none is in this package. The golden inputs
  are drawn by a program. Chamber pictures were used to measure and never to train.
- Recipe: {small_epochs} epochs at {small_size} px and {large_epochs} at 224 px, AdamW with a peak
  rate of {learning_rate:g} and weight decay {weight_decay:g}, batch {batch}, label smoothing
  {label_smoothing:g}, mixup or cutmix on {blend_share:.0%} of the batches, dropout {dropout:g},
  weight average {average:g}, seed {seed}; cross-layer equalisation adapted to ReLU6; activation
  ranges from {calibration} training pictures.
- Weights: MIT.

Command: `{command}`
"""


def card(name: str, version: int, report: dict, config: dict, size: int) -> str:
    """Write the card.

    Args:
        name, version: of the package.
        report: content of evaluation.json.
        config: content of the run's config.json.
        size: bytes of the model file.
    """
    main, calibration = report["runtimes"][MAIN_RUNTIME], report["calibration"]
    return TEMPLATE.format(
        name=name,
        version=version,
        labels=", ".join(LABELS),
        kilobytes=f"{size / 1000:.0f}",
        temperature=calibration["temperature"],
        data=report["data"],
        figures="\n".join(_figure_rows(report)),
        same=report["agreement"]["same_decision"],
        machine=report["versions"]["machine"],
        classes="\n".join(_class_rows(main["per_class"], calibration["thresholds"])),
        ece=calibration["ece"],
        ece_plain=calibration["ece_without_temperature"],
        method=calibration["method"],
        target=TARGET_PRECISION,
        accepted=calibration["accepted_share"],
        precision=calibration["accepted_precision"],
        chambers="\n".join(_chamber_lines(report["chambers"])),
        trash=main["per_class"]["trash"]["pictures"],
        calibration=CALIBRATION,
        command=report["command"],
        **config["recipe"],
    )


def _figure_rows(report: dict) -> list[str]:
    rows = {"float32, before quantisation": report["float"]}
    for name, figures in report["runtimes"].items():
        rows[f"int8, {name} {report['versions'].get(name, '')}"] = figures
    return [
        f"| {name} | {row['accuracy']:.3f} ({_span(row['accuracy_interval'])}) "
        f"| {row['macro_f1']:.3f} ({_span(row['macro_f1_interval'])}) | {_times(row)} |"
        for name, row in rows.items()
    ]


def _span(pair: list[float]) -> str:
    return f"{pair[0]:.3f} to {pair[1]:.3f}"


def _times(row: dict) -> str:
    times = row.get("invoke_ms")
    return f"{times['median']:.1f} / {times['p95']:.1f} ms" if times else "-"


def _class_rows(per_class: dict, thresholds: dict) -> list[str]:
    return [
        f"| {label} | {row['pictures']} | {row['precision']:.3f} | {row['recall']:.3f} "
        f"| {row['f1']:.3f} | {thresholds[label]:.2f} |"
        for label, row in per_class.items()
    ]


def _chamber_lines(chambers: dict) -> list[str]:
    """One sentence for each chamber that was at hand."""
    if not chambers:
        return ["Frames of real chambers were not at hand when this was measured."]
    return [
        f"On whole frames of a real chamber (`{name}`, {chamber['frames']} frames, no crop) the "
        f"accuracy is **{chamber['accuracy']:.3f}**: "
        + "; ".join(
            f"{label} {row['recall']:.2f} of {row['frames']}"
            for label, row in chamber["per_class"].items()
        )
        + "."
        for name, chamber in chambers.items()
    ]
