"""`python -m export <step>`: the steps from pictures to a model package, each on its own.

Exit codes: 0 done, 2 an input is missing or wrong (the message says which).
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path

import yaml

from bin_daemon.core.errors import BinDaemonError
from export.data.pictures import FOLDS
from export.errors import ExportError
from export.evaluation.chambers import CHAMBERS
from export.recipes.load import override, read_recipe, shipped
from export.recipes.schema import FoldedRecipe
from export.rendering.reel import command as reel
from export.rendering.studio import command as studio
from export.run import DEFAULT_BACKBONE, DEFAULT_RUNS, MADE_BACKBONE, REPOSITORY, Run

Action = Callable[[Namespace], int | None]


def _train(options: Namespace) -> None:
    from export.data.fetch import locate
    from export.training import folded, keras
    from export.views.relaid import relaid_set

    recipe = read_recipe(options.recipe or ("finetune" if options.finetune_from else "waste6"))
    changes = dict(options.set or ())
    shortcuts = {"network.backbone": options.backbone_name, "network.weights": options.weights}
    changes |= {key: value for key, value in shortcuts.items() if value is not None}
    recipe = override(recipe, changes)
    run = _run_named(options.run or recipe.name)
    if options.finetune_from:
        start, backbone = options.start, options.backbone
        folded.finetune(run, recipe, options.finetune_from, start, backbone, options.fold)
        return
    data = locate(recipe.name, recipe.data, options.data, options.sha256, relaid_set)
    if isinstance(recipe, FoldedRecipe):
        folded.train(run, recipe, data, options.backbone, options.fold)
    else:
        keras.train(run, recipe, data, options.fold, options.backbone)


def _quantize(options: Namespace) -> None:
    from export.conversion.int8 import quantise

    quantise(*_run_and_data(options), plain=options.plain)


def _evaluate(options: Namespace) -> None:
    if options.pool:
        from export.evaluation.pooling import pool

        others = [_run_named(name) for name in options.pool]
        pool(_run_named(options.run), others, options.arguments)
    else:
        from export.evaluation.evaluate import evaluate

        evaluate(*_run_and_data(options, "quantize"), options.arguments)


def _report(options: Namespace) -> None:
    from export.report.page import report

    report(*_run_and_data(options, "quantize"))


def _package(options: Namespace) -> None:
    from export.packaging.package import package

    run = _run_named(options.run)
    folder = options.to or REPOSITORY / "models" / run.folder.name
    package(run, folder, options.version, despite=options.despite)


def _import(options: Namespace) -> None:
    if options.annotations:
        from export.data.annotations import import_annotations

        if not options.to:
            raise ExportError("import --annotations needs --to, the folder to make")
        print(import_annotations(options.annotations, options.to))
        return
    if not (options.file and options.labels and options.calibrate):
        raise ExportError("import needs a model, --labels and --calibrate; or --annotations")
    from export.conversion.importer import import_model

    run = import_model(
        _run_named(options.run or options.file.stem),
        options.file,
        options.labels,
        options.calibrate,
        options.scale,
        options.size,
    )
    if options.to:
        # TensorFlow is loaded by now, and tflite-runtime does not work beside it.
        of_run = ["--run", str(run.folder.resolve())]
        packaged = ["package", *of_run, "--to", str(options.to.resolve())]
        for step in (["evaluate", *of_run], packaged):
            command = [sys.executable, "-m", "export", *step]
            if subprocess.run(command, cwd=REPOSITORY, check=False).returncode:
                raise ExportError(f"{run.folder}: imported, but `{step[0]}` refused it; see above")


def _recipes(options: Namespace) -> None:
    from export.training.rehearse import rehearse

    rehearse(options.to, options.names)


def _backbone(options: Namespace) -> None:
    from export.networks.folding import make_backbone

    make_backbone(options.to, options.weights)


def _groups(options: Namespace) -> None:
    from export.data.groups import agreement_of

    print(agreement_of(options.folder, options.backbone))


def _masks(options: Namespace) -> None:
    from export.evaluation.masks import measure_masks, table

    figures = measure_masks(options.reel)
    print(json.dumps(figures, indent=1) if options.json else table(figures))


def _teaching(options: Namespace) -> None:
    from export.evaluation.teaching import measure_teaching

    chambers = [options.data / name for name in options.chamber or CHAMBERS]
    for line in measure_teaching(chambers, options.model, options.draws):
        print(json.dumps(line), flush=True)


def parser() -> ArgumentParser:
    """The command line: each step with its options and its action."""
    top = ArgumentParser(prog="python -m export", description="From pictures to a model package.")
    steps = top.add_subparsers(required=True, metavar="STEP")

    of_run, of_data = (ArgumentParser(add_help=False) for _ in range(2))
    add = of_run.add_argument
    add("--run", default="waste6", help="name of the run, or a path to its folder (waste6)")
    add = of_data.add_argument
    add("--data", type=Path, help="folder of <class>/<picture> (that of the training)")

    def step(name: str, action: Action, purpose: str, *shared: ArgumentParser) -> ArgumentParser:
        added = steps.add_parser(name, help=purpose, description=purpose, parents=shared)
        added.set_defaults(step=action)
        return added

    _train_options(step("train", _train, "train by a recipe, or go on where it was broken off"))

    purpose = "calibrate and convert to int8 TFLite"
    add = step("quantize", _quantize, purpose, of_run, of_data).add_argument
    add("--plain", action="store_true", help="leave the equalisation out")

    purpose = "measure the int8 file on the held-out pictures"
    add = step("evaluate", _evaluate, purpose, of_run, of_data).add_argument
    pool = "measure nothing new; pool the held-out folds of --run and of these runs"
    add("--pool", nargs="+", metavar="RUN", help=pool)

    purpose = "a page with plots and examples of an evaluated run"
    step("report", _report, purpose, of_run, of_data)

    add = step(
        "package", _package, "make the model package of an evaluated run", of_run
    ).add_argument
    add("--to", type=Path, help="folder of the package (models/<run>)")
    add("--version", type=int, help="rises with every release (the recipe's)")
    add("--despite", metavar="REASON", help="package what the gate refuses; the card repeats why")

    purpose = "take over a trained classifier, or annotated pictures"
    _import_options(step("import", _import, purpose))

    add = step("recipes", _recipes, "train every published backbone on drawn pictures").add_argument
    add("names", nargs="*", metavar="BACKBONE", help="only these (all)")
    add("--to", type=Path, default=DEFAULT_RUNS / "recipes", help="folder of pictures and runs")

    add = step("backbone", _backbone, "fold Keras's MobileNetV2, for `train`").add_argument
    made = MADE_BACKBONE.relative_to(REPOSITORY)
    add("--to", type=Path, default=MADE_BACKBONE, help=f"file to write ({made})")
    add("--weights", type=Path, help="Keras's weights without the classifier, .h5 (fetched)")

    _measuring_steps(step)
    reel.add_arguments(step("reel", reel.run, "render the project's own demo footage"))
    studio.add_arguments(step("studio", studio.run, "render rubbish in random sorting chambers"))
    return top


def _measuring_steps(step: Callable[[str, Action, str], ArgumentParser]) -> None:
    """What measures a part of the project by itself, outside of any run."""
    add = step("groups", _groups, "how well near-duplicates recover a groups.csv").add_argument
    add("folder", type=Path, help="folder of <class>/<picture> with groups.csv")
    add("--backbone", type=Path, default=DEFAULT_BACKBONE, help="folded weights")

    purpose = "compare the masks of the chamber with those of a reel"
    add = step("masks", _masks, purpose).add_argument
    add(
        "reel",
        nargs="?",
        type=Path,
        default=REPOSITORY / "firmware_config/reel",
        help="folder with truth.yaml",
    )
    add("--json", action="store_true", help="print JSON, not a table")

    add = step("teach-figures", _teaching, "what teaching is worth in real chambers").add_argument
    add("--data", type=Path, default=Path("../shared/data"), help="folder of the chambers")
    add("--model", default="waste6", help="model package, by name or path (waste6)")
    add("--chamber", action="append", choices=CHAMBERS, help="only this one (both)")
    add("--draws", type=int, default=5, help="random choices of pictures (5)")


def _train_options(step: ArgumentParser) -> None:
    add = step.add_argument
    add(
        "--recipe",
        help=f"a .yaml file, or one of {', '.join(shipped())} (waste6; finetune with "
        "--finetune-from)",
    )
    add("--run", help="name of the run, or a path to its folder (that of the recipe)")
    where = step.add_mutually_exclusive_group()
    where.add_argument("--data", type=Path, help="folder of <class>/<picture>")
    where.add_argument(
        "--finetune-from",
        type=Path,
        metavar="DIR",
        help="what `bin-daemon samples export` wrote, to go on from a package with",
    )
    add(
        "--start",
        type=Path,
        default=REPOSITORY / "models" / "waste6",
        help="package to go on from, with --finetune-from (models/waste6)",
    )
    add("--sha256", help="of the published archive, where the recipe knows none")
    add(
        "--fold",
        type=_fold,
        default=0,
        metavar="0-4|none",
        help="the fold to hold out (0); none learns from every picture",
    )
    add("--backbone", type=Path, default=DEFAULT_BACKBONE, help="folded weights")
    add("--backbone-name", help="another published backbone than the recipe's")
    add("--weights", help="imagenet, none, or a folded .npz, for a published backbone")
    add(
        "--set",
        type=_setting,
        action="append",
        metavar="KEY=VALUE",
        help="change a setting of the recipe, such as training.epochs=3; can be repeated. The "
        "settings and what they mean stand in export/recipes/schema.py",
    )


def _import_options(step: ArgumentParser) -> None:
    add = step.add_argument
    add("file", type=Path, nargs="?", help="the model: .keras, .h5 or .tflite")
    add("--annotations", type=Path, help="instead of a model: LabelMe or COCO, a file or a folder")
    add("--labels", type=Path, help="class names, one a line, as the model has them")
    add("--calibrate", type=Path, help="folder of <class>/<picture>, as the model will see")
    add(
        "--scale",
        help="what the model expects of pixels: 0-1, -1-1 (as --scale=-1-1), 0-255, imagenet or "
        "caffe; without it each is tried, and the one that is clearly right is taken",
    )
    add("--size", type=int, help="side of the input, where the model leaves it open")
    add("--name", dest="run", help="name of the run (that of the file)")
    add("--to", type=Path, help="make a package in this folder, or crops and cut-outs")


def _run_named(name: str) -> Run:
    """A run by its name in the runs folder, or by a path with a folder in it."""
    path = Path(name)
    return Run(path if len(path.parts) > 1 else DEFAULT_RUNS / path)


def _run_and_data(options: Namespace, made_by: str = "train") -> tuple[Run, Path]:
    """The run, and the folder its pictures are in: the one named, or the one it was trained on."""
    run = _run_named(options.run)
    if made_by == "quantize":
        run.need("model.tflite", made_by)
    config = run.read_json("config.json", "train")
    return run, options.data or (REPOSITORY / config["data"]).resolve()


def _fold(text: str) -> int | None:
    """A fold by its number, or None for none."""
    if text == "none":
        return None
    if text not in [str(fold) for fold in range(FOLDS)]:
        raise ArgumentTypeError(f"'{text}' is neither 0 to {FOLDS - 1} nor none")
    return int(text)


def _setting(text: str) -> tuple[str, object]:
    """KEY=VALUE with the value as in YAML."""
    key, found, value = text.partition("=")
    if not found or not key:
        raise ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ArgumentTypeError(f"'{value}' is no YAML value") from error


def main(arguments: list[str] | None = None) -> int:
    """Run one step; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    options.arguments = arguments
    try:
        return options.step(options) or 0
    except BinDaemonError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"export: {error}; check the disk and who owns the folder", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
