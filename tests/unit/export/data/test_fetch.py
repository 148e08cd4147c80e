"""Fetching a published set from a real server: resumed, checked, and kept inside its folder."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from export.data import fetch as fetching
from export.data.fetch import fetch, locate
from export.errors import ExportError
from export.recipes.schema import DataSpec
from export.views.relaid import relaid_set


class Published(ThreadingHTTPServer):
    """Serves `content` at /set, with ranges; each of `breaks` ends an answer early."""

    content = b""
    breaks: tuple[int, ...] = ()
    ranges = True
    asked: list[str | None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/set"


class Answer(BaseHTTPRequestHandler):
    server: Published

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.path != "/set":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if not self.server.ranges:
            start = 0
        if start and start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            first, *rest = self.server.breaks
            self.server.breaks = tuple(rest)
            body = body[:first]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Published]:
    with Published() as published:
        thread = threading.Thread(target=published.serve_forever, args=(0.01,))
        thread.start()
        yield published
        published.shutdown()
        thread.join()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return stream.getvalue()


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as bundle:
        for member, content in members:
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SET = zipped({"set/glass/1.jpg": b"a" * 5000, "set/paper/2.jpg": b"b" * 3000})


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_zip_is_fetched_checked_and_unpacked(server: Published, tmp_path: Path) -> None:
    server.content = SET

    fetch(server.address, sha256(SET), "zip", tmp_path / "sets" / "mine")

    assert everything(tmp_path) == {"sets/mine/set/glass/1.jpg", "sets/mine/set/paper/2.jpg"}
    assert (tmp_path / "sets/mine/set/paper/2.jpg").read_bytes() == b"b" * 3000


def test_a_compressed_tar_is_unpacked(server: Published, tmp_path: Path) -> None:
    server.content = tarred((tarfile.TarInfo("glass/1.jpg"), b"glass"))

    fetch(server.address, sha256(server.content), "tar", tmp_path / "mine")

    assert everything(tmp_path) == {"mine/glass/1.jpg"}


def test_what_is_there_already_is_not_fetched_again(server: Published, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    fetch(server.address, sha256(SET), "zip", tmp_path / "mine")

    assert server.asked == []


def test_a_wrong_checksum_leaves_nothing_behind(server: Published, tmp_path: Path) -> None:
    server.content = SET

    with pytest.raises(ExportError, match=f"has the sha256 {sha256(SET)}, not 0000.*--data"):
        fetch(server.address, "0" * 64, "zip", tmp_path / "mine")

    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    server: Published, tmp_path: Path
) -> None:
    server.content, server.breaks = SET, (1000, 2000)

    fetch(server.address, sha256(SET), "zip", tmp_path / "mine")

    assert server.asked == [None, "bytes=1000-", "bytes=3000-"]
    assert len(everything(tmp_path)) == 2


def test_a_download_that_keeps_breaking_off_is_kept_for_the_next_call(
    server: Published, tmp_path: Path
) -> None:
    server.content, server.breaks = SET, (1000, 500, 500)

    with pytest.raises(ExportError, match="broke off after 2000 of .* run this again to go on"):
        fetch(server.address, sha256(SET), "zip", tmp_path / "mine")
    fetch(server.address, sha256(SET), "zip", tmp_path / "mine")

    assert server.asked[-1] == "bytes=2000-"
    assert len(everything(tmp_path)) == 2


def test_a_server_without_ranges_starts_again(server: Published, tmp_path: Path) -> None:
    server.content, server.breaks, server.ranges = SET, (1000,), False

    fetch(server.address, sha256(SET), "zip", tmp_path / "mine")

    assert len(everything(tmp_path)) == 2


def test_a_download_that_was_whole_before_it_was_unpacked_is_used(
    server: Published, tmp_path: Path
) -> None:
    server.content = SET
    (tmp_path / ".mine.archive").write_bytes(SET)

    fetch(server.address, sha256(SET), "zip", tmp_path / "mine")

    assert everything(tmp_path / "mine") == {"set/glass/1.jpg", "set/paper/2.jpg"}


def test_without_a_network_the_message_says_what_to_do(server: Published, tmp_path: Path) -> None:
    address = server.address
    server.server_close()

    with pytest.raises(ExportError, match="download and unpack it by hand .* with --data"):
        fetch(address, sha256(SET), "zip", tmp_path / "mine")


def test_an_address_that_is_gone_is_refused_with_its_reason(
    server: Published, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"cannot be fetched \(Not Found\)"):
        fetch(server.address + "-gone", sha256(SET), "zip", tmp_path / "mine")

    assert len(server.asked) == 1


def test_a_file_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no http or https address"):
        fetch("file:///etc/passwd", sha256(b""), "zip", tmp_path / "mine")


def test_a_download_larger_than_the_limit_is_refused_before_it_is_read(
    server: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_DOWNLOAD", 100)
    server.content = SET

    with pytest.raises(ExportError, match=f"^{server.address}: is larger than"):
        fetch(server.address, sha256(SET), "zip", tmp_path / "mine")

    assert not (tmp_path / "mine").exists()


def link(name: str, kind: bytes, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def linked_zip() -> bytes:
    entry = zipfile.ZipInfo("glass/1.jpg")
    entry.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        bundle.writestr(entry, "/etc/passwd")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("archive", "content", "complaint"),
    [
        ("zip", zipped({"../escaped.jpg": b"x"}), "outside its folder"),
        ("zip", zipped({"glass/../../escaped.jpg": b"x"}), "outside its folder"),
        ("zip", zipped({"..\\escaped.jpg": b"x"}), "outside its folder"),
        ("zip", zipped({"/escaped.jpg": b"x"}), "outside its folder"),
        ("zip", zipped({"C:/escaped.jpg": b"x"}), "outside its folder"),
        ("zip", linked_zip(), "no plain file"),
        ("tar", tarred((tarfile.TarInfo("../escaped.jpg"), b"x")), "outside its folder"),
        ("tar", tarred((tarfile.TarInfo("/escaped.jpg"), b"x")), "outside its folder"),
        ("tar", tarred(link("glass", tarfile.SYMTYPE, "..")), "no plain file"),
        ("tar", tarred(link("glass", tarfile.LNKTYPE, "../x")), "no plain file"),
        ("tar", tarred(link("glass", tarfile.FIFOTYPE, "")), "no plain file"),
        ("zip", b"not an archive", "no sound zip archive"),
        ("tar", b"not an archive", "no sound tar archive"),
        ("tar", tarred((tarfile.TarInfo("glass/1.jpg"), b"x" * 99))[:60], "no sound tar archive"),
    ],
)
def test_an_archive_that_would_do_harm_is_refused_and_nothing_stays(
    server: Published, tmp_path: Path, archive: str, content: bytes, complaint: str
) -> None:
    server.content = content
    home = tmp_path / "sets" / "mine"

    with pytest.raises(ExportError, match=complaint):
        fetch(server.address, sha256(content), archive, home)

    assert not home.exists()
    assert not [path for path in tmp_path.rglob("*") if "escaped" in path.name]
    assert [path.name for path in home.parent.iterdir()] in ([], [".mine.archive"])


def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused(
    server: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_UNPACKED", 6000)
    server.content = SET

    with pytest.raises(ExportError, match="unpacks to more than"):
        fetch(server.address, sha256(SET), "zip", tmp_path / "mine")

    assert not (tmp_path / "mine").exists()


def spec(address: str, folder: str = "set", **more: str) -> DataSpec:
    return DataSpec(
        title="Set", licence="MIT", address=address, archive="zip", folder=folder, **more
    )


def test_a_recipes_set_is_fetched_into_the_cache_once(
    server: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SETS", tmp_path)
    server.content = SET

    first = locate("mine", spec(server.address), None, sha256(SET), relaid_set)
    again = locate("mine", spec(server.address, sha256=sha256(SET)), None, None, relaid_set)

    assert first == again == tmp_path / "mine" / "set"
    assert len(server.asked) == 1


def test_an_archive_without_the_recipes_folder_is_refused_every_time(
    server: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "SETS", tmp_path)
    server.content = SET

    for _ in range(2):
        with pytest.raises(ExportError, match="holds no folder other"):
            locate("mine", spec(server.address, "other"), None, sha256(SET), relaid_set)


def test_a_named_folder_comes_before_the_address(server: Published, tmp_path: Path) -> None:
    assert locate("mine", spec(server.address), tmp_path, None, relaid_set) == tmp_path
    assert server.asked == []
