"""Work in processes of its own: results in order, and an end to it whatever happens."""

import os
import signal

import pytest

from export.errors import ExportError
from export.views.workers import in_processes


def doubled(number: int) -> int:
    if number < 0:
        raise OSError(28, "no space left")
    return 2 * number


def killed(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def started(threads: int) -> None:
    os.environ["STARTED"] = str(threads)


def told(name: str) -> str | None:
    return os.environ.get(name)


def test_results_come_in_the_order_of_what_they_are_of() -> None:
    assert list(in_processes(doubled, range(20), processes=2, chunk=3)) == list(range(0, 40, 2))


def test_nothing_to_do_is_done() -> None:
    assert list(in_processes(doubled, [])) == []


def test_each_process_is_started_before_it_works() -> None:
    assert list(in_processes(told, ["STARTED"], start=started, threads=3)) == ["3"]


# Again and again, since a pool that ends its processes by a signal hung only now and then.
@pytest.mark.parametrize("time", range(3))
def test_an_error_ends_it_after_what_came_before(time: int) -> None:
    results = in_processes(doubled, [1, 2, -1, *range(50)], processes=2)
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(OSError, match="no space left"):
        next(results)


def test_a_process_that_is_killed_is_reported() -> None:
    with pytest.raises(ExportError, match="a process was killed"):
        list(in_processes(killed, [1]))
