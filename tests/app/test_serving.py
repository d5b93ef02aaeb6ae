"""Where the page is served, to whom, and what is refused before it is."""

from __future__ import annotations

import socket
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.app import serving
from audit.base.errors import AuditError, CaseError, ModelError
from audit.commands import main as cli


def test_without_gradio_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    result = CliRunner().invoke(cli.app, ["serve"])
    assert isinstance(result.exception, AuditError)
    assert str(result.exception) == "audit serve needs gradio: pip install 'ofa-audit[app]'"


def test_a_port_in_use_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli.app, ["serve", "--port", str(port)])
    assert isinstance(result.exception, AuditError)
    said = f"the page cannot be served at 127.0.0.1:{port}: Address already in use; choose another"
    assert str(result.exception).startswith(said)


def test_cases_that_were_named_and_are_not_there_are_an_error() -> None:
    result = CliRunner().invoke(cli.app, ["serve", "--cases", "nowhere/*.yaml"])
    assert isinstance(result.exception, CaseError)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_warning(host: str) -> None:
    assert serving.Address(host, 7860).warning == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_an_address_that_others_reach_and_sharing_are_told(host: str) -> None:
    assert f"{host} is not loopback: anyone who reaches" in serving.Address(host, 7860).warning
    assert "anyone who knows the link" in serving.Address("127.0.0.1", 7860, True).warning


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dtype": "bf16"}, "dtype 'bf16' is not supported"),
        ({"engine": "turbo"}, "engine 'turbo' is not known"),
        ({"device": "tpu"}, "device 'tpu' is "),
        ({"model": "nosuch"}, "nosuch: no such checkpoint folder"),
    ],
)
def test_what_no_model_could_run_with_is_told_before_anything_is_served(
    given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_serve", lambda *_: pytest.fail("it was served"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked = {"device": "cpu", "dtype": "float32", "engine": "fast", **given}
    model = asked.pop("model", "reference")
    with pytest.raises(ModelError, match=said):
        serving.serve(serving.Address("127.0.0.1", port, False), ["reference", model], [], **asked)


@pytest.mark.slow
def test_a_tunnel_that_cannot_be_made_ends_the_command_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradio import networking

    def fail(**_: Any) -> str:
        raise RuntimeError("no way out")

    monkeypatch.setattr(networking, "setup_tunnel", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")  # so that what serve sets is undone after the test
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(AuditError, match=r"the tunnel of gradio\.live could not be made"):
        serving.serve(serving.Address("127.0.0.1", port, True), ["reference"], [],
                      device="cpu", dtype="float32", engine="fast")  # fmt: skip
    assert not list(tmp_path.glob("audit-serve-*"))


def test_a_language_that_the_page_has_not_is_told() -> None:
    result = CliRunner().invoke(cli.app, ["serve", "--language", "fr"])
    assert result.exit_code == 2
    assert "'fr' is not auto, en or zh" in " ".join(result.stderr.split())
