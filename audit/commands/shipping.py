"""Files that come with the package: the tested constraints, and what `audit init` lays out."""

from __future__ import annotations

from importlib import metadata, resources
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

import audit
from audit.base import strictjson
from audit.base.errors import AuditError

Transformers = Literal["4", "5"]

_EXAMPLE = "two-birds-on-a-branch"
_IN_CHECKOUT = {
    "constraints.txt": "constraints.txt",
    "constraints-transformers5.txt": "constraints-transformers5.txt",
    "example.png": f"cases/images/{_EXAMPLE}.png",
    "baseline.json": f"baselines/reference/{_EXAMPLE}.json",
    "baseline.npz": f"baselines/reference/{_EXAMPLE}.npz",
}
"""Where the project's own tree has what a wheel has in ``project/``; pyproject.toml copies them."""


def shipped(name: str) -> bytes:
    """A file of ``project/``.

    Raises:
        AuditError: the package was installed without it.
    """
    inside = resources.files("audit.commands").joinpath("project", name)
    if inside.is_file():
        return inside.read_bytes()
    path = Path(audit.__file__).parents[1] / _IN_CHECKOUT.get(name, name)
    if not path.is_file():
        raise AuditError(f"{name} is missing from this installation of ofa-audit: install it anew")
    return path.read_bytes()


def constraints(transformers: Transformers = "4") -> str:
    """The versions of all packages that are tested, for ``pip install -c``."""
    whole = shipped("constraints.txt").decode()
    if transformers == "4":
        return whole
    other = _pins(shipped("constraints-transformers5.txt").decode())
    replaced = {_name(line) for line in other}
    kept = [line for line in _pins(whole) if _name(line) not in replaced]
    head = (
        "# The versions of all packages that are tested with transformers 5: Linux x86_64, "
        "Python 3.11.\n# OFA needs transformers 4: install the extra hf with these, not ofa.\n"
    )
    return head + "".join(f"{line}\n" for line in sorted([*kept, *other], key=str.lower))


def _pins(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _name(pin: str) -> str:
    return pin.partition("==")[0].lower().replace("_", "-")


def requirement(extra: str = "ofa") -> tuple[str, str]:
    """How another machine installs the version that runs here, as a line of a requirements file.

    pip records where a package came from (PEP 610): a git URL or an archive can be named again, a
    file of this machine cannot. Its wheel is then named by its path: with a version alone, pip
    would also ask the package index, where anybody may have taken the name.

    Returns:
        The line, and the wheel that must lie in the repository for it to work; empty if none.
    """
    found = metadata.distribution("ofa-audit")
    named, pinned = f"ofa-audit[{extra}]", f"ofa-audit[{extra}]=={found.version}"
    written = found.read_text("direct_url.json")
    if written is None:
        return pinned, ""
    origin = strictjson.loads(written)
    url, repository = str(origin.get("url", "")), origin.get("vcs_info")
    if repository:
        return f"{named} @ {repository['vcs']}+{url}@{repository['commit_id']}", ""
    if not url.startswith("file:"):
        return f"{named} @ {url}", ""
    file = PurePosixPath(unquote(urlsplit(url).path)).name
    wheel = file if file.endswith(".whl") else f"ofa_audit-{found.version}-py3-none-any.whl"
    return f"./wheels/{wheel}[{extra}]", f"wheels/{wheel}"
