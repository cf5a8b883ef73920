"""lm-evaluation-harness as a contender: its Hugging Face model, given our token ids.

`_loglikelihood_tokens` is what all of its multiple-choice tasks come down to. It sorts, batches
and pads by itself. The model object and the tokenizer are those of the other contenders.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.contender import Contender, full_logits
from benchmarks.models import Loaded
from benchmarks.workload import Sums, Workload


def lm_eval(loaded: Loaded) -> Callable[[int], Contender]:
    """Batch size -> contender."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of models given as objects
    library: Any = import_module("lm_eval.models.huggingface")

    def with_batches_of(rows: int) -> Contender:
        model = library.HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=rows)

        def score(workload: Workload) -> Sums:
            asked = [
                (("", ""), list(request.ids[: request.start]), list(request.ids[request.start :]))
                for row in workload.requests.values()
                for request in row
            ]
            answered = model._loglikelihood_tokens(asked, disable_tqdm=True)
            values = np.array([logprob for logprob, _ in answered])
            parts = np.split(values, len(workload.likelihoods))
            return dict(zip(workload.likelihoods, parts, strict=True))

        # Logits, their log-softmax, and the log-softmax of the batch before, not freed yet.
        memory = full_logits(loaded.model, rows=rows, copies=3)
        return Contender(f"lm-eval, batch {rows}", score, memory)

    return with_batches_of
