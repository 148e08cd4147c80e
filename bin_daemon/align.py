"""Whether the camera was bumped: by how much the whole view is displaced against the empty one.

A small frame and the `Ground` in use flow in; out flows that ground moved to where the frame shows
it, or None where nothing speaks for it. What is displaced is the whole view: a lid that rests
elsewhere or an item beside an edge is not, because the rest of the chamber votes against it.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.ground import BLOCK, Floats, Ground, detail
from bin_daemon.small import Bytes, as_bytes

LIMIT = 0.05  # of the longer side: further away is another view
_SPREAD = 0.1  # of the blocks with edges must differ before a displacement is looked for
_CLIP = 2.0  # times the slack: beyond it detail counts no more, so that no one glint rules
_PRIOR = 0.01  # of the correlation: the farthest displacement must be better by this much
_TELLING = 0.03  # of a block's pixels must tell the two grounds apart for it to have a vote
_VOTE = 0.3  # of these must be closer to one of them than half-way
_SEEN = 0.3  # of the votes there are: an item may hide the others
_CLEAR = 4.0  # votes for each one against


def realigned(small: Bytes, ground: Ground) -> Ground | None:
    """`ground` moved to fit `small` (uint8 (h, w, 3)); None where it fits as it is, or nowhere.

    The displacement is searched from where the empty view was learnt, so it is found again when the
    camera goes back.
    """
    if not _spread(small, ground):
        return None
    shift = _estimate(small, ground)
    if shift == ground.shift:
        return None
    moved = ground.moved(*shift)
    return moved if _elected(small, moved, ground) else None


def _blocks(mask: Bytes) -> Floats:
    """Share of each block that is set, float32."""
    size = (max(1, mask.shape[1] // BLOCK), max(1, mask.shape[0] // BLOCK))
    shares = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return np.asarray(shares, np.float32) / 255.0


def _spread(small: Bytes, ground: Ground) -> bool:
    """Whether the edges of the ground differ in so many places that they may have moved."""
    edges = _blocks(np.where(ground.edges, np.uint8(255), np.uint8(0))) > 0
    differs = _blocks(ground.outside(small)) > _TELLING
    return np.count_nonzero(edges & differs) > _SPREAD * np.count_nonzero(edges)


def _estimate(small: Bytes, ground: Ground) -> tuple[int, int]:
    """Displacement (x, y) in pixels of the view against where it was learnt.

    The peak of the normalised cross-correlation of detail; of those as good as each other (a joint
    tells nothing of a displacement along it) the smallest.
    """
    reach = round(LIMIT * max(small.shape[:2]))
    limit = _CLIP * ground.slack
    then, now = (np.clip(detail(v), -limit, limit) for v in (ground.home.expected, small))
    inner = np.ascontiguousarray(now[reach:-reach, reach:-reach])
    score = np.asarray(cv2.matchTemplate(then, inner, cv2.TM_CCORR_NORMED), np.float32)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    far = np.hypot(x, y) / reach
    best = int(np.argmax(score - _PRIOR * score.max() * far))
    row, column = divmod(best, score.shape[1])
    return reach - column, reach - row


def _distance(a: Bytes, b: Bytes) -> Bytes:
    """Sum of the differences of the channels, uint8 (h, w)."""
    return as_bytes(cv2.transform(cv2.absdiff(a, b), np.ones((1, 3), np.float32)))


def _elected(small: Bytes, rival: Ground, present: Ground) -> bool:
    """Whether `small` is clearly explained by `rival` rather than by `present`, all over the view.

    Where the two contradict each other, the frame is close to the one, the other or (an item)
    neither. Each block has one vote, however strong its edges.
    """
    apart = _distance(rival.expected, present.expected)
    telling = as_bytes(cv2.compare(apart, 3.0 * present.slack, cv2.CMP_GT))
    telling &= rival.known & present.known
    half = apart // 2
    like_rival = as_bytes(cv2.compare(_distance(small, rival.expected), half, cv2.CMP_LT))
    like_present = as_bytes(cv2.compare(_distance(small, present.expected), half, cv2.CMP_LT))
    tells = _blocks(telling)
    pro, contra = _blocks(telling & like_rival), _blocks(telling & like_present)
    votes = tells > _TELLING
    for_rival = np.count_nonzero(votes & (pro > contra) & (pro > _VOTE * tells))
    against = np.count_nonzero(votes & (contra >= pro) & (contra > _VOTE * tells))
    needed = max(3.0, _SEEN * np.count_nonzero(votes))
    return bool(for_rival >= needed and for_rival >= _CLEAR * against)
