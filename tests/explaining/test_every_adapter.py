"""``audit.explain`` works with models of every kind, and says what one of them cannot give.

What needs transformers is imported by the tests, not while they are collected: other tests replace
names in the module transformers, and rely on being the first to import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import audit
from audit import Model, load_model
from audit.models.kit.asking import Asking
from audit.models.kit.subject import example_queries
from audit.models.served.adapter import ServedModel
from audit.models.served.address import key_for, parsed
from audit.models.served.wire import Limits

pytestmark = pytest.mark.slow

QUERY = example_queries()[0]
ANSWERS = Asking(answers={"yes": ["Yes", "yes"], "no": ["No", "no"]})


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def chat(folder: Path) -> Model:
    from audit.models.hf.adapter import ChatModel
    from audit.models.hf.sources import found
    from tests import tiny_chat

    checkpoint = tiny_chat.save("qwen2_5_vl", folder / "chat", seed=4)
    return ChatModel(found(f"hf:{checkpoint}"), device="cpu", threads=1, asking=ANSWERS)


def florence2(folder: Path) -> Model:
    from audit.models.hf.prompted import PromptedModel
    from audit.models.hf.sources import found
    from tests import tiny_matchers

    checkpoint = tiny_matchers.save("florence2", folder / "florence2")
    return PromptedModel(found(f"hf:{checkpoint}"), device="cpu", threads=1, asking=ANSWERS)


def matcher(family: str) -> Callable[[Path], Model]:
    def made(folder: Path) -> Model:
        from tests import tiny_matchers

        return tiny_matchers.load(family, tiny_matchers.save(family, folder / family))

    return made


def ofa(_: Path) -> Model:
    return load_model("reference", "cpu")


@pytest.mark.parametrize(
    "made",
    [ofa, chat, florence2, *map(matcher, ("blip", "blip-2", "vilt", "siglip"))],
    ids=["ofa", "chat", "florence2", "blip", "blip-2", "vilt", "siglip"],
)
def test_every_map_that_a_model_gives_is_there_and_drawn(
    made: Callable[[Path], Model], folder: Path
) -> None:
    model = made(folder)
    maps = [
        "word_attention word=square" if method == "word_attention" else method
        for method in model.methods
    ]
    wanted = [*maps, "occlusion window=2 stride=2", "centre"]
    seen = audit.explain(QUERY.image, QUERY.text, model, maps=wanted)
    assert {*seen.maps, *seen.undefined} == {audit.MapSpec.of(each).key for each in wanted}
    assert "word_attention word=square" not in seen.undefined
    assert "relevance" in {*seen.maps, *seen.undefined}
    assert {p.shape for p in seen.maps.values()} == {tuple(seen.trace.grid)}
    assert seen._repr_html_().count("<img") == 1 + len(seen.maps)
    assert seen.layers("answer_attention")._repr_png_()
    if "word_attention" in model.methods:
        assert [word for word, _ in seen.words] == QUERY.text.split()
        assert seen.words()._repr_png_()
    else:
        with pytest.raises(audit.MapError, match="gives no word_attention"):
            seen.words()
    if "rollout" not in model.methods:
        with pytest.raises(audit.MapError, match=r"gives no rollout, .*; it gives answer_attent"):
            audit.explain(QUERY.image, QUERY.text, model, map="rollout")


def test_a_served_model_has_occlusion_and_says_that_it_shows_no_attention(folder: Path) -> None:
    from tests import tiny_chat
    from tests.chat_server import serving

    checkpoint = tiny_chat.save("qwen2_5_vl", folder / "served", seed=4)
    with serving(checkpoint) as server:
        address = parsed(server.source)
        quick = Limits(tries=4, pause=0.01, answer=20.0)
        model = ServedModel(address, key_for(address, ""), ANSWERS, 2, quick)
        seen = audit.explain(
            QUERY.image, QUERY.text, model, maps=["centre", "occlusion window=6 stride=6"]
        )
        assert seen.map.shape == (12, 12)
        with pytest.raises(audit.MapError, match="the model gives no word_attention"):
            seen.words()
        with pytest.raises(audit.MapError, match="the model gives no map that is"):
            seen.layers()
        with pytest.raises(audit.MapError, match="no maps of its own: like every model it can"):
            audit.explain(QUERY.image, QUERY.text, model, map="relevance")
