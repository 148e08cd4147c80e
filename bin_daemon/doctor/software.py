"""Checks of what the daemon is made of and talks to: configuration, runtimes, model, broker.

A `Site` flows in, a `Finding` flows out of each function. Runtimes are tried in processes of their
own: a build for another processor ends its process with SIGILL, which must not end the doctor.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.core.errors import ConfigError
from bin_daemon.doctor.finding import Finding, Site, configured, fault, good, inapplicable, warning

if TYPE_CHECKING:
    from bin_daemon.config.sections import Config, MqttSection
    from bin_daemon.telemetry.connection import Connection

_PROCESS_S = 50.0
_CONNECT_S = 10.0
_ABSENT = 3  # exit code of a process whose runtime is not installed, which is no fault
_REFUSED = 0x80  # MQTT 5, section 3.9.3: reason codes from here are refusals


def configuration(site: Site) -> Finding:
    """Whether the file is correct, and of the present version."""
    if site.config is None:
        return fault(site.config_error, "correct these lines, then: bin-daemon check-config")
    from bin_daemon.config.edit import version_in
    from bin_daemon.config.load import find_config, read
    from bin_daemon.config.sections import SCHEMA_VERSION

    path = find_config(site.name)
    version = version_in(read(path), str(path))
    if version != SCHEMA_VERSION:
        return warning(
            f"{path}: version {version}, read as {SCHEMA_VERSION}",
            f"sudo bin-daemon check-config --migrate {path}",
        )
    return good(f"{path}: bin '{site.config.bin.id}'")


def runtime(site: Site) -> Finding:
    """Which TFLite runtimes can be loaded here."""
    from bin_daemon.model.runtime import RUNTIMES

    remedy = f"{sys.executable} -m pip install ai-edge-litert"
    loaded, broken = [], []
    for name, module in RUNTIMES.items():
        probe = f"try:\n import {module}\nexcept ModuleNotFoundError:\n raise SystemExit({_ABSENT})"
        done = _python("-c", probe)
        if done.returncode == 0:
            loaded.append(name)
        elif done.returncode != _ABSENT:
            broken.append(f"{name} does not load: {_last_words(done)}")
    wanted = site.config.model.runtime if site.config else "auto"
    if wanted != "auto" and wanted not in loaded:
        return fault(
            f"model.runtime asks for {wanted}; loaded: {', '.join(loaded) or 'none'}",
            f"{sys.executable} -m pip install {wanted}, or write `runtime: auto`",
        )
    if not loaded:
        return fault("; ".join(broken) or "none is installed", remedy)
    if broken:
        return warning(f"{', '.join(loaded)}; {'; '.join(broken)}", remedy)
    return good(", ".join(loaded))


@configured
def model(_: Site, config: Config) -> Finding:
    """Whether the model's files are whole and each runtime computes what it should."""
    name = config.model.name
    done = _python("-m", "bin_daemon", "model", "verify", name)
    if done.returncode:
        return fault(_last_words(done), f"install the package '{name}' again")
    return good(done.stdout.strip())


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            capture_output=True,
            text=True,
            timeout=_PROCESS_S,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, 124, "", f"no end within {_PROCESS_S:g} s")


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}: it was built for another processor"
    return (done.stderr.strip().splitlines() or ["no message"])[-1]


@configured
def broker(site: Site, config: Config) -> Finding:
    """Find, reach and log in to the broker as the daemon does, under an id of its own."""
    mqtt = config.mqtt
    if mqtt is None:
        return inapplicable("no broker is configured")
    where = f"{mqtt.host}:{mqtt.port}"
    try:
        mqtt.password()
    except ConfigError as error:
        remedy = (
            "create it with the password alone in it, chmod 640, chgrp bin-daemon; or run this "
        )
        return fault(str(error), f"{remedy}as {site.user} or root, who may read it")
    try:
        socket.getaddrinfo(mqtt.host, mqtt.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return fault(
            f"{where}: the name cannot be resolved ({error.strerror})",
            f"getent hosts {mqtt.host}; correct mqtt.host, or the network",
        )
    try:
        socket.create_connection((mqtt.host, mqtt.port), _CONNECT_S).close()
    except TimeoutError:
        return fault(f"{where}: no answer", f"ping {mqtt.host}; does a firewall block the port?")
    except OSError as error:
        return fault(
            f"{where}: {error.strerror or error}",
            f"is the broker running there (systemctl status mosquitto)? is {mqtt.port} its port?",
        )
    return _login(mqtt, config.bin.id, where)


def _login(mqtt: MqttSection, bin_id: str, where: str) -> Finding:
    from bin_daemon.telemetry.connection import Connection, ConnectionState, Parameters
    from bin_daemon.telemetry.topics import Topics

    topics, heard = Topics(mqtt.prefix, bin_id), _Heard()
    # An empty will on a topic of its own: it means nothing to anyone, however this ends.
    will = (f"{topics.root}/doctor", "")
    parameters = Parameters(mqtt, f"{bin_id}-doctor", will, topics.command_filter)
    connection = Connection(parameters, heard)
    connection.run()
    secure = "TLS" if mqtt.tls else "no encryption"
    if connection.up_at is None:
        refused = connection.state is ConnectionState.REFUSED
        login = "mqtt.username and mqtt.password_file" if refused else "mqtt.tls"
        return fault(f"{where}: {connection.why}", f"compare {login} with the broker's log")
    if heard.refused:
        return fault(
            f"{where}: {topics.command_filter}: {heard.refused}",
            f"in the broker's ACL, let {mqtt.username or 'it'} read and write {topics.root}/#",
        )
    user = f"logged in as {mqtt.username}" if mqtt.username else "no login"
    return good(f"{where}: {user}, {secure}")


class _Heard:
    """A `Listener` that ends the connection as soon as the subscription is answered."""

    def __init__(self) -> None:
        self.refused = ""

    def on_subscribed(self, connection: Connection, code: int, words: str) -> None:
        """Keep the refusal, and say goodbye."""
        self.refused = words if code >= _REFUSED else ""
        connection.disconnect()

    def _ignore(self, *_: object, **__: object) -> None:
        """No events are delivered on it and no commands are sent to it."""

    on_up = on_down = on_acknowledged = on_message = _ignore
