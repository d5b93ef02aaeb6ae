"""Serving the page: where, to whom, and for how long."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from audit.app.hosts import Hosts, is_loopback
from audit.base.errors import AuditError
from audit.base.extras import require
from audit.base.languages import Choice
from audit.cases.loading import Case
from audit.models.kit.precision import note_on_dtype
from audit.models.protocol import check_dtype
from audit.models.registry import check_installed, check_options, load_model

if TYPE_CHECKING:
    from audit.app.desk import Desk

MAX_UPLOAD = 25_000_000
"""The most bytes of an uploaded picture."""

MAX_REQUEST = MAX_UPLOAD + 100_000
"""The most bytes of any request: an upload, and the form around it."""

MAX_KEPT = 500_000_000
"""The most bytes of uploads and drawings to keep; the oldest are removed first."""

MAX_WAITING = 16
"""The most questions that may wait; further visitors are told that the queue is full."""

MAX_SESSIONS = 100
"""The most pages whose picture and answer are kept; the oldest is forgotten first."""


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
        share: whether gradio's tunnel makes it reachable from the internet.
        names: further host names that it answers to.
    """

    host: str
    port: int
    share: bool = False
    names: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """Who can reach the page besides this machine; empty if nobody can."""
        if self.share:
            return (
                "sharing: anyone who knows the link can use this page and send it pictures, "
                "through a tunnel of gradio.live, for up to a week or until it is stopped"
            )
        if not is_loopback(self.host):
            return (
                f"{self.host} is not loopback: anyone who reaches this machine over the network "
                "can use this page and send it pictures; nothing asks for a password"
            )
        return ""


def serve(
    address: Address,
    sources: Sequence[str],
    cases: Sequence[Case],
    *,
    device: str,
    dtype: str,
    threads: int | None = None,
    language: Choice = "auto",
    **options: str,
) -> None:
    """Serve the page until the process is told to stop, then remove what it wrote.

    Args:
        sources: models to choose from; each is loaded when it is first asked.
        cases: examples to pick from.
        device, dtype, threads, options: as of :func:`audit.load_model`, for each of the models.
        language: of the page; ``auto`` for that of each visitor's browser.

    Raises:
        AuditError: gradio or the device is missing, a model, a precision or an option is not
            known, the port cannot be used, or the tunnel cannot be made.
    """
    require("app", "audit serve")
    check_dtype(dtype)
    for source in sources:
        check_options(source, options)
        check_installed(source)  # also refuses a source that cannot be loaded as a model
    hosts = Hosts(address.host, address.names)
    _check_port(address)
    from audit.models.kit.hardware import chosen_device  # noqa: PLC0415  torch, if all else is right

    note = note_on_dtype(str(chosen_device(device)), dtype)
    if note:
        sys.stderr.write(f"audit: note: {note}\n")
    from audit.app.desk import Desk  # noqa: PLC0415

    load = partial(load_model, device=device, dtype=dtype, threads=threads, **options)
    with tempfile.TemporaryDirectory(prefix="audit-serve-") as folder:
        # Read when gradio is imported and components are made; a user's own setting must not win.
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        # Otherwise an upload that is cut off would stay in the machine's own temporary folder.
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            _serve(address, hosts, Desk(sources, load), cases, Path(folder), language)
        finally:
            tempfile.tempdir = before


def _check_port(address: Address) -> None:
    try:
        ((family, kind, protocol, _, place), *_) = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise AuditError(
            f"the page cannot be served at {address.host}:{address.port}: {error.strerror}; "
            "choose another --port or --host"
        ) from None


def _serve(
    address: Address,
    hosts: Hosts,
    desk: Desk,
    cases: Sequence[Case],
    folder: Path,
    language: Choice,
) -> None:
    # gradio uses what its own dependencies deprecate; nothing can be done about it here.
    warnings.filterwarnings("ignore", module=r"gradio\.")
    from starlette.middleware import Middleware  # noqa: PLC0415  gradio only once all else is right

    from audit.app.guard import Guard, Shelf  # noqa: PLC0415
    from audit.app.look import theme  # noqa: PLC0415
    from audit.app.markup import fixed  # noqa: PLC0415
    from audit.app.page import build  # noqa: PLC0415
    from audit.app.tongue import Tongue  # noqa: PLC0415

    page = build(desk, cases, folder, language)
    page.queue(max_size=MAX_WAITING, api_open=False)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        try:
            page.launch(
                server_name=f"[{address.host}]" if ":" in address.host else address.host,
                server_port=address.port,
                share=address.share,
                max_file_size=MAX_UPLOAD,
                state_session_capacity=MAX_SESSIONS,
                show_error=False,
                footer_links=[],
                enable_monitoring=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                quiet=True,
                prevent_thread_lock=True,
                app_kwargs={
                    "middleware": [
                        Middleware(
                            Guard,
                            hosts=hosts,
                            shelf=Shelf(folder, MAX_KEPT),
                            longest=MAX_REQUEST,
                        ),
                        Middleware(Tongue, choice=language),
                    ]
                },
                theme=theme(),
                css=fixed("page.css"),
            )
        except (OSError, ValueError) as error:
            raise AuditError(f"the page cannot be served: {error}") from error
        if address.share and not page.share_url:
            raise AuditError(
                "the tunnel of gradio.live could not be made; without --share the page is served "
                "on this machine alone"
            )
        if page.share_url:
            hosts.share(str(urlsplit(page.share_url).hostname))
        where = page.share_url or page.local_url
        sys.stdout.write(f"page: {where}\n")
        sys.stdout.flush()
        stop.wait()
    finally:
        page.close(verbose=False)
