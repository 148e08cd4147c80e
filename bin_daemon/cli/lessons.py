"""What the ways to teach share: learning from all that is kept, and telling what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bin_daemon.cli import common

if TYPE_CHECKING:
    from pathlib import Path

    from bin_daemon.config.sections import Config
    from bin_daemon.core.messages import Vector
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.teaching.sample_store import Samples
    from bin_daemon.teaching.training import TrainingResult


RESTART = "A running bin takes it up at its next start: sudo systemctl restart bin-daemon"


def learn_kept(
    samples: Samples,
    classifier: Classifier,
    config: Config,
    state: Path,
    grounds: Mapping[str, Vector],
    progress: Callable[[str], None],
) -> TrainingResult:
    """Learn from all that is kept, and put what comes of it in force if it is better.

    grounds: see `activation.retrain`. Raises as that does, and as `policy_of`.
    """
    from bin_daemon.sorting.policy import policy_of
    from bin_daemon.teaching.activation import activate, retrain

    result = retrain(samples, classifier, config, grounds, progress)
    if result.better:
        policy_of(config, result.head)
        activate(state, result.head)
    return result


def print_result(result: TrainingResult) -> None:
    """The figures for people, and what was done."""
    print("\n".join(lines_of(result.figures)))
    for words in result.warnings:
        common.warn(words)
    gain = result.figures["gain"]
    words = f"{gain['accuracy']:+.3f} accuracy, standard error {gain['se']:.3f}"
    if result.better:
        print(f"in force: {result.head.id} ({words})")
        print(RESTART)
    else:
        print(
            f"not put in force: no better than what ships by more than one standard error "
            f"({words}). The pictures are kept; show more, and teach again."
        )


def lines_of(figures: dict[str, Any]) -> list[str]:
    """The figures of a training as a table for people."""
    before, after = figures["before"], figures["after"]
    lines = [
        f"{sum(figures['pictures'].values())} pictures, tested on {figures['tested_on']} that the "
        f"head was not taught; before -> after",
        f"{'':<20}{'pictures':>8}   {'recall':<16}{'precision':<16}F1",
    ]
    for label, now in after["classes"].items():
        was = before["classes"][label]
        pairs = [f"{was[n]:.2f} -> {now[n]:.2f}" for n in ("recall", "precision", "f1")]
        lines.append(f"{label:<20}{now['count']:>8}   {pairs[0]:<16}{pairs[1]:<16}{pairs[2]}")
    for name, words in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        pair = [f"{side[name]:.3f} ± {side[name + '_se']:.3f}" for side in (before, after)]
        lines.append(f"{words:<20}{' -> '.join(pair)}")
    if unseen := figures["unseen_session"]:
        lines.append(
            f"{'unseen session':<20}{unseen['accuracy']:.3f} ({unseen['pictures']} pictures, each "
            f"session judged by a head taught the others)"
        )
    if control := figures["control"]:
        lines.append(
            f"{'item taken out':<20}{control['accuracy']:.3f} ± {control['se']:.3f} (commonest "
            f"class {control['majority']:.3f}; only the {control['pictures']} pictures shown just "
            f"now): if the two are close, the head knows the items, not the background"
        )
    if (right := figures["accepted"]["right"]) is not None:
        share = figures["accepted"]["share"]
        lines.append(f"{'accepted':<20}{share:.3f} of the pictures, {right:.3f} of those right")
    return lines
