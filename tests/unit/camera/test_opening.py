"""Opening a camera loads what it needs, and nothing before."""

import subprocess
import sys


def test_naming_the_protocol_loads_no_opencv() -> None:
    code = "import bin_daemon.camera, sys; print('cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
