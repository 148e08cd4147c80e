"""A YAML text as plain data, with the line that every key stands in.

A text flows in, `Document` flows out, or a `ConfigError` with the line where it stops being YAML.
It knows nothing of what the keys mean.
"""

from __future__ import annotations

from typing import Any

import yaml

from bin_daemon.core.errors import ConfigError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document:
    """A parsed text.

    data: mappings, lists and scalars. duplicates: a message for each key that stands twice.
    Raises ConfigError where the text is not YAML.
    """

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._lines: dict[tuple[str, ...], int] = {(): 1}
        self._walked: set[int] = set()
        self.duplicates: list[str] = []
        self.data: Any = None
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._walk(node, ())
                self.data = loader.construct_document(node)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or str(error)
            raise ConfigError(f"{name}:{line}: not valid YAML: {problem}") from error
        except RecursionError as error:
            raise ConfigError(f"{name}:1: nested too deeply to be a configuration") from error
        except ValueError as error:  # a date that is none, an integer beyond reason
            raise ConfigError(f"{name}:1: not valid YAML: {error}") from error
        finally:
            loader.dispose()

    def located(self, key: tuple[str, ...], words: str) -> str:
        """`file:line: key: words`, with the line of the key or of the nearest part around it."""
        near = key
        while near not in self._lines:
            near = near[:-1]
        return f"{self._name}:{self._lines[near]}: {'.'.join(key) or 'file'}: {words}"

    def _walk(self, node: yaml.Node, key: tuple[str, ...]) -> None:
        if id(node) in self._walked:  # an alias: walked where its anchor stands
            return
        self._walked.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for name_node, value in node.value:
                inner = (*key, str(name_node.value))
                line = name_node.start_mark.line + 1
                if (first := self._lines.setdefault(inner, line)) != line:
                    self.duplicates.append(
                        f"{self._name}:{line}: {'.'.join(inner)}: stands twice; "
                        f"the first is in line {first}"
                    )
                self._walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                inner = (*key, str(i))
                self._lines[inner] = value.start_mark.line + 1
                self._walk(value, inner)
