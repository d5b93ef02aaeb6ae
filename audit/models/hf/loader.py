"""The loader of models of transformers; importing it is quick, torch comes with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.base.errors import ModelError
from audit.base.extras import lacking, require
from audit.models.hf import METHODS, METHODS_OF_DECODERS
from audit.models.hf.sources import SCHEME, found, is_id, local
from audit.models.protocol import Known, Model


class HuggingFace:
    """Loads ``hf:FOLDER`` and ``hf:ORG/NAME@REVISION``; see :mod:`audit.models.protocol`."""

    about = "a model of Hugging Face's transformers that is shown a picture and a text"
    accepted = "hf:FOLDER or hf:ORG/NAME[@REVISION]"
    options: Mapping[str, Sequence[str]] = {"asking": ()}

    def accepts(self, source: str) -> bool:
        """Whether there is such a folder, or it has the form of an id.

        Raises:
            ModelError: it has the scheme, and neither is so.
        """
        if not source.startswith(SCHEME):
            return False
        if local(source) is None and not is_id(source):
            raise ModelError(
                f"{source}: there is no folder {source.removeprefix(SCHEME)}, and it is no id "
                "either, such as hf:ORG/NAME@REVISION"
            )
        return True

    def known(self, source: str, *, fetch: bool = False) -> Known:
        """The methods of its family; the labels are those of the asking file.

        Raises:
            ModelError: it is not a model of a family that is known.
        """
        folder = found(source) if fetch else local(source) if source.startswith(SCHEME) else None
        if folder is None:
            return Known(None, METHODS, lacking=lacking("hf"))
        matcher = folder.matcher
        if matcher:
            methods = matcher.methods
        else:
            methods = METHODS_OF_DECODERS if folder.family.decoder else METHODS
        return Known(None, methods, folder.folder, folder.revision, lacking("hf"))

    def load(
        self, source: str, *, device: str, dtype: str, threads: int | None, **options: Any
    ) -> Model:
        """Load the model; ``asking`` is the path of an asking file."""
        require("hf", source)
        from audit.models.hf.adapter import ChatModel  # noqa: PLC0415  torch is slow
        from audit.models.hf.matching import MatchingModel  # noqa: PLC0415
        from audit.models.hf.prompted import PromptedModel  # noqa: PLC0415
        from audit.models.kit.asking import DEFAULT, placed, read_asking  # noqa: PLC0415
        from audit.models.kit.matching import read_matching  # noqa: PLC0415

        path, checkpoint = options.get("asking"), found(source)
        path = None if path == "" else path
        where: dict[str, Any] = {"device": device, "dtype": dtype, "threads": threads}
        if checkpoint.matcher:
            matching = None if path is None else read_matching(path)
            with placed(path):
                return MatchingModel(checkpoint, **where, matching=matching)
        talks = PromptedModel if checkpoint.family.decoder else ChatModel
        asking = DEFAULT if path is None else read_asking(path)
        with placed(path):
            return talks(checkpoint, **where, asking=asking)


HF = HuggingFace()
