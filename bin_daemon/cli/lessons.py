"""What the ways to teach share: learning from all stored pictures, and printing what came of it."""

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


def learn_stored(
    samples: Samples,
    classifier: Classifier,
    config: Config,
    state: Path,
    grounds: Mapping[str, Vector],
    progress: Callable[[str], None],
) -> TrainingResult:
    """Learn from all stored pictures, and activate what comes of it if it is better.

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
    _print_figures(result.figures)
    for words in result.warnings:
        common.warn(words)
    gain = result.figures["gain"]
    words = f"{gain['accuracy']:+.3f} accuracy, standard error {gain['se']:.3f}"
    if result.better:
        print(f"in use: {result.head.id} ({words})")
        print(RESTART)
    else:
        print(
            f"not activated: no better than what ships by more than one standard error "
            f"({words}). The pictures are stored; show more, and teach again."
        )


def _print_figures(figures: dict[str, Any]) -> None:
    before, after = figures["before"], figures["after"]
    print(
        f"{sum(figures['pictures'].values())} pictures, tested on {figures['tested_on']} that the "
        f"head was not taught; before -> after"
    )
    print(f"{'':<20}{'pictures':>8}   {'recall':<16}{'precision':<16}F1")
    for label, now in after["classes"].items():
        was = before["classes"][label]
        recall, precision, f1 = (
            f"{was[name]:.2f} -> {now[name]:.2f}" for name in ("recall", "precision", "f1")
        )
        print(f"{label:<20}{now['count']:>8}   {recall:<16}{precision:<16}{f1}")
    for name, words in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        pair = [f"{side[name]:.3f} ± {side[name + '_se']:.3f}" for side in (before, after)]
        print(f"{words:<20}{' -> '.join(pair)}")
    if unseen := figures["unseen_session"]:
        print(
            f"{'unseen session':<20}{unseen['accuracy']:.3f} ({unseen['pictures']} pictures, each "
            f"session judged by a head taught the others)"
        )
    if control := figures["control"]:
        print(
            f"{'item taken out':<20}{control['accuracy']:.3f} ± {control['se']:.3f} (commonest "
            f"class {control['majority']:.3f}; only the {control['pictures']} pictures shown just "
            f"now): if the two are close, the head knows the items, not the background"
        )
    accepted = figures["accepted"]
    if (right := accepted["right"]) is not None:
        print(
            f"{'accepted':<20}{accepted['share']:.3f} of the pictures, {right:.3f} of those right"
        )
