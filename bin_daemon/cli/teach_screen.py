"""What a person sees who teaches the bin by hand: a session as coloured lines, or as one line.

A `TeachingSession` flows in, text flows out; it neither reads keys nor writes to the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from bin_daemon.core.messages import View
from bin_daemon.teaching.session import SHOTS, Stage, TeachingSession

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


def drawing() -> Callable[[TeachingSession, Counter[str]], list[str]]:
    """What turns a session into lines for the terminal, coloured."""
    from rich.console import Console, Group
    from rich.table import Table as Grid
    from rich.text import Text

    console = Console(highlight=False)

    def draw(session: TeachingSession, before: Counter[str]) -> list[str]:
        seen = session.shots[-1].prediction if session.shots else None
        head = Grid.grid(padding=(0, 2, 0, 0))
        head.add_row(Text("chamber", "dim"), Text(view_of(session), "bold"))
        if seen is not None:
            best = sorted(zip(seen.probabilities, seen.labels, strict=True), reverse=True)[:3]
            words = ", ".join(f"{label} {share:.2f}" for share, label in best)
            head.add_row(Text("the bin says", "dim"), f"{words}  ({len(session.shots)}/{SHOTS})")
        else:
            head.add_row(Text("the bin says", "dim"), "")
        classes = Grid("key", "class", "items now", "pictures before", box=None, pad_edge=False)
        keys = {label: key for key, label in session.keys.items()}
        counts = session.counts
        for label in session.classes:
            now, kept = counts[label], before[label]
            classes.add_row(keys.get(label, ""), label, str(now or ""), str(kept or ""))
        parts: list[RenderableType] = [
            Text("bin-daemon teach", "bold"), "", head, "", classes, "",
            Text(prompt_of(session), "cyan"), "", Text(_HELP, "dim"),
        ]  # fmt: skip
        with console.capture() as drawn:
            console.print(Group(*parts))
        return drawn.get().splitlines()[: console.height]

    return draw


def view_of(session: TeachingSession) -> str:
    """What the chamber sees, in words for the person at it, with the reason where there is one."""
    seen = session.observation
    why = seen.reason if seen and seen.view in (View.LEARNING, View.BLOCKED) else ""
    removal = session.stage is Stage.REMOVAL
    return f"{_view(session)} ({why})" if why and not removal else _view(session)


def _view(session: TeachingSession) -> str:
    if session.observation is None:
        return "waiting for the camera"
    if session.stage is Stage.REMOVAL:
        return "take the item out"
    return _VIEWS[session.observation.view]


def prompt_of(session: TeachingSession) -> str:
    """What the person is asked, or was told last."""
    if session.typed is not None:
        return f"name of the new class: {session.typed}_   (enter, or escape)"
    if session.said:
        return session.said
    if session.answered:
        return "lying still, please: it is looked at again"
    return "what is it?" if session.stage is Stage.NAME else ""


def line_of(session: TeachingSession) -> str:
    """The same in one line, for where there is no screen."""
    if session.stage is not Stage.NAME or not session.shots:
        return _view(session)
    first = session.shots[0].prediction
    return f"{view_of(session)}; the bin says {first.label} {first.confidence:.2f}"
