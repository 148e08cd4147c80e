"""`teach`: the bin learns its own chamber from pictures, and forgets it again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.cli import common, lessons
from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError, UsageError
from bin_daemon.core.messages import to_json

if TYPE_CHECKING:
    from bin_daemon.teaching.training import TrainingResult


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    teach = commands.add_parser(
        "teach",
        help="teach the bin its own chamber and classes",
        description="Without --from, --kept, --undo or --forget: put items into the bin one by one "
        "and say what each is, in a terminal. The daemon must be stopped for that.",
    )
    what = teach.add_mutually_exclusive_group()
    words = "learn from pictures: a folder for each class, and sessions.csv if there is one"
    what.add_argument("--from", dest="folder", type=Path, metavar="DIR", help=words)
    words = "learn from the stored pictures that have a label"
    what.add_argument("--kept", action="store_true", help=words)
    what.add_argument("--undo", action="store_true", help="go back to what was in use before")
    words = "delete the stored pictures; what was learnt stays"
    what.add_argument("--forget", action="store_true", help=words)
    words = "with --from: the empty chamber of them all"
    teach.add_argument("--empty", type=Path, metavar="PICTURE", help=words)
    shared = ("--config", "--state", *common.MODEL)
    common.set_up(teach, run_teach, *shared, json="one object with all figures")


def run_teach(options: argparse.Namespace) -> int:
    """Teach, undo or forget, as the options say."""
    if options.empty and not options.folder:
        raise UsageError("--empty goes with --from")
    if options.undo:
        _undo(options)
    elif options.forget:
        _forget(options)
    elif options.folder:
        _teach_from(options)
    elif options.kept:
        _teach_stored(options)
    elif options.json:
        raise UsageError("--json goes with --from, --kept, --undo or --forget")
    else:
        from bin_daemon.cli.teach_live import teach_live

        return teach_live(options)
    return 0


def _undo(options: argparse.Namespace) -> None:
    from bin_daemon.model.head import Base
    from bin_daemon.model.package import open_package
    from bin_daemon.sorting.policy import policy_of
    from bin_daemon.teaching.activation import undo

    config, state = common.config_of(options), common.looked_into(options)
    package = open_package(config.model.name)
    head = undo(state, Base.of(package), lambda former: policy_of(config, former))
    words = f"in use: {head.id if head else 'the package as it ships'}\n{lessons.RESTART}"
    common.answer(options, {"model": head.id if head else None}, words)


def _forget(options: argparse.Namespace) -> None:
    from bin_daemon.teaching.sample_store import forget

    count = forget(paths.teaching(common.looked_into(options)))
    words = (
        f"{count} pictures deleted. What was learnt from them stays in use (--undo takes it "
        f"back), but cannot be carried over to another model."
    )
    common.answer(options, {"forgotten": count}, words)


def _teach_from(options: argparse.Namespace) -> None:
    from bin_daemon.sorting.policy import without_route
    from bin_daemon.teaching.advice import left_out
    from bin_daemon.teaching.folder import TeachingFolder
    from bin_daemon.teaching.sample_store import Samples

    config, state = common.config_of(options), common.looked_into(options)
    folder = TeachingFolder(options.folder, config.chamber, options.empty)
    labels = [one.label for one in folder.listed]
    if faults := without_route(config, sorted(set(labels)), "the taught bin"):
        raise ConfigError("\n".join(faults))
    classifier = common.classifier_of(config, state)
    with (
        common.progress("teaching") as progress,
        Samples(paths.teaching(state), config.teaching.keep) as samples,
    ):
        stored = [sample.label or "" for sample in samples.list(labelled=True)]
        left_out([*stored, *labels], config.route_of)
        grounds = folder.keep(samples, classifier, progress)
        for line in (*folder.words, *folder.skipped.values()):
            print(f"bin-daemon: {line}", file=sys.stderr)
        result = lessons.learn_stored(samples, classifier, config, state, grounds, progress)
    _print(result, options, folder.words, folder.skipped)


def _teach_stored(options: argparse.Namespace) -> None:
    from bin_daemon.cli.samples import opened

    config, state = common.config_of(options), common.looked_into(options)
    with opened(options) as samples, common.progress("learning") as progress:
        classifier = common.classifier_of(config, state)
        result = lessons.learn_stored(samples, classifier, config, state, {}, progress)
    _print(result, options, [], {})


def _print(
    result: TrainingResult,
    options: argparse.Namespace,
    words: Sequence[str],
    skipped: Mapping[Path, str],
) -> None:
    """The figures, and what was done; words, skipped: as `TeachingFolder` has them."""
    if not options.json:
        lessons.print_result(result)
        return
    figures = {
        "activated": result.better,
        "model": result.head.id,
        "labels": result.head.labels,
        "temperature": result.head.temperature,
        "thresholds": result.head.thresholds,
        **result.figures,
        "empty_views": words,
        "skipped": [{"file": str(path), "reason": why} for path, why in skipped.items()],
        "warnings": result.warnings,
    }
    print(to_json(figures))
