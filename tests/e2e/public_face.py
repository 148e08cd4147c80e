"""The public face of a checkout as one JSON document, for comparing two versions.

    python tests/e2e/public_face.py --python PY --root CHECKOUT
    python tests/e2e/public_face.py --python PY --root CHECKOUT --former OTHER --sentences

The first prints the document: commands and options, configuration, exit codes, every `--json`, the
MQTT traffic, files on disk, packaging. What differs from run to run (ids, times, figures of a
machine) is masked. Sentences for people stand apart under "sentences": they may change. The second
prints those that did, old and new.

The checkout is a black box: its commands run in processes of their own and nothing of it is
imported. Needs mosquitto.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import yaml
from blackbox import (
    Broker,
    Heard,
    Program,
    draw_pictures,
    wait_until,
    write_config,
    write_relay,
    write_script,
)

# Values of these keys are part of the contract; all other texts and numbers are masked.
KEPT = frozenset({
    "confidence", "count", "kind", "label", "labels", "level", "looks", "model", "ok", "outcome",
    "pin_factory", "pictures", "predicted", "pulses", "route", "routes", "says", "sensor",
    "severity", "source", "state", "top_k",
})  # fmt: skip
# Sentences for people, wherever they stand.
WORDS = frozenset({
    "empty_views", "error", "mend", "message", "problems", "reason", "seen", "warnings",
})  # fmt: skip
# Where chance decides which of these values is seen, any of them is right.
ENUMS = {
    "label": frozenset({"can", "cardboard", "glass", "metal", "paper", "plastic", "trash"}),
    "outcome": frozenset({"interrupted", "jammed", "rejected", "sorted"}),
    "route": frozenset({"recyclables", "paper", "glass", "packaging", "residual"}),
    "state": frozenset({
        "waiting", "settling", "looking", "sorting", "clearing", "paused", "blocked", "jammed",
        "degraded", "online", "offline", "stopped",
    }),
}  # fmt: skip
# Maps whose keys come from what happened.
OPEN = frozenset({"counts"})
ABSENT = "absent"
STATE = "<a state directory of its own>"


class Face:
    """What is seen of one checkout.

    python: an interpreter with the dependencies. root: the checkout. work: an empty folder. bench:
    whether to run `bench` too, which takes longer than all the rest.
    """

    def __init__(self, python: str, root: Path, work: Path, *, bench: bool = False) -> None:
        self.python = python
        self.bench = bench
        self.root = root.resolve()
        self.work = work.resolve()
        self.sentences: dict[str, str] = {}
        self.pictures = self.work / "pictures"
        draw_pictures(self.pictures)

    def program(self, name: str) -> Program:
        """The program with a home of its own."""
        return Program.of(self.python, self.root, self.work / name)

    def document(self) -> dict[str, Any]:
        """All of it."""
        parts: dict[str, Callable[[], Any]] = {
            "daemon": self._daemon,
            "json": self._json,
            "demo": self._demo,
            "exit_codes": self._exit_codes,
            "commands": self._commands,
            "workshop": self._workshop,
            "schema": self._schema,
            "packaging": self._packaging,
            "models": self._models,
        }
        with ThreadPoolExecutor(3) as pool:
            running = {name: pool.submit(part) for name, part in parts.items()}
            found = {name: one.result() for name, one in running.items()}
        return {**found, "sentences": dict(sorted(self.sentences.items()))}

    def tell(self, where: str, words: str) -> None:
        """Note a sentence for people, without what differs from run to run."""
        for place, name in ((self.work, "<work>"), (self.root, "<root>")):
            words = words.replace(str(place), name)
        for pattern, name in _VOLATILE:
            words = pattern.sub(name, words)
        if words.strip():
            self.sentences[where] = words.strip()

    def tell_all(self, where: str, words: Iterable[str]) -> None:
        """Note what a set of messages said in one place."""
        masked: set[str] = set()
        for one in words:
            self.tell(where, one)
            masked.add(self.sentences.pop(where, ""))
        if told := "\n".join(sorted(masked - {""})):
            self.sentences[where] = told

    # Commands and options

    def _commands(self) -> Any:
        return self._parser("bin_daemon")

    def _workshop(self) -> dict[str, Any]:
        """The steps of `python -m export`, and every module of it that is run by itself."""
        found = {"export": self._parser("export")}
        for path in sorted((self.root / "export").rglob("*.py")):
            name = ".".join(path.relative_to(self.root).with_suffix("").parts)
            module = name.removesuffix(".__main__")
            if module != "export" and (
                module != name or '__name__ == "__main__"' in path.read_text(encoding="utf-8")
            ):
                found[module] = self._parser(module)
        return found

    def _parser(self, module: str) -> Any:
        program = self.program("parsers")
        done = program.run(module, command=[self.python, "-c", _PARSER])
        if done.returncode:
            raise RuntimeError(f"{module} shows no parser:\n{done.stderr[-2000:]}")
        told = json.loads(done.stdout.splitlines()[-1])
        self._tell_help(" ".join(module.replace("_", "-").rsplit(".", 1)), told)
        text = json.dumps(told).replace(str(self.root), "<root>")
        # The default is the file of ImageNet weights that is at hand, beside a checkout or within.
        return json.loads(re.sub(r'"[^"]*/(?=[^"/]*_imagenet_folded\.npz")', '"<weights>/', text))

    def _tell_help(self, where: str, parser: dict[str, Any]) -> None:
        self.tell(f"help of {where}", parser.pop("description") or "")
        for option in parser["options"]:
            self.tell(f"help of {where} {option['name']}", option.pop("help") or "")
        for name, words in parser.pop("helps").items():
            self.tell(f"help of {where} {name}, in the list", words or "")
        for name, command in parser["commands"].items():
            self._tell_help(f"{where} {name}", command)

    # Configuration

    def _schema(self) -> Any:
        shown = self.program("schema").run("check-config", "--schema").stdout
        schema = json.loads(shown)
        shipped = json.loads((self.root / "firmware_config/bin-daemon.schema.json").read_text())
        if schema != shipped:
            raise RuntimeError("the shipped schema is not that of check-config --schema")
        self._undescribed("schema", schema)
        return schema

    def _undescribed(self, where: str, part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(part.get("description"), str):
                self.tell(where, part.pop("description"))
            for key, value in part.items():
                self._undescribed(f"{where}.{key}", value)
        elif isinstance(part, list):
            for value in part:
                self._undescribed(where, value)

    # Exit codes

    def _exit_codes(self) -> dict[str, Any]:
        home = self.work / "calls"
        program = self.program("calls")
        empty, can = self.pictures / "empty.png", self.pictures / "can.png"
        (home / "cut.png").write_bytes(can.read_bytes()[:2000])
        (home / "pictures").mkdir()
        (home / "no.yaml").write_text("steps: [{hold: none.jpg, frames: 3, colour: red}]")
        (home / "broken.yaml").write_text("version: 2\nbin: {id: b1\n")
        good = yaml.safe_load(write_config(home / "good.yaml", "reel", 1).read_text())
        wrong = {**good, "camera": {**good["camera"], "fsp": 10}}
        (home / "wrong.yaml").write_text(yaml.safe_dump(wrong))
        (home / "old.yaml").write_text(yaml.safe_dump({**good, "version": 1}))
        (home / "future.yaml").write_text(yaml.safe_dump({**good, "version": 99}))
        untaken = {**good, "routes": {"residual": good["routes"]["residual"]}}
        (home / "untaken.yaml").write_text(yaml.safe_dump(untaken))
        real = {**good, "chute": {**good["chute"], "pins": "lgpio"}}
        (home / "real.yaml").write_text(yaml.safe_dump(real))
        (home / "full").mkdir()
        (home / "full" / "file").write_text("")
        of_good = ("--config", "good.yaml")
        by_bin_daemon = {
            "no command": [],
            "unknown command": ["nonsense"],
            "help": ["--help"],
            "version": ["--version"],
            "run, unknown option": ["run", "--nonsense"],
            "run, missing configuration": ["run", "--config", "none.yaml"],
            "run, broken configuration": ["run", "--config", "broken.yaml"],
            "run, wrong configuration": ["run", "--config", "wrong.yaml"],
            "run, classes without a route": ["run", "--config", "untaken.yaml"],
            "run, missing model": ["run", *of_good, "--model", "none"],
            "run, wrong level": ["run", "--log-level", "loud"],
            "run, wrong threads": ["run", *of_good, "--threads", "99"],
            "run, missing pictures": ["run", "--config", "gone.yaml"],
            "check-config, good": ["check-config", "good.yaml"],
            "check-config, missing": ["check-config", "none.yaml"],
            "check-config, broken": ["check-config", "broken.yaml"],
            "check-config, wrong": ["check-config", "wrong.yaml"],
            "check-config, of the future": ["check-config", "future.yaml"],
            "check-config, two wishes": ["check-config", "--schema", "--migrate"],
            "check-config, nothing to migrate": ["check-config", "--migrate", "good.yaml"],
            "check-config, migrate": ["check-config", "--migrate", "--yes", "old.yaml"],
            **{
                f"check-config, {name}": ["check-config", name]
                for name in ("simulator", "flap", "rotary_trapdoor", "four_stream")
            },
            "classify, nothing": ["classify"],
            "classify, good": ["classify", "--empty", empty, can],
            "classify, missing picture": ["classify", "none.png"],
            "classify, broken picture": ["classify", "cut.png"],
            "classify, missing model": ["classify", "--model", "none", can],
            "classify, wrong runtime": ["classify", "--runtime", "none", can],
            "classify, only the chamber": ["classify", "--empty", empty, empty],
            "classify, why without overlay": ["classify", "--why", can],
            "replay, missing": ["replay", "none"],
            "replay, empty folder": ["replay", "pictures"],
            "replay, wrong script": ["replay", "no.yaml", "--fast"],
            "replay, no frames to hold": ["replay", self.pictures, "--hold", "0"],
            "replay, empty without hold": ["replay", self.pictures, "--empty", empty],
            "events, no store": ["events", "--state", STATE],
            "events, limit 0": ["events", "--limit", "0"],
            "model, nothing": ["model"],
            "model list": ["model", "list"],
            "model verify": ["model", "verify", "waste6"],
            "model verify, missing": ["model", "verify", "none"],
            "teach, no terminal": ["teach", *of_good, "--state", STATE],
            "teach, json alone": ["teach", "--json"],
            "teach, empty alone": ["teach", "--empty", empty],
            "teach, two wishes": ["teach", "--undo", "--forget"],
            "teach, missing folder": ["teach", "--from", "none", *of_good, "--state", STATE],
            "teach, empty folder": ["teach", "--from", "pictures", *of_good, "--state", STATE],
            "teach, nothing kept": ["teach", "--kept", *of_good, "--state", STATE],
            "teach, nothing to undo": ["teach", "--undo", *of_good, "--state", STATE],
            "samples, nothing": ["samples"],
            "samples list, no store": ["samples", "list", "--state", STATE],
            "samples delete, nothing": ["samples", "delete", "--state", STATE],
            "samples delete, all of none": ["samples", "delete", "--all", "--state", STATE],
            "doctor, missing configuration": ["doctor", "--config", "none.yaml", "--state", STATE],
            "calibrate, no terminal": ["calibrate", *of_good],
            "servo-test, unknown servo": ["servo-test", "none", *of_good],
            "servo-test, nobody to ask": ["servo-test", "--config", "real.yaml"],
            "sensor-test, no sensors": ["sensor-test", *of_good],
            "sensor-test, no seconds": ["sensor-test", *of_good, "--seconds", "0"],
            "silence": ["silence", *of_good, "--state", STATE],
            "silence, broken configuration": ["silence", "--config", "broken.yaml"],
            "demo, missing script": ["demo", "--script", "none.yaml"],
            "bench, missing configuration": ["bench", "--config", "none.yaml"],
        }
        gone = {**good, "camera": {**good["camera"], "source": "none"}}
        (home / "gone.yaml").write_text(yaml.safe_dump(gone))
        by_export = {
            "export, nothing": [],
            "export, help": ["--help"],
            "export, unknown step": ["nonsense"],
            "export train, missing recipe": ["train", "--recipe", "none"],
            "export train, wrong fold": ["train", "--fold", "9"],
            "export train, wrong setting": ["train", "--set", "x"],
            "export quantize, missing run": ["quantize", "--run", "none/none"],
            "export evaluate, missing run": ["evaluate", "--run", "none/none"],
            "export report, missing run": ["report", "--run", "none/none"],
            "export package, missing run": ["package", "--run", "none/none"],
            "export import, nothing": ["import"],
            "export import, annotations alone": ["import", "--annotations", "none"],
        }
        found: dict[str, Any] = {}
        for module, calls in (("bin_daemon", by_bin_daemon), ("export", by_export)):
            for name, done in self._called(program, module, calls).items():
                if not name.endswith("help"):  # told option by option
                    self.tell(f"call: {name}", _of_ours(done["stdout"] + done["stderr"]))
                found[name] = {
                    "code": done["code"],
                    "output": bool(done["stdout"]),
                    "traceback": "Traceback" in done["stderr"],
                }
        migrated = sorted(path.name for path in home.glob("old.yaml*"))
        return {"calls": found, "what migrating leaves": migrated}

    def _called(self, program: Program, module: str, calls: dict[str, Any]) -> dict[str, Any]:
        """By name what each call gave, with a state directory of its own."""
        wishes = {}
        for name, words in calls.items():
            state = str(program.home / "states" / re.sub(r"\W+", "-", name))
            wishes[name] = (state, [state if word is STATE else str(word) for word in words])
        done = program.run(module, json.dumps(wishes), command=[self.python, "-c", _CALLS])
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return json.loads(done.stdout)

    # What `--json` prints

    def _json(self) -> dict[str, Any]:
        program = self.program("json")
        home, empty, can = program.home, self.pictures / "empty.png", self.pictures / "can.png"
        reel = self.root / "firmware_config/reel"
        config = ("--config", write_config(home / "bin.yaml", "reel", 1), "--state", home / "state")
        script = write_script(
            self.pictures / "two.yaml",
            {"hold": "can.png", "frames": 12, "label": "metal"},
            {"empty": "empty.png", "frames": 8},
            {"hold": "lesson/glass/0.png", "frames": 12},
            {"empty": "empty.png", "frames": 8},
        )
        found: dict[str, Any] = {}

        def note(name: str, *words: object, exact: bool = False) -> list[Any]:
            done = program.run(*words)
            try:
                lines = [json.loads(line) for line in done.stdout.splitlines()]
            except ValueError:
                raise RuntimeError(f"{name}: {done.stdout[-500:]}{done.stderr[-1500:]}") from None
            shapes = [shape(line, exact=exact) for line in lines]
            found[name] = {"code": done.returncode, "lines": shapes if exact else merged(shapes)}
            self.tell(f"{name}, beside it", _of_ours(done.stderr))
            for words_in, said in _words_of(name, lines):
                self.tell_all(words_in, said)
            return lines

        both = reel / "two_items.jpg"
        note("classify --json", "classify", "--json", *config, can, both, exact=True)
        of_reel = ("--empty", reel / "empty.jpg")
        note("classify --empty --json", "classify", "--json", *config, *of_reel, both, exact=True)
        note("replay --json", "replay", script, "--fast", "--json", *config, exact=True)
        note("doctor --json", "doctor", "--json", *config)
        of_desk = ("--config", "simulator", "--state", home / "state")
        note("sensor-test --json", "sensor-test", "--seconds", "0.3", "--json", *of_desk)
        lesson = ("--from", self.pictures / "lesson", "--empty", empty)
        note("teach --from --json", "teach", *lesson, "--json", *config, exact=True)
        note("teach --kept --json", "teach", "--kept", "--json", *config)
        note("classify --json, taught", "classify", "--json", "--empty", empty, *config, can)
        note("classify --json, not taught", "classify", "--no-taught", "--json", *config, can)
        of_state = ("--state", home / "state")
        samples = note("samples list --json", "samples", "list", "--json", *of_state)
        first = samples[0]["id"]
        note("samples label --json", "samples", "label", first, "", "--json", *of_state)
        out = home / "out"
        note("samples export --json", "samples", "export", out, "--json", *of_state)
        found["exported files"] = places(out)
        found["exported tables"] = {
            path.name: path.read_text(encoding="utf-8").splitlines()[0]
            for path in sorted(out.glob("*.csv"))
        }
        found["taught files"] = places(home / "state")
        found["taught stores"] = stores(home / "state")
        note("samples delete --json", "samples", "delete", first, "--json", *of_state)
        note("teach --undo --json", "teach", "--undo", "--json", *config)
        note("teach --forget --json", "teach", "--forget", "--json", *config)
        found["overlay"] = self._overlay(program, config, of_reel, both)
        found["bench --json"] = self._bench(program) if self.bench else "not run"
        found["masks --json"] = self._masks(program, reel)
        return found

    def _overlay(self, program: Program, config: Any, empty: Any, picture: Path) -> Any:
        target = program.home / "overlay.png"
        words = ("--overlay", target, *empty, "--why", *config)
        done = program.run("classify", picture, *words)
        drawn = cv2.imread(str(target))
        self.tell("classify --overlay", _of_ours(done.stdout + done.stderr))
        return {"code": done.returncode, "size": None if drawn is None else drawn.shape}

    def _bench(self, program: Program) -> Any:
        """The keys; the figures are those of a machine."""
        done = program.run("bench", "--quick", "--json")
        return {"code": done.returncode, "lines": shape(json.loads(done.stdout))}

    def _masks(self, program: Program, reel: Path) -> Any:
        """What was a module of the workshop, and is a step of it now."""
        for module in (["export", "masks"], ["export.masks"]):
            done = program.run(reel, "--json", command=[self.python, "-m", *module])
            if done.returncode == 0:
                return shape(json.loads(done.stdout))
        return f"fails with {done.returncode}"

    # MQTT

    def _demo(self) -> dict[str, Any]:
        """The rendered reel as fast as it goes, and a scene in which the bin needs somebody."""
        minute = 4 * 65  # frames
        trouble = write_script(
            self.pictures / "trouble.yaml",
            {"hold": "can.png", "frames": 12, "label": "metal"},
            {"empty": "empty.png", "frames": 8},
            {"blocked": "dark.png", "frames": 60},
            {"empty": "empty.png", "frames": 20},
            *({"hand": f"{('arm', 'hand')[n % 2]}.png", "frames": 1} for n in range(minute)),
            {"empty": "empty.png", "frames": 20},
            *({"hand": f"lesson/glass/{n % 12}.png", "frames": 1} for n in range(minute)),
            {"empty": "empty.png", "frames": 20},
            {"hold": "can.png", "frames": 12, "label": "metal", "stuck": 3},
            {"empty": "empty.png", "frames": 24},
            fps=4,
            noise=0,
        )
        for attempt in range(5):
            played = self._played(f"trouble {attempt}", "--script", trouble)
            payloads = [
                one["payload"] for topic, one in played["topics"].items() if "/alert/" in topic
            ]
            # Only the newest of a retained value is sent: an alert may be over before it was.
            if all("or" in (payload or ()) for payload in payloads):
                break
        return {"the reel": self._played("reel"), "trouble": played}

    def _played(self, name: str, *words: object) -> dict[str, Any]:
        program = self.program(f"demo-{name.replace(' ', '-')}")
        with Broker(program.home / "broker") as broker:
            write_relay(program.home / "bin", broker)
            search = f"{program.home / 'bin'}:{program.environment()['PATH']}"
            done = program.run("demo", "--once", "--fast", *words, PATH=search)
            if done.returncode:
                raise RuntimeError(f"the demo fails: {done.stdout[-1000:]}{done.stderr[-2000:]}")
            events = [one.value for one in broker.heard if one.topic.endswith("/event/item")]
            return {
                "events": [shape(event, exact=True) for event in events],
                "status": [one["state"] for one in broker.values("bins/desk/status")],
                "topics": self._topics(f"demo of {name.partition(' ')[0]}", broker.heard),
                "connection": connection(broker.log, "desk"),
            }

    def _topics(self, where: str, heard: list[Heard]) -> dict[str, Any]:
        """By topic: how it is published, and the shape of what is published there."""
        found: dict[str, Any] = {}
        for topic in sorted({one.topic for one in heard if "/cmd/" not in one.topic}):
            here = [one for one in heard if one.topic == topic]
            values = [one.value for one in here]
            for place, words in _words_of(f"{where}: {topic}", values):
                self.tell_all(place, words)
            found[topic] = {
                "retain": sorted({one.retain for one in here}),
                "qos": sorted({one.qos for one in here}),
                "properties": sorted({p for one in here for p in one.properties}),
                "payload": merged([shape(value) for value in values]),
            }
        return found

    def _daemon(self) -> dict[str, Any]:
        """A daemon that is told what to do, killed, started again, and degraded."""
        program = self.program("daemon")
        state = program.home / "state"
        with Broker(program.home / "broker") as broker:
            config = write_config(
                program.home / "bin.yaml",
                self.root / "firmware_config/reel/short.yaml",
                broker.port,
                decision={"alerts": dict.fromkeys(("cardboard", "metal"), "look at it")},
                sensors={
                    "full": {"residual": {"pin": 26}},
                    "fill": {
                        "recyclables": {
                            "trigger": 22, "echo": 23, "empty_cm": 80, "full_cm": 15,
                            "interval_s": 1, "stale_s": 3,
                        }
                    },
                },
                outputs={"light": {"pin": 17}, "led": {"pin": 27}, "buzzer": {"pin": 21}},
                teaching={"keep": {"unsure": True, "corrected": True}},
            )  # fmt: skip
            run = ("run", "--config", config, "--state", state)
            with program.running(*run) as process:
                answers = self._commanded(broker)
                process.kill()
            wait_until(lambda: _statuses(broker)[-1:] == ["offline"], "the last will")
            with program.running(*run) as process:
                wait_until(lambda: _statuses(broker)[-1:] == ["online"], "the second start")
                process.send_signal(signal.SIGTERM)
                stopped = process.wait(60)
            wait_until(lambda: _statuses(broker)[-1:] == ["stopped"], "the goodbye")
            heard = list(broker.heard)
            found = {
                "answers": answers,
                "status": _statuses(broker),
                "topics": self._topics("daemon", heard),
                "connection": connection(broker.log, "b1"),
                "code when stopped": stopped,
                "files": places(state),
                "stores": stores(state),
                "events --json": self._events(program, state),
            }
            broker.heard.clear()
            found["degraded"] = self._degraded(program, broker, config)
        found["journal"] = self._journal(program)
        return found

    def _commanded(self, broker: Broker) -> dict[str, Any]:
        """Give every order, right and wrong; what was answered."""
        answers: dict[str, Any] = {}

        def order(name: str, verb: str, answered: bool = True, **more: Any) -> None:
            until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
            wish = {"cmd_id": f"c-{len(answers)}", "expires": until, **more}
            payload = json.dumps({key: value for key, value in wish.items() if value is not None})
            say(name, verb, payload, answered)

        def say(name: str, verb: str, payload: str, answered: bool = True) -> None:
            topic = f"bins/b1/cmd_result/{verb}"
            before = len(broker.values(topic))
            broker.say(f"bins/b1/cmd/{verb}", payload, retain=not answered)
            if not answered:
                broker.say(f"bins/b1/cmd/{verb}", "", retain=True)
                answers[name] = None
                return
            wait_until(lambda: len(broker.values(topic)) > before, f"the answer to {name}")
            answer = broker.values(topic)[before]
            self.tell(f"answer: {name}", str(answer["error"] or ""))
            told = {k: "text" if k == "error" and v else v for k, v in answer.items()}
            answers[name] = {**told, "cmd_id": shape(told["cmd_id"])}

        def state_is(state: str) -> None:
            states = "bins/b1/state"
            wait_until(lambda: broker.values(states)[-1:] != [] and (
                broker.values(states)[-1]["state"] == state), f"the state {state}")  # fmt: skip

        wait_until(lambda: _statuses(broker) == ["online"], "the bin to be online")
        order("retained", "pause", answered=False)
        order("unknown verb", "dance")
        order("late", "pause", expires="2026-01-01T00:00:00Z")
        order("without an id", "pause", cmd_id=None)
        order("long id", "pause", cmd_id="x" * 65)
        order("without a limit", "pause", expires=None)
        order("unknown argument", "pause", args={"speed": 1})
        order("unknown key", "pause", speed=1)
        say("no JSON", "pause", "pause")
        (event, *_) = wait_until(lambda: broker.values("bins/b1/event/item"), "an item", 60)
        order("correct", "correct", args={"event": event["id"], "label": "glass"})
        order("correct, unknown class", "correct", args={"event": event["id"], "label": "none"})
        order("correct, unknown event", "correct", args={"event": "none", "label": "glass"})
        order("correct, without arguments", "correct")
        order("pause", "pause", cmd_id="twice")
        order("pause, the same again", "pause", cmd_id="twice")
        state_is("paused")
        order("home", "home")
        order("resume", "resume")
        wait_until(lambda: len(broker.values("bins/b1/event/item")) > 1, "one more item", 60)
        order("clear", "clear")
        order("pause before learning", "pause")
        state_is("paused")
        order("learn", "learn")
        unknown = {"percent": None}
        levels = "bins/b1/fill/recyclables"
        wait_until(lambda: any(unknown.items() <= v.items() for v in broker.values(levels)),
                   "the level without an echo")  # fmt: skip
        return answers

    def _events(self, program: Program, state: Path) -> Any:
        done = program.run("events", "--json", "--state", state)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {"code": done.returncode, "lines": merged([shape(line) for line in lines])}

    def _degraded(self, program: Program, broker: Broker, config: Path) -> Any:
        """A start after five failures, told of by the file of version 0.2."""
        state = program.home / "often"
        state.mkdir()
        count = {"count": 5, "last": "an old story", "running": None, "parked": None}
        failures = state / "failures.json"
        failures.write_text(json.dumps(count))
        with program.running("run", "--config", config, "--state", state) as process:
            wait_until(lambda: _statuses(broker) == ["online"], "the degraded bin")
            expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
            wish = {"cmd_id": "c", "expires": expires}
            broker.say("bins/b1/cmd/pause", json.dumps(wish))
            topic = "bins/b1/cmd_result/pause"
            wait_until(lambda: broker.values(topic), "the refusal")
            time.sleep(1.5)  # health once more
            wait_until(lambda: json.loads(failures.read_text())["parked"], "the chute at residual")
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        wait_until(lambda: _statuses(broker)[-1:] == ["stopped"], "the goodbye")
        return {
            "code": code,
            "refused": broker.values(topic)[0]["ok"] is False,
            "topics": self._topics("degraded", broker.heard),
            "files": places(state),
            "failures": shape(json.loads(failures.read_text())),
        }

    def _journal(self, program: Program) -> Any:
        """The keys of a log line where standard error is the journal."""
        with (program.home / "journal").open("wb+") as journal:
            status = Path(journal.name).stat()
            stream = f"{status.st_dev}:{status.st_ino}"
            subprocess.run(
                [*program.command, "silence", "--config", "four_stream", "--state", "j"],
                cwd=program.home, env=program.environment(JOURNAL_STREAM=stream),
                stdout=journal, stderr=journal, timeout=300, check=False,
            )  # fmt: skip
            script = write_script(program.home / "gone.yaml")
            config = write_config(program.home / "gone-bin.yaml", script, 1)
            subprocess.run(
                [*program.command, "run", "--config", config, "--state", "j"],
                cwd=program.home, env=program.environment(JOURNAL_STREAM=stream),
                stdout=journal, stderr=journal, timeout=300, check=False,
            )  # fmt: skip
            journal.seek(0)
            lines = journal.read().decode().splitlines()
        found = set()
        for line in lines:
            if match := re.fullmatch(r"<(\d)>(\{.*\})", line):
                record = json.loads(match[2])
                found.add((match[1], record["level"], *sorted(record.keys() - {"exception"})))
        return sorted(found)

    # Packages

    def _packaging(self) -> dict[str, Any]:
        setup = configparser.ConfigParser(interpolation=None)
        setup.read(self.root / "setup.cfg", encoding="utf-8")
        entries = {
            group: dict(line.split("=", 1) for line in text.replace(" ", "").split())
            for group, text in (
                (group, "\n".join(re.sub(r"\s*=\s*", "=", one) for one in text.splitlines()))
                for group, text in setup["options.entry_points"].items()
            )
        }
        targets = [target for group in entries.values() for target in group.values()]
        done = self.program("entries").run(*targets, command=[self.python, "-c", _RESOLVE])
        if done.returncode:
            raise RuntimeError(f"an entry point does not resolve: {done.stderr[-1500:]}")
        return {
            "name": setup["metadata"]["name"],
            "python": setup["options"]["python_requires"],
            "entry points": {group: sorted(found) for group, found in entries.items()},
            "package data": dict(setup["options.package_data"]),
            "data files": {
                place: sorted(files.split()) for place, files in setup["options.data_files"].items()
            },
            "files beside the code": sorted(
                str(path.relative_to(self.root))
                for path in (self.root / "bin_daemon").rglob("*")
                if path.is_file() and path.suffix not in (".py", ".pyc")
            ),
            "recipes": sorted(path.name for path in (self.root / "export").rglob("*.yaml")),
            "profiles": sorted(p.name for p in (self.root / "firmware_config").glob("*.yaml")),
        }

    def _models(self) -> dict[str, str]:
        """The bytes of the shipped packages; their cards are prose."""
        folder = self.root / "models"
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in (".md", ".svg")
        }


def shape(value: Any, key: str = "", *, exact: bool = False) -> Any:
    """Keys and types of a JSON value; of what is part of the contract the values too.

    exact: keep numbers too, rounded, but for what a clock or a machine makes of them.
    """
    if isinstance(value, dict):
        if key in OPEN:
            return {"any": merged([shape(one) for one in value.values()])} if value else {}
        exact = exact and not key.startswith("timings")
        return {name: shape(one, name, exact=exact) for name, one in value.items()}
    if isinstance(value, list):
        if key == "counts":  # the runs of a mask
            return hashlib.sha256(json.dumps(value).encode()).hexdigest() if exact else "numbers"
        if key in WORDS and all(isinstance(one, str) for one in value):
            return "texts"
        if exact or key in KEPT:
            return [shape(one, key, exact=exact) for one in value]
        return {"each": merged([shape(one, key) for one in value])} if value else {}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not exact and value in ENUMS.get(key, ()):
            return f"a {key}"
        # The day is part of the name of what a bin was taught.
        return re.sub(r"-\d{8}\b", "-<day>", value) if key in KEPT else "text"
    if exact and key not in _VOLATILE_KEYS:
        return round(value, 3)
    return type(value).__name__


# Of clocks, and standard errors of a bootstrap, which other draws make a little larger or smaller.
_VOLATILE_KEYS = frozenset({
    "accuracy_se", "at", "macro_f1_se", "monotonic_s", "seconds", "session", "taken_at",
    "taught_at",
})  # fmt: skip


def merged(shapes: list[Any]) -> Any:
    """One shape for many: where they differ, all that there are."""
    distinct = [one for number, one in enumerate(shapes) if one not in shapes[:number]]
    if not distinct:
        return []
    if len(distinct) == 1:
        return distinct[0]
    if all(isinstance(one, dict) for one in distinct):
        keys = dict.fromkeys(key for one in distinct for key in one)
        found = {key: merged([one.get(key, ABSENT) for one in distinct]) for key in keys}
        # An empty list says nothing of what would stand in it.
        if set(keys) in ({"each"}, {"any"}):
            (key,) = keys
            return {key: merged([one[key] for one in distinct if key in one])}
        return found
    alternatives: list[Any] = []
    for one in distinct:
        several = isinstance(one, dict) and set(one) == {"or"}
        alternatives += one["or"] if several else [one]
    return {"or": sorted(alternatives, key=json.dumps)}


def places(folder: Path) -> list[str]:
    """The files in a folder; ids and numbers in their names masked, so that each kind is once."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith(("-wal", "-shm", "-journal")):
            name = str(path.relative_to(folder))
            for pattern, mask in _VOLATILE:
                name = pattern.sub(mask, name)
            found.add(name)
    return sorted(found)


def stores(folder: Path) -> dict[str, Any]:
    """What an older or newer version would find: tables and columns, arrays by name."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*.db")):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            tables = {name: " ".join(sql.split()) for name, sql in sorted(rows)}
            version = database.execute("PRAGMA user_version").fetchone()[0]
        found[path.name] = {"tables": tables, "version": version}
    for path in sorted(folder.rglob("*.npz")):
        found[path.name] = sorted(zipfile.ZipFile(path).namelist())
    return found


def connection(log: str, client: str) -> list[str]:
    """How a client connects, by the log of mosquitto: flags, keep-alive, will, subscriptions."""
    found, lines = [], [line.partition(": ")[2] for line in log.splitlines()]
    for number, line in enumerate(lines):
        if match := re.match(rf"New client connected from \S+ as {client} (\(.*\))", line):
            found.append(f"connect {match[1]}")
            for more in lines[number + 1 : number + 3]:
                if more.startswith("Will message specified"):
                    found.append(f"will {more[more.rindex('(') :].rstrip('.')}")
                elif more.startswith("\t"):
                    found.append(f"will {more.strip()}")
        elif line == f"Received SUBSCRIBE from {client}":
            found.append(f"subscribe {lines[number + 1].strip()}")
    return sorted(set(found))


def _statuses(broker: Broker) -> list[str]:
    return [one["state"] for one in broker.values("bins/b1/status") if one]


def _of_ours(text: str) -> str:
    """What the program says, without the lines of TensorFlow Lite."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(("INFO:", "W0000")))


def _words_of(where: str, values: list[Any]) -> Iterable[tuple[str, list[str]]]:
    """The sentences in JSON values, by where they stand."""
    found: dict[str, list[str]] = {}

    def walk(place: str, value: Any, key: str = "") -> None:
        if isinstance(value, dict):
            for name, one in value.items():
                walk(f"{place} {name}", one, name)
        elif isinstance(value, list):
            for one in value:
                walk(place, one, key)
        elif isinstance(value, str) and key in WORDS:
            found.setdefault(place, []).append(value)

    for value in values:
        walk(where, value)
    return found.items()


_VOLATILE = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "<hash>"),
    (re.compile(r"\b[0-9a-z]{8}\.png"), "<sample>.png"),
    (re.compile(r"\d+(\.\d+)*"), "#"),
)

# Shows the parser of a module that is run by itself, instead of letting it parse.
_PARSER = """
import argparse, json, os, runpy, sys

def plain(value):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return str(value)

def kind(converter):
    name = getattr(converter, "__name__", None)
    return name if converter in (None, int, float, str) or name == "Path" else "checked"

def name_of(action):
    return ", ".join(action.option_strings) or action.metavar or action.dest

def told(parser):
    options, commands, helps = [], {}, {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help for one in action._choices_actions}
            commands = {name: told(one) for name, one in action.choices.items()}
            continue
        default = action.default
        options.append({
            "name": name_of(action),
            "action": type(action).__name__.strip("_"),
            "nargs": plain(action.nargs),
            "const": plain(action.const),
            "default": None if default is argparse.SUPPRESS else plain(default),
            "type": kind(action.type),
            "choices": None if action.choices is None else [plain(one) for one in action.choices],
            "required": action.required,
            "metavar": plain(action.metavar),
            "help": action.help,
        })
    return {
        "prog": parser.prog,
        "description": parser.description,
        # The order of arguments counts, that of options does not.
        "options": sorted(options, key=lambda one: one["name"] * one["name"].startswith("-")),
        "apart": [
            [group.required, sorted(name_of(one) for one in group._group_actions)]
            for group in parser._mutually_exclusive_groups
        ],
        "commands": commands,
        "helps": helps,
    }

def shown(self, *_, **__):
    print(json.dumps(told(self)), flush=True)
    os._exit(0)

argparse.ArgumentParser.parse_known_args = shown
module = sys.argv[1]
sys.argv = [module]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""

# Many calls of a module, each in a process of its own that has the large libraries already: most of
# a call that is refused would be spent on loading them.
_CALLS = """
import json, os, runpy, sys, tempfile
import cv2, numpy, pydantic, yaml

module, calls = sys.argv[1], json.loads(sys.argv[2])
found = {}
for name, (state, words) in calls.items():
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ["XDG_STATE_HOME"] = state
            sys.argv = [module, *words]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        found[name] = {"code": code, "stdout": out.read(), "stderr": err.read()}
print(json.dumps(found))
"""

_RESOLVE = """
import importlib, operator, sys

for target in sys.argv[1:]:
    module, _, name = target.partition(":")
    operator.attrgetter(name)(importlib.import_module(module))
"""


def look(python: str, root: Path, *, bench: bool = False) -> dict[str, Any]:
    """The document of a checkout."""
    with tempfile.TemporaryDirectory(prefix="public-face-") as work:
        return Face(python, root, Path(work), bench=bench).document()


def changed_sentences(former: dict[str, str], present: dict[str, str]) -> list[str]:
    """A line for each sentence that changed, came or went: where, old -> new."""
    return [
        f"{where}: {former.get(where, '(none)')} -> {present.get(where, '(none)')}"
        for where in sorted(former.keys() | present.keys())
        if former.get(where) != present.get(where)
    ]


def main() -> int:
    """Print the document, or the sentences that changed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--python", default=sys.executable, help="with the dependencies (this one)")
    parser.add_argument("--root", type=Path, required=True, help="the checkout")
    parser.add_argument(
        "--bench", action="store_true", help="with the keys of bench, which is slow"
    )
    parser.add_argument("--former", type=Path, help="with --sentences: another checkout")
    parser.add_argument("--sentences", action="store_true", help="print what changed in words")
    options = parser.parse_args()
    if options.sentences != (options.former is not None):
        parser.error("--sentences and --former go together")
    present = look(options.python, options.root, bench=options.bench)
    if not options.sentences:
        print(json.dumps(present, indent=1, sort_keys=True))
        return 0
    former = look(options.python, options.former)
    print("\n".join(changed_sentences(former["sentences"], present["sentences"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
