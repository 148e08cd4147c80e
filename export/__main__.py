"""`python -m export <step>`: the steps from pictures to a model package, each on its own.

Exit codes: 0 done, 2 an input is missing or wrong (the message says which).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from bin_daemon.errors import BinDaemonError

from .runs import DEFAULT_BACKBONE, DEFAULT_DATA, DEFAULT_RUNS, REPOSITORY, Run


def _train(options: argparse.Namespace) -> None:
    from .train import Recipe, train

    recipe = Recipe(
        **{
            field.name: getattr(options, field.name)
            for field in dataclasses.fields(Recipe)
            if getattr(options, field.name, None) is not None
        }
    )
    train(options.run, options.data, options.backbone, options.fold, recipe)


def _quantize(options: argparse.Namespace) -> None:
    from .quantise import quantise

    quantise(options.run, options.data, plain=options.plain)


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluate import evaluate, pool

    if options.pool:
        pool(options.run, [_run_named(name) for name in options.pool])
    else:
        evaluate(options.run, options.data, options.arguments)


def _package(options: argparse.Namespace) -> None:
    from .package import package

    package(options.run, options.to, options.version)


def _run_named(name: str) -> Run:
    """A run by its name in the runs folder, or by a path with a folder in it."""
    path = Path(name)
    return Run(path if len(path.parts) > 1 else DEFAULT_RUNS / path)


def parser() -> argparse.ArgumentParser:
    """The command line; a step more is a subparser more."""
    top = argparse.ArgumentParser(
        prog="python -m export", description="From pictures to a model package."
    )
    steps = top.add_subparsers(required=True, metavar="train|quantize|evaluate|package")

    def add(name: str, run, text: str, *, data: bool = True) -> argparse.ArgumentParser:
        step = steps.add_parser(name, help=text, description=text)
        step.set_defaults(step=run)
        step.add_argument(
            "--run", default="waste6", help="name of the run, or a path to its folder (waste6)"
        )
        if data:
            step.add_argument(
                "--data",
                type=Path,
                default=DEFAULT_DATA / "trashnet",
                help="folder of <class>/<picture> with groups.csv",
            )
        return step

    step = add("train", _train, "fine-tune the backbone with one fold held out")
    step.add_argument("--backbone", type=Path, default=DEFAULT_BACKBONE, help="folded weights")
    step.add_argument("--fold", type=int, default=0, help="the fold to hold out, 0 to 4 (0)")
    step.add_argument("--small-epochs", type=int, help="epochs at 160 px")
    step.add_argument("--large-epochs", type=int, help="epochs at 224 px")
    step.add_argument("--learning-rate", type=float, help="peak learning rate of AdamW")
    step.add_argument("--seed", type=int, help="seed of order, augmentation and dropout")

    step = add("quantize", _quantize, "equalise, calibrate and convert to int8 TFLite")
    step.add_argument("--plain", action="store_true", help="leave the equalisation out")

    step = add("evaluate", _evaluate, "measure the int8 file on the held-out fold")
    step.add_argument(
        "--pool",
        nargs="+",
        metavar="RUN",
        help="measure nothing new; pool the held-out folds of --run and of these runs",
    )

    step = add("package", _package, "make the model package of an evaluated run", data=False)
    step.add_argument(
        "--to", type=Path, default=REPOSITORY / "models" / "waste6", help="folder of the package"
    )
    step.add_argument("--version", type=int, default=1, help="rises with every release (1)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one step; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    options.arguments = arguments
    options.run = _run_named(options.run)
    try:
        options.step(options)
    except BinDaemonError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
