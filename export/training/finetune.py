"""Fine-tune a package on the crops that bins have kept and people have labelled.

What `bin-daemon samples export` wrote and a package flow in; a run flows out that is quantised,
evaluated and packaged like any other. Whole pictures are refused: a bin shows its network crops.
"""

from __future__ import annotations

from pathlib import Path

from bin_daemon.teaching.folder import listed
from export.errors import ExportError
from export.networks.package_weights import read_shipped
from export.recipes.schema import FoldedRecipe, KerasRecipe
from export.run import Run
from export.training.folded import train


def finetune(
    run: Run,
    recipe: FoldedRecipe | KerasRecipe,
    folder: Path,
    start: Path,
    backbone: Path,
    fold: int | None,
) -> None:
    """Train on an export, starting from the package in `start`.

    Raises:
        ExportError: the recipe is of another kind, the folder is no export, or as `train` does.
        UsageError: the tables of the folder do not fit its pictures.
        ModelError: `start` is no package.
    """
    if not isinstance(recipe, FoldedRecipe):
        raise ExportError(
            f"recipe {recipe.name}: trains a network of kind '{recipe.network.kind}'; "
            f"--finetune-from goes on with a package of kind 'folded'"
        )
    if whole := [one.path for one in listed(folder) if not one.cropped]:
        raise ExportError(
            f"{folder}: {whole[0].relative_to(folder)} is no crop of a bin ({len(whole)} such "
            f"pictures). `bin-daemon teach --from` with an empty view cuts whole pictures and "
            f"keeps the crops, which `samples export` then writes. What was kept without a view "
            f"is taken out by `samples delete ID...`; ids are the names of the exported files"
        )
    train(run, recipe, folder, backbone, fold, read_shipped(start))
