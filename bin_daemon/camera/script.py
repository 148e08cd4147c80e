"""A sequence script: the YAML that turns stills into time.

A `script.yaml` flows in, a checked `Script` flows out; `replay` plays it. The steps show the empty
chamber, an item sliding in, the item at rest, a hand, a change of light, or a covered lens. Paths
are relative to the script. Nothing is decoded here; pictures are only looked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bin_daemon.errors import CameraError

SCRIPT_NAME = "script.yaml"
KINDS = ("empty", "enter", "hold", "hand", "light", "blocked")
Side = Annotated[int, Field(ge=32, le=4096)]


class Step(BaseModel):
    """One part of a script, written `{<kind>: <picture>, frames: N}`.

    empty: the chamber with nothing in it. enter: an item slides in from the top. hold: it is at
    rest; where the machine tells of its cycle, until it is dropped. hand: something reaches in.
    light: the empty view fades into this one. blocked: the lens is covered or blinded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["empty", "enter", "hold", "hand", "light", "blocked"]
    picture: str = Field(min_length=1)
    frames: int = Field(ge=1, le=100_000, description="How many frames it lasts.")
    label: str | None = Field(None, description="hold: what it is, for whoever keeps count.")
    stuck: int = Field(0, ge=0, le=100, description="hold: drops that it survives: a jam.")

    @model_validator(mode="before")
    @classmethod
    def _kind_is_a_key(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or "kind" in raw:
            return raw
        kinds = [kind for kind in KINDS if kind in raw]
        if len(kinds) != 1:
            raise ValueError(f"needs exactly one of {', '.join(KINDS)}")
        rest = {key: value for key, value in raw.items() if key != kinds[0]}
        if kinds[0] != "hold" and (wrong := {"label", "stuck"} & set(rest)):
            raise ValueError(f"{', '.join(sorted(wrong))}: only a hold step has that")
        return {"kind": kinds[0], "picture": raw[kinds[0]], **rest}


class Script(BaseModel):
    """A scene: its steps, and how the camera that sees them behaves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fps: float = Field(10.0, gt=0, le=120, description="Frames a second.")
    size: tuple[Side, Side] = Field((640, 480), description="Width and height of the frames.")
    seed: int = Field(0, ge=0, description="Of the noise and the shake: same seed, same frames.")
    noise: float = Field(0.0, ge=0, le=50, description="Sensor noise, sigma in grey levels.")
    jitter_px: float = Field(0.0, ge=0, le=20, description="Camera shake, sigma in pixels.")
    steps: tuple[Step, ...] = Field(min_length=1)


def _complaint(error: ValidationError) -> str:
    """The first fault in words: "step 3 (frames): Input should be ..."; steps count from 1."""
    fault = error.errors(include_url=False)[0]
    where = [str(part) for part in fault["loc"]]
    if len(where) >= 2 and where[0] == "steps":
        rest = f" ({'.'.join(where[2:])})" if where[2:] else ""
        return f"step {int(where[1]) + 1}{rest}: {fault['msg']}"
    return f"{'.'.join(where) or 'script'}: {fault['msg']}"


def load_script(path: Path) -> Script:
    """Read and check a script, and see that its pictures are there.

    Raises CameraError that names the file, and the step (counted from 1) where it is one.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CameraError(f"{path}: cannot read the script: {error}") from error
    except yaml.YAMLError as error:
        raise CameraError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise CameraError(f"{path}: a script is a mapping with 'steps'; see the shipped reel")
    try:
        script = Script.model_validate(raw)
    except ValidationError as error:
        raise CameraError(f"{path}: {_complaint(error)}") from error
    for number, step in enumerate(script.steps, start=1):
        if not (path.parent / step.picture).is_file():
            raise CameraError(
                f"{path}: step {number} ({step.kind}): no picture {step.picture}; "
                f"paths are relative to the script"
            )
    return script
