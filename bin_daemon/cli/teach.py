"""`teach`: the bin learns its own chamber from pictures, and forgets it again."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bin_daemon.cli import common
from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError, PictureError, UsageError
from bin_daemon.core.messages import Image, Vector, to_json

if TYPE_CHECKING:
    from bin_daemon.config.sections import Config
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.teaching.folder import Picture
    from bin_daemon.teaching.sample_store import Samples
    from bin_daemon.teaching.training import Lesson, Tell


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this family to the command line."""
    teach = commands.add_parser(
        "teach",
        help="teach the bin its own chamber and classes",
        description="Without --from, --kept, --undo or --forget: put items into the bin one by one "
        "and say what each is, in a terminal. The daemon must be stopped for that.",
    )
    what = teach.add_mutually_exclusive_group()
    what.add_argument(
        "--from", dest="folder", type=Path, metavar="DIR",
        help="learn from pictures: a folder for each class, and sessions.csv if there is one",
    )  # fmt: skip
    what.add_argument(
        "--kept", action="store_true", help="learn from the kept pictures that have a label"
    )
    what.add_argument("--undo", action="store_true", help="go back to what was in force before")
    what.add_argument(
        "--forget", action="store_true", help="delete the kept pictures; what was learnt stays"
    )
    teach.add_argument(
        "--empty", type=Path, metavar="PICTURE", help="with --from: the empty chamber of them all"
    )
    teach.add_argument("--json", action="store_true", help="one object with all figures")
    common.add_config(teach)
    common.add_state(teach)
    common.add_model(teach)
    teach.set_defaults(command=run_teach)


def run_teach(options: argparse.Namespace) -> int:
    """Teach, undo or forget, as the options say."""
    if options.empty and not options.folder:
        raise UsageError("--empty goes with --from")
    if options.undo:
        return _undo(options)
    if options.forget:
        return _forget(options)
    if options.folder:
        return _teach_from(options)
    if options.kept:
        return _teach_kept(options)
    if options.json:
        raise UsageError("--json goes with --from, --kept, --undo or --forget")
    from bin_daemon.cli.teach_live import teach_live

    return teach_live(options)


def _undo(options: argparse.Namespace) -> int:
    from bin_daemon.model.head import Base
    from bin_daemon.model.package import open_package
    from bin_daemon.sorting.policy import policy_of
    from bin_daemon.teaching.activation import undo

    config, state = common.config_of(options), common.looked_into(options)
    package = open_package(config.model.name)
    head = undo(state, Base.of(package), lambda former: policy_of(config, former))
    if options.json:
        print(to_json({"model": head.id if head else None}))
    else:
        print(f"in force: {head.id if head else 'the package as it ships'}")
        _tell_restart()
    return 0


def _forget(options: argparse.Namespace) -> int:
    from bin_daemon.teaching.sample_store import forget

    count = forget(paths.teaching(common.looked_into(options)))
    if options.json:
        print(to_json({"forgotten": count}))
    else:
        print(
            f"{count} pictures deleted. What was learnt from them stays in force (--undo takes it "
            f"back), but cannot be carried over to another model."
        )
    return 0


def _teach_from(options: argparse.Namespace) -> int:
    from bin_daemon.teaching.advice import left_out
    from bin_daemon.teaching.folder import TeachingFolder
    from bin_daemon.teaching.sample_store import Samples

    config, state = common.config_of(options), common.looked_into(options)
    folder = TeachingFolder(options.folder, config.chamber, options.empty)
    _check_routes(config, folder.counts())
    classifier = classifier_of(config, state)
    with (
        common.progress("teaching") as tell,
        Samples(paths.teaching(state), config.teaching.keep) as samples,
    ):
        kept = [sample.label or "" for sample in samples.list(labelled=True)]
        left_out([*kept, *(one.label for one in folder.listed)], config.route_of)
        grounds: dict[str, Vector] = {}
        for number, one in enumerate(folder, start=1):
            tell(f"keeping picture {number} of {len(folder)}")
            sample_id = _keep(samples, one, classifier)
            if one.ground is not None:
                grounds[sample_id] = classifier.classify(one.ground).embedding
        try:
            lesson = learn_kept(samples, classifier, config, state, grounds, tell)
        except UsageError:
            _print_words(folder.words, folder.skipped)
            raise
    _print_lesson(lesson, options.json, folder.words, folder.skipped)
    return 0


def _teach_kept(options: argparse.Namespace) -> int:
    from bin_daemon.cli.samples import opened

    config, state = common.config_of(options), common.looked_into(options)
    with opened(options) as samples, common.progress("learning") as tell:
        lesson = learn_kept(samples, classifier_of(config, state), config, state, {}, tell)
    _print_lesson(lesson, options.json)
    return 0


def learn_kept(
    samples: Samples,
    classifier: Classifier,
    config: Config,
    state: Path,
    grounds: Mapping[str, Vector],
    tell: Tell,
) -> Lesson:
    """Learn from all that is kept, and put what comes of it in force if it is better.

    grounds, tell: see `active.relearn`. Raises as it does, and as `policy_of`.
    """
    from bin_daemon.sorting.policy import policy_of
    from bin_daemon.teaching.activation import activate, relearn

    lesson = relearn(samples, classifier, config, time.time(), grounds, tell)
    if lesson.better:
        policy_of(config, lesson.head)
        activate(state, lesson.head)
    return lesson


def classifier_of(config: Config, state: Path) -> Classifier:
    """The network, with the head in force: it says what the bin would say."""
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.model.package import open_package
    from bin_daemon.teaching.activation import head_for

    package = open_package(config.model.name)
    classifier = Classifier(package, config.model.runtime, config.model.threads)
    classifier.head, words = head_for(classifier, config, state, keep=False)
    if words:
        print(f"bin-daemon: {words}", file=sys.stderr)
    return classifier


def _check_routes(config: Config, labels: dict[str, int]) -> None:
    """Raise ConfigError for classes that would have nowhere to go."""
    from bin_daemon.sorting.policy import without_route

    if faults := without_route(config, sorted(labels), "the taught bin"):
        raise ConfigError("\n".join(faults))


def _keep(samples: Samples, one: Picture, classifier: Classifier) -> str:
    """Keep a picture, once however often it is taught; returns its id. Its last label counts."""
    from bin_daemon.model.head import Base

    for known in samples.list(item=one.item):
        if _shows(samples, known.id, one.image):
            if known.label != one.label:
                samples.label(known.id, one.label)
            return known.id
    seen, base = classifier.classify(one.image), Base.of(classifier.package)
    return samples.add(
        one.image,
        seen.embedding,
        one.label,
        "taught",
        model=base.id,
        network=base.sha256,
        taken_at=time.time(),
        session=one.session,
        predicted=seen.label,
        confidence=seen.confidence,
        item=one.item,
        cropped=one.cropped,
    )


def _shows(samples: Samples, sample_id: str, image: Image) -> bool:
    """Whether a kept picture is this one, pixel by pixel."""
    try:
        return np.array_equal(samples.crop(sample_id), image)
    except PictureError:  # lost or damaged: it may be kept anew
        return False


def _print_lesson(
    lesson: Lesson,
    as_json: bool,
    words: Sequence[str] = (),
    skipped: Mapping[Path, str] | None = None,
) -> None:
    """The figures, and what was done; words, skipped: see `TeachingFolder`."""
    skipped = skipped or {}
    if as_json:
        told = {
            "activated": lesson.better,
            "model": lesson.head.id,
            "labels": lesson.head.labels,
            "temperature": lesson.head.temperature,
            "thresholds": lesson.head.thresholds,
            **lesson.figures,
            "empty_views": words,
            "skipped": [{"file": str(p), "reason": why} for p, why in skipped.items()],
            "warnings": lesson.warnings,
        }
        print(to_json(told))
        return
    _print_words(words, skipped)
    tell_lesson(lesson)


def _print_words(words: Sequence[str], skipped: Mapping[Path, str]) -> None:
    for line in (*words, *skipped.values()):
        print(f"bin-daemon: {line}", file=sys.stderr)


def tell_lesson(lesson: Lesson) -> None:
    """The figures for people, and what was done."""
    print("\n".join(lines_of(lesson.figures)))
    for words in lesson.warnings:
        print(f"bin-daemon: warning: {words}", file=sys.stderr)
    gain = lesson.figures["gain"]
    words = f"{gain['accuracy']:+.3f} accuracy, standard error {gain['se']:.3f}"
    if lesson.better:
        print(f"in force: {lesson.head.id} ({words})")
        _tell_restart()
    else:
        print(
            f"not put in force: no better than what ships by more than one standard error "
            f"({words}). The pictures are kept; show more, and teach again."
        )


def lines_of(figures: dict[str, Any]) -> list[str]:
    """The figures of a lesson as a table for people."""
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
            f"class {control['majority']:.3f}; of the {control['pictures']} pictures shown just "
            f"now alone): near it, the head knows the items, not the ground"
        )
    if (right := figures["accepted"]["right"]) is not None:
        share = figures["accepted"]["share"]
        lines.append(f"{'accepted':<20}{share:.3f} of the pictures, {right:.3f} of those right")
    return lines


def _tell_restart() -> None:
    print("A running bin takes it up at its next start: sudo systemctl restart bin-daemon")
