"""What published scripts do: run the whole model, keep every logit, look the targets up.

`loop` takes one request at a time, which never pads and is how the scripts of most papers are
written; `padded` takes requests in batches, which needs gigabytes where the vocabulary is large.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.contender import Contender, full_logits
from benchmarks.models import Loaded
from benchmarks.workload import Sums, Workload


def loop(loaded: Loaded) -> Contender:
    """Each likelihood of each record in a pass of its own."""

    @torch.inference_mode()
    def score(workload: Workload) -> Sums:
        sums = {}
        for name, requests in workload.requests.items():
            values = []
            for request in requests:
                ids = torch.tensor([request.ids])
                logits = loaded.model(input_ids=ids, use_cache=False).logits
                logprobs = torch.log_softmax(logits[:, :-1], dim=-1)
                picked = logprobs.gather(2, ids[:, 1:, None])[0, request.start - 1 :, 0]
                values.append(float(picked.double().sum()))
                del logits, logprobs
            sums[name] = np.array(values)
        return sums

    return Contender("loop", score, full_logits(loaded.model, rows=1, copies=2))


def padded(loaded: Loaded, rows: int = 16) -> Contender:
    """`rows` requests at a time, longest first, padded on the right."""

    @torch.inference_mode()
    def score(workload: Workload) -> Sums:
        flat = [
            (name, n, request)
            for name, row in workload.requests.items()
            for n, request in enumerate(row)
        ]
        flat.sort(key=lambda item: -len(item[2].ids))
        sums = {name: np.zeros(len(workload.records)) for name in workload.likelihoods}
        for first in range(0, len(flat), rows):
            batch = flat[first : first + rows]
            ids = torch.zeros((len(batch), len(batch[0][2].ids)), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, (_, _, request) in enumerate(batch):
                ids[row, : len(request.ids)] = torch.tensor(request.ids)
                mask[row, : len(request.ids)] = 1
            logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            logprobs = torch.log_softmax(logits, dim=-1)
            picked = logprobs[:, :-1].gather(2, ids[:, 1:, None])[:, :, 0].double()
            for row, (name, n, request) in enumerate(batch):
                sums[name][n] = float(picked[row, request.start - 1 : len(request.ids) - 1].sum())
            del logits, logprobs
        return sums

    return Contender(f"padded {rows}", score, full_logits(loaded.model, rows=rows, copies=2))
