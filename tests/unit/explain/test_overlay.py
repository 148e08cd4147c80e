"""The drawing of what was seen: legible, in the picture, true to the masks.

It is never written over a file that was given.
"""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bin_daemon.core.errors import UsageError
from bin_daemon.core.images import read_picture
from bin_daemon.core.messages import Decision, Prediction
from bin_daemon.explain.captions import PAPER, Plate, drawable
from bin_daemon.explain.overlay import colours, draw, targets, write_picture
from bin_daemon.explain.saliency import ClassMaps
from bin_daemon.explain.stills import Instance, Instances

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
# Viénot, Brettel and Mollon 1999, for linear RGB: what is left without red or green cones.
DICHROMACY = {
    "full": np.eye(3),
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


def linear(colour) -> np.ndarray:
    return (np.array(colour) / 255) ** 2.2


def thing(label: str, box=None, shape=(480, 640), labels=LABELS, sure: float = 0.9) -> Instance:
    """A thing that fills its box; without a box, the whole picture with no mask."""
    probabilities = np.full(len(labels), (1 - sure) / (len(labels) - 1), np.float32)
    probabilities[labels.index(label)] = sure
    prediction = Prediction(labels, probabilities, np.zeros(4, np.float32), {})
    decision = Decision("packaging", label, sure, labels, probabilities, "why")
    crop = np.zeros((32, 32, 3), np.uint8)
    if box is None:
        frame = (0, 0, shape[1], shape[0])
        return Instance(frame, None, None, crop, frame, prediction, decision)
    x, y, width, height = box
    mask = np.zeros(shape, bool)
    mask[y : y + height, x : x + width] = True
    return Instance(box, mask, float(mask.mean()), crop, box, prediction, decision)


def seen(*things: Instance) -> Instances:
    return Instances(things[0], things)


def grey(level: int = 120, shape=(480, 640)) -> np.ndarray:
    return np.full((*shape, 3), level, np.uint8)


def test_the_mask_takes_the_colour_of_the_class_and_the_rest_stays():
    still = grey()
    drawn = draw(still, seen(thing("glass", (200, 200, 200, 150))))
    assert drawn.shape == still.shape
    np.testing.assert_array_equal(still, grey())
    tint = drawn[270:280, 290:310].reshape(-1, 3).mean(axis=0) - 120
    wanted = np.array(colours(LABELS)["glass"]) - 120.0
    assert np.corrcoef(tint, wanted)[0, 1] > 0.99
    np.testing.assert_array_equal(drawn[420:, :150], still[420:, :150])


def test_two_things_are_drawn_in_the_colours_of_their_classes():
    two = seen(thing("glass", (50, 200, 150, 150)), thing("paper", (400, 200, 150, 150)))
    drawn = draw(grey(), two).astype(int)
    np.testing.assert_allclose(
        drawn[275, 125] - drawn[275, 475],
        0.32 * np.subtract(colours(LABELS)["glass"], colours(LABELS)["paper"]),
        atol=1.5,
    )


@pytest.mark.parametrize("sees", DICHROMACY)
def test_classes_are_told_apart_by_colour_whatever_the_eye(sees: str):
    seen = [np.array(DICHROMACY[sees]) @ linear(c) for c in colours(LABELS).values()]
    for a, b in itertools.combinations(seen, 2):
        assert np.linalg.norm(a - b) > 0.08


def test_many_classes_have_a_colour_each():
    labels = tuple(f"class {i}" for i in range(20))
    found = colours(labels)
    assert len(set(found.values())) == 20
    assert colours(labels[:9]) == {label: found[label] for label in labels[:9]}


@pytest.mark.parametrize("colour", [*colours([str(i) for i in range(20)]).values(), PAPER])
def test_letters_stand_out_on_every_plate(colour):
    canvas = np.zeros((480, 640, 3), np.uint8)
    x, y, width, height = Plate.fitted(["metal 0.97"], colour, canvas).put(canvas, (10, 10))
    drawn = canvas[y + 2 : y + height - 2, x + 2 : x + width - 2].reshape(-1, 3)
    light = sorted(np.dot(linear(c), [0.2126, 0.7152, 0.0722]) for c in np.unique(drawn, axis=0))
    assert (light[-1] + 0.05) / (light[0] + 0.05) >= 4.5  # WCAG 2, level AA


@given(
    st.tuples(
        st.integers(-50, 700), st.integers(-50, 500), st.integers(1, 640), st.integers(1, 480)
    ),
    st.text(min_size=1, max_size=120),
)
def test_a_plate_lies_inside_the_picture_wherever_its_box_is(box, words):
    canvas = np.zeros((420, 560, 3), np.uint8)
    x, y, width, height = Plate.fitted([drawable(words), "-> x"], PAPER, canvas).put_by(
        canvas, box, [(100, 100, 200, 200)]
    )
    assert x >= 0
    assert y >= 0
    assert x + width <= 560
    assert y + height <= 420


def test_plates_do_not_cover_each_other_or_the_things_where_there_is_room():
    two = seen(thing("glass", (60, 150, 120, 120)), thing("paper", (400, 150, 120, 120)))
    drawn = draw(grey(), two)
    for i, one in enumerate(two.things):
        x, y, width, height = one.box
        inside = drawn[y + 10 : y + height - 10, x + 10 : x + width - 10]
        assert len(np.unique(inside.reshape(-1, 3), axis=0)) == 1, f"thing {i} is covered"


@pytest.mark.parametrize("level", [0, 255])
def test_an_outline_shows_on_black_and_on_white(level: int):
    drawn = draw(grey(level), seen(thing("plastic", (200, 200, 200, 150)))).astype(int)
    row = drawn[275, 180:220]
    assert np.abs(row - level).max() > 100


def test_a_small_picture_is_enlarged_until_words_fit():
    drawn = draw(grey(shape=(32, 50)), seen(thing("paper", (5, 5, 20, 20), (32, 50))))
    assert min(drawn.shape[:2]) >= 400
    assert drawn.shape[1] * 32 == drawn.shape[0] * 50


def test_a_long_strip_is_not_enlarged_beyond_memory():
    drawn = draw(grey(shape=(32, 40_000)), seen(thing("paper", None, (32, 40_000))))
    assert drawn.size <= 3 * 50_000_000


@pytest.mark.parametrize("name", ["Blechbüchse", "紙", "x" * 300])
def test_any_name_of_a_class_can_be_drawn(name: str):
    labels = ("other", name)
    still = grey()
    drawn = draw(still, seen(thing(name, (200, 200, 200, 150), labels=labels)))
    assert (drawn != still).any()
    assert drawable("Blechbüchse") == "Blechbuchse"


def test_heat_is_strongest_where_the_evidence_is_and_stays_in_the_window():
    maps = np.zeros((7, 7, len(LABELS)), np.float32)
    maps[1, 5, LABELS.index("metal")] = 9.0
    one = thing("metal", (200, 100, 210, 210))
    drawn = draw(grey(), seen(one), [ClassMaps(LABELS, maps)]).astype(int)
    light = cv2.GaussianBlur(drawn.sum(axis=2).astype(np.float32), (0, 0), 5)
    inside = light[110:300, 210:400]
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    assert abs(row + 110 - (100 + 1.5 * 30)) < 15
    assert abs(column + 210 - (200 + 5.5 * 30)) < 15
    np.testing.assert_array_equal(drawn[330:400, 300:600], 120)


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.png", "empty.png"):
        cv2.imwrite(str(tmp_path / name), grey())
    return tmp_path


def test_one_picture_is_drawn_to_a_file(stills: Path):
    out = stills / "seen.PNG"
    assert targets(out, [stills / "a.jpg"], None) == {stills / "a.jpg": out}
    write_picture(out, grey(77))
    assert (read_picture(out) == 77).all()


def test_several_pictures_are_drawn_to_a_folder_that_is_made(stills: Path):
    found = targets(stills / "new" / "seen", [stills / "a.jpg", stills / "b.png"], None)
    assert [path.name for path in found.values()] == ["a.png", "b.png"]
    assert (stills / "new" / "seen").is_dir()


@pytest.mark.parametrize(
    ("out", "pictures", "says"),
    [
        ("seen.png", ["a.jpg", "b.png"], "2 pictures do not fit one file; name a folder"),
        ("b.png", ["b.png"], "would be overwritten"),
        ("empty.png", ["a.jpg"], "would be overwritten"),
        (".", ["b.png"], "would be overwritten"),
        ("seen.gif", ["a.jpg"], "neither a folder"),
        ("none/seen.png", ["a.jpg"], "no such folder"),
    ],
)
def test_what_cannot_be_drawn_there_is_reported_before_anything_is(
    stills: Path, out: str, pictures: list[str], says: str
):
    before = {path: path.read_bytes() for path in stills.iterdir()}
    with pytest.raises(UsageError, match=says):
        targets(stills / out, [stills / name for name in pictures], stills / "empty.png")
    assert {path: path.read_bytes() for path in stills.iterdir()} == before


def test_two_pictures_of_one_name_are_not_drawn_over_each_other(stills: Path):
    cv2.imwrite(str(stills / "a.png"), grey())
    with pytest.raises(UsageError, match="would both be drawn"):
        targets(stills / "seen", [stills / "a.jpg", stills / "a.png"], None)


def test_a_picture_behind_a_link_is_not_overwritten_either(stills: Path):
    (stills / "link.png").symlink_to(stills / "b.png")
    with pytest.raises(UsageError, match="would be overwritten"):
        targets(stills / "link.png", [stills / "b.png"], None)
