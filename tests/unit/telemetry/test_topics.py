"""The names of the topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bin_daemon.core.errors import UsageError
from bin_daemon.telemetry.topics import Topics

TOPICS = Topics("city/bins", "b-7")
LEVEL = st.from_regex(r"[a-zA-Z0-9_-]+", fullmatch=True)


def test_the_topics_are_those_of_the_contract() -> None:
    named = [
        TOPICS.status, TOPICS.info, TOPICS.health, TOPICS.item, TOPICS.alert("jam"),
        TOPICS.fill("paper"), TOPICS.state, TOPICS.command_filter,
        TOPICS.command_result("pause"),
    ]  # fmt: skip

    assert [topic.removeprefix("city/bins/b-7/") for topic in named] == [
        "status", "info", "health", "event/item", "alert/jam", "fill/paper", "state",
        "cmd/#", "cmd_result/pause",
    ]  # fmt: skip


@given(LEVEL)
def test_a_verb_is_read_back_from_its_topic(verb: str) -> None:
    assert TOPICS.parse_command(f"city/bins/b-7/cmd/{verb}") == verb
    assert TOPICS.parse_alert(TOPICS.alert(verb)) == verb


@pytest.mark.parametrize(
    "topic",
    ["city/bins/b-7/cmd/", "city/bins/b-7/cmd/a/b", "city/bins/b-8/cmd/pause", "cmd/pause",
     "city/bins/b-7/cmd_result/pause", "city/bins/b-7/cmd/pau se", ""],
)  # fmt: skip
def test_other_topics_name_no_command(topic: str) -> None:
    assert TOPICS.parse_command(topic) is None


@given(st.text().filter(lambda text: not text.isascii() or set(text) & set("/+# .$") or not text))
def test_a_name_that_is_no_single_level_is_refused(text: str) -> None:
    for name in (TOPICS.alert, TOPICS.fill, TOPICS.command_result):
        with pytest.raises(UsageError):
            name(text)
