"""``audit serve`` in a real browser, with the embedded models: asked, drawn on, saved, misused."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from audit.app.serving import MAX_UPLOAD
from audit.cases.loading import load_cases
from audit.models.ofa.loaders import resolve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BIRDS = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"
EVIL = (
    "<script>document.title=7</script>",
    '<img src=x onerror="document.title=7">',
    "${document.title=7} `{{7}}` &lt;",  # gradio fills templates of JavaScript
)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder whose weights were not copied whole; nothing else tells."""
    folder = tmp_path_factory.mktemp("models") / "cut"
    shutil.copytree(resolve("reference").folder, folder)
    (folder / "pytorch_model.bin").write_bytes(b"PK")
    return folder


@pytest.fixture(scope="module")
def address(browser: Any, tmp_path_factory: pytest.TempPathFactory, cut: Path) -> Iterator[str]:
    """Where the page is served; at the end its process must stop when told, and leave nothing."""
    temporary = tmp_path_factory.mktemp("temporary")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    models = ["reference", "shortcut", str(cut)]
    options = [f"--model={model}" for model in models]
    with subprocess.Popen(
        [sys.executable, "-m", "audit", "serve", f"--port={port}", "--device=cpu", *options],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            # The first line of all: nobody who serves on loopback is warned.
            assert process.stdout.readline() == f"page: http://127.0.0.1:{port}/\n"
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            rest = process.communicate(timeout=30)[0]
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert list(temporary.glob("audit-*")) == []


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The open page; it must ask nobody else, and tell no error on the console."""
    context = browser.new_context(viewport={"width": 1240, "height": 1400}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    said: list[str] = []
    asked: list[str] = []
    # gradio warns of what its own client lacks; an error would be ours or hide one of ours.
    opened.on("console", lambda m: m.type == "error" and said.append(m.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#ask")
    yield opened
    context.close()
    assert said == []
    assert [u for u in asked if not u.startswith((address, "data:", "blob:"))] == []


def pick(page: Any, name: str) -> None:
    choose(page, "example", name)
    page.wait_for_selector(".stage img[src^=data]")
    page.wait_for_function("document.querySelector('#text textarea').value")


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#upload input[type=file]", path)


def ask(page: Any) -> tuple[str, bytes]:
    """Click, wait for the answer; its text and the bytes of the heatmap."""
    images = page.locator("#heatmap img")
    before = images.evaluate("i => i.src") if images.count() else ""
    page.click("#ask")
    page.wait_for_function(
        "was => { const image = document.querySelector('#heatmap img');"
        " return image && image.src !== was && image.complete && image.offsetParent; }",
        arg=before,
    )
    return page.inner_text("#verdict"), fetched(page, "#heatmap img")


def fetched(page: Any, selector: str) -> bytes:
    content: bytes = page.request.get(page.locator(selector).evaluate("i => i.src")).body()
    return content


def refused(page: Any) -> str:
    """Click, wait for another message; no answer may be left beside it."""
    before = page.locator("#notice [role=alert]").all_inner_texts()
    page.click("#ask")
    page.wait_for_function(
        "was => { const told = document.querySelector('#notice [role=alert]');"
        " return told && told.innerText !== was[0]; }",
        arg=before,
    )
    told: str = page.inner_text("#notice [role=alert]")
    assert not page.is_visible("#result")
    assert not page.is_visible("#case")
    return told


def choose(page: Any, field: str, text: str) -> None:
    page.click(f"#{field} input")
    page.fill(f"#{field} input", text)
    option = page.locator(f"#{field} [role=option]", has_text=text)
    option.first.click()


def drag(page: Any, box: tuple[float, float, float, float]) -> None:
    """Draw on the picture, in fractions of it."""
    page.locator(".stage").scroll_into_view_if_needed()
    frame = page.locator(".stage").bounding_box()
    x = [frame["x"] + frame["width"] * side for side in box[::2]]
    y = [frame["y"] + frame["height"] * side for side in box[1::2]]
    page.mouse.move(x[0], y[0])
    page.mouse.down()
    page.mouse.move(x[1], y[1], steps=3)
    page.mouse.up()


def download(page: Any, selector: str, folder: Path) -> list[Path]:
    found = []
    for link in page.locator(f"{selector} a[download]").all():
        with page.expect_download() as waiting:
            link.click()
        found.append(folder / waiting.value.suggested_filename)
        waiting.value.save_as(found[-1])
    return found


def test_an_example_is_asked_about_and_method_layers_and_word_change_what_is_shown(
    page: Any, tmp_path: Path
) -> None:
    pick(page, "two-birds-on-a-branch:")
    assert page.input_value("#text textarea") == "there are two birds on a branch"
    assert page.locator(".box").count() == 2
    said, heat = ask(page)
    assert said.split()[:8] == ["“there", "are", "two", "birds", "on", "a", "branch”", "yes"]
    assert "reference, answer_attention, 12 × 12 cells" in said
    assert page.locator("#verdict th").all_inner_texts() == ["yes", "no", "maybe"]
    assert page.locator("#layer-sheet img").is_visible()
    assert not page.is_visible("#word-maps")
    assert page.locator("#figures tr").count() >= 14

    page.fill("#layers input, #layers textarea", "last")
    said, last = ask(page)
    assert "answer_attention layers=last" in said
    page.fill("#layers input, #layers textarea", "")
    choose(page, "method", "word_attention")
    page.wait_for_selector("#word input")
    choose(page, "word", "birds")
    said, birds = ask(page)
    assert "word_attention word=birds" in said
    choose(page, "word", "branch")
    said, branch = ask(page)
    assert "word_attention word=branch" in said
    choose(page, "method", "relevance")
    page.wait_for_selector("#word", state="hidden")
    assert not page.is_visible("#layers")
    page.fill("#more input, #more textarea", "variant=paper")
    page.check("#also >> text=every word")
    page.check("#also >> text=animation")
    said, relevance = ask(page)
    assert "relevance variant=paper" in said
    assert len({heat, last, birds, branch, relevance}) == 5
    # Relevance is not read layer by layer; words are, whatever the method.
    assert not page.is_visible("#layer-maps")
    (tmp_path / "film.webp").write_bytes(fetched(page, "#word-sheet .webp img"))
    with Image.open(tmp_path / "film.webp") as played:
        assert played.n_frames == 7


def test_another_model_and_a_premise_are_asked(page: Any) -> None:
    pick(page, "two-birds-on-a-branch:")
    choose(page, "model", "shortcut")
    page.fill("#premise input, #premise textarea", "a sunny day")
    said, _ = ask(page)
    assert "given the premise “a sunny day”" in said
    assert "shortcut, answer_attention" in said


def test_boxes_drawn_on_an_uploaded_picture_are_in_the_case_that_is_saved(
    page: Any, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lying in the file, upright as it is shown and asked about
    with Image.open(BIRDS) as birds:
        upright = birds.convert("RGB").resize((1200, 900)).transpose(Image.Transpose.ROTATE_90)
        upright.save(tmp_path / "my birds.jpg", exif=exif)
    upload(page, tmp_path / "my birds.jpg")
    page.wait_for_selector(".stage img[src^=data]")
    assert "1200 × 900 pixels" in page.inner_text("#picture")
    drag(page, (0.02, 0.45, 0.31, 0.66))
    page.keyboard.type("birds: both")
    drag(page, (0.5, 0.0, 0.75, 0.25))
    page.keyboard.type("mark (left)")
    page.select_option(".boxes li:nth-child(2) select", "avoid")
    text = "there are two birds on a branch"
    page.fill("#text textarea", text)
    ask(page)
    assert page.input_value("#case-id input, #case-id textarea") == text.replace(" ", "-")
    page.fill("#case-id input, #case-id textarea", "my birds")
    page.click("#save")
    page.wait_for_selector("#case-notice [role=alert]")
    assert page.inner_text("#case-notice").startswith("id: an id has letters, digits")
    page.fill("#case-id input, #case-id textarea", "my-birds")
    page.click("#save")
    page.wait_for_selector("#yaml .cm-content")
    told = page.inner_text("#case-notice")
    assert "cases/my-birds.yaml" in told
    assert "cases/images/my-birds.jpg" in told
    assert "id: my-birds" in page.inner_text("#yaml")

    path, image = download(page, "#case-files", tmp_path)
    (tmp_path / "images").mkdir()
    image.rename(tmp_path / "images" / image.name)
    (case,) = load_cases(path)
    assert (case.id, case.text, case.expect.label) == ("my-birds", text, "yes")
    assert case.image_size == (1200, 900)
    assert list(case.regions) == ["birds: both", "mark (left)"]
    assert case.regions["birds: both"][0] == pytest.approx((0.02, 0.45, 0.31, 0.66), abs=0.01)
    assert case.wanted == {"birds: both": "higher", "mark (left)": "lower"}
    assert page.title() == "audit"


def test_errors_are_messages_in_the_projects_own_words(
    page: Any, tmp_path: Path, cut: Path
) -> None:
    assert refused(page) == "there is no picture yet: upload one or pick an example"
    pick(page, "two-birds-on-a-branch:")
    ask(page)
    page.fill("#text textarea", " ")
    assert refused(page) == "the hypothesis is empty but for white space"
    page.fill("#text textarea", "two birds")
    page.fill("#layers input, #layers textarea", "9")
    assert "the model has 3" in refused(page)
    page.fill("#layers input, #layers textarea", "")
    page.fill("#more input, #more textarea", "temprature=1")
    assert "did you mean 'temperature'?" in refused(page)
    page.fill("#more input, #more textarea", "")
    choose(page, "method", "word_attention")
    page.wait_for_selector("#word input")
    page.fill("#word input", "cat")
    page.keyboard.press("Enter")
    assert "'cat'" in refused(page)
    choose(page, "method", "answer_attention")
    choose(page, "model", str(cut))
    assert "pytorch_model.bin: the weights cannot be read" in refused(page)
    choose(page, "model", "reference")
    (tmp_path / "notes.png").write_text("no picture")
    upload(page, tmp_path / "notes.png")
    page.wait_for_selector("#notice >> text=notes.png: not a picture, or damaged")
    assert not page.is_visible(".stage")


def test_a_file_over_the_limit_is_refused(page: Any, tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(MAX_UPLOAD + 1)
    upload(page, tmp_path / "large.png")
    page.wait_for_selector("text=/exceed the maximum allowed size/")
    assert not page.is_visible(".stage")


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_that_is_typed_becomes_markup(page: Any, evil: str) -> None:
    pick(page, "two-birds-on-a-branch:")
    page.wait_for_timeout(500)  # the example fills the fields
    page.fill("#text textarea", evil)
    assert ask(page)[0].count(evil) == 1
    page.fill("#text textarea", "two birds")
    page.fill("#premise input, #premise textarea", evil)
    assert ask(page)[0].count(evil) == 1
    drag(page, (0.5, 0.0, 0.75, 0.25))
    page.keyboard.type(evil)
    page.click("#save")
    page.wait_for_selector("#case-notice [role=alert]")
    assert "a region's name has letters" in page.inner_text("#case-notice")
    page.fill("#layers input, #layers textarea", evil)
    assert evil.split("=", maxsplit=1)[0] in refused(page)
    assert page.title() == "audit"


def test_regions_are_made_moved_and_removed_by_keyboard(page: Any) -> None:
    pick(page, "hungry")
    regions = page.locator(".box").count()
    page.click(".boxes .add")
    where = page.locator(".boxes li .where").last
    before = where.inner_text()
    page.keyboard.press("ArrowRight")
    moved = where.inner_text()
    page.keyboard.press("Shift+ArrowDown")
    assert len({before, moved, where.inner_text()}) == 3
    page.keyboard.press("Delete")
    assert page.locator(".box").count() == regions


def test_every_field_has_a_name_and_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    pick(page, "two-birds-on-a-branch:")
    ask(page)
    unnamed = page.eval_on_selector_all(
        "input:not([type=file]), textarea, select, button",
        "all => all.filter(e => e.offsetParent && !(e.labels?.length || e.textContent.trim()"
        " || e.title || e.getAttribute('aria-label') || e.closest('label')))"
        ".map(e => e.outerHTML.slice(0, 150))",
    )
    assert unnamed == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_page_offers_no_api(page: Any, address: str) -> None:
    found = page.request.get(f"{address}gradio_api/info").json()
    assert found == {"named_endpoints": {}, "unnamed_endpoints": {}}
