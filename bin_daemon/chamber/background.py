"""The background model: what the empty chamber looks like, learnt, updated, fitted to the light.

Small frames (uint8, about 160 pixels wide) flow in; out flows which pixels are foreground. Three
things are not: sensor noise (measured while learning), a shift of about two small pixels (the range
of each 5x5 neighbourhood is tolerated), and a change of light (a gain per channel with a slope
across the picture, fitted robustly, so that an item does not bend it). Where the camera was bumped
further, `moved` gives the empty view as it appears from there.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from bin_daemon.chamber.pixels import (
    SIGMAS,
    Bytes,
    as_bytes,
    block_means,
    displaced,
    from_border,
    local_range,
    spans,
    tolerances,
)
from bin_daemon.core.errors import PictureError
from bin_daemon.core.files import write_whole

Floats = npt.NDArray[np.float32]

NOISE_FLOOR = 0.6  # grey levels: quantisation and JPEG leave this much
FLOOR_LEVELS = 4.0  # a pixel has changed if it differs by this, by SIGMAS of noise at least,
RELATIVE = 0.06  # and by this share of its brightness more: reflections of what lies elsewhere
STRONG = 2.2  # certainly changed: this many times that tolerance
STEP_LEVELS = 6.0  # an edge is new above this,
STEP_SIGMAS = 9.0  # or this many sigmas: nine noisy pixels span about three
CLIPPED = 250.0  # from here on the sensor may have been at its limit
GAIN_LIMITS = (0.15, 6.0)
_DARK = 6.0  # added before logarithms, so that dark pixels do not dominate the fit
_NEAR = 0.25  # log ratio: closer to the light of the last frame may be background
_STRIDE = 5
JUMP = 0.1  # log gain: light further from the learnt one is checked by the detail it shows
ALIKE = 0.4  # correlation of fine detail in a block
RECOGNISED = 0.2  # share of the blocks that have any detail


def detail(view: Bytes) -> Floats:
    """Grey levels minus their local mean (high-pass), float32 (h, w)."""
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(grey - cv2.blur(grey, (9, 9)), np.float32)


def _ramp(length: int) -> Floats:
    """From -1 to 1 over `length` pixels."""
    return np.arange(length, dtype=np.float32) / max(1, length - 1) * 2 - 1


class Background:
    """The empty view, float32 (h, w, 3) at working resolution, and its noise in grey levels.

    shift: pixels (x, y) by which it is displaced from `unshifted`, where it was learnt. What has
    come into view at the borders since is unknown, and nothing differs there.
    """

    def __init__(self, mean: Floats, noise: float) -> None:
        self.mean = mean.astype(np.float32)
        self.noise = max(NOISE_FLOOR, float(noise))
        self.slack = max(FLOOR_LEVELS, SIGMAS * self.noise)
        self._least_power = 4.0 * self.noise**2  # of detail that is no noise
        self._shape = (mean.shape[0], mean.shape[1])
        self._rows, self._columns = _ramp(self._shape[0]), _ramp(self._shape[1])
        y, x = np.meshgrid(self._rows[::_STRIDE], self._columns[::_STRIDE], indexing="ij")
        # Design matrix (n, 3) of the fit of light: constant, x and y of every pixel sampled.
        self._sample = np.stack([np.ones_like(x).ravel(), x.ravel(), y.ravel()], axis=1)
        self.light = np.zeros((3, 3), np.float32)  # log gain: (constant, x, y) for each channel
        self.shift = (0.0, 0.0)
        self._unshifted: Background | None = None
        self.known = np.full(self._shape, 255, np.uint8)
        self.relight()

    @classmethod
    def learn(cls, frames: Collection[Bytes]) -> Background:
        """The empty view from several still frames, uint8 (h, w, 3); noise from their spread."""
        stack = np.stack(list(frames)).astype(np.float32)
        mean = np.median(stack, axis=0) if len(frames) > 2 else stack.mean(axis=0)
        # Differences of neighbouring frames do not see slow drift.
        noise = 0.0
        if len(frames) > 1:
            steps = np.abs(np.diff(stack, axis=0)).mean(axis=(0, 3))
            # The median over the pixels leaves out edges that camera shake moves.
            noise = float(np.median(steps)) * 0.886  # E|N(0, 2 s^2)| = 2 s / sqrt(pi)
        return cls(mean.astype(np.float32), noise)

    @property
    def unshifted(self) -> Background:
        """The empty view where it was learnt: this one unless it is displaced."""
        return self._unshifted or self

    def moved(self, x: float, y: float) -> Background:
        """`unshifted` in the light last seen, displaced by x pixels to the right and y down."""
        if (x, y) == (0.0, 0.0):
            self.unshifted.light = self.light
            self.unshifted.relight()
            return self.unshifted
        moved = Background(displaced(self.unshifted.mean, x, y), self.noise)
        moved.light, moved.shift, moved._unshifted = self.light, (x, y), self.unshifted
        for border in ("top", "bottom", "left", "right"):
            from_border(moved.known, border)[: moved.unseen(border)] = 0
        moved.relight()
        return moved

    def seen_from(self, x: float, y: float) -> Bytes:
        """The picture that `moved` would expect, uint8 (h, w, 3), for a fraction of its cost."""
        return as_bytes(cv2.multiply(displaced(self.unshifted.mean, x, y), self._gain))

    def unseen(self, border: str) -> int:
        """Rows (columns) of unknown pixels along `border`."""
        x, y = self.shift
        depth = {"top": y, "bottom": -y, "left": x, "right": -x}[border]
        return math.ceil(depth) + 1 if depth > 0 else 0

    def relight(self) -> None:
        """Compute the expected picture and its tolerances in the present light."""
        constant, x, y = self.light
        across = np.exp(constant + self._columns[:, None] * x)[None]  # (1, w, 3)
        down = np.exp(self._rows[:, None] * y)[:, None]  # (h, 1, 3)
        self._gain = np.ascontiguousarray(across * down, np.float32)
        self.expected = as_bytes(cv2.multiply(self.mean, self._gain))
        self._low, self._high = spans(self.expected, 5)
        # What was clipped may have been of any brightness, and less light shows it.
        clipped = np.where(self.mean >= CLIPPED, np.uint8(255), np.uint8(0))
        self._high = as_bytes(cv2.max(self._high, cv2.dilate(clipped, np.ones((5, 5), np.uint8))))
        self._bounds: dict[bool, tuple[Bytes, Bytes]] = {}
        self._edges: npt.NDArray[np.bool_] | None = None
        steps = cv2.dilate(local_range(self.expected), np.ones((5, 5), np.uint8))
        above = tolerances(0.4, max(STEP_LEVELS, STEP_SIGMAS * self.noise))[1]
        self._step_limit = as_bytes(cv2.LUT(steps, above))
        self._step_limit[self.known == 0] = 255

    @property
    def edges(self) -> npt.NDArray[np.bool_]:
        """Bool (h, w): near an edge of the empty view, where a small shift shows."""
        if self._edges is None:
            spread = cv2.subtract(
                self._high, cv2.LUT(self._low, tolerances(0.25, 2.0 * self.slack)[1])
            )
            near = cv2.transform(spread, np.ones((1, 3), np.float32))
            self._edges = cv2.dilate(near, np.ones((5, 5), np.uint8)) > 0
        return self._edges

    def outside(self, small: Bytes, strong: bool = False) -> Bytes:
        """uint8 (h, w): 255 where `small` is outside the tolerance in the light last seen."""
        if strong not in self._bounds:
            k = STRONG if strong else 1.0
            below, above = tolerances(k * RELATIVE, k * self.slack)
            low, high = as_bytes(cv2.LUT(self._low, below)), as_bytes(cv2.LUT(self._high, above))
            low[self.known == 0], high[self.known == 0] = 0, 255
            self._bounds[strong] = low, high
        low, high = self._bounds[strong]
        return np.asarray(cv2.bitwise_not(cv2.inRange(small, low, high)), np.uint8)

    def new_edges(self, small: Bytes) -> Bytes:
        """uint8 (h, w): 255 where `small` has an edge and the empty view has none nearby.

        Soft light makes no edges, so this sees what `outside` must tolerate: white paper on a white
        background, the outline of clear plastic.
        """
        return as_bytes(cv2.compare(local_range(small), self._step_limit, cv2.CMP_GT))

    def follow(self, small: Bytes, share: float) -> None:
        """Update the empty view: by `share` (0 to 1) towards `small`, to its light entirely.

        Where it is displaced, that becomes the unshifted view.
        """
        cv2.multiply(self.mean, self._gain, dst=self.mean)
        self.light = np.zeros((3, 3), np.float32)
        if self._unshifted is not None:
            unknown = self.known == 0
            self.mean[unknown] = small[unknown]
            self.known[:] = 255
            self.shift, self._unshifted = (0.0, 0.0), None
        cv2.accumulateWeighted(small, self.mean, share)
        self.relight()

    def recognised(self, small: Bytes) -> bool:
        """Whether the fine detail of the empty view can be found somewhere in `small`.

        Detail is correlated block by block, so that an item may hide most of it. A view without
        detail counts as recognised, since nothing could tell.
        """
        then, now = detail(self.expected), detail(small)
        power, seen, both = (block_means(p) for p in (then * then, now * now, then * now))
        telling = power > self._least_power
        if np.count_nonzero(telling) < 3:
            return True
        alike = both > ALIKE * np.sqrt(power * seen + 1e-6)
        return bool(np.mean(alike[telling]) > RECOGNISED)

    @property
    def has_detail(self) -> bool:
        """Whether a tenth of the view or more shows fine detail."""
        fine = detail(self.expected)
        return bool(np.mean(block_means(fine * fine) > self._least_power) > 0.1)

    def save(
        self, path: Path, frame: tuple[int, int], region: tuple[float, float, float, float]
    ) -> None:
        """Write the empty view as .npz, atomically; raises PictureError where it cannot.

        frame: height and width of the frames it was learnt from. region: see `ChamberSection`.
        """
        # Packed in memory: a zip file that meets a full disk half-way raises again when collected.
        packed = io.BytesIO()
        np.savez(packed, mean=self.mean * self._gain, noise=self.noise, frame=frame, region=region)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, packed.getbuffer())
        except OSError as error:
            raise PictureError(f"{path}: cannot save the reference: {error}") from error

    @classmethod
    def load(
        cls, path: Path, region: tuple[float, float, float, float]
    ) -> tuple[Background, tuple[int, int]] | None:
        """The empty view at `path` and its frame size (height, width).

        None where it is missing, damaged or of another region.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                mean, noise = file["mean"], float(file["noise"])
                frame = tuple(int(n) for n in file["frame"])
                if not np.allclose(file["region"], region, atol=1e-6):
                    return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        usable = mean.ndim == 3 and mean.shape[2] == 3 and mean.dtype == np.float32
        if not usable or len(frame) != 2 or not np.isfinite(mean).all() or not 0 <= noise < 50:
            return None
        return cls(mean, noise), (frame[0], frame[1])

    def fit_light(self, small: Bytes) -> bool:
        """Fit gain and slope to `small`; whether they changed enough to matter.

        Iteratively reweighted least squares with Tukey's biweight. Where the empty view would not
        be recognised in the new light, it is no change of light, and nothing changes.
        """
        now, then = (view[::_STRIDE, ::_STRIDE].reshape(-1, 3) for view in (small, self.mean))
        ratio = np.log(now.astype(np.float32) + _DARK) - np.log(then + _DARK)
        # A clipped pixel hides how bright it is.
        usable = (now < 250).all(axis=1)
        if usable.sum() < 30:
            return False
        a, ratio = self._sample[usable], ratio[usable]
        # Start from the last light, or, where hardly anything fits it, from the commonest ratio.
        light = self.light
        near = np.abs(ratio - a @ light).max(axis=1) < _NEAR
        if near.mean() < 0.25:
            light = np.zeros((3, 3), np.float32)
            light[0] = [_shorth(ratio[:, c]) for c in range(3)]
        # An item's pixels lie far from the fit, so they lose their weight and do not bend it.
        for _ in range(4):
            residual = np.abs(ratio - a @ light).max(axis=1)
            scale = max(0.03, 1.5 * float(np.median(np.minimum(residual, _NEAR))))
            weight = np.square(np.maximum(0.0, 1.0 - np.square(residual / (3.0 * scale))))
            weighted = a * weight[:, None]
            # Few pixels, or pixels on one side, must not make a slope.
            ridge = np.diag([0.01, 2.0, 2.0]).astype(np.float32)
            light = np.linalg.solve(a.T @ weighted + ridge, weighted.T @ ratio).astype(np.float32)
        # Beyond these it is no lamp.
        light[0] = np.clip(light[0], *np.log(GAIN_LIMITS))
        light[1:] = np.clip(light[1:], -0.5, 0.5)
        # Lighting anew costs time, and a hundredth does not show.
        if float(np.abs(light - self.light).sum(axis=0).max()) <= 0.01:
            return False
        # A large item in one colour looks like other light, but hides the detail behind it.
        before, self.light = self.light, light
        self.relight()
        if float(np.abs(light).max()) > JUMP and not self.recognised(small):
            self.light = before
            self.relight()
            return False
        return True


def _shorth(values: Floats) -> float:
    """Mean of the shortest interval that holds 40 % of the values: a robust mode."""
    ordered = np.sort(values)
    n = max(2, int(0.4 * len(ordered)))
    widths = ordered[n - 1 :] - ordered[: len(ordered) - n + 1]
    i = int(np.argmin(widths))
    return float(ordered[i : i + n].mean())
