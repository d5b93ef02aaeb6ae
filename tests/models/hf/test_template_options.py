"""An option of an asking file that the model's chat template does not read is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audit.base.errors import ModelError
from audit.models.hf.templates import options_of
from audit.models.registry import load_model


@pytest.mark.parametrize(
    ("template", "options"),
    [
        ("{{ messages }}{{ eos_token }}{% if add_generation_prompt %}A{% endif %}", set()),
        ("{% set thinking = thinking | default(true) %}", {"thinking"}),
        ("{% if not tools is defined %}{% set tools = none %}{% endif %}{{ add_vision_id }}",
         {"add_vision_id"}),
        ("{% macro say(a) %}{{ a }}{{ deep }}{% endmacro %}{{ say(1) }}", {"deep"}),
        ("{% for m in messages %}{% generation %}{{ m }}{{ x }}{%- endgeneration -%}{% break %}"
         "{% endfor %}", {"x"}),
        ("{% for %}", set()),
    ],
)  # fmt: skip
def test_options_are_what_a_template_reads_and_is_not_given(
    template: str, options: set[str]
) -> None:
    assert options_of(template) == options


def refusal(folder: Path, asking: Path, written: str) -> str:
    asking.write_text(f"answers: {{yes: [Y], no: [N]}}\ntemplate:\n{written}")
    try:
        load_model(f"hf:{folder}", "cpu", asking=str(asking))
    except ModelError as error:
        return str(error)
    return ""


def test_a_misspelt_option_is_told_with_its_line_and_the_nearest(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, asking = folder_of("llava"), tmp_path / "asking.yaml"
    said = "3:3: template.enable_thinkin: unknown option of the model's chat template"
    assert refusal(folder, asking, "  enable_thinkin: false\n") == (
        f"{asking}:{said}; did you mean 'enable_thinking'?"
    )
    assert refusal(folder, asking, "  enable_thinking: true\n") == ""
    assert "template.thoughts" in refusal(folder, asking, "  thoughts: 1\n")


def test_an_option_that_the_template_reads_is_taken(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    folder, asking = tmp_path / "model", tmp_path / "asking.yaml"
    shutil.copytree(folder_of("llava"), folder)
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + "{% if brief %}brief{% endif %}")
    assert refusal(folder, asking, "  brief: true\n") == ""
    assert "did you mean 'brief'?" in refusal(folder, asking, "  breif: true\n")


def test_a_model_without_a_template_has_no_options(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    said = refusal(folder_of("paligemma"), tmp_path / "asking.yaml", "  add_vision_id: true\n")
    assert "template.add_vision_id: unknown option of the model's chat template" in said
