"""Loading says nothing but what is wrong, and where it cannot write it says so in one message."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from audit.base.errors import ModelError
from audit.models.ofa.embedded import unpack
from audit.models.ofa.loaders import resolve
from tests.checkpoints import make_checkpoint

LOAD = """
import sys
from audit import load_model
from audit.base.errors import AuditError
try:
    print(load_model(sys.argv[1], "cpu").fingerprint.name)
except AuditError as error:
    print(f"audit: {error}")
"""


def loaded(
    source: str, before: Callable[[], None] | None = None, **changed: str | None
) -> subprocess.CompletedProcess[str]:
    """What a process of its own says when it loads a model; None takes a variable away."""
    environment = {n: v for n, v in {**os.environ, **changed}.items() if v is not None}
    return subprocess.run(
        [sys.executable, "-c", LOAD, source],
        env=environment, text=True, capture_output=True, timeout=120, check=False,
        preexec_fn=before,
    )  # fmt: skip


@pytest.mark.slow
def test_loading_prints_nothing_of_what_its_libraries_note(tmp_path: Path) -> None:
    """In two shards of torch's older format, with settings that transformers comments on."""
    folder = make_checkpoint(tmp_path / "noisy")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    places = {}
    for i, names in enumerate((sorted(weights)[:100], sorted(weights)[100:])):
        held, path = {n: weights[n] for n in names}, folder / f"part-{i}.bin"
        torch.save(held, path, _use_new_zipfile_serialization=False)
        places |= dict.fromkeys(names, path.name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    config = json.loads((folder / "config.json").read_text())
    config |= {"num_beams": 5, "torch_dtype": "float16", "architectures": ["OFAModel"]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    done = loaded(str(folder))
    assert (done.stdout, done.stderr) == ("noisy\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"AUDIT_CACHE": "/dev/null"}, "/dev/null/ofa-audit"),
        ({"AUDIT_CACHE": None, "XDG_CACHE_HOME": None, "HOME": "/dev/null"}, "/dev/null/.cache"),
    ],
)
def test_a_home_that_cannot_be_written_is_one_message(
    variables: dict[str, str | None], where: str
) -> None:
    done = loaded("reference", **variables)
    assert done.stdout.startswith(f"audit: reference: cannot be unpacked into {where}")
    assert "point AUDIT_CACHE at a folder that can be written" in done.stdout
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.slow
def test_a_disk_that_is_full_while_unpacking_is_one_message_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    done = loaded("reference", full, AUDIT_CACHE=str(tmp_path))
    assert done.stdout.startswith(f"audit: reference: cannot be unpacked into {tmp_path}")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert list((tmp_path / "ofa-audit").iterdir()) == []


def test_an_unpacked_model_that_lost_a_file_is_unpacked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cleaners of caches remove what was not read for long."""
    monkeypatch.setenv("AUDIT_CACHE", str(tmp_path))
    folder = unpack("reference")
    (folder / "merges.txt").unlink()
    assert unpack("reference") == folder
    assert (folder / "merges.txt").is_file()
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_an_unpacked_model_that_is_damaged_says_that_it_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.models.ofa.checkpoint import checked

    monkeypatch.setenv("AUDIT_CACHE", str(tmp_path))
    whole = unpack("reference")
    monkeypatch.setenv("AUDIT_CACHE", str(tmp_path / "copy"))
    shutil.copytree(whole, tmp_path / "copy" / "ofa-audit" / whole.name)
    weights = unpack("reference") / "pytorch_model.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: .* remove it, and it will be made"):
        checked(resolve("reference"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "no model is named: give reference or shortcut"),
        ("~nobody-of-this-name/model", "cannot be looked up"),
        ("x" * 5000, "cannot be looked up"),
        (__file__, "is a file; a checkpoint is the folder that holds it"),
    ],
)
def test_a_source_that_cannot_be_looked_for_says_so(source: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        resolve(source)
