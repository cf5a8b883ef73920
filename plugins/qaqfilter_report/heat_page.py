"""A heatmap as pages show it: each token with its colour and its numbers."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from qaqfilter_report.account_words import full
from qaqfilter_report.code import seen
from qaqfilter_report.heat import beginning, left_out, level, signed, strength, sums
from qaqfilter_report.heatmap import Cell, Heatmap, Side

_LEVELS = {2: "up2", 1: "up1", 0: "", -1: "down1", -2: "down2"}
_FAINTEST, _STRONGEST = 0.1, 0.7
"""How much of a colour lies over the page's own: letters stay legible, light or dark."""
_SIGNS = {"\t": "→\t", "\n": "⏎\n"}


def shown_heatmap(one: Heatmap, *, whole: bool) -> dict[str, Any]:
    """What the macro `heat` takes. Without `whole` a long text is not shown to its end."""
    sides = []
    for number, exchange in enumerate(one.exchanges, start=1):
        several = f", exchange {number} of {len(one.exchanges)}" * (len(one.exchanges) > 1)
        for name, side in exchange.sides():
            sides.append(_side(f"{name}{several}", name, side, whole=whole))
    return {"view": one.view, "sides": sides}


def _side(title: str, name: str, side: Side, *, whole: bool) -> dict[str, Any]:
    cells = beginning(side, whole=whole)
    return {
        "title": title,
        "sums": sums(name, side),
        "cells": [_cell(cell) for cell in cells],
        "left_out": left_out(side, cells),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    share = strength(cell.gain)
    colour = None if share is None else _FAINTEST + (_STRONGEST - _FAINTEST) * share
    return {
        "text": _token(cell.text),
        "alpha": None if colour is None else f"{colour:.2f}",
        "level": f"{'up' if (cell.gain or 0) > 0 else 'down'} {_LEVELS[level(cell.gain)]}".strip(),
        "gain": "–" if cell.gain is None else signed(cell.gain),
        "alone": full(cell.alone),
        "given": full(cell.given),
    }


def _token(text: str) -> Markup:
    """Its text, with signs for what cannot be seen; those of line ends break the line too."""
    if not text:
        return Markup('<span class="unseen">∅</span>')
    blank = not text.strip(" \t\n")
    made = Markup("")
    for letter in text:
        if letter in _SIGNS or (blank and letter == " "):
            sign = _SIGNS.get(letter, "·")
            made += Markup('<span class="sign">{}</span>{}').format(sign[0], sign[1:])
        else:
            made += seen(letter)
    return made
