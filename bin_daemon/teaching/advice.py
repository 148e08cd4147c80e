"""What a person is told: whether there is enough to learn from, and what to doubt afterwards.

Labels of pictures and figures of a training flow in, words for a person flow out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bin_daemon.core.errors import UsageError

LEAST = 3  # pictures of a class: fewer cannot be both learnt from and tested on
FEW = 10
# So far above the majority the control may be, besides two standard errors.
NEAR_CHANCE = 0.1


def left_out(
    labels: Iterable[str], taken: Container[str] | None = None, known: Iterable[str] = ()
) -> dict[str, str]:
    """The classes that cannot be learnt, each with what it needs.

    labels: of pictures. taken: the classes that have a route; None where that does not matter.
    known: classes that were taught before, of which there may be no picture any more.
    Raises UsageError where fewer than two classes can be learnt.
    """
    counts = Counter(dict.fromkeys(known, 0))
    counts.update(labels)
    needs = {}
    for label, count in sorted(counts.items()):
        if taken is not None and label not in taken:
            needs[label] = "no route takes it; add it to one's 'takes'"
        elif count < LEAST:
            needs[label] = f"pictures still needed: {LEAST - count}"
    if len(counts) - len(needs) < 2:
        words = (
            f"teaching needs pictures of two classes or more, at least {LEAST} of each: a head "
            f"that knows one class only would give it to everything"
        )
        raise UsageError("; ".join([words, *in_words(needs)]))
    return needs


def in_words(needs: Mapping[str, str]) -> list[str]:
    """What `left_out` gives, in words."""
    return [f"'{label}' is left out: {need}" for label, need in needs.items()]


def advise(figures: Mapping[str, Any], labels: Sequence[str]) -> Iterator[str]:
    """What a person should know before trusting a head, a sentence each.

    figures: of `TrainingResult`. labels: of the head.
    """
    counts = figures["pictures"]
    yield from in_words(figures["left_out"])
    if few := [f"{label} ({n})" for label, n in counts.items() if n < FEW]:
        yield f"few pictures of {', '.join(few)}: the figures are rough; show {FEW} or more"
    if alike := [f"{label} ({n})" for label, n in figures["things"].items() if n < LEAST]:
        yield (
            f"the pictures of {', '.join(alike)} seem to show so few different things, too few to "
            f"test on; show others, or the same ones turned and in other places"
        )
    known = counts.keys() | figures["left_out"].keys()
    if untaught := [label for label in labels if label not in known]:
        yield (
            f"no pictures of {', '.join(untaught)}: the head knows only what the package knew of "
            f"them and will seldom recognise them; show some if they end up in this bin"
        )
    former = figures["former"]
    if former and former["before"] - former["after"] > former["se"]:
        yield (
            f"of the {former['pictures']} newest pictures {former['model']} gets "
            f"{former['before']:.0%} right without having been taught them, the new head "
            f"{former['after']:.0%}: check their classes; `teach --undo` goes back"
        )
    control = figures["control"]
    if control is None:
        yield (
            f"no control: it takes {2 * LEAST} crops of two classes whose background is known "
            f"without the item; teach more items, or with --from whole pictures and an empty view"
        )
    elif (above := control["accuracy"] - control["majority"]) > max(NEAR_CHANCE, 2 * control["se"]):
        yield (
            f"with the items taken out of the pictures, {control['accuracy']:.0%} still get the "
            f"right class ({above:+.0%} against the commonest class): the head may have learnt the "
            f"background instead of the item; show every class in each session, in many places"
        )
