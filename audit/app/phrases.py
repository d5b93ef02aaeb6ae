"""What the tool says to a visitor of the page, so that it can be told in another language.

The same sentences are told on the command line, in English; see :mod:`audit.cases.phrases`.
"""

from __future__ import annotations

from collections.abc import Sequence

PHRASES: Sequence[str] = (
    # What the page itself refuses
    "there is no picture yet: upload one or pick an example",
    "{WHAT} has {number} characters, more than {all}",
    "{source}: not offered here; choose from {sources}",
    "something went wrong; the log of audit serve says what",
    "the boxes cannot be read: a list of at most {number} is needed",
    "box {number} cannot be read",
    "box {number} has no name: say what it shows",
    "of the boxes named {name} the model must look at some and must not look at others; "
    "use two names",
    "the region {name} lies outside of what the model sees",
    "ask first: the limits of a case come from the answer",
    "occlusion with window={window} stride={stride} asks the model about {needed} pictures "
    "of {rows} x {cols} cells, more than the {most} that this page allows; {OTHER}",
    "occlusion with window={window} stride={stride} asks the model about {needed} pictures "
    "of {rows} x {cols} cells, more than the {most} that this page allows",
    "{window} fits",
    # Maps, written as on the command line
    "{text} is not a map: {PROBLEM}",
    "No closing quotation",
    "{method} is not a method; {HINT}",
    "{pair} is not key=value of a map; {HINT}",
    "{text} is not a choice of layers: all, last, last:N, or a list of numbers",
    "Input should be {choices} or {last}",
    "layer {number} was asked for, but the model has {all}",
    "layers: {layers} was asked for, but the model has {number}",
    "the model gives no {method}, which the map {map} is made of; {HINT}",
    "it has no maps of its own",
    "the model sees no {word} in the hypothesis; {HINT}",
    # Maps and figures that have no value
    "the model's attention is not finite",
    # The embedded models
    "the model {model} knows only drawn scenes, and this picture is not one of them: what "
    "it says about it means nothing",
)
