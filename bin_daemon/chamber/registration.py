"""Whether the camera was bumped: by how much the whole view is displaced against the empty one.

A small frame and the `Ground` in use flow in; out flows that ground moved to where the frame shows
it, or None where nothing speaks for it. What is displaced is the whole view: a lid that rests
elsewhere or an item beside an edge is not, because the rest of the chamber votes against it.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.chamber.background import BLOCK, Floats, Ground, detail
from bin_daemon.chamber.pixels import Bytes, as_bytes

LIMIT = 0.05  # of the longer side: further away is another view
_STEP = 0.75  # pixels: less is shake, which the ground tolerates
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
    reach = round(LIMIT * max(small.shape[:2]))
    if min(small.shape[:2]) < 4 * max(1, reach):
        return None  # a region like a slit shows too little to tell by
    x, y = _estimate(small, ground, reach)
    if max(abs(x), abs(y)) < _STEP:
        x = y = 0.0
    if max(abs(x - ground.shift[0]), abs(y - ground.shift[1])) < _STEP:
        return None
    rival = ground.seen_from(x, y)
    return ground.moved(x, y) if _elected(small, rival, ground, reach + 1) else None


def _blocks(mask: Bytes) -> Floats:
    """Share of each block that is set, float32."""
    size = (max(1, mask.shape[1] // BLOCK), max(1, mask.shape[0] // BLOCK))
    shares = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return np.asarray(shares, np.float32) / 255.0


def _estimate(small: Bytes, ground: Ground, reach: int) -> tuple[float, float]:
    """Displacement (x, y), in pixels up to `reach`, of the view against where it was learnt.

    The peak of the normalised cross-correlation of detail; of those as good as each other (a joint
    tells nothing of a displacement along it) the smallest.
    """
    limit = _CLIP * ground.slack
    then, now = (np.clip(detail(v), -limit, limit) for v in (ground.home.expected, small))
    inner = np.ascontiguousarray(now[reach : now.shape[0] - reach, reach : now.shape[1] - reach])
    score = np.asarray(cv2.matchTemplate(then, inner, cv2.TM_CCORR_NORMED), np.float32)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    score -= _PRIOR * float(score.max()) * np.hypot(x, y) / reach
    row, column = divmod(int(np.argmax(score)), score.shape[1])
    across, down = _vertex(score[row], column), _vertex(score[:, column], row)
    return reach - column - across, reach - row - down


def _vertex(score: Floats, i: int) -> float:
    """Where, between -0.5 and 0.5 from `i`, the parabola through a peak and its neighbours is
    highest; 0 at the ends."""
    if not 0 < i < len(score) - 1:
        return 0.0
    before, peak, after = (float(v) for v in score[i - 1 : i + 2])
    bend = before - 2.0 * peak + after
    return 0.5 * (before - after) / bend if bend < 0.0 else 0.0


def _distance(a: Bytes, b: Bytes) -> Bytes:
    """Sum of the differences of the channels, uint8 (h, w)."""
    return as_bytes(cv2.transform(cv2.absdiff(a, b), np.ones((1, 3), np.float32)))


def _elected(small: Bytes, rival: Bytes, ground: Ground, margin: int) -> bool:
    """Whether `small` is clearly explained by the view `rival` rather than by `ground`, all over.

    Where the two contradict each other, the frame is close to the one, the other or (an item)
    neither. Each block has one vote, however strong its edges; margin: pixels at the borders that
    have none, since not all of them are known.
    """
    inner = (slice(margin, -margin), slice(margin, -margin))
    frame, present, rival = small[inner], ground.expected[inner], rival[inner]
    apart = _distance(rival, present)
    limit = np.full_like(apart, min(255.0, 3.0 * ground.slack))
    telling = as_bytes(cv2.compare(apart, limit, cv2.CMP_GT))
    half = apart // 2
    like_rival = as_bytes(cv2.compare(_distance(frame, rival), half, cv2.CMP_LT))
    like_present = as_bytes(cv2.compare(_distance(frame, present), half, cv2.CMP_LT))
    tells = _blocks(telling)
    pro, contra = _blocks(telling & like_rival), _blocks(telling & like_present)
    votes = tells > _TELLING
    for_rival = np.count_nonzero(votes & (pro > contra) & (pro > _VOTE * tells))
    against = np.count_nonzero(votes & (contra >= pro) & (contra > _VOTE * tells))
    needed = max(3.0, _SEEN * np.count_nonzero(votes))
    return bool(for_rival >= needed and for_rival >= _CLEAR * against)
