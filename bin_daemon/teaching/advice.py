"""Whether there is enough to learn from, and what to doubt in what was learnt.

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
            f"teaching takes pictures of two classes or more, at least {LEAST} of each: a head "
            f"that was shown one class only would say it of everything"
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
            f"the pictures of {', '.join(alike)} look as if they showed so few different things, "
            f"too few to test on; show others, or the same at other places and turned"
        )
    known = counts.keys() | figures["left_out"].keys()
    if untaught := [label for label in labels if label not in known]:
        yield (
            f"no pictures of {', '.join(untaught)}: the head knows of them only what the package "
            f"knew and will seldom say them; show some if they are put into this bin"
        )
    former = figures["former"]
    if former and former["before"] - former["after"] > former["se"]:
        yield (
            f"of the {former['pictures']} newest pictures {former['model']} tells "
            f"{former['before']:.0%} right without having been taught them, the new head "
            f"{former['after']:.0%}: see whether their classes are right; `teach --undo` takes a "
            f"new head back"
        )
    control = figures["control"]
    if control is None:
        yield (
            f"no control: fewer than {2 * LEAST} crops of two classes are known without their "
            f"item; more items give one, and with --from whole pictures with their empty view"
        )
    elif (above := control["accuracy"] - control["majority"]) > max(NEAR_CHANCE, 2 * control["se"]):
        yield (
            f"with the items taken out of the pictures the class is still told in "
            f"{control['accuracy']:.0%} of them ({above:+.0%} against the commonest class): the "
            f"head may know the ground instead of the item; show every class in each session, at "
            f"many places"
        )
