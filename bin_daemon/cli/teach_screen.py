"""What a person sees who teaches the bin by hand: a session as coloured lines, or as one line.

A `TeachingSession` flows in, text flows out; it neither reads keys nor writes to the terminal.
"""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bin_daemon.core.messages import View
from bin_daemon.teaching.session import SHOTS, Stage, TeachingSession

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


def lines(session: TeachingSession, before: Counter[str], console: Console) -> list[str]:
    """The session as lines for the terminal of `console`, coloured.

    before: pictures of each class that were stored before it.
    """
    seen, view, said = session.observation, view_of(session), ""
    if seen and seen.view in (View.LEARNING, View.BLOCKED) and session.stage is not Stage.REMOVAL:
        view = f"{view} ({seen.reason})" if seen.reason else view
    if session.shots:
        last = session.shots[-1].prediction
        best = sorted(zip(last.probabilities, last.labels, strict=True), reverse=True)[:3]
        words = ", ".join(f"{label} {share:.2f}" for share, label in best)
        said = f"{words}  ({len(session.shots)}/{SHOTS})"
    head = Table.grid(padding=(0, 2, 0, 0))
    head.add_row(Text("chamber", "dim"), Text(view, "bold"))
    head.add_row(Text("the bin says", "dim"), said)
    classes = Table("key", "class", "items now", "pictures before", box=None, pad_edge=False)
    keys = {label: key for key, label in session.keys.items()}
    for label in session.classes:
        counts = (str(count or "") for count in (session.counts[label], before[label]))
        classes.add_row(keys.get(label, ""), label, *counts)
    title, prompt = Text("bin-daemon teach", "bold"), Text(prompt_of(session), "cyan")
    with console.capture() as drawn:
        parts = (title, "", head, "", classes, "", prompt, "", Text(_HELP, "dim"))
        console.print(*parts, sep="\n")
    return drawn.get().splitlines()[: console.height]


def view_of(session: TeachingSession) -> str:
    """What the chamber sees, in words for the person at it."""
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
    """What the chamber and the network see in one line, for where there is no screen."""
    if session.stage is not Stage.NAME or not session.shots:
        return view_of(session)
    first = session.shots[0].prediction
    return f"{view_of(session)}; the bin says {first.label} {first.confidence:.2f}"
