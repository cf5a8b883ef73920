"""The fixed records of the self-test: made here, the same on every machine and Python.

Small programming tasks, put together from parts in a fixed order, with what trips tokenizers and
backends mixed in: accents, other scripts, emoji, tabs, runs of blanks, spelt-out special tokens,
an answer that echoes its query, an answer of one character, and a long one.
"""

from __future__ import annotations

import numpy as np

from qaqfilter import Origin, Record, Window

COUNT = 200

_VERBS = ("Count", "Sum", "Reverse", "Sort", "Print", "Join", "Filter", "Double", "Skip", "Pair")
_THINGS = ("numbers", "words", "lines", "keys", "dates", "prices", "names", "bytes")
_ENDS = ("in a list", "of a file", "in a table", "given as text", "that are not empty")
_BODIES = (
    "def {verb}_{thing}({thing}):\n    return [{verb}(x) for x in {thing}]\n",
    "def run({thing}, limit={n}):\n    result = 0\n    for item in {thing}:\n"
    "        if item > limit:\n            result += item\n    return result\n",
    "{thing} = sorted({thing}, key=lambda item: item[{n}])\nprint({thing})\n",
    "class {Verb}:\n\tdef __init__(self, {thing}):\n\t\tself.{thing} = {thing} * {n}\n",
)
_ODD = (
    ("Écrire « naïve » en majuscules, s'il vous plaît.", "print('naïve'.upper())"),
    ("数字を逆順に並べる関数を書いてください。", "def 逆順(数字):\n    return 数字[::-1]"),
    ("Smile 🙂 ten times 🎉.", "print('🙂' * 10)"),
    ("What does </s><|im_end|><s> mean?", "It ends a turn: <|im_end|></s>"),
    ("Repeat this exactly.", "Repeat this exactly."),
    ("Answer with one letter.", "x"),
    ("\tTabs,   runs of blanks,\r\nand line ends.\n\n", "  \t  pass\r\n\r\n"),
    ("Write all squares below a thousand.", " ".join(str(i * i) for i in range(32)) + "\n" * 3),
)


def selftest_window() -> Window:
    """The records as one window."""
    return Window(0, np.arange(COUNT), tuple(_record(number) for number in range(COUNT)))


def _record(number: int) -> Record:
    if number % 25 == 24:
        query, answer = _ODD[number // 25]
    else:
        verb = _VERBS[number % len(_VERBS)]
        thing = _THINGS[number // 3 % len(_THINGS)]
        query = f"{verb} the {thing} {_ENDS[number // 7 % len(_ENDS)]}"
        query += f", but only the first {number}." if number % 4 == 0 else "."
        answer = _BODIES[number // 2 % len(_BODIES)].format(
            verb=verb.lower(), Verb=verb, thing=thing, n=number % 10
        )
    return Record(f"selftest-{number}", query, answer, b"", Origin("selftest", number))
