"""A sequence script: the YAML that turns stills into time.

A `script.yaml` flows in, a checked `Script` flows out; `player` plays it. The steps show the empty
chamber, an item sliding in, the item at rest, a hand, a change of light, or a covered lens. Paths
are relative to the script. No picture is decoded here; that they exist is checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from bin_daemon.config.schema import Bounds, section
from bin_daemon.config.validate import Fault, InvalidError, check
from bin_daemon.core.errors import CameraError

SCRIPT_NAME = "script.yaml"
KINDS = ("empty", "enter", "hold", "hand", "light", "blocked")
Side = Annotated[int, Bounds(ge=32, le=4096)]


@section
class ScriptStep:
    """One part of a script, written `{<kind>: <picture>, frames: N}`.

    empty: the chamber with nothing in it. enter: an item slides in from the top. hold: it is at
    rest, until it is dropped where the machine reports its cycle. hand: something reaches in.
    light: the empty view fades into this one. blocked: the lens is covered or blinded.
    """

    kind: Literal["empty", "enter", "hold", "hand", "light", "blocked"]
    picture: Annotated[str, Bounds(min_length=1)]
    frames: Annotated[int, Bounds(ge=1, le=100_000)]
    """How many frames it lasts."""
    label: str | None = None
    """hold: what it is (the ground truth)."""
    stuck: Annotated[int, Bounds(ge=0, le=100)] = 0
    """hold: drops that it survives: a jam."""


@section
class Script:
    """A scene: its steps, and how the camera that sees them behaves."""

    fps: Annotated[float, Bounds(gt=0, le=120)] = 10.0
    """Frames a second."""
    size: tuple[Side, Side] = (640, 480)
    """Width and height of the frames."""
    seed: Annotated[int, Bounds(ge=0)] = 0
    """Of the noise and the shake: same seed, same frames."""
    noise: Annotated[float, Bounds(ge=0, le=50)] = 0.0
    """Sensor noise, sigma in grey levels."""
    jitter_px: Annotated[float, Bounds(ge=0, le=20)] = 0.0
    """Camera shake, sigma in pixels."""
    steps: Annotated[tuple[ScriptStep, ...], Bounds(min_length=1)]


def _with_kind(number: int, raw: Any) -> Any:
    """A step as the script writes it, with its kind as a field of its own."""
    if not isinstance(raw, dict):
        return raw
    kinds = [kind for kind in KINDS if kind in raw]
    if len(kinds) != 1:
        raise InvalidError([(("steps", str(number)), f"needs exactly one of {', '.join(KINDS)}")])
    rest = {key: value for key, value in raw.items() if key != kinds[0]}
    if kinds[0] != "hold" and (wrong := sorted({"label", "stuck"} & set(rest))):
        words = f"{', '.join(wrong)}: only a hold step has that"
        raise InvalidError([(("steps", str(number)), words)])
    return {"kind": kinds[0], "picture": raw[kinds[0]], **rest}


def _complaint(fault: Fault) -> str:
    """A fault in words: "step 3 (frames): ..."; steps count from 1."""
    key, words = fault
    if len(key) >= 2 and key[0] == "steps":
        rest = f" ({'.'.join(key[2:])})" if key[2:] else ""
        return f"step {int(key[1]) + 1}{rest}: {words}"
    return f"{'.'.join(key) or 'script'}: {words}"


def load_script(path: Path) -> Script:
    """Read and check a script, also that its pictures exist.

    Raises CameraError that names the file and, for a fault in a step, the step (from 1).
    """
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CameraError(f"{path}: cannot read the script: {error}") from error
    except yaml.YAMLError as error:
        raise CameraError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise CameraError(f"{path}: a script is a mapping with 'steps'; see the shipped reel")
    try:
        if isinstance(raw.get("steps"), list):
            raw["steps"] = [_with_kind(number, step) for number, step in enumerate(raw["steps"])]
        script = check(Script, raw)
    except InvalidError as invalid:
        raise CameraError(f"{path}: {'; '.join(map(_complaint, invalid.faults))}") from invalid
    for number, step in enumerate(script.steps, start=1):
        if not (path.parent / step.picture).is_file():
            raise CameraError(
                f"{path}: step {number} ({step.kind}): no picture {step.picture}; "
                f"paths are relative to the script"
            )
    return script
