"""The page itself: its fields, what happens when they are used, and where answers are shown."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from audit.app.blocks import SpokenBlocks, in_each_language
from audit.app.casefile import case_yaml, drawn, suggested_id
from audit.app.desk import Answer, Desk, Picture, Question, example, message, uploaded
from audit.app.markup import (
    alert,
    figures,
    fixed,
    head,
    how_to_save,
    pictures,
    verdict,
    waiting,
    where_to_put,
    words_of_boxes,
)
from audit.app.tongue import language_of, spoken, t, told
from audit.base.files import write_atomically
from audit.base.images import FORMATS
from audit.base.languages import Choice
from audit.base.words import words_in
from audit.cases.loading import Case
from audit.maps.methods import METHODS
from audit.report.plotting import colour_maps

_ONE_AT_A_TIME = {"concurrency_id": "audit", "concurrency_limit": 1, "api_visibility": "private"}
"""Nothing overlaps: pictures are opened under process-wide limits, and a model uses all cores."""

_AT_ONCE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

_LAYERS, _WORDS, _ANIMATION = "layers", "words", "animation"
"""What may be drawn besides the map."""

_FIELDS = ("layers", "heads", "word")
"""The keys of a map that have a field of their own; others are typed into one field."""

_HIDDEN: Literal["hidden"] = "hidden"
"""Not False: gradio never shows a component that was made invisible twice before it was shown.

Columns take this value only in an update; page.css hides the empty ones.
"""

_NARROWEST = 330
"""The smallest width of a column, in pixels; columns that do not fit side by side are stacked."""

_TO_THE_ANSWER = """() => setTimeout(() => document
    .querySelector("#notice p, #verdict .card")?.scrollIntoView({ block: "nearest" }), 50)"""
"""On a phone the answer is below the fields; on a wide screen gradio scrolls past it by itself."""

_KEEP = (3600, 86_400)
"""Once an hour, uploads older than a day are removed; the rest when serving ends."""

_MOST_KEPT = 100
"""How many answers and cases keep their files."""

_FORGET = 86_400
"""Seconds after which the picture and answer of a page that was left open are forgotten."""


def build(
    desk: Desk, cases: Sequence[Case], folder: Path, language: Choice = "auto"
) -> SpokenBlocks:
    """The page.

    Args:
        cases: examples to pick from.
        folder: a temporary one, for the drawings and cases that are made.
        language: of its answers; ``auto`` for that of each visitor's browser.
    """
    return in_each_language(lambda: _Page(desk, cases, folder, language).blocks)


class _Page:
    def __init__(self, desk: Desk, cases: Sequence[Case], folder: Path, language: Choice) -> None:
        self._desk, self._language = desk, language
        # The picture of a variant may be made, and then there is no file to open.
        self._cases = {case.id: case for case in cases if case.variant is None}
        self._folder = folder
        self._made: deque[Path] = deque()
        self.blocks = SpokenBlocks(title="audit", analytics_enabled=False, delete_cache=_KEEP)
        with self.blocks:
            gr.HTML(head(), js_on_load=None)
            self.picture = gr.State(None, time_to_live=_FORGET)
            self.answer = gr.State(None, time_to_live=_FORGET)
            with gr.Row():
                with gr.Column(scale=5, min_width=_NARROWEST):
                    self._ask_fields()
                with gr.Column(scale=6, min_width=_NARROWEST):
                    self.notice = gr.HTML(js_on_load=None, elem_id="notice")
                    self._answer_fields()
            self._case_fields()
        with self.blocks:
            self._events()

    # What there is

    def _ask_fields(self) -> None:
        names = [(f"{case.id}: {case.text}", case.id) for case in self._cases.values()]
        self.example = gr.Dropdown(
            names, value=None, label=t("Example: a case of this project"), visible=bool(names),
            elem_id="example",
        )  # fmt: skip
        self.upload = gr.File(
            label=t("Picture ({formats})", formats=", ".join(FORMATS)), file_types=["image"],
            height=150, elem_id="upload",
        )  # fmt: skip
        self.boxes = gr.HTML(
            [], html_template=fixed("boxes.html"), js_on_load=fixed("boxes.js"),
            picture=_shown(None), words=words_of_boxes(), elem_id="picture",
            label=t("Picture with regions"),
        )  # fmt: skip
        self.text = gr.Textbox(
            label=t("Hypothesis"), placeholder=t("A sentence about the picture"), lines=2,
            max_lines=6, elem_id="text",
        )  # fmt: skip
        self.premise = gr.Textbox(
            label=t("Premise (optional)"), placeholder=t("A text that goes with the picture"),
            elem_id="premise",
        )  # fmt: skip
        self.ask = gr.Button(t("Ask"), variant="primary", elem_id="ask")
        with gr.Accordion(t("Model and map"), elem_id="how"):
            self._how_fields()

    def _how_fields(self) -> None:
        first = next(iter(METHODS))
        self.model = gr.Dropdown(
            list(self._desk.sources), value=self._desk.sources[0], label=t("Model"),
            elem_id="model",
        )  # fmt: skip
        self.method = gr.Dropdown(
            [
                (t("{name}: {ABOUT}", name=name, ABOUT=t(row.about)), name)
                for name, row in METHODS.items()
            ],
            value=first, label=t("Method"), elem_id="method",
        )  # fmt: skip
        self.word = gr.Dropdown(
            [], value=None, label=t("Word or phrase of the hypothesis"),
            allow_custom_value=True, visible=_HIDDEN, elem_id="word",
        )  # fmt: skip
        with gr.Row():
            self.layers = gr.Textbox(
                label=t("Layers"), placeholder=t("last:2 or 1,3"), min_width=140,
                elem_id="layers",
            )  # fmt: skip
            self.heads = gr.Textbox(
                label=t("Heads"), placeholder=t("mean or 1,3"), min_width=140, elem_id="heads"
            )
        self.more = gr.Textbox(
            label=t("More keys"), placeholder="temperature=0.5 smooth=1", info=_also(first),
            elem_id="more",
        )  # fmt: skip
        self.also = gr.CheckboxGroup(
            [(t("every layer"), _LAYERS), (t("every word"), _WORDS), (t("animation"), _ANIMATION)],
            value=[_LAYERS], label=t("Also draw"), elem_id="also",
        )  # fmt: skip
        self.colours = gr.Dropdown(
            colour_maps(), value="viridis", label=t("Colours"), elem_id="colours"
        )

    def _answer_fields(self) -> None:
        self.waiting = gr.HTML(waiting(), js_on_load=None, elem_id="waiting")
        with gr.Column(elem_id="result"):
            self.verdict = gr.HTML(js_on_load=None, elem_id="verdict")
            self.heatmap = gr.HTML(js_on_load=None, elem_id="heatmap")
            with gr.Accordion(t("Every layer"), elem_id="layer-maps") as self.layer_maps:
                self.layer_sheet = gr.HTML(js_on_load=None, elem_id="layer-sheet")
            with gr.Accordion(t("Every word"), elem_id="word-maps") as self.word_maps:
                self.word_sheet = gr.HTML(js_on_load=None, elem_id="word-sheet")
            with gr.Accordion(t("Figures of the map"), elem_id="figures"):
                self.figures = gr.HTML(js_on_load=None)
            with gr.Accordion(t("Files"), open=False, elem_id="files"):
                self.files = _downloads(t("Download what is shown above"))

    def _case_fields(self) -> None:
        with gr.Accordion(t("Save as a case"), elem_id="case"):
            gr.HTML(how_to_save(), js_on_load=None)
            with gr.Row():
                with gr.Column(scale=5, min_width=_NARROWEST):
                    self.case_id = gr.Textbox(label="Id", elem_id="case-id")
                    self.label = gr.Dropdown([], label=t("Expected label"), elem_id="label")
                    self.save = gr.Button(t("Save as a case"), elem_id="save")
                    self.case_notice = gr.HTML(js_on_load=None, elem_id="case-notice")
                with gr.Column(scale=6, min_width=_NARROWEST, elem_id="saved"):
                    self.yaml = gr.Code(
                        language="yaml", label=t("Case file"), interactive=False,
                        buttons=["copy"], wrap_lines=True, show_line_numbers=False, elem_id="yaml",
                    )  # fmt: skip
                    self.case_files = _downloads(t("Case and picture"), "case-files")

    # What happens

    def _events(self) -> None:
        opened = [
            self.picture, self.boxes, self.answer, self.notice, self.waiting, self.verdict,
        ]  # fmt: skip
        in_turn = self._in_their_language
        self.upload.upload(in_turn(self._upload), [self.upload], opened, **_ONE_AT_A_TIME)
        self.upload.clear(in_turn(self._clear), None, opened, **_AT_ONCE)
        self.example.input(
            in_turn(self._pick), [self.example],
            [*opened, self.upload, self.text, self.premise, self.word], **_ONE_AT_A_TIME,
        )  # fmt: skip
        self.text.blur(_word_choices, [self.text], [self.word], **_AT_ONCE)
        self.method.change(
            in_turn(_fields_of), [self.method], [self.layers, self.heads, self.word, self.more],
            **_AT_ONCE,
        )  # fmt: skip
        asked = [
            self.picture, self.text, self.premise, self.model, self.method,
            self.layers, self.heads, self.word, self.more, self.also, self.colours,
        ]  # fmt: skip
        shown = [
            self.notice, self.waiting, self.answer, self.verdict, self.heatmap, self.layer_maps,
            self.layer_sheet, self.word_maps, self.word_sheet, self.figures, self.files,
            self.case_id, self.label, self.case_notice,
        ]  # fmt: skip
        answered = gr.on(
            [self.ask.click, self.text.submit], in_turn(self._ask), asked, shown, **_ONE_AT_A_TIME
        )
        answered.then(None, js=_TO_THE_ANSWER)
        self.save.click(
            in_turn(self._save), [self.answer, self.boxes, self.case_id, self.label],
            [self.case_notice, self.yaml, self.case_files], **_ONE_AT_A_TIME,
        )  # fmt: skip

    def _in_their_language(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """The handler of an event, which speaks the language of the visitor."""

        def handle(request: gr.Request, *given: Any) -> Any:
            asked = request.headers.get("accept-language")
            with spoken(language_of(self._language, asked)):
                return handler(*given)

        return handle

    def _upload(self, path: str | None) -> dict[Any, Any]:
        if path is None:
            return self._clear()
        try:
            return self._open(uploaded(Path(path)))
        except Exception as error:
            return {**self._clear(), self.notice: alert(told(message(error, Path(path))))}

    def _clear(self) -> dict[Any, Any]:
        return {
            self.picture: None, self.boxes: gr.HTML(value=[], picture=_shown(None)),
            self.answer: None, self.notice: "", self.verdict: "",
            self.waiting: waiting(),
        }  # fmt: skip

    def _open(self, picture: Picture, boxes: Sequence[dict[str, Any]] = ()) -> dict[Any, Any]:
        return {
            **self._clear(),
            self.picture: picture,
            self.boxes: gr.HTML(value=list(boxes), picture=_shown(picture)),
        }

    def _pick(self, name: str | None) -> dict[Any, Any]:
        if name not in self._cases:
            return self._clear()
        case = self._cases[name]
        boxes = [
            {
                "name": region,
                "wanted": "avoid" if case.wanted[region] == "lower" else "look",
                "box": list(box),
            }
            for region, parts in case.regions.items()
            for box in parts
        ]
        try:
            opened = self._open(example(case), boxes)
        except Exception as error:
            return {**self._clear(), self.notice: alert(told(message(error)))}
        return {
            **opened,
            self.upload: None, self.text: case.text, self.premise: case.premise or "",
            self.word: gr.Dropdown(choices=words_in(case.text), value=None),
        }  # fmt: skip

    def _ask(
        self, picture: Picture | None, text: str, premise: str, model: str, method: str,
        layers: str, heads: str, word: str | None, more: str, also: list[str], colours: str,
    ) -> dict[Any, Any]:  # fmt: skip
        played = _ANIMATION in also
        alone = played and len(also) == 1  # as on the command line, it then means layers and words
        question = Question(
            picture, text, premise, model, method,
            dict(zip(_FIELDS, (layers, heads, word or ""), strict=True)), more,
            layers=_LAYERS in also or alone, words=_WORDS in also or alone,
        )  # fmt: skip
        try:
            answer = self._desk.ask(question)
            files = answer.found.draw(
                self._new_folder(), answer.picture.path.stem[:60], text,
                colours=colours, scale="", animate=played,
            )  # fmt: skip
        except Exception as error:
            return {
                self.notice: alert(told(message(error, picture))), self.answer: None,
                self.verdict: "", self.waiting: "",
            }  # fmt: skip
        trace = answer.found.trace
        return {
            self.notice: "", self.waiting: "", self.answer: answer.kept(),
            self.verdict: verdict(answer),
            self.heatmap: pictures(answer, files, "heatmap"),
            self.layer_maps: gr.Accordion(visible=_if("layers" in files)),
            self.layer_sheet: pictures(answer, files, "layers", "layers webp"),
            self.word_maps: gr.Accordion(visible=_if("words" in files)),
            self.word_sheet: pictures(answer, files, "words", "words webp"),
            self.figures: figures(answer.found.metrics),
            self.files: [str(path) for path in files.values()],
            self.case_id: suggested_id(text),
            self.label: gr.Dropdown(choices=list(trace.probabilities), value=trace.label),
            self.case_notice: "",
        }  # fmt: skip

    def _save(self, answer: Answer | None, boxes: Any, name: str, label: str) -> dict[Any, Any]:
        try:
            if answer is None:
                raise ValueError("ask first: the limits of a case come from the answer")
            picture = answer.picture
            text = case_yaml(answer, name, label, drawn(boxes, picture.size))
            folder = self._new_folder()
            files = [folder / f"{name}.yaml"]
            write_atomically(files[0], text.encode())
            if picture.uploaded:
                files.append(folder / Path(picture.written).name)
                write_atomically(files[1], picture.path.read_bytes())
        except Exception as error:
            text = message(error, answer.picture if answer else None)
            return {self.case_notice: alert(told(text))}
        return {
            self.case_notice: where_to_put(picture, name),
            self.yaml: text, self.case_files: [str(file) for file in files],
        }  # fmt: skip

    def _new_folder(self) -> Path:
        if len(self._made) >= _MOST_KEPT:
            shutil.rmtree(self._made.popleft(), ignore_errors=True)
        self._made.append(Path(tempfile.mkdtemp(dir=self._folder)))
        return self._made[-1]


def _downloads(label: str, name: str | None = None) -> gr.File:
    return gr.File(label=label, file_count="multiple", interactive=False, elem_id=name)


def _if(wanted: bool) -> Literal[True, "hidden"]:
    return True if wanted else _HIDDEN


def _fields_of(method: str) -> list[Any]:
    taken = METHODS[method].keys
    return [
        gr.Textbox(visible=_if("layers" in taken)),
        gr.Textbox(visible=_if("heads" in taken)),
        gr.Dropdown(visible=_if("word" in taken)),
        gr.Textbox(info=_also(method)),
    ]


def _also(method: str) -> str:
    keys = [*(key for key in METHODS[method].keys if key not in _FIELDS), "temperature", "smooth"]
    return t("As key=value, separated by spaces: {keys}.", keys=", ".join(keys))


def _word_choices(text: str) -> gr.Dropdown:
    return gr.Dropdown(choices=list(dict.fromkeys(words_in(text))))


def _shown(picture: Picture | None) -> dict[str, Any]:
    if picture is None:
        return {"src": "", "width": 0, "height": 0}
    return {"src": picture.preview, "width": picture.size[0], "height": picture.size[1]}
