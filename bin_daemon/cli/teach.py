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
    common.add_options(teach, "config", "state", "model")
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
    words = f"in force: {head.id if head else 'the package as it ships'}\n{lessons.RESTART}"
    common.answer(options, {"model": head.id if head else None}, words)
    return 0


def _forget(options: argparse.Namespace) -> int:
    from bin_daemon.teaching.sample_store import forget

    count = forget(paths.teaching(common.looked_into(options)))
    words = (
        f"{count} pictures deleted. What was learnt from them stays in force (--undo takes it "
        f"back), but cannot be carried over to another model."
    )
    common.answer(options, {"forgotten": count}, words)
    return 0


def _teach_from(options: argparse.Namespace) -> int:
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
        kept = [sample.label or "" for sample in samples.list(labelled=True)]
        left_out([*kept, *labels], config.route_of)
        grounds = folder.keep(samples, classifier, progress)
        try:
            result = lessons.learn_kept(samples, classifier, config, state, grounds, progress)
        except UsageError:
            _print_words(folder.words, folder.skipped)
            raise
    _print(result, options.json, folder.words, folder.skipped)
    return 0


def _teach_kept(options: argparse.Namespace) -> int:
    from bin_daemon.cli.samples import opened

    config, state = common.config_of(options), common.looked_into(options)
    with opened(options) as samples, common.progress("learning") as progress:
        classifier = common.classifier_of(config, state)
        result = lessons.learn_kept(samples, classifier, config, state, {}, progress)
    _print(result, options.json)
    return 0


def _print(
    result: TrainingResult,
    as_json: bool,
    words: Sequence[str] = (),
    skipped: Mapping[Path, str] | None = None,
) -> None:
    """The figures, and what was done; words, skipped: as `TeachingFolder` has them."""
    skipped = skipped or {}
    if not as_json:
        _print_words(words, skipped)
        lessons.print_result(result)
        return
    print(
        to_json(
            {
                "activated": result.better,
                "model": result.head.id,
                "labels": result.head.labels,
                "temperature": result.head.temperature,
                "thresholds": result.head.thresholds,
                **result.figures,
                "empty_views": words,
                "skipped": [{"file": str(p), "reason": why} for p, why in skipped.items()],
                "warnings": result.warnings,
            }
        )
    )


def _print_words(words: Sequence[str], skipped: Mapping[Path, str]) -> None:
    for line in (*words, *skipped.values()):
        print(f"bin-daemon: {line}", file=sys.stderr)
