"""Ways to spoil a copy of the shipped model package."""

import hashlib
import json
from pathlib import Path


def edit(package: Path, **changes) -> None:
    manifest = json.loads((package / "manifest.json").read_text())
    (package / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def replace(package: Path, name: str, content: bytes) -> None:
    """Swap a file and enter it in the manifest, as whoever packages would."""
    (package / name).write_bytes(content)
    files = json.loads((package / "manifest.json").read_text())["files"]
    files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(package, files=files)
