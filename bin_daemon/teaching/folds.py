"""Which pictures belong together, and how they are dealt into folds for cross-validation.

Embeddings, labels, sessions and items flow in, a fold for each picture flows out. Pictures of one
thing never straddle folds, else a head would be tested on what it was taught.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from bin_daemon.model.calibration import Counts, Floats

FOLDS = 5
# Squared distance of two embeddings of one thing seen again, as a share of the median one of any
# two pictures. Of different things of one class in one chamber about one pair in a hundred is so
# near.
ALIKE = 0.2
# So many sessions make it possible to test on unseen ones.
SESSIONS = 3
SESSION_FOLDS = 10


def by_session(labels: Sequence[str], sessions: Sequence[str]) -> bool:
    """Whether whole sessions can be held out: three or more, and in each two classes or more.

    Then the figures are of sessions that the head was not taught in. Where a session shows one
    class only, its background gives the class away, and the head would be judged by that.
    """
    in_session, of_class = defaultdict(set), defaultdict(set)
    for label, session in zip(labels, sessions, strict=True):
        in_session[session].add(label)
        of_class[label].add(session)
    mixed = all(len(seen) >= 2 for seen in (*in_session.values(), *of_class.values()))
    return mixed and len(in_session) >= SESSIONS


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of 0 to count - 1 a member of its set: all that a chain of pairs connects.

    By union-find.
    """
    parent = list(range(count))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = at = parent[parent[at]]
        return at

    for one, other in pairs:
        parent[root(other)] = root(one)
    return [root(at) for at in range(count)]


def deal(groups: Iterable[tuple[str, str, int]], folds: int) -> dict[str, int]:
    """The fold of each group: of a class, each group goes where that class is rarest so far.

    Whole groups are dealt (no group straddles two folds), stratified by class, without a seed: the
    order of the groups alone decides. groups: (group, label, pictures); one that comes again with
    another class stays where it is. folds: how many; the first of the emptiest is taken.
    """
    filled: dict[str, list[int]] = defaultdict(lambda: [0] * folds)
    dealt: dict[str, int] = {}
    for group, label, pictures in groups:
        sizes = filled[label]
        fold = dealt.setdefault(group, sizes.index(min(sizes)))
        sizes[fold] += pictures
    return dealt


def things(
    features: Floats, labels: Sequence[str], sessions: Sequence[str], items: Sequence[str]
) -> list[str]:
    """Which thing each picture shows: its item, where look-alikes count as one.

    Things are joined where a chain of look-alikes of one class and session connects them.
    features: float (n, d) of length 1. Returns a name for each picture.
    """
    members = defaultdict(list)
    for at, key in enumerate(zip(labels, sessions, strict=True)):
        members[key].append(at)
    apart = 2.0 - 2.0 * features @ features.T  # squared distances of vectors of length 1
    near = ALIKE * np.median(apart[np.triu_indices(len(apart), 1)])
    pairs = [
        (mine[one], mine[other])
        for mine in members.values()
        for one, other in np.argwhere(np.triu(apart[np.ix_(mine, mine)] < near, 1))
    ]
    first: dict[str, int] = {}
    pairs += [(first.setdefault(item, at), at) for at, item in enumerate(items)]
    return [str(thing) for thing in joined(len(labels), pairs)]


def folds_of(groups: Sequence[str], labels: Sequence[str], whole_sessions: bool) -> Counts:
    """The fold of each picture, int64 (n,): no group straddles two, and there is no seed.

    whole_sessions: groups are sessions. They have a fold each while there are at most
    SESSION_FOLDS; from then on those share one that have the least in common. Things are dealt so
    that each class is spread evenly over FOLDS: the largest group first, each to the fold with the
    fewest pictures of its class.
    """
    if whole_sessions:
        dealt = _turns(groups, labels)
    else:
        members = Counter(zip(labels, groups, strict=True)).items()
        largest_first = sorted(members, key=lambda member: (-member[1], member[0]))
        dealt = deal(((group, label, n) for (label, group), n in largest_first), FOLDS)
    return np.array([dealt[group] for group in groups], np.int64)


def _turns(sessions: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """The fold of each session: no class may be held out whole: no head would know it."""
    shown: dict[str, set[str]] = defaultdict(set)
    for session, label in zip(sessions, labels, strict=True):
        shown[session].add(label)
    times = Counter(label for seen in shown.values() for label in seen)
    held: list[Counter[str]] = [Counter() for _ in range(SESSION_FOLDS)]
    turn = {}
    for session, seen in sorted(shown.items()):
        # The largest share of one of its classes that a fold holds already, then how full that is.
        burden = [(max(of[one] / times[one] for one in seen), of.total()) for of in held]
        turn[session] = burden.index(min(burden))
        held[turn[session]].update(seen)
    return turn
