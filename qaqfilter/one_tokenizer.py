"""Whether two models cut text into the same tokens: asked of a text that differs where they do.

The ids alone are compared, not the sizes of the vocabularies: a GGUF file may pad its own. Where
two tokenizers agree on the text and differ elsewhere, selectors find other counts of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from qaqfilter.errors import UsageError
from qaqfilter.protocols import Backend
from qaqfilter.recipe import Step
from qaqfilter.selectors import OneTokenizer

PROBE = """\
def mean(values: list[float], *, start=0.0) -> float:
    \"\"\"Arithmetic mean; raises ValueError("empty") on [].\"\"\"
\tif not values:  # tabs, 12345.678e-9, 0xDEADBEEF
        raise ValueError('empty')
    return (start + sum(values)) / len(values)

SELECT COUNT(*) FROM "orders" WHERE total >= 1_000 AND name LIKE '%Ångström%';
The quick brown fox doesn't jump over the lazy dog's   kennel\r\n<div class="a-b">&nbsp;</div>
naïve Straße façade Ωμέγα Привет 漢字かな 한국어 العربية हिन्दी 🦀👩‍💻 ∑∀∈ℝ → x²
for (int i = 0; i < n; ++i) { printf("%d\\n", a[i] << 2); } // internationalization
"""
"""Code, prose, numbers, white space and scripts: what tokenizers disagree about."""


def tokenizer_digest(backend: Backend) -> str:
    """blake2b-128, in hex, of the ids of `PROBE`: equal for one tokenizer, through any backend."""
    ids = backend.encode(PROBE, markup=False)
    return blake2b(repr(list(ids)).encode(), digest_size=16).hexdigest()


def check_one_tokenizer(steps: Iterable[Step], found: Mapping[str, str]) -> None:
    """Raise UsageError for a step whose models have several tokenizers.

    `found` has a digest for each view whose model was opened, or was of an earlier run; others,
    and those that are empty, are not looked at.
    """
    for step in steps:
        if not isinstance(step.selector, OneTokenizer):
            continue
        models = list(step.selector.one_tokenizer)
        digests = [found.get(step.view(model)) for model in models]
        if len({digest for digest in digests if digest}) > 1:
            raise UsageError(
                f"step {step.id!r}: {step.block.component.name!r} needs models of one tokenizer, "
                f"and {' and '.join(map(repr, models))} cut text into other tokens: take models "
                "of one family, or compare their ranks with `use: disagreement`"
            )
