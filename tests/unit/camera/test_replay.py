"""A folder, a clip and a script as a camera."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from bin_daemon.camera import open_camera
from bin_daemon.camera.replay import (
    ReplayCamera,
    hold_each,
    picture_shots,
    pictures_in,
    script_camera,
)
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import SimulatedClock, SystemClock
from bin_daemon.core.errors import CameraError, CameraFinishedError
from bin_daemon.core.images import median_empty

GREY, RED, BLUE, GREEN = (120, 120, 120), (200, 40, 40), (40, 40, 200), (40, 160, 60)


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (160, 120)) -> Path:
    """A grey picture with a patch of `colour` in its middle."""
    image = np.full((size[1], size[0], 3), 120, np.uint8)
    image[size[1] // 3 : size[1] * 2 // 3, size[0] // 3 : size[0] * 2 // 3] = colour
    path.parent.mkdir(exist_ok=True, parents=True)
    cv2.imwrite(str(path), image[..., ::-1])
    return path


def section(source: Path | str, **more: Any) -> CameraSection:
    return CameraSection(kind="replay", source=str(source), **more)


def run(camera: ReplayCamera, limit: int = 1000) -> Iterator[tuple[np.ndarray, str]]:
    """Image and truth of each frame, to the end or `limit`."""
    for _ in range(limit):
        try:
            frame = camera.capture(5.0)
        except CameraFinishedError:
            return
        yield frame.image, camera.truth


def middle(image: np.ndarray) -> tuple[int, ...]:
    return tuple(int(c) for c in image[image.shape[0] // 2, image.shape[1] // 2])


def script(folder: Path, *steps: dict[str, Any], **more: Any) -> Path:
    """`script.yaml` in `folder` with its four stills."""
    for name, colour in (("empty", GREY), ("red", RED), ("blue", BLUE), ("dim", GREEN)):
        picture(folder / f"{name}.png", colour)
    path = folder / "script.yaml"
    path.write_text(yaml.safe_dump({"size": [160, 120], **more, "steps": list(steps)}))
    return path


def test_a_folder_shows_each_picture_once_in_natural_order(tmp_path: Path) -> None:
    for name in ("10.png", "9.png", "1.png"):
        picture(tmp_path / name, RED)
    (tmp_path / "notes.txt").write_text("no picture")
    camera = open_camera(section(tmp_path), SimulatedClock())
    assert isinstance(camera, ReplayCamera)
    assert [truth for _, truth in run(camera)] == ["1.png", "9.png", "10.png"]


def test_frames_are_numbered_stamped_and_paced_by_the_clock(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        picture(tmp_path / name, RED)
    camera = open_camera(section(tmp_path, fps=4.0, loop=True), SimulatedClock(start=7.0))
    frames = [camera.capture(1.0) for _ in range(5)]
    assert [f.number for f in frames] == [0, 1, 2, 3, 4]
    assert [f.captured_at for f in frames] == [7.0, 7.25, 7.5, 7.75, 8.0]


def test_the_system_clock_keeps_the_frame_rate(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        picture(tmp_path / name, RED)
    clock = SystemClock()
    camera = ReplayCamera(lambda: picture_shots(pictures_in(tmp_path), 640, 480), clock, fps=20.0)
    began = clock.monotonic()
    assert len(list(run(camera))) == 3
    assert clock.monotonic() - began >= 0.1


def test_pictures_of_other_sizes_come_at_the_size_of_the_first(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", RED, (1600, 1200))
    picture(tmp_path / "2.png", RED, (160, 160))
    camera = open_camera(section(tmp_path), SimulatedClock())
    assert [image.shape for image, _ in run(camera)] == [(480, 640, 3)] * 2  # type: ignore[arg-type]


def test_an_empty_folder_and_a_missing_source_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(CameraError, match=r"none: no pictures .*check the path"):
        open_camera(section(tmp_path / "none"), SimulatedClock())
    with pytest.raises(CameraError, match=r"gone: no such folder.*camera\.source"):
        open_camera(section(tmp_path / "gone"), SimulatedClock())


def test_a_truncated_picture_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", RED)
    whole = picture(tmp_path / "2.png", RED).read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    camera = open_camera(section(tmp_path), SimulatedClock())
    camera.capture(1.0)
    with pytest.raises(CameraError, match=r"2\.png: .*truncated"):
        camera.capture(1.0)


def test_the_reel_is_shown_without_loading_pillow() -> None:
    code = (
        "import sys\n"
        "from bin_daemon.camera import open_camera\n"
        "from bin_daemon.config.sections import CameraSection\n"
        "from bin_daemon.core.clock import SimulatedClock\n"
        "section = CameraSection(kind='replay', source='reel')\n"
        "open_camera(section, SimulatedClock()).capture(1.0)\n"
        "sys.exit('PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300, check=False).returncode == 0


def test_a_frame_that_is_due_after_the_deadline_is_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", RED)
    clock = SimulatedClock()
    camera = open_camera(section(tmp_path, fps=0.1, loop=True), clock)
    camera.capture(2.0)
    with pytest.raises(CameraError, match="deadline is 2 s"):
        camera.capture(2.0)
    assert clock.monotonic() == 2.0


def test_a_closed_camera_gives_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", RED)
    with open_camera(section(tmp_path), SimulatedClock()) as camera:
        camera.capture(1.0)
    camera.close()
    with pytest.raises(CameraError, match="closed"):
        camera.capture(1.0)


def test_a_clip_is_played_in_rgb_to_its_end(tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for colour in (RED, BLUE, GREEN):
        writer.write(np.full((120, 160, 3), colour[::-1], np.uint8))
    writer.release()
    shown = [middle(image) for image, _ in run(open_camera(section(clip), SimulatedClock()))]  # type: ignore[arg-type]
    assert len(shown) == 3
    assert np.abs(np.array(shown) - [RED, BLUE, GREEN]).max() < 12


@pytest.mark.parametrize("content", [b"", b"RIFF....AVI nothing"])
def test_an_empty_clip_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.avi").write_bytes(content)
    with pytest.raises(CameraError, match=r"clip\.avi: no frames"):
        open_camera(section(tmp_path / "clip.avi"), SimulatedClock())


def test_a_script_shows_its_steps_for_their_frames(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        {"empty": "empty.png", "frames": 2},
        {"hold": "red.png", "frames": 3, "label": "metal"},
        {"hand": "blue.png", "frames": 1},
        {"light": "dim.png", "frames": 2},
        {"blocked": "blue.png", "frames": 1},
    )
    shown = list(run(script_camera(path, SimulatedClock())))
    expected = ["empty"] * 2 + ["metal"] * 3 + ["hand"] + ["light"] * 2 + ["blocked"]
    assert [truth for _, truth in shown] == expected
    colours = [middle(image) for image, _ in shown]
    assert colours[0] == GREY
    assert colours[2:6] == [RED] * 3 + [BLUE]
    assert colours[6] == (80, 140, 90)  # half way from empty to dim
    assert colours[7] == GREEN


def test_a_folder_that_holds_a_script_plays_it(tmp_path: Path) -> None:
    script(tmp_path, {"hold": "red.png", "frames": 1})
    camera = open_camera(section(tmp_path), SimulatedClock())
    assert [truth for _, truth in run(camera)] == ["red"]  # type: ignore[arg-type]


def test_an_item_slides_in_from_the_top(tmp_path: Path) -> None:
    path = script(tmp_path, {"empty": "empty.png", "frames": 1}, {"enter": "red.png", "frames": 4})
    images = [image for image, _ in run(script_camera(path, SimulatedClock()))][1:]
    reds = [np.flatnonzero((image[..., 0] > 180).any(axis=1)) for image in images]
    lowest = [int(rows.max()) if rows.size else -1 for rows in reds]
    assert lowest == sorted(lowest)
    assert lowest[0] < 40 <= lowest[-1] < 80  # the patch comes to lie in rows 40 to 79
    assert reds[1].min() == 0
    assert middle(images[0]) == GREY


def test_the_same_seed_gives_the_same_frames_and_another_does_not(tmp_path: Path) -> None:
    def frames(seed: int) -> list[np.ndarray]:
        path = script(
            tmp_path, {"hold": "red.png", "frames": 4}, seed=seed, noise=3.0, jitter_px=0.8
        )
        return [image for image, _ in run(script_camera(path, SimulatedClock()))]

    first, second, other = frames(1), frames(1), frames(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], first[1])
    plain = np.concatenate([f[:30, :50] for f in first]).astype(float)
    assert plain.std() == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: [{empty: empty.png, frames: 0}]", r"step 1 \(frames\): "),
        ("steps: [{empty: empty.png, frames: 1}, {hold: red.png}]", r"step 2 \(frames\): "),
        ("steps: [{hold: red.png, frames: 1, colour: red}]", r"step 1 \(colour\): "),
        ("steps: [{empty: empty.png, frames: 1, stuck: 2}]", r"step 1: .*stuck.*only a hold"),
        ("steps: [{show: red.png, frames: 1}]", r"step 1: .*exactly one of empty, enter"),
        ("steps: [{hold: gone.png, frames: 1}]", r"step 1 \(hold\): no picture gone\.png"),
        ("steps: []", "steps: "),
        ("fps: 0\nsteps: [{hold: red.png, frames: 1}]", "fps: "),
        ("speed: 3\nsteps: [{hold: red.png, frames: 1}]", "speed: "),
        ("steps: [{", "not valid YAML"),
        ("just words", "a script is a mapping"),
    ],
)
def test_a_wrong_script_is_refused_with_file_and_step(
    tmp_path: Path, text: str, words: str
) -> None:
    path = script(tmp_path, {"hold": "red.png", "frames": 1})
    path.write_text(text)
    with pytest.raises(CameraError, match=rf"script\.yaml: .*{words}"):
        script_camera(path, SimulatedClock())


def test_a_picture_of_a_script_that_cannot_be_read_is_named_with_its_step(tmp_path: Path) -> None:
    path = script(tmp_path, {"empty": "empty.png", "frames": 1}, {"hold": "red.png", "frames": 1})
    (tmp_path / "red.png").write_bytes(b"no picture")
    camera = script_camera(path, SimulatedClock())
    camera.capture(1.0)
    with pytest.raises(CameraError, match=r"script\.yaml: step 2 \(hold\): .*red\.png"):
        camera.capture(1.0)


def two_items(folder: Path, **hold: Any) -> ReplayCamera:
    path = script(
        folder,
        {"empty": "empty.png", "frames": 2},
        {"hold": "red.png", "frames": 5, **hold},
        {"enter": "blue.png", "frames": 2},
        {"hold": "blue.png", "frames": 5},
    )
    return script_camera(path, SimulatedClock())


def truths(camera: ReplayCamera, frames: int) -> list[str]:
    return [truth for _, truth in run(camera, frames)]


def test_a_folder_does_not_react_to_the_machine(tmp_path: Path) -> None:
    folder = open_camera(section(picture(tmp_path / "f" / "1.png", RED).parent), SimulatedClock())
    assert isinstance(folder, ReplayCamera)
    folder.on_cycle("waiting", False)
    assert truths(folder, 5) == ["1.png"]


def test_a_held_item_lies_there_until_it_is_dropped(tmp_path: Path) -> None:
    camera = two_items(tmp_path)
    camera.on_cycle("waiting", False)
    assert truths(camera, 3) == ["empty"] * 2 + ["red"]
    camera.on_cycle("looking", False)
    assert truths(camera, 30) == ["red"] * 30  # 5 frames are the least, not the most
    camera.on_cycle("sorting", True)
    assert truths(camera, 4) == ["empty"] * 4  # until the machine waits again
    camera.on_cycle("waiting", False)
    assert truths(camera, 3) == ["entering", "entering", "blue"]


def test_an_item_that_is_dropped_early_is_gone_at_once(tmp_path: Path) -> None:
    camera = two_items(tmp_path)
    camera.on_cycle("waiting", False)
    assert truths(camera, 4) == ["empty"] * 2 + ["red"] * 2
    camera.on_cycle("clearing", True)
    assert truths(camera, 1) == ["empty"]


def test_a_stuck_item_survives_that_many_drops(tmp_path: Path) -> None:
    camera = two_items(tmp_path, stuck=1)
    camera.on_cycle("waiting", False)
    truths(camera, 5)
    camera.on_cycle("sorting", True)
    assert truths(camera, 10) == ["red"] * 10
    camera.on_cycle("sorting", True)
    assert truths(camera, 1) == ["empty"]


def test_a_machine_that_never_drops_loses_the_item_after_a_bounded_time(tmp_path: Path) -> None:
    camera = two_items(tmp_path)
    camera.on_cycle("waiting", False)
    seen = truths(camera, 1000)
    assert seen.count("red") == 200  # 20 s at 10 frames a second
    assert "blue" in seen


def test_after_the_last_item_the_empty_chamber_is_shown_until_the_machine_waits(
    tmp_path: Path,
) -> None:
    path = script(tmp_path, {"empty": "empty.png", "frames": 1}, {"hold": "red.png", "frames": 2})
    camera = script_camera(path, SimulatedClock())
    camera.on_cycle("waiting", False)
    truths(camera, 3)
    camera.on_cycle("clearing", True)
    assert truths(camera, 5) == ["empty"] * 5
    camera.on_cycle("waiting", False)
    with pytest.raises(CameraFinishedError):
        camera.capture(1.0)


def test_hold_each_makes_a_scene_of_a_list_of_pictures(tmp_path: Path) -> None:
    empty = picture(tmp_path / "empty.png", GREY)
    items = [picture(tmp_path / f"{n}.png", c) for n, c in (("a", RED), ("b", BLUE))]
    camera = hold_each(items, empty, 3, SimulatedClock(), learn_frames=2, gap_frames=1)
    shown = truths(camera, 100)
    assert shown == ["empty"] * 2 + ["a.png"] * 3 + ["empty"] + ["b.png"] * 3 + ["empty"]


def test_without_an_empty_picture_the_median_of_the_items_stands_in(tmp_path: Path) -> None:
    items = []
    for i in range(5):
        image = np.full((120, 160, 3), 120, np.uint8)
        image[20:60, 25 * i : 25 * i + 25] = RED
        cv2.imwrite(str(tmp_path / f"{i}.png"), image[..., ::-1])
        items.append(tmp_path / f"{i}.png")
    assert np.abs(median_empty(items, 640, 480).astype(int) - 120).max() == 0
    camera = hold_each(items, None, 2, SimulatedClock())
    assert np.abs(camera.capture(1.0).image.astype(int) - 120).max() == 0


def test_hold_each_without_pictures_says_so() -> None:
    with pytest.raises(CameraError, match="no pictures"):
        hold_each([], None, 3, SimulatedClock())
