"""Chambers and things drawn for the tests, and a watcher that plays them to a `Chamber`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from bin_daemon.chamber.chamber import Chamber
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.messages import Frame, Observation, View

HEIGHT, WIDTH = 480, 640
GROUNDS = {
    "grey": (150, 148, 140),
    "white": (225, 225, 220),
    "dark": (45, 45, 50),
    "blue": (45, 45, 105),
    "wood": (150, 110, 70),
}
Scene = np.ndarray[Any, np.dtype[np.float32]]


def empty(kind: str = "grey", seed: int = 3) -> Scene:
    """A floor with some grain, vignetting and the dark joint of a flap; float32 (480, 640, 3)."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    grain = np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 6)
    grain *= (0.015 if kind == "white" else 0.05) / grain.std()
    falloff = 1 - 0.35 * (((x - WIDTH / 2) / WIDTH) ** 2 + ((y - HEIGHT / 2) / HEIGHT) ** 2)
    colour = np.array(GROUNDS[kind], np.float32)
    floor = (colour * ((1 + grain) * falloff)[..., None]).astype(np.float32)
    joint = tuple(float(c) for c in colour * 0.4)
    cv2.line(floor, (0, 400), (WIDTH, 400), joint, 6)
    return floor


def fitted(kind: str = "grey", shift: tuple[int, int] = (0, 0)) -> Scene:
    """A floor between walls, under a bright rail, with hinges; seen `shift` pixels off (x, y).

    What comes into view at the borders is the continuation of the chamber.
    """
    pad = 60
    colour = np.array(GROUNDS[kind], np.float32)
    grain = np.random.default_rng(5).normal(0, 1, (HEIGHT + 2 * pad, WIDTH + 2 * pad, 1))
    grain = cv2.GaussianBlur(grain.astype(np.float32), (0, 0), 4)[..., None]
    chamber = colour * (1 + 0.04 * grain / grain.std())
    chamber[:, : pad + 50] *= 0.55
    chamber[:, WIDTH + pad - 40 :] *= 0.55
    chamber[: pad + 40] = np.minimum(255, colour * 0.4 + 140)
    chamber[pad + 36 : pad + 42] *= 0.4
    chamber[pad + 400 : pad + 406] *= 0.4
    for x in (120, 470):
        chamber[pad + 425 : pad + 445, pad + x : pad + x + 70] = colour * 0.3
    x, y = pad - shift[0], pad - shift[1]
    return np.ascontiguousarray(chamber[y : y + HEIGHT, x : x + WIDTH], np.float32)


def with_can(
    scene: Scene,
    centre: tuple[int, int] = (330, 250),
    colour: tuple[int, int, int] = (190, 30, 30),
    width: int = 60,
) -> Scene:
    """A can on its side, twice as long as wide, with a highlight."""
    drawn = scene.copy()
    for across, shade in ((width, colour), (width / 6, tuple(min(255, c + 60) for c in colour))):
        corners = cv2.boxPoints((centre, (width * 2, across), 20)).astype(int)
        cv2.fillPoly(drawn, [corners], shade)
    return drawn


def with_clear_bottle(scene: Scene, seed: int = 0) -> Scene:
    """An outline and a few glints: nothing else of clear plastic shows."""
    opacity = np.zeros((HEIGHT, WIDTH), np.float32)
    corners = cv2.boxPoints(((330, 250), (170, 70), 15)).astype(int)
    cv2.polylines(opacity, [corners], True, 0.35, 3)
    for share in np.random.default_rng(seed).random(6) * 0.8 + 0.1:
        at = corners[0] + (corners[2] - corners[0]) * share
        cv2.ellipse(opacity, (int(at[0]), int(at[1])), (12, 3), 15, 0, 360, 0.6, -1)
    opacity = cv2.GaussianBlur(opacity, (0, 0), 1)[..., None]
    return (scene * (1 - opacity) + 230 * opacity).astype(np.float32)


def with_shadow(scene: Scene, depth: float = 0.6, blur: float = 15.0) -> Scene:
    """A dimmed patch in the middle of the floor; blur is its penumbra in pixels."""
    patch = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.rectangle(patch, (180, 180), (420, 360), 1.0, -1)
    if blur:
        patch = cv2.GaussianBlur(patch, (0, 0), blur)
    return (scene * (1 - (1 - depth) * patch)[..., None]).astype(np.float32)


def with_arm(scene: Scene, reach: int = 300, x: int = 300) -> Scene:
    """An arm and a fist that come in from the top."""
    drawn = scene.copy()
    cv2.rectangle(drawn, (x - 45, 0), (x + 45, reach), (205, 150, 125), -1)
    cv2.circle(drawn, (x, reach), 63, (215, 160, 135), -1)
    return drawn


class Watcher:
    """Plays scenes to a chamber at 10 frames a second, with noise and camera shake."""

    def __init__(self, scene: Scene, frames: int = 10, **section: Any) -> None:
        self.chamber = Chamber(ChamberSection(**section))
        self.now = 0.0
        self._random = np.random.default_rng(1)
        # Shifted at random from frame to frame: drawing it anew would take most of the time.
        field = self._random.normal(0, 1, (HEIGHT + 40, WIDTH + 40, 3))
        self._grain = field.astype(np.float32)
        self.watch(scene, frames)

    def watch(
        self,
        scene: Scene | Callable[[int], Scene],
        frames: int = 10,
        light: Sequence[float] | float = 1.0,
        noise: float = 2.0,
        shake_px: float = 0.3,
    ) -> list[Observation]:
        """What the chamber makes of each frame."""
        seen = []
        for i in range(frames):
            image = scene(i) if callable(scene) else scene
            dx, dy = self._random.normal(0, shake_px, 2)
            shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            size = (image.shape[1], image.shape[0])
            image = cv2.warpAffine(image, shift, size, borderMode=cv2.BORDER_REFLECT_101)
            image = image * np.array(light, np.float32)
            y, x = self._random.integers(0, 40, 2)
            image += noise * self._grain[y : y + size[1], x : x + size[0]]
            frame = Frame(np.clip(image, 0, 255).astype(np.uint8), self.now, i)
            seen.append(self.chamber.observe(frame))
            self.now += 0.1
        return seen


def views(seen: list[Observation]) -> set[View]:
    """The different views among `seen`."""
    return {observation.view for observation in seen}
