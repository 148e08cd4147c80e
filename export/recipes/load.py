"""Recipes: what a training is, in one YAML file, read strictly.

A name or a path flows in, a `Recipe` flows out, or an `ExportError` that names file, line and key
of every mistake. It decides nothing about pictures and never touches the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bin_daemon.config.validate import InvalidError, check
from bin_daemon.config.yaml_lines import Document
from bin_daemon.core.errors import ConfigError, UsageError
from bin_daemon.teaching.sample import check_label
from export.errors import ExportError
from export.recipes.schema import AnyRecipe, FoldedRecipe, KerasRecipe, Recipe

FOLDER = Path(__file__).resolve().parent

_KINDS: dict[str, type[AnyRecipe]] = {"keras": KerasRecipe, "folded": FoldedRecipe}


def shipped() -> list[str]:
    """Names of the recipes that come with the project, by alphabet."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(name: str) -> AnyRecipe:
    """Read a recipe by its name, or from a path that ends in .yaml.

    Raises ExportError where there is none, or with a line for each mistake: file, line, key.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(
            f"{path}: cannot read this recipe; shipped ones: {', '.join(shipped())}"
        ) from error
    return parse(text, str(path))


def parse(text: str, file: str) -> AnyRecipe:
    """Check the text of a recipe; `file` stands for it in what ExportError says."""
    try:
        document = Document(text, file)
    except ConfigError as error:
        raise ExportError(str(error)) from error
    return _checked(document.data, file, document.located, document.duplicates)


def override(recipe: AnyRecipe, changes: Mapping[str, Any]) -> AnyRecipe:
    """The recipe with some settings changed, by dotted keys such as `training.epochs`.

    Raises ExportError where a recipe has no such setting, or the value is none it may have.
    """
    if not changes:
        return recipe
    data = dataclasses.asdict(recipe)
    for key, value in changes.items():
        *path, last = key.split(".")
        holder: Any = data
        for part in path:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            raise ExportError(f"recipe {recipe.name}: {key}: there is no such setting")
        holder[last] = value

    def located(key: tuple[str, ...], words: str) -> str:
        return f"recipe {recipe.name}: {'.'.join(key) or 'settings'}: {words}"

    return _checked(data, f"{recipe.name}.yaml", located, [])


def _checked(
    data: Any, file: str, located: Callable[[tuple[str, ...], str], str], faults: list[str]
) -> AnyRecipe:
    """Build a recipe from plain data, or raise ExportError with a line for each mistake."""
    network = data.get("network") if isinstance(data, dict) else None
    kind = network.get("kind") if isinstance(network, dict) else None
    if kind not in _KINDS:
        raise ExportError(located(("network", "kind"), f"must be one of {', '.join(_KINDS)}"))
    try:
        recipe = check(_KINDS[kind], data)
        wrong = list(_rules(recipe, file))
    except InvalidError as invalid:
        wrong = invalid.faults
    if faults or wrong:
        raise ExportError("\n".join([*faults, *(located(key, words) for key, words in wrong)]))
    return recipe


def _rules(recipe: Recipe, file: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong, with its key, although each value by itself is right."""
    labels, split = recipe.labels or (), recipe.split
    if recipe.name != Path(file).stem:
        yield ("name",), f"'{recipe.name}' is not the name of the file"
    if len(set(labels)) < len(labels):
        yield ("labels",), "a class stands twice"
    for key, named in (
        (["residual_labels"], recipe.residual_labels),
        (["gate", "recall"], recipe.gate.recall),
    ):
        for label in named:
            if labels and label not in labels:
                yield tuple(key), f"'{label}' is none of the labels"
    for label in labels:
        try:
            check_label(label)
        except UsageError as error:
            yield ("labels",), str(error)
    if (split.folds is None) == (split.shares is None):
        yield ("split",), "needs either folds or shares"
    if split.shares and abs(sum(split.shares) - 1.0) > 1e-6:
        yield ("split", "shares"), f"sum up to {sum(split.shares):g}, not to 1"
    if recipe.data.archive and not recipe.data.address:
        yield ("data", "address"), "is needed to fetch an archive"


def settings(recipe: AnyRecipe) -> dict[str, Any]:
    """All that decides the training, as plain data for config.json."""
    names = ["network", "split", "training"]
    names += ["augmentation"] if isinstance(recipe, KerasRecipe) else []
    return {name: dataclasses.asdict(getattr(recipe, name)) for name in names}
