"""A Raspberry Pi's sysfs with one PWM chip, in a folder: links, device tree, files, and refusals.

Reads go to real files. Writes follow drivers/pwm/core.c and sysfs.c of Linux 6.1, the strictest of
the kernels that Raspberry Pi OS has: no state with a period of 0 or a duty above the period, no
second export, a state that outlives the export. The files of a channel take writes only
`udev_delay_s` after its export, as for a user whose group udev has yet to set.
"""

import errno
import os
import shutil
import struct
import time

from bin_daemon.gpio import kernel_pwm

PI_4 = ("devices/platform/soc/fe20c000.pwm", "soc/gpio@7e200000", 2)
PI_5 = (
    "devices/platform/axi/1000120000.pcie/1f00098000.pwm",
    "axi/pcie@1000120000/rp1/gpio@d0000",
    4,
)


class FakeSysfs:
    """board: PI_4 or PI_5. muxed: GPIOs that the overlay gives to the PWM. log: every write."""

    def __init__(self, root, board=PI_4, muxed=(12, 13), chip="pwmchip0"):
        self.root = root
        self.udev_delay_s = 0.0
        self.export_allowed = True
        self.used_by_kernel = set()
        self.log = []
        self.now = []
        self._ready_at = {}
        self._kept = {}
        device, controller, self._count = board
        self._device_tree(controller, muxed)
        self.chip = root / device / "pwm" / chip
        self.chip.mkdir(parents=True)
        (root / device / "of_node").symlink_to(root / "firmware/devicetree/base/pwm")
        (self.chip / "device").symlink_to(root / device)
        for name in ("export", "unexport"):
            (self.chip / name).touch()
        (root / "class/pwm").mkdir(parents=True)
        (root / "class/pwm" / chip).symlink_to(self.chip)

    def _device_tree(self, controller, muxed):
        tree = self.root / "firmware/devicetree/base"
        groups = {"uart0_pins": (7, [14, 15]), "pwm_pins": (42, list(muxed))}
        for name, (phandle, pins) in groups.items():
            node = tree / controller / name
            node.mkdir(parents=True)
            (node / "phandle").write_bytes(struct.pack(">I", phandle))
            (node / "brcm,pins").write_bytes(struct.pack(f">{len(pins)}I", *pins))
        (tree / "__symbols__").mkdir()
        (tree / "__symbols__/gpio").write_text(f"/{controller}\0")
        (tree / "pwm").mkdir()
        (tree / "pwm/pinctrl-0").write_bytes(struct.pack(">I", 42))

    def install(self, monkeypatch):
        monkeypatch.setattr(kernel_pwm, "SYSFS", self.root)
        monkeypatch.setattr(kernel_pwm, "_open", self._open)
        monkeypatch.setattr(kernel_pwm, "_write", self._write)
        return self

    def leave_running(self, channel, period_ns, duty_ns):
        """What a process leaves behind that was killed."""
        state = {"period": period_ns, "duty_cycle": duty_ns, "enable": 1, "polarity": "normal"}
        self._show(channel, state)
        self._ready_at[channel] = 0.0

    def state(self, channel):
        """Values by file name of an exported channel, None of one that is not."""
        folder = self.chip / f"pwm{channel}"
        if not folder.exists():
            return None
        names = ("period", "duty_cycle", "enable")
        return {name: int((folder / name).read_text()) for name in names}

    def written(self, channel):
        """(file, value) of all writes to a channel, in order."""
        return [(file, text) for where, file, text in self.log if where == f"pwm{channel}"]

    def _open(self, path):
        if path.parent.resolve() == self.chip:
            if not self.export_allowed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
        elif path.parent.exists():
            channel = int(path.parent.name.removeprefix("pwm"))
            if time.monotonic() < self._ready_at[channel]:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return os.open(path, os.O_WRONLY)

    def _write(self, path, text):
        os.close(self._open(path))
        if path.parent.resolve() == self.chip:
            getattr(self, f"_{path.name}")(int(text))
        else:
            self._apply(path, text)
        self.log.append((path.parent.name, path.name, text))
        self.now.append(time.monotonic())

    def _export(self, channel):
        if channel >= self._count:
            raise OSError(errno.ENODEV, "No such device")
        if channel in self.used_by_kernel or (self.chip / f"pwm{channel}").exists():
            raise OSError(errno.EBUSY, "Device or resource busy")
        new = {"period": 0, "duty_cycle": 0, "enable": 0, "polarity": "normal"}
        self._show(channel, self._kept.get(channel, new))
        self._ready_at[channel] = time.monotonic() + self.udev_delay_s

    def _unexport(self, channel):
        folder = self.chip / f"pwm{channel}"
        if not folder.exists():
            raise OSError(errno.ENODEV, "No such device")
        self._kept[channel] = self._state(folder)
        shutil.rmtree(folder)

    def _apply(self, path, text):
        state = self._state(path.parent)
        state[path.name] = text if path.name == "polarity" else int(text)
        if not state["period"] or state["duty_cycle"] > state["period"]:
            raise OSError(errno.EINVAL, "InvalidError argument")
        self._show(int(path.parent.name.removeprefix("pwm")), state)

    def _show(self, channel, state):
        folder = self.chip / f"pwm{channel}"
        folder.mkdir(exist_ok=True)
        for name, value in state.items():
            (folder / name).write_text(f"{value}\n")

    @staticmethod
    def _state(folder):
        state = {name: int((folder / name).read_text()) for name in ("period", "duty_cycle")}
        state["enable"] = int((folder / "enable").read_text())
        state["polarity"] = (folder / "polarity").read_text().strip()
        return state
