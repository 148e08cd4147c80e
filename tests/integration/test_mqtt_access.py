"""The access list that docs/mqtt.md recommends, on a real mosquitto."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

from mqtt_parts import ITEM, STATUS, Listen, NewBin, NewBroker, sort_items
from waiting import wait_until

from bin_daemon.core.messages import Alert, Severity, stamp

DOCS = Path(__file__).parents[2] / "docs" / "mqtt.md"


def test_the_recommended_access_list_lets_a_bin_do_its_work_and_no_more(
    new_broker: NewBroker, listen: Listen, new_bin: NewBin, tmp_path: Path
) -> None:
    block = re.search(r"```acl\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    (tmp_path / "acl").write_text(block[1])
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    for user in ("b1", "fleet"):
        subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, user], check=True)
    broker = new_broker(
        f"allow_anonymous false\npassword_file {passwords}\nacl_file {tmp_path / 'acl'}\n"
    )
    broker.start()
    fleet = listen(broker, user="fleet")
    (tmp_path / "secret").write_text("b1")
    done: list[object] = []
    publisher = new_bin(
        broker, mqtt={"username": "b1", "password_file": tmp_path / "secret"},
        verbs={"pause": done.append},
    )  # fmt: skip

    publisher.start()
    publisher.raise_alert(Alert("jam", Severity.ERROR, "An item is stuck.", time.time()))
    publisher.retain(publisher.topics.fill("paper"), {"percent": 40})
    sort_items(publisher, 1)
    wait_until(lambda: fleet.payloads(ITEM), "the event")
    expires = stamp(time.time() + 60)
    fleet.say("bins/b1/cmd/pause", json.dumps({"cmd_id": "c1", "expires": expires}))
    wait_until(lambda: fleet.payloads("bins/b1/cmd_result/pause"), "the answer")
    publisher.retain("bins/b2/status", {"state": "online"})
    wait_until(publisher.problems, "the refusal of another bin's topic")

    assert len(done) == 1
    assert publisher.problems() == (
        f"broker 127.0.0.1:{broker.port} refuses bins/b2/status: Not authorized",
    )  # fmt: skip
    assert fleet.payloads(STATUS) == ['{"state":"online","session":1}']
    assert fleet.payloads("bins/b2/status") == []
