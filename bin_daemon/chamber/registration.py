"""Image registration: whether the camera was bumped, and by how much the whole view is displaced.

A small frame and the `Background` in use flow in; out flows the background moved to where the frame
shows it, or None where nothing supports that. It takes the whole view: a lid that rests elsewhere
or an item beside an edge is no displacement, because the rest of the chamber votes against it.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.chamber.background import Background, Floats, detail
from bin_daemon.chamber.pixels import Bytes, as_bytes, block_means

LIMIT = 0.05  # of the longer side: further away is another view
_STEP = 0.75  # pixels: less is shake, which the background tolerates
_CLIP = 2.0  # times the slack: beyond it detail is cut off, so that no single glint dominates
_PRIOR = 0.01  # of the correlation, by which the farthest displacement must be better
_TELLING = 0.03  # of a block's pixels must differ between the two views for it to have a vote
_VOTE = 0.3  # of these must be closer to one of them than half-way
_SEEN = 0.3  # of all votes: an item may hide the others
_CLEAR = 4.0  # votes for each one against


def registered(small: Bytes, background: Background) -> Background | None:
    """`background` moved to fit `small` (uint8 (h, w, 3)); None where it fits as it is, or nowhere.

    The search starts from where the empty view was learnt, so that a camera which goes back is
    noticed too.
    """
    reach = round(LIMIT * max(small.shape[:2]))
    if min(small.shape[:2]) < 4 * max(1, reach):
        return None  # a narrow slit shows too little to decide by
    x, y = _estimate(small, background, reach)
    if max(abs(x), abs(y)) < _STEP:
        x = y = 0.0
    if max(abs(x - background.shift[0]), abs(y - background.shift[1])) < _STEP:
        return None
    rival = background.seen_from(x, y)
    return background.moved(x, y) if _elected(small, rival, background, reach + 1) else None


def _estimate(small: Bytes, background: Background, reach: int) -> tuple[float, float]:
    """Displacement (x, y), in pixels up to `reach`, of the view from where it was learnt.

    The peak of the normalised cross-correlation of detail; among equals the smallest (a joint shows
    nothing of a displacement along it).
    """
    limit = _CLIP * background.slack
    then, now = (np.clip(detail(v), -limit, limit) for v in (background.unshifted.expected, small))
    inner = np.ascontiguousarray(now[reach : now.shape[0] - reach, reach : now.shape[1] - reach])
    score = np.asarray(cv2.matchTemplate(then, inner, cv2.TM_CCORR_NORMED), np.float32)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    score -= _PRIOR * float(score.max()) * np.hypot(x, y) / reach
    row, column = divmod(int(np.argmax(score)), score.shape[1])
    across, down = _vertex(score[row], column), _vertex(score[:, column], row)
    return reach - column - across, reach - row - down


def _vertex(score: Floats, i: int) -> float:
    """Where, within 0.5 of `i`, the parabola through a peak and its neighbours is highest."""
    if not 0 < i < len(score) - 1:
        return 0.0
    before, peak, after = (float(v) for v in score[i - 1 : i + 2])
    bend = before - 2.0 * peak + after
    return 0.5 * (before - after) / bend if bend < 0.0 else 0.0


def _distance(a: Bytes, b: Bytes) -> Bytes:
    """Sum of the differences of the channels, uint8 (h, w)."""
    return as_bytes(cv2.transform(cv2.absdiff(a, b), np.ones((1, 3), np.float32)))


def _elected(small: Bytes, rival: Bytes, background: Background, margin: int) -> bool:
    """Whether `rival` explains `small` clearly better than `background` does, all over the view.

    Where the two views differ, the frame is close to the one, the other or (an item) neither. Each
    block has one vote, however strong its edges; margin: pixels at the borders that have none,
    since not all of them are known.
    """
    inner = (slice(margin, -margin), slice(margin, -margin))
    frame, present, rival = small[inner], background.expected[inner], rival[inner]
    apart = _distance(rival, present)
    limit = np.full_like(apart, min(255.0, 3.0 * background.slack))
    telling = as_bytes(cv2.compare(apart, limit, cv2.CMP_GT))
    half = apart // 2
    like_rival = as_bytes(cv2.compare(_distance(frame, rival), half, cv2.CMP_LT))
    like_present = as_bytes(cv2.compare(_distance(frame, present), half, cv2.CMP_LT))
    masks = (telling, telling & like_rival, telling & like_present)
    tells, pro, contra = (block_means(mask) / 255.0 for mask in masks)
    votes = tells > _TELLING
    for_rival = np.count_nonzero(votes & (pro > contra) & (pro > _VOTE * tells))
    against = np.count_nonzero(votes & (contra >= pro) & (contra > _VOTE * tells))
    needed = max(3.0, _SEEN * np.count_nonzero(votes))
    return bool(for_rival >= needed and for_rival >= _CLEAR * against)
