"""The look of the page: the gallery's colours, and only fonts of the visitor's machine."""

from __future__ import annotations

import gradio as gr

_SANS = (
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
)
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Gradio's plain theme in the gallery's colours, light and dark."""
    ink, soft, line, ground, card = "#1c2024", "#60646c", "#dcdfe4", "#fcfcfd", "#ffffff"
    dark = {"ink": "#eceef0", "soft": "#a5abb3", "line": "#33373d", "ground": "#131517"}
    accent = "#1e6b3a"
    # Plain names, since gradio's own fonts are fetched from its package or from Google.
    made = gr.themes.Base(
        font=[gr.themes.Font(name) for name in _SANS],
        font_mono=[gr.themes.Font(name) for name in _MONO],
        radius_size="md",
        text_size="md",
    )
    return made.set(
        body_background_fill=ground,
        body_background_fill_dark=dark["ground"],
        body_text_color=ink,
        body_text_color_dark=dark["ink"],
        body_text_color_subdued=soft,
        body_text_color_subdued_dark=dark["soft"],
        background_fill_primary=card,
        background_fill_primary_dark="#1b1e21",
        background_fill_secondary=ground,
        background_fill_secondary_dark=dark["ground"],
        border_color_primary=line,
        border_color_primary_dark=dark["line"],
        block_background_fill=card,
        block_background_fill_dark="#1b1e21",
        block_border_color=line,
        block_border_color_dark=dark["line"],
        block_label_text_color=soft,
        block_label_text_color_dark=dark["soft"],
        block_title_text_color=ink,
        block_title_text_color_dark=dark["ink"],
        block_info_text_color=soft,
        block_info_text_color_dark=dark["soft"],
        input_background_fill=card,
        input_background_fill_dark="#131517",
        input_border_color=line,
        input_border_color_dark=dark["line"],
        input_placeholder_color="#7a7f88",
        input_placeholder_color_dark="#8b919a",
        input_border_width="1px",
        input_border_width_dark="1px",
        color_accent=accent,
        slider_color=accent,
        button_primary_background_fill=accent,
        button_primary_background_fill_dark=accent,
        button_primary_background_fill_hover="#17552e",
        button_primary_background_fill_hover_dark="#26834a",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
    )
