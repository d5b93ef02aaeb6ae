"""A page that is really served: whom it answers, what it takes, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PICTURE = b"a picture, for all that an upload looks at"

SERVED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell with & ignores it
from audit.app import serving
serving.MAX_KEPT, serving.MAX_REQUEST = 400_000, 300_000
from audit.commands.main import main
sys.argv = ["audit", "serve", "--device=cpu", "--allow-host=box.example", *sys.argv[1:]]
main()
"""


class Page:
    def __init__(self, url: str, folder: Path, process: subprocess.Popen[str]) -> None:
        self.url, self.folder, self.process = url, folder, process
        self.own = url.rstrip("/")

    def get(self, path: str = "config", **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(self.url + path, headers=given, timeout=60).status_code

    def upload(self, data: bytes, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(
            f"{self.url}gradio_api/upload", files={"files": ("a.png", data, "image/png")},
            headers=given, timeout=60,
        )  # fmt: skip

    def kept(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """At the end it is interrupted: one line, 130, and nothing left."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("served")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-c", SERVED, f"--port={port}"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(folder)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == f"page: http://127.0.0.1:{port}/\n"
            yield Page(f"http://127.0.0.1:{port}/", folder, process)
        finally:
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1:] == ["audit: interrupted"]
    assert "Traceback" not in said
    assert list(folder.glob("audit-*")) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:80",
                                  "box.example", "box.example:8080"])  # fmt: skip
def test_the_page_answers_to_loopback_and_to_names_that_were_allowed(page: Page, host: str) -> None:
    assert page.get(host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "10.0.0.1", "x@127.0.0.1",
     "box.example.evil", "0.0.0.0"],
)  # fmt: skip
def test_another_name_is_refused_wherever_it_points(page: Page, host: str) -> None:
    assert page.get(host=host) in (400, 403)
    assert page.upload(PICTURE, host=host).status_code in (400, 403)


@pytest.mark.parametrize("path", ["config", "gradio_api/upload", "gradio_api/queue/join"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1",
                                    "https://localhost"])  # fmt: skip
def test_requests_from_other_pages_are_refused(page: Page, path: str, origin: str) -> None:
    answer = httpx.post(page.url + path, headers={"origin": origin}, json={}, timeout=60)
    assert answer.status_code == 403
    assert "only from itself" in answer.text


def test_the_pages_own_requests_are_answered(page: Page) -> None:
    assert page.get(origin=page.own, sec_fetch_site="same-origin") == 200
    assert page.upload(PICTURE, origin=page.own).status_code == 200


def test_a_picture_of_the_page_cannot_be_shown_elsewhere_but_a_link_leads_to_it(page: Page) -> None:
    elsewhere = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}
    assert page.get(**elsewhere, sec_fetch_dest="image") == 403
    frame = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert page.get("", **frame, sec_fetch_dest="iframe") == 403
    assert page.get("", **frame, sec_fetch_dest="document") == 200


def test_an_event_stream_is_refused_like_any_other_request(page: Page) -> None:
    assert page.get("gradio_api/queue/data?session_hash=a", origin="http://evil.example") == 403
    assert page.get("gradio_api/heartbeat/a", host="evil.example") == 403


def test_a_request_that_is_too_long_is_refused_before_it_is_read(page: Page) -> None:
    assert page.upload(b"x" * 300_001).status_code == 413


def test_a_request_that_does_not_say_how_long_it_is_is_refused(page: Page) -> None:
    answer = httpx.post(f"{page.url}gradio_api/upload", content=iter([b"x"]), timeout=60)
    assert answer.status_code == 411


def test_the_oldest_uploads_go_where_there_are_too_many(page: Page) -> None:
    for number in range(8):
        assert page.upload(bytes([number]) * 100_000).status_code == 200
    kept = [path.read_bytes()[0] for path in page.kept() if path.name == "a.png"]
    assert sum(path.stat().st_size for path in page.kept()) <= 400_000
    assert 7 in kept
    assert not {0, 1, 2, 3} & set(kept)


def test_an_upload_that_was_cut_off_leaves_nothing_outside_the_pages_folder(page: Page) -> None:
    host, port = page.own.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as cut:
        begin = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        head = (
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        cut.sendall(head.encode() + begin + b"y" * 1000)
    assert page.get() == 200
    assert all(path.is_relative_to(next(page.folder.glob("audit-serve-*"))) for path in page.kept())


def test_the_page_can_be_used_beside_all_this(page: Page) -> None:
    """Its own script reads the configuration, and joins the queue as the page does."""
    shown = httpx.get(page.url, headers={"sec-fetch-site": "none"}, timeout=60)
    assert shown.status_code == 200
    assert json.loads(httpx.get(f"{page.url}config", timeout=60).text)["title"] == "audit"
