"""Explains a model's answer about one picture and one sentence: label, figures and heatmaps."""

from audit.explaining.asking import check_layers, explain, explain_maps
from audit.explaining.explanation import Explanation
from audit.explaining.mapped import ExplainedMap, NoMap, check_folder

__all__ = [
    "ExplainedMap",
    "Explanation",
    "NoMap",
    "check_folder",
    "check_layers",
    "explain",
    "explain_maps",
]
