"""What a person sees who teaches the bin by hand: a sitting as coloured lines, or as one line.

A `Sitting` flows in, text flows out; it neither reads keys nor writes to the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from bin_daemon.core.messages import View
from bin_daemon.teaching.session import LOOKS, Sitting, Stage

if TYPE_CHECKING:
    from rich.console import RenderableType

_HELP = "n  new class    s  skip this item    u  undo the last one    f  finish and learn"
_VIEWS = {
    View.LEARNING: "leave it empty",
    View.EMPTY: "empty: put an item in",
    View.MOVING: "something moves",
    View.ITEM: "an item at rest",
    View.ITEMS: "two or more things: leave one",
    View.HAND: "take your hand out",
    View.BLOCKED: "nothing to be seen",
}


def drawing() -> Callable[[Sitting, Counter[str]], list[str]]:
    """What turns a sitting into lines for the terminal, coloured."""
    from rich.console import Console, Group
    from rich.table import Table as Grid
    from rich.text import Text

    console = Console(highlight=False)

    def draw(sitting: Sitting, before: Counter[str]) -> list[str]:
        seen = sitting.looks[-1].prediction if sitting.looks else None
        head = Grid.grid(padding=(0, 2, 0, 0))
        head.add_row(Text("chamber", "dim"), Text(view_of(sitting), "bold"))
        if seen is not None:
            best = sorted(zip(seen.probabilities, seen.labels, strict=True), reverse=True)[:3]
            words = ", ".join(f"{label} {share:.2f}" for share, label in best)
            head.add_row(Text("the bin says", "dim"), f"{words}  ({len(sitting.looks)}/{LOOKS})")
        else:
            head.add_row(Text("the bin says", "dim"), "")
        classes = Grid("key", "class", "items now", "pictures before", box=None, pad_edge=False)
        keys = {label: key for key, label in sitting.keys.items()}
        counts = sitting.counts
        for label in sitting.classes:
            now, kept = counts[label], before[label]
            classes.add_row(keys.get(label, ""), label, str(now or ""), str(kept or ""))
        parts: list[RenderableType] = [
            Text("bin-daemon teach", "bold"), "", head, "", classes, "",
            Text(prompt_of(sitting), "cyan"), "", Text(_HELP, "dim"),
        ]  # fmt: skip
        with console.capture() as drawn:
            console.print(Group(*parts))
        return drawn.get().splitlines()[: console.height]

    return draw


def view_of(sitting: Sitting) -> str:
    """What the chamber sees, in words for the person at it."""
    seen = sitting.observation
    if seen is None:
        return "waiting for the camera"
    if sitting.stage is Stage.REMOVAL:
        return "take the item out"
    words = _VIEWS[seen.view]
    told = seen.view in (View.LEARNING, View.BLOCKED) and seen.reason
    return f"{words} ({seen.reason})" if told else words


def prompt_of(sitting: Sitting) -> str:
    """What the person is asked, or was told last."""
    if sitting.typed is not None:
        return f"name of the new class: {sitting.typed}_   (enter, or escape)"
    if sitting.said:
        return sitting.said
    if sitting.answered:
        return "lying still, please: it is looked at again"
    return "what is it?" if sitting.stage is Stage.NAME else ""


def line_of(sitting: Sitting) -> str:
    """The same in one line, for where there is no screen."""
    if sitting.stage is not Stage.NAME or not sitting.looks:
        return view_of(sitting).split(" (")[0]
    first = sitting.looks[0].prediction
    return f"{view_of(sitting)}; the bin says {first.label} {first.confidence:.2f}"
