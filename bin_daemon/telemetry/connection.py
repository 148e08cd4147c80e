"""The connection to the broker: one thread that makes it, keeps it, and makes it again.

A `Line` is one connection and is never used twice, so nothing of an old one - packet ids, paho's
own queue - can leak into the next. What happens on a line is told to a listener from this thread.
Events never live here: a line that breaks forgets all it was given. paho is imported with the first
attempt to connect.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from bin_daemon.config.sections import MqttSection
from bin_daemon.core.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
STABLE_S = 10.0  # a line that held this long was a good one: the back-off begins anew
SHORT_LIVES = 3  # so many lines in a row that did not hold are no accident
RETRY_MIN_S = 1.0
WINDOW = 20  # unacknowledged publishes, where the broker does not ask for fewer
MAX_PACKET = 268_435_455  # MQTT 5, section 2.1.4: the longest packet there is
ACCEPTED_PACKET = 65_536  # the longest packet the broker may send here; commands are short
_TICK_S = 1.0

# CONNACK reason codes that a quick retry cannot cure (MQTT 5, section 3.2.2.2).
LOGIN_REFUSED = {0x85, 0x86, 0x87, 0x8A, 0x8C}
SESSION_TAKEN_OVER = 0x8E


class Listener(Protocol):
    """Who hears what happens; called from the link's thread, so it must be quick."""

    def on_up(self, line: Line) -> None:
        """The broker has accepted; commands are subscribed to."""

    def on_down(self, line: Line, why: str, *, hung_up: bool) -> None:
        """The line is gone, or never came up. hung_up: the other side ended it."""

    def on_acknowledged(self, line: Line, mid: int, code: int, words: str) -> None:
        """A PUBACK has come; codes from 0x80 are refusals."""

    def on_subscribed(self, line: Line, code: int, words: str) -> None:
        """The broker has answered the subscription; codes from 0x80 are refusals."""

    def on_message(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """A message on a subscribed topic."""


class Line:
    """One connection to the broker, from the attempt to its end.

    window: how many publishes may be unacknowledged. max_packet: the longest packet, in bytes,
    that the broker takes. Both are known from `on_up` on.
    """

    def __init__(
        self, mqtt: MqttSection, client_id: str, will: tuple[str, str], subscription: str,
        listener: Listener,
    ) -> None:  # fmt: skip
        self._mqtt, self._client_id, self._will = mqtt, client_id, will
        self._subscription, self._listener = subscription, listener
        self._client: Client | None = None
        self._end = threading.Event()
        self.why = ""
        self.login_refused = False
        self.hung_up = False
        self.up_at: float | None = None
        self.window = WINDOW
        self.max_packet = MAX_PACKET

    def publish(self, topic: str, payload: str, *, retain: bool) -> int | None:
        """Send at QoS 1; the packet id that its acknowledgement will name, or None on a dead line.

        For any thread.
        """
        client = self._client
        if client is None or self._end.is_set():
            return None
        return client.publish(topic, payload.encode(), qos=1, retain=retain).mid

    def drop(self, why: str) -> None:
        """Give the line up without a word to the broker, which then publishes the last will."""
        self.why = self.why or why
        self._end.set()

    def disconnect(self) -> None:
        """Say goodbye; the broker then discards the last will."""
        if self._client is not None:
            self._client.disconnect()

    def run(self) -> None:
        """Connect, and serve the connection until it ends; `why` and the flags then say how."""
        try:
            self._serve()
        except ConfigError as error:
            self.why, self.login_refused = str(error), True
        except OSError as error:
            self.why = self.why or _words(error)
        except Exception as error:
            # paho raises what it likes on packets that are not MQTT; a bin must outlive that.
            log.exception("the connection to the broker failed")
            self.why = self.why or f"protocol error: {error!r}"
        finally:
            self._end.set()
            if self._client is not None and (sock := self._client.socket()):
                sock.close()

    def _serve(self) -> None:
        from paho.mqtt.enums import MQTTErrorCode
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = self._make_client()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        properties.MaximumPacketSize = ACCEPTED_PACKET
        client.connect(
            self._mqtt.host, self._mqtt.port, self._mqtt.keepalive_s,
            clean_start=True, properties=properties,
        )  # fmt: skip
        self._client = client
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while not self._end.is_set():
            if client.loop(_TICK_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
            if self.up_at is None and time.monotonic() > deadline:
                self.drop("it does not answer")
        self.why = self.why or self._guess()

    def _guess(self) -> str:
        """Why a line ended of which nothing is known but that it ended."""
        if self.up_at is not None:
            return "connection lost"
        if self._mqtt.tls is None:
            return "it hangs up before the login; does it want TLS (mqtt.tls)?"
        if self._mqtt.tls.certificate is None:
            return "it hangs up before the login; does it want a client certificate (mqtt.tls)?"
        return "it hangs up before the login; does it trust mqtt.tls.certificate?"

    def _make_client(self) -> Client:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(
            CallbackAPIVersion.VERSION2, self._client_id, protocol=MQTTv5,
            reconnect_on_failure=False,
        )  # fmt: skip
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._mqtt.username is not None:
            client.username_pw_set(self._mqtt.username, self._mqtt.password())
        if self._mqtt.tls is not None:
            client.tls_set_context(self._tls_context())
        client.will_set(*self._will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # Without a hook here paho would write to the socket from the publishing thread, at the same
        # time as `loop` does in this one; with it, `publish` queues the packet and wakes the loop.
        client.on_socket_register_write = lambda *_: None
        return client

    def _tls_context(self) -> ssl.SSLContext:
        import ssl

        tls = self._mqtt.tls
        assert tls is not None
        try:
            context = ssl.create_default_context(cafile=tls.ca)
        except OSError as error:
            raise ConfigError(f"mqtt.tls.ca: cannot use {tls.ca}: {error}") from error
        if tls.certificate and tls.key:
            try:
                # An empty password instead of None: OpenSSL must not ask at a terminal.
                context.load_cert_chain(tls.certificate, tls.key, password="")
            except OSError as error:
                raise ConfigError(
                    f"mqtt.tls.certificate: cannot use {tls.certificate} with {tls.key}: {error}"
                ) from error
        return context

    def _on_connect(
        self, client: Client, _: Any, __: ConnectFlags, reason: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        from paho.mqtt.subscribeoptions import SubscribeOptions

        if reason.is_failure:
            self.login_refused = reason.value in LOGIN_REFUSED
            self.why = f"it refuses the login: {reason}" if self.login_refused else str(reason)
            return
        self.up_at = time.monotonic()
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.max_packet = getattr(properties, "MaximumPacketSize", MAX_PACKET)
        # Retained commands are not to be sent at all; one that is published with the flag while
        # this line is up keeps it (retain as published), so that it is recognised too.
        options = SubscribeOptions(
            qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
        )
        client.subscribe(self._subscription, options=options)
        self._listener.on_up(self)

    def _on_disconnect(
        self, _: Client, __: Any, flags: DisconnectFlags, reason: ReasonCode, ___: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.hung_up = True
            self.why = self.why or f"it ended the connection: {reason}"
            if reason.value == SESSION_TAKEN_OVER:
                self.why = f"another client uses the id '{self._client_id}': give each bin its own"
        else:
            self.hung_up = reason.getName() != "Keep alive timeout"

    def _on_publish(
        self, _: Client, __: Any, mid: int, reason: ReasonCode, ___: Properties
    ) -> None:
        self._listener.on_acknowledged(self, mid, reason.value, str(reason))

    def _on_subscribe(
        self, _: Client, __: Any, ___: int, reasons: list[ReasonCode], ____: Properties | None
    ) -> None:
        self._listener.on_subscribed(self, reasons[0].value, str(reasons[0]))

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._listener.on_message(topic, bytes(message.payload), retained=message.retain)


class Link:
    """Keeps a line to the broker, with exponential back-off and full jitter between attempts.

    Each bin waits a random part of a growing time ("full jitter", AWS Architecture Blog, 2015), so
    that a fleet does not come back to its broker all at once. A refused login is retried slowly.
    """

    def __init__(
        self, mqtt: MqttSection, client_id: str, will: tuple[str, str], subscription: str,
        listener: Listener,
    ) -> None:  # fmt: skip
        self._mqtt, self._client_id, self._will = mqtt, client_id, will
        self._subscription, self._listener = subscription, listener
        self._line: Line | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-link", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more attempts; a line that is up stays so until its holder disconnects it."""
        self._stop.set()

    def close(self, timeout_s: float) -> None:
        """Wait at most `timeout_s` for the line to end, then drop it.

        An attempt in progress may outlive the wait; it ends with the process.
        """
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._line is not None:
            self._line.drop("the daemon stops")

    def _run(self) -> None:
        failures = short_lives = 0
        while not self._stop.is_set():
            line = self._line = Line(
                self._mqtt, self._client_id, self._will, self._subscription, self._listener
            )
            line.run()
            stable = line.up_at is not None and time.monotonic() - line.up_at > STABLE_S
            failures = 0 if stable else failures + 1
            short_lives = short_lives + 1 if line.hung_up and line.up_at and not stable else 0
            why = line.why
            if short_lives >= SHORT_LIVES:
                # Not every broker says so when a second client of the same id takes over.
                why += f", {short_lives} times at once after the login; is '{self._client_id}' "
                why += "the id of another client too?"
            self._listener.on_down(line, why, hung_up=line.hung_up)
            self._stop.wait(wait_s(failures, self._mqtt.retry_max_s, slow=line.login_refused))


def wait_s(failures: int, longest_s: float, *, slow: bool = False) -> float:
    """How long to wait after so many failures in a row; slow: after a refused login."""
    if slow:
        return random.uniform(0.5, 1.0) * longest_s
    return random.uniform(0.1, min(longest_s, RETRY_MIN_S * 2.0 ** min(failures, 30)))


def _words(error: OSError) -> str:
    import socket
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; see mqtt.tls.ca"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection: {error.reason or error}; see mqtt.tls"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return error.strerror or str(error)
