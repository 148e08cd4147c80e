"""The camera module as picamera2 and libcamera drive it, played by libcamera's virtual camera."""

from __future__ import annotations

import gc
import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from virtual_camera import VirtualCameras, folder, play

from bin_daemon.camera import picamera2
from bin_daemon.chamber.chamber import Chamber
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.errors import CameraError
from bin_daemon.core.messages import Frame

DEADLINE_S = 0.5
PATCHES = {
    "red": (220, 20, 20),
    "green": (20, 200, 20),
    "blue": (20, 20, 220),
    "yellow": (220, 210, 20),
}


@pytest.fixture(autouse=True)
def _built() -> None:
    folder()


def patches() -> np.ndarray:
    """Four quarters of a picture, red and green above blue and yellow."""
    image = np.empty((480, 640, 3), np.uint8)
    image[:240, :320], image[:240, 320:] = PATCHES["red"], PATCHES["green"]
    image[240:, :320], image[240:, 320:] = PATCHES["blue"], PATCHES["yellow"]
    return image


def middles(image: np.ndarray) -> dict[str, list[float]]:
    """Mean colour in the middle of each quarter."""
    height, width = image.shape[:2]
    at = {
        name: (height * (1 + 2 * (i // 2)) // 4, width * (1 + 2 * (i % 2)) // 4)
        for i, name in enumerate(PATCHES)
    }
    return {
        name: image[y - 10 : y + 10, x - 10 : x + 10].mean((0, 1)).tolist()
        for name, (y, x) in at.items()
    }


def error_of(call: Any) -> str:
    """What the CameraError that `call` raises says."""
    try:
        call()
    except CameraError as error:
        return str(error)
    return "no error"


def timed(call: Any) -> float:
    """Seconds that `call` takes."""
    start = time.monotonic()
    call()
    return time.monotonic() - start


def golden(cameras: VirtualCameras) -> Any:
    seen = []
    for source, width, height in (("rig", 640, 480), ("wide", 1280, 720)):
        cameras.show(patches(), source)
        with cameras.camera(source=source, width=width, height=height) as camera:
            frame = camera.capture(2.0)
        seen += [(image.shape, middles(image)) for image in (frame.image, frame.small)]
    return seen


def test_both_pictures_show_the_colours_of_the_scene(tmp_path: Path) -> None:
    seen = play(golden, tmp_path)
    sizes = [[480, 640, 3], [240, 320, 3], [720, 1280, 3], [180, 320, 3]]
    assert [shape for shape, _ in seen] == sizes
    for _, colours in seen:
        for name, colour in PATCHES.items():
            assert colours[name] == pytest.approx(colour, abs=4), name


def injected(cameras: VirtualCameras) -> Any:
    with cameras.camera() as camera:
        camera.capture(2.0)
        cameras.show(np.full((480, 640, 3), (200, 30, 30), np.uint8))
        changed_at = time.monotonic()
        while True:
            frame = camera.capture(2.0)
            if frame.image.mean((0, 1))[0] > 190 and frame.small.mean((0, 1))[0] > 190:
                return time.monotonic() - changed_at


def test_what_happens_in_the_chamber_is_in_the_next_frames(tmp_path: Path) -> None:
    assert play(injected, tmp_path) < 0.3


def drained(camera: Any) -> str:
    """The error after the last frame that was under way."""
    while (said := error_of(lambda: camera.capture(DEADLINE_S))) == "no error":
        pass
    return said


def stalled(cameras: VirtualCameras) -> Any:
    camera = cameras.camera()
    camera.capture(2.0)
    cameras.stall()
    drained(camera)
    waits = []
    said = ""
    for _ in range(3):
        start = time.monotonic()
        said = error_of(lambda: camera.capture(DEADLINE_S))
        waits.append(time.monotonic() - start)
    closing = timed(camera.close)
    return waits, said, closing, error_of(lambda: camera.capture(DEADLINE_S))


def test_a_stall_is_reported_at_the_deadline_and_does_not_hold_up_the_end(tmp_path: Path) -> None:
    waits, said, closing, after = play(stalled, tmp_path)
    assert all(DEADLINE_S <= wait < DEADLINE_S + 0.3 for wait in waits), waits
    assert said.startswith("camera rig: no frame within 0.5 s; check the ribbon cable")
    assert closing < 1.5
    assert "is closed" in after


def resumed(cameras: VirtualCameras) -> Any:
    with cameras.camera() as camera:
        cameras.stall()
        said = [drained(camera)]
        said += [error_of(lambda: camera.capture(0.1)) for _ in range(2 * picamera2.BUFFERS)]
        cameras.stall(False)
        return said, [camera.capture(2.0).image.shape[0] for _ in range(2 * picamera2.BUFFERS)]


def test_requests_that_were_given_up_take_no_frame_from_those_that_follow(tmp_path: Path) -> None:
    said, heights = play(resumed, tmp_path)
    assert all("no frame within" in words for words in said)
    assert heights == [480] * len(heights)


def held_memory() -> int:
    """Mapped bytes of camera buffers."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    spans = [line.split()[0] for line in lines if "memfd:" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in (s.split("-") for s in spans))


def held_files() -> int:
    """Open descriptors of camera buffers."""
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return sum("memfd:" in name for name in names)


def reopened(cameras: VirtualCameras) -> Any:
    seen = []
    for _ in range(4):
        camera = cameras.camera()
        camera.capture(2.0)
        if not seen:
            seen.append((held_memory(), held_files()))
        cameras.stall()
        said = drained(camera)
        camera.close()
        cameras.stall(False)
        seen.append((held_memory(), held_files(), said))
    with cameras.camera() as camera:
        return seen, camera.capture(2.0).image.shape


def test_it_opens_again_after_a_stall_and_keeps_no_buffer(tmp_path: Path) -> None:
    (opened, *closed), shape = play(reopened, tmp_path)
    assert shape == [480, 640, 3]
    assert opened[0] > 4 * 640 * 480 * 3
    for memory, files, said in closed:
        assert "no frame within" in said
        assert (memory, files) == (0, 0)


def busy(cameras: VirtualCameras) -> Any:
    with cameras.camera() as camera:
        said = error_of(cameras.camera)
        return said, camera.capture(2.0).image.shape


def test_a_camera_in_use_is_reported_and_not_disturbed(tmp_path: Path) -> None:
    said, shape = play(busy, tmp_path)
    assert said.startswith("camera rig: cannot be opened: ")
    assert "another program may hold it" in said
    assert shape == [480, 640, 3]


def dead_on_arrival(cameras: VirtualCameras) -> Any:
    picamera2.FIRST_FRAME_S = DEADLINE_S
    cameras.stall()
    start = time.monotonic()
    said = error_of(lambda: cameras.camera(deadline_s=DEADLINE_S))
    waited = time.monotonic() - start
    cameras.stall(False)
    with cameras.camera() as camera:
        return said, waited, camera.capture(2.0).image.shape


def test_a_camera_that_gives_no_first_frame_does_not_open(tmp_path: Path) -> None:
    said, waited, shape = play(dead_on_arrival, tmp_path)
    assert "no frame within 0.5 s" in said
    assert waited < DEADLINE_S + 1.0
    assert shape == [480, 640, 3]


def frozen(cameras: VirtualCameras) -> Any:
    from picamera2.request import CompletedRequest

    with cameras.camera() as camera:
        stamp = []
        camera.capture(2.0)
        real = CompletedRequest.get_metadata

        def stopped(request: Any) -> dict[str, Any]:
            told = real(request)
            stamp.append(told["SensorTimestamp"])
            return {**told, "SensorTimestamp": stamp[0]}

        CompletedRequest.get_metadata = stopped
        first = camera.capture(2.0).number
        start = time.monotonic()
        said = error_of(lambda: camera.capture(DEADLINE_S))
        waited, looked = time.monotonic() - start, len(stamp)
        CompletedRequest.get_metadata = real
        return first, said, waited, looked, camera.capture(2.0).number


def test_a_frozen_camera_is_known_by_the_timestamp_of_its_sensor(tmp_path: Path) -> None:
    first, said, waited, looked, later = play(frozen, tmp_path)
    assert first == 1
    assert "timestamp does not move" in said
    assert DEADLINE_S <= waited < DEADLINE_S + 0.3
    assert looked > 5  # it kept on looking until the deadline
    assert later == 2


def stamped(cameras: VirtualCameras) -> Any:
    with cameras.camera() as camera:
        stamps, ages = [], []
        for _ in range(30):
            frame = camera.capture(2.0)
            stamps.append(frame.captured_at)
            ages.append(time.monotonic() - frame.captured_at)
            time.sleep(0.05)  # a frame is waiting by now, but is not taken
    return stamps, ages


def test_a_frame_is_no_older_than_its_request_and_knows_its_time(tmp_path: Path) -> None:
    stamps, ages = play(stamped, tmp_path)
    assert all(before < after for before, after in itertools.pairwise(stamps))
    assert min(ages) >= 0
    assert max(ages) < 0.05


def many(cameras: VirtualCameras) -> Any:
    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with cameras.camera(source="wide", width=1280, height=720) as camera:
        for _ in range(60):
            camera.capture(2.0)
        before, start = resident(), time.monotonic()
        for _ in range(300):
            camera.capture(2.0)
        return {"fps": 300 / (time.monotonic() - start), "grown": resident() - before}


def test_three_hundred_frames_cost_no_memory(tmp_path: Path) -> None:
    seen = play(many, tmp_path)
    assert seen["grown"] < 1280 * 720 * 3
    assert seen["fps"] > 20


def paced(cameras: VirtualCameras) -> Any:
    with cameras.camera(fps=5.0) as camera:
        camera.capture(2.0)
        return timed(lambda: [camera.capture(2.0) for _ in range(5)])


def test_a_camera_that_runs_faster_than_wanted_is_looked_at_less_often(tmp_path: Path) -> None:
    assert play(paced, tmp_path) == pytest.approx(1.0, abs=0.25)


def locked(cameras: VirtualCameras) -> Any:
    with cameras.camera(exposure="locked", warmup_s=0.3) as camera:
        return camera.capture(2.0).image.shape


def test_locked_exposure_asks_nothing_of_a_camera_that_cannot(tmp_path: Path) -> None:
    assert play(locked, tmp_path) == [480, 640, 3]


def named(cameras: VirtualCameras) -> Any:
    with cameras.camera(source="WIDE", width=1280, height=720) as camera:
        level = camera.capture(2.0).image.mean()
    return level, [
        error_of(lambda s=s: cameras.camera(source=s)) for s in ("imx708", "7", "virtual")
    ]


def test_a_camera_is_chosen_by_name_and_a_wrong_name_lists_those_there(tmp_path: Path) -> None:
    level, (unknown, number, several) = play(named, tmp_path)
    assert level == pytest.approx(90, abs=2)  # what only that camera sees
    for said in (unknown, number):
        assert "there is no such camera" in said
        assert "rig (Virtual0)" in said
        assert "wide (Virtual1)" in said
    assert "several cameras have that name" in several


def presence(cameras: VirtualCameras) -> Any:
    floor = np.random.default_rng(1).normal(130, 12, (60, 80, 3)).repeat(8, 0).repeat(8, 1)
    empty = floor.clip(0, 255).astype(np.uint8)
    item = empty.copy()
    item[200:320, 240:400] = (200, 40, 30)
    chambers = {"small": Chamber(ChamberSection()), "large": Chamber(ChamberSection())}
    boxes: dict[str, Any] = {}
    views: dict[str, list[str]] = {"small": [], "large": []}

    def look(camera: Any, names: Any = ("small", "large")) -> None:
        frame = camera.capture(2.0)
        only = Frame(frame.image, frame.captured_at, frame.number)
        for name in names:
            told = chambers[name].observe(only if name == "large" else frame)
            views[name].append(told.view)
            if told.item:
                boxes[name] = told.item.box

    with cameras.camera() as camera:
        for picture in (empty, item):
            cameras.show(picture)
            time.sleep(0.2)
            for _ in range(25):
                look(camera)
        cameras.show(empty)
        time.sleep(0.2)
        for name, other in (("small", "large"), ("large", "small")):
            chambers[name].save(cameras.place / "reference.npz")
            chambers[other] = Chamber(ChamberSection())
            chambers[other].load(cameras.place / "reference.npz")
            views[other].append("restarted")
            look(camera, [other])
    return views, boxes


def test_presence_in_the_small_picture_agrees_with_that_in_the_large(tmp_path: Path) -> None:
    views, boxes = play(presence, tmp_path)
    for seen in views.values():
        assert seen[24] == "empty"
        assert seen[49] == "item"
        assert seen[50:] == ["restarted", "empty"]  # the reference of the other one serves
    two_pixels = 8  # of the working resolution, a quarter of the picture's
    assert boxes["small"] == pytest.approx(boxes["large"], abs=two_pixels)
    assert boxes["small"] == pytest.approx((240, 200, 160, 120), abs=two_pixels)
