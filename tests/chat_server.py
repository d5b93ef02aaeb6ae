"""A real HTTP server that answers chats with a tiny chat model, and misbehaves when it is told to.

It speaks the part of OpenAI's protocol that served models are asked in: the list of models, chat
completions with log-probabilities, and answers that are begun by the caller, as vLLM has them.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit.models.kit.quiet import quiet

MODEL = "tiny/chat:7b"
KEY = "sk-secret-of-the-tests"

Fault = Callable[[dict[str, Any]], Response]
"""Makes a wrong answer of a right one."""


class ChatServer:
    """The server; start it with :func:`serving`.

    Attributes:
        faults: what goes wrong with the next questions, one after another.
        always: what goes wrong with every question.
        seen: the questions and their headers, as they came.
        most: the most questions that were answered at once.
        list: how many of the likeliest tokens it gives at most; None for as many as it is asked.
        everything: whether it gives all tokens, however many it is asked for.
        continues: whether it goes on with an answer that is begun for it: it does, takes it for an
            earlier turn, or refuses.
        needs_key: whether it refuses questions without the key.
        name, build: of the model and the software, as it says.
        url: its base.
    """

    def __init__(self, folder: Path) -> None:
        with quiet():
            self.network = AutoModelForImageTextToText.from_pretrained(folder).eval()
            self.processor = AutoProcessor.from_pretrained(folder)
        self.reset()
        self.url = ""
        self._lock = threading.Lock()
        self._waiting = 0

    def reset(self) -> None:
        """Behave."""
        self.faults: list[Fault | None] = []
        self.always: Fault | None = None
        self.seen: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.most = 0
        self.list: int | None = None
        self.everything = True
        self.continues = "yes"
        self.needs_key = False
        self.name, self.build = MODEL, "fp_1"
        self.delay = 0.0

    @property
    def source(self) -> str:
        """What a user writes for its model."""
        return f"openai:{self.url}#{MODEL}"

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/models")
        def models(request: Request) -> Response:
            if (refused := self._refused(request)) is not None:
                return refused
            entry = {"id": self.name, "object": "model", "created": time.time_ns(), "root": "/w"}
            return JSONResponse({"object": "list", "data": [entry, {"id": "other"}]})

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> Response:
            asked = await request.json()
            with self._lock:
                self.seen.append((asked, dict(request.headers)))
                self._waiting += 1
                self.most = max(self.most, self._waiting)
                fault = self.faults.pop(0) if self.faults else self.always
            try:
                if (refused := self._refused(request)) is not None:
                    return refused
                answer = await run_in_threadpool(self.answer, asked)
            finally:
                self._waiting -= 1
            if isinstance(answer, Response):
                return answer
            return fault(answer) if fault else JSONResponse(answer)

        return app

    def _refused(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "")
        if not self.needs_key or given == f"Bearer {KEY}":
            return None
        return JSONResponse({"error": {"message": f"bad key {given[7:]}"}}, 401)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any] | Response:
        """The greedy answer to a chat, with what else might have been said at each place."""
        time.sleep(self.delay)
        begun = bool(asked.get("continue_final_message")) and self.continues == "yes"
        if "continue_final_message" in asked and self.continues == "refuses":
            return JSONResponse({"error": {"message": "unknown argument"}}, 400)
        pictures, messages = [], []
        for message in asked["messages"]:
            content = message["content"]
            if not isinstance(content, str):
                parts = []
                for part in content:
                    if part["type"] == "image_url":
                        data = part["image_url"]["url"].removeprefix("data:image/png;base64,")
                        pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))
                        parts.append({"type": "image"})
                    else:
                        parts.append(part)
                content = parts
            messages.append({"role": message["role"], "content": content})
        text = self.processor.tokenizer.apply_chat_template(
            messages, chat_template=self.processor.chat_template, tokenize=False,
            add_generation_prompt=not begun, continue_final_message=begun,
            **asked.get("chat_template_kwargs", {}),
        )  # fmt: skip
        places = []
        with self._lock, torch.no_grad():
            given = self.processor(text=[text], images=pictures, return_tensors="pt")
            for _ in range(asked["max_tokens"]):
                logs = self.network(**given).logits[0, -1].float().log_softmax(-1)
                top = logs.argsort(descending=True)
                most = len(top) if self.everything else min(asked["top_logprobs"], self.list or 20)
                listed = [self._token(int(n), logs) for n in top[:most]]
                places.append({**listed[0], "top_logprobs": listed})
                for name, value in (("input_ids", top[:1]), ("attention_mask", torch.ones(1))):
                    more = value.to(given[name].dtype)[None]
                    given[name] = torch.cat([given[name], more], 1)
                if int(top[0]) in self.processor.tokenizer.all_special_ids:
                    break
        said = "".join(place["token"] for place in places)
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": self.name,
            "system_fingerprint": self.build,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "length",
                    "message": {"role": "assistant", "content": said},
                    "logprobs": {"content": places},
                }
            ],
            "usage": {"prompt_tokens": given["input_ids"].shape[1]},
        }

    def _token(self, number: int, logs: torch.Tensor) -> dict[str, Any]:
        text = self.processor.tokenizer.decode([number])
        return {"token": text, "logprob": float(logs[number]), "bytes": list(text.encode())}


@contextmanager
def serving(folder: Path) -> Iterator[ChatServer]:
    """A server on this machine, at a port that is free."""
    chat = ChatServer(folder)
    config = uvicorn.Config(chat.app(), "127.0.0.1", 0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until, "the server does not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    chat.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield chat
    finally:
        server.should_exit = True
        thread.join(10)


def with_status(status: int, message: str = "", **headers: str) -> Fault:
    """Answer with a state, and an error's message as OpenAI writes it."""
    body = {"error": {"message": message, "type": "error"}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: JSONResponse(body, status, headers=named)


def with_text(text: str | bytes, kind: str = "application/json") -> Fault:
    """Answer with this text."""
    return lambda _: Response(text, 200, media_type=kind)


def changed(change: Callable[[dict[str, Any]], object]) -> Fault:
    """The right answer with a change; NaN and infinity are written as Python writes them."""

    def fault(answer: dict[str, Any]) -> Response:
        change(answer)
        return Response(json.dumps(answer), media_type="application/json")

    return fault


def cut(answer: dict[str, Any]) -> Response:
    """Close the connection in the middle of the answer."""

    async def half() -> AsyncIterator[bytes]:
        yield json.dumps(answer)[:100].encode()
        raise RuntimeError

    return StreamingResponse(half(), headers={"content-length": "100000"})


def huge(_: dict[str, Any]) -> Response:
    """An answer without an end."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 100_000

    return StreamingResponse(parts(), media_type="application/json")


def late(seconds: float) -> Fault:
    """The right answer, too late."""

    def fault(answer: dict[str, Any]) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            import asyncio

            for character in json.dumps(answer):
                await asyncio.sleep(seconds)
                yield character.encode()

        return StreamingResponse(parts(), media_type="application/json")

    return fault
