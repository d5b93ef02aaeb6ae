"""The adapter for chat models behind an OpenAI-compatible server."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from PIL import Image

from audit.base.errors import MapError, ModelError, TextError, Undecided, nearest, printable
from audit.base.files import digest
from audit.base.geometry import Grid
from audit.base.images import picture_of
from audit.base.settings import SERVER, UNKNOWN
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.kit.asking import DEFAULT, Asking
from audit.models.kit.stack import installed
from audit.models.protocol import Fingerprint, Query
from audit.models.served.address import Address, Key
from audit.models.served.bounds import Listing, Masses, difference, listing, masses
from audit.models.served.replies import Completion, Entries, Position, read
from audit.models.served.wire import Limits, NotThere, Refused, Reply, Wire

REQUESTS = 4
"""How many questions a server is asked at once, unless the user says otherwise."""

TOP = 20
"""How many tokens are asked for at each place; no common server gives more."""

GRID = Grid(12, 12)
"""The cells of its maps. A server does not say which patches its model has."""

WIDEST = 1e-3
"""How far apart the bounds of a probability may lie. It is told as the middle between them."""

_FINE = 1e-6
"""Bounds that lie further apart are brought together with further questions, where possible."""

_MOST_FURTHER = 16
"""Further questions about one question."""

_LONGEST = 8
"""Tokens of an answer that are asked for at once."""

_SAME = 0.05
"""How much two lists of one place may differ; a server in low precision is not exact."""

_MARK = re.compile(r"<\|[^<>]*\|>|</?s>|<(?:image|img|video|bos|eos)>", re.IGNORECASE)
"""What chat models take for marks of their own, whoever wrote it."""

_CHAT, _MODELS = "/chat/completions", "/models"


class Said(NamedTuple):
    """An answer: the listing behind each beginning of it, and who gave it."""

    tree: dict[bytes, Listing]
    model: str
    build: str


class ServedModel:
    """A chat model that a server is asked about.

    Args:
        asking: how it is asked, and what its answers mean.
        requests: how many questions it is asked at once.

    Raises:
        ModelError: the server is not there, has no such model or gives no log-probabilities.
    """

    methods: tuple[str, ...] = ()

    def __init__(
        self,
        address: Address,
        key: Key,
        asking: Asking = DEFAULT,
        requests: int = REQUESTS,
        limits: Limits | None = None,
    ) -> None:
        self._address, self._asking, self._requests = address, asking, requests
        self._wire = Wire(address, key, requests, limits)
        self._answers = {
            label: list(dict.fromkeys(answer.encode() for answer in given))
            for label, given in asking.answers.items()
        }
        longest = max(len(answer) for given in self._answers.values() for answer in given)
        self._tokens = min(longest, _LONGEST)
        self._continues: bool | None = None  # not known before it is needed
        self._serves: str | None = None  # which model the first answer says that it is of
        self._lock = threading.Lock()
        entry, software = self._entry()
        # Whatever this model lacks should show now, and not at the first case.
        self._first_chat = self._chat(Query(Image.new("RGB", (64, 64), "grey"), "a picture"))
        self._first = self._said(self._first_chat)
        self._fingerprint = self._described(entry, software, self._first)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the asking file."""
        return tuple(self._answers)

    @property
    def fingerprint(self) -> Fingerprint:
        """What the server says that it serves; its weights cannot be seen and have no digest."""
        return self._fingerprint

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries, several at once; see :class:`audit.models.protocol.Model`."""
        for key in sorted(need, key=repr):
            raise MapError(
                f"a served model gives no {key.method}: a server does not show where its model "
                "looks; occlusion works with any model"
            )
        for query in queries:
            _refuse_marks(query)
        stop = threading.Event()
        with ThreadPoolExecutor(self._requests) as pool:
            waiting = [pool.submit(self._answered, query, stop) for query in queries]
            try:
                return [each.result() for each in waiting]
            finally:  # after an error, the other answers are not wanted
                stop.set()
                pool.shutdown(cancel_futures=True)

    def masses(self, query: Query, stop: threading.Event | None = None) -> Masses:
        """What is known of the probability of each label's answers to a query."""
        chat = self._chat(query)
        tree = self._said(chat, stop).tree
        asked: set[bytes] = set()
        while True:
            try:
                found = masses(tree, self._answers)
            except ValueError as error:
                raise ModelError(f"{self._address.source}: {error}") from None
            worth = _FINE * sum(each.high for each in found.by_label.values())
            further = {
                begun: p
                for begun, p in found.beginnings.items()
                if p > worth and begun not in asked and _sendable(begun)
            }
            if found.width <= _FINE or not further or len(asked) >= _MOST_FURTHER:
                return found
            if not self._does_continue(stop):
                return found
            likeliest = max(further, key=further.__getitem__)
            asked.add(likeliest)
            tree[likeliest] = self._behind(chat, likeliest, stop)

    def _answered(self, query: Query, stop: threading.Event) -> Trace:
        found = self.masses(query, stop)
        label = found.decided
        if not label or found.width > WIDEST:
            raise Undecided(_untold(found, label))
        total = sum(each.middle for each in found.by_label.values())
        unsure = sum(each.width for each in found.by_label.values())
        question = self._asking.asked(query.text, query.premise).question
        prompt = "\n".join(filter(None, (self._asking.system, question)))
        return Trace(
            {name: each.middle / total for name, each in found.by_label.items()},
            label,
            prompt,
            tuple(prompt.split()),  # the server's own are not known
            GRID,
            unsaid=min(max(1.0 - total, 0.0), 1.0) if unsure <= WIDEST else None,
        )

    def _chat(self, query: Query) -> dict[str, Any]:
        """The question as the server is asked it."""
        question = self._asking.asked(query.text, query.premise).question
        messages: list[dict[str, Any]] = []
        if self._asking.system:
            messages.append({"role": "system", "content": self._asking.system})
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(picture_of(query.image))}},
            {"type": "text", "text": question},
        ]
        messages.append({"role": "user", "content": content})
        chat: dict[str, Any] = {
            "model": self._address.model,
            "messages": messages,
            "max_tokens": self._tokens,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": TOP,
        }
        if self._asking.template:
            chat["chat_template_kwargs"] = self._asking.template
        return chat

    def _said(self, chat: dict[str, Any], stop: threading.Event | None = None) -> Said:
        """The listing at each place of the answer."""
        reply = self._wire.ask(_CHAT, chat, stop)
        found = self._read(_CHAT, reply, Completion)
        if self._serves is None:
            self._serves = found.model
        elif found.model != self._serves:
            raise self._wire.error(
                _CHAT, f"answers with the model {printable(found.model)!r}, and answered with "
                f"{printable(self._serves)!r} before: one audit is of one model",
            )  # fmt: skip
        tree: dict[bytes, Listing] = {}
        begun = b""
        for position in found.choices[0].logprobs.content:
            tree.setdefault(begun, self._listed(position))
            if not position.spelled:
                break  # an end without a text
            begun += position.spelled
        return Said(tree, found.model, found.system_fingerprint or "")

    def _listed(self, position: Position) -> Listing:
        try:
            return listing([(each.spelled, each.logprob) for each in position.top_logprobs])
        except ValueError as error:
            raise self._wire.error(_CHAT, f"gives {error}") from None

    def _behind(self, chat: dict[str, Any], begun: bytes, stop: threading.Event | None) -> Listing:
        """The listing behind a beginning of an answer that the model is made to say."""
        said = {"role": "assistant", "content": begun.decode()}
        further = {
            **chat,
            "messages": [*chat["messages"], said],
            "max_tokens": 1,
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
        return self._said(further, stop).tree[b""]

    def _does_continue(self, stop: threading.Event | None) -> bool:
        """Whether the server goes on with an answer that was begun for it.

        Not all do, and some take it for an earlier turn without a word. So it is given the
        beginning of its own answer to the first question: what comes next must be what came next.
        """
        with self._lock:
            if self._continues is None:
                tree = self._first.tree
                own = next((begun for begun in tree if _sendable(begun)), None)
                try:
                    self._continues = own is not None and (
                        difference(self._behind(self._first_chat, own, stop), tree[own]) <= _SAME
                    )
                except Refused:
                    self._continues = False
            return self._continues

    def _entry(self) -> tuple[dict[str, Any], str]:
        """What the server's list says of the model, and which software serves it."""
        try:
            reply = self._wire.ask(_MODELS)
        except NotThere:
            return {}, ""  # not every server has a list
        entries = self._read(_MODELS, reply, Entries).data
        for entry in entries:
            if entry.id == self._address.model:
                return entry.model_dump(exclude_none=True), reply.software
        near = nearest(self._address.model, [entry.id for entry in entries] or ["nothing"])
        raise self._wire.error(_MODELS, f"has no model {self._address.model!r}; {near}")

    def _read(self, path: str, reply: Reply, kind: Any) -> Any:
        try:
            return read(reply.body, kind)
        except ValueError as error:
            raise self._wire.error(path, f"gives {error}") from None

    def _described(self, entry: dict[str, Any], software: str, first: Said) -> Fingerprint:
        told = json.dumps(entry or {"id": self._address.model}, sort_keys=True)
        configuration, preprocessing = digest(told, self._asking.digest), digest("PNG, unscaled")
        return Fingerprint(
            name=self._address.name,
            source=self._address.source,
            revision=first.model if first.model != self._address.model else "",
            digest=digest("", configuration, "", preprocessing),
            weights="",
            configuration=configuration,
            tokenizer="",
            preprocessing=preprocessing,
            device=SERVER,
            dtype=UNKNOWN,
            asking=self._asking.digest,
            packages={
                "server": software or UNKNOWN,
                "system fingerprint": first.build or UNKNOWN,
                **{name: installed(name) for name in ("httpx", "pillow", "ofa-audit")},
            },
        )


def _refuse_marks(query: Query) -> None:
    for name, text in (("the hypothesis", query.text), ("the premise", query.premise or "")):
        found = _MARK.search(text)
        if found:
            raise TextError(f"{name} has {found[0]!r}, which chat models take for their own mark")


def _data_url(picture: Image.Image) -> str:
    """The picture as it is, without loss: the server scales it, as its model needs it."""
    written = io.BytesIO()
    picture.save(written, format="PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def _sendable(begun: bytes) -> bool:
    """Whether a beginning can be sent as a text and comes out as it was; servers strip spaces."""
    try:
        text = begun.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and text == text.strip()


def _untold(found: Masses, label: str) -> str:
    """Why a case has no answer, with the bounds."""
    shares = found.probabilities
    told = ", ".join(f"{n} {shares[n].low:.4f} to {shares[n].high:.4f}" for n in shares)
    mass = ", ".join(f"{n} {m.low:.2g} to {m.high:.2g}" for n, m in found.by_label.items())
    what = "how likely it is" if label else "which label"
    return (
        f"cannot tell {what}: of all labels' answers, {told}; the server's list of likeliest "
        f"tokens lacks the rest (probabilities of the answers themselves: {mass})"
    )
