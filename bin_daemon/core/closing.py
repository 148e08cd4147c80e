"""A base class for whatever is closed at the end of a `with` block; knows nothing of what it is."""

from __future__ import annotations

from typing import Self


class Closing:
    """A context manager whose block ends with `close`."""

    def close(self) -> None:
        """Let go of everything; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
