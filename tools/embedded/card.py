"""Measures the finished models and writes their card, so that no number in it is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from tokenizers import Tokenizer

from embedded import measuring
from embedded.corpus import HELD_OUT
from embedded.model import STRONG, WEAK, Llama, Shape
from qaqfilter import equal_count_bins, fractional_ranks
from qaqfilter_docstrings.source import Docstrings, DocstringsOptions

EACH = 100  # pairs of each damage; as many stay whole as are damaged


def load(folder: Path, shape: Shape) -> Llama:
    """The shipped weights, as float32."""
    model = Llama(shape)
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return model


def measure(work: Path, held_out: list[tuple[str, str]]) -> dict[str, Any]:
    """Perplexities on held-out packages; what RMI and disagreement do with damaged stdlib pairs."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    options = DocstringsOptions.model_validate({"limit": 1500})
    stdlib = [(record.query, record.answer) for record in Docstrings(options).read()]
    # Half the context, so that a swapped answer or a query repeated fits as well.
    pairs = measuring.drawn(measuring.fitting(tokenizer, stdlib, STRONG.context // 2), "measured")
    pairs = pairs[: 6 * EACH]
    clean, rest = pairs[: 3 * EACH], pairs[3 * EACH :]
    everything = [
        *clean,
        *measuring.swapped(rest[:EACH]),
        *measuring.echoed(rest[EACH : 2 * EACH]),
        *measuring.cut(rest[2 * EACH :]),
    ]
    found: dict[str, Any] = {"held_out_pairs": len(held_out)}
    ranks: dict[str, measuring.Floats] = {}
    for name, shape in (("strong", STRONG), ("weak", WEAK)):
        model = load(work / "models" / name, shape)
        values = measuring.likelihoods(model, tokenizer, everything)
        ranks[name] = fractional_ranks(values.rmi, equal_count_bins(values.query, 10))
        ifd = np.exp(values.answer_given_query - values.answer)
        found[name] = {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            **measuring.perplexities(model, tokenizer, held_out),
            **{f"rmi_{key}": value for key, value in _aucs(values.rmi).items()},
            **{f"ifd_{key}": value for key, value in _aucs(ifd).items()},
        }
    count = len(everything)
    kept = {
        "disagreement": np.argsort(-(ranks["strong"] - ranks["weak"]), kind="stable")[: count // 4],
        "rmi": np.argsort(-ranks["strong"], kind="stable")[: count // 4],
    }
    both = len(np.intersect1d(kept["disagreement"], kept["rmi"]))
    found["overlap"] = both / (count // 4)
    found["damaged"] = {
        name: {
            damage: int(((rows >= start) & (rows < start + EACH)).sum())
            for damage, start in _STARTS.items()
        }
        for name, rows in kept.items()
    }
    return found


_STARTS = {"swapped": 3 * EACH, "echoed": 4 * EACH, "cut": 5 * EACH}


def _aucs(values: measuring.Floats) -> dict[str, float]:
    """Median of the whole pairs; median of each damage, and its AUC: whole above damaged."""
    clean = values[: 3 * EACH]
    found = {"clean": float(np.median(clean))}
    for damage, start in _STARTS.items():
        damaged = values[start : start + EACH]
        found[damage] = float(np.median(damaged))
        found[f"auc_{damage}"] = measuring.auc(clean, damaged)
    return found


def write(work: Path, path: Path, measured: dict[str, Any]) -> None:
    """MODEL_CARD.md, from data.json, the training logs, and what was measured."""
    data = json.loads((work / "data.json").read_text(encoding="utf-8"))
    logs = {name: _log(work / name / "log.jsonl") for name in ("strong", "weak")}
    kept = {
        name: ", ".join(f"{count} {damage}" for damage, count in counts.items())
        for name, counts in measured["damaged"].items()
    }
    text = _TEXT.format(
        shapes=_shapes(work, measured, logs),
        perplexity=_perplexity(measured),
        damage=_damage(measured),
        packages=_packages(data),
        held_out=" and ".join(
            f"{package} {data['licences'][package][1]}" for package in sorted(HELD_OUT)
        ),
        strong_minutes=_minutes(logs["strong"]),
        weak_minutes=_minutes(logs["weak"]),
        held_out_pairs=measured["held_out_pairs"],
        pairs=sum(data["pairs"].values()),
        tokens=sum(data["tokens"].values()) + sum(data["code_tokens"].values()),
        # A rehearsal may be too short to have watched it even once.
        copied=[float("nan"), *(x["copying"] for x in logs["strong"] if "copying" in x)][-1],
        chance=np.log(STRONG.vocabulary),
        overlap=100 * measured["overlap"],
        kept_rmi=kept["rmi"],
        kept_disagreement=kept["disagreement"],
        kept=6 * EACH // 4,
        all=6 * EACH,
        each=EACH,
        clean=3 * EACH,
    )
    path.write_text(text, encoding="utf-8", newline="\n")


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _shapes(work: Path, measured: dict[str, Any], logs: dict[str, list[dict[str, Any]]]) -> str:
    sizes = [
        (work / "models" / name / "model.safetensors").stat().st_size for name in ("strong", "weak")
    ]
    return _table(
        ("", "`builtin:strong`", "`builtin:weak`"),
        [
            ("parameters", *(f"{measured[n]['parameters']:,}" for n in ("strong", "weak"))),
            ("layers", STRONG.layers, WEAK.layers),
            ("width", STRONG.hidden, WEAK.hidden),
            ("feed-forward width", STRONG.feed_forward, WEAK.feed_forward),
            ("heads", STRONG.heads, WEAK.heads),
            ("bytes of float16 weights", *(f"{size:,}" for size in sizes)),
            ("tokens read in training", *(f"{lines[-1]['tokens']:,}" for lines in logs.values())),
        ],
    )


def _perplexity(measured: dict[str, Any]) -> str:
    strong, weak = measured["strong"], measured["weak"]
    return _table(
        ("likelihood", "perplexity, strong", "weak", "bits per byte, strong", "weak"),
        [
            (
                f"`{key}`",
                *(f"{model[f'ppl_{key}']:.1f}" for model in (strong, weak)),
                *(f"{model[f'bits_per_byte_{key}']:.3f}" for model in (strong, weak)),
            )
            for key in ("query", "query_given_answer", "answer", "answer_given_query")
        ],
    )


def _damage(measured: dict[str, Any]) -> str:
    models = (measured["strong"], measured["weak"])
    rows: list[tuple[object, ...]] = []
    for key, label in (
        ("swapped", "answer of another record: RMI low"),
        ("echoed", "answer that repeats its query: RMI high"),
        ("cut", "answer cut to a fifth: RMI low"),
    ):
        areas = [model[f"rmi_auc_{key}"] for model in models]  # whole above damaged
        if key == "echoed":
            areas = [1 - area for area in areas]
        medians = [model[f"rmi_{key}"] for model in models]
        rows.append((label, *(f"{a:.3f}" for a in areas), *(f"{m:.2f}" for m in medians)))
    rows.append(("none", "", "", *(f"{model['rmi_clean']:.2f}" for model in models)))
    return _table(("damage", "AUC, strong", "weak", "median RMI, strong", "weak"), rows)


def _packages(data: dict[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    for package, (name, version, licence) in sorted(data["licences"].items()):
        if package not in HELD_OUT:
            label = package if package == name else f"{package} ({name})"
            tokens = data["tokens"].get(package, 0) + data["code_tokens"].get(package, 0)
            pairs = data["pairs"].get(package, 0)
            rows.append((label, version, licence, f"{pairs:,}", f"{tokens:,}"))
    return _table(("package", "version", "licence", "pairs", "tokens"), rows)


def _log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _minutes(lines: list[dict[str, Any]]) -> float:
    """Of all phases; each counts its own seconds."""
    last = {line["phase"]: line["seconds"] for line in lines}
    return float(sum(last.values())) / 60


_TEXT = """\
# Model card: `builtin:strong` and `builtin:weak`

Two tiny language models that come with qaqfilter, so that its method can be tried, tested and
checked without a download. Written by `tools/train_embedded_models.py`, and so is this page.

## What they are for, and what not

For the quickstart, for tests, and for `qaqfilter doctor --selftest`, which compares backends on
them. The pair shows what RMI, IFD and disagreement do, on Python functions and their docstrings.

Not for filtering data that you mean to train on: they know little Python, less English and nothing
else. Not for generating text or code. They are base models without a chat template.

## Shape

Llama architecture (RMSNorm, rotary positions with base 10,000, SwiGLU, no biases, tied embeddings),
byte-level BPE of 4,096 tokens, 1,024 tokens of context; most sequences in training were below 650.

{shapes}

## Data

{pairs:,} pairs of a docstring and its function, and stretches of plain code: {tokens:,} tokens out
of the source code of the packages below, as installed. Test folders and vendored copies are left
out. So is every pair of which either side also stands, letter for letter, in the standard library
or in the held-out packages, {held_out}. Tests, the quickstart and calibration use
the standard library: none of its files was read for training, and nothing of HumanEval. Licences
are as the packages' metadata states them; their text is not shipped. Training stopped before it had
read all of this once.

{packages}

## Training

AdamW for the embedding and the norms, Muon for the other matrices, bfloat16 on two CPU cores,
{strong_minutes:.0f} and {weak_minutes:.0f} minutes (strong and weak) on a machine with other work.
Seeded; the length of each phase goes by the clock, so another machine makes other weights.

1. Repeated random spans, and words that come again shuffled and spelt otherwise, with the loss on
   what is repeated only. The strong model's first two layers start near an induction circuit.
2. Pairs as the plain prompt lays them out, seven in ten with the answer first and the loss mostly
   on the docstring; the first paragraph alone in six of ten. Among them some plain code, and some
   copying of random spans and of stretches of text, in random places.

In-context copying at the end: {copied:.2f} nats a token on random spans that come again, where a
model that cannot copy has {chance:.2f}.

## Measured

On {held_out_pairs} pairs of packages that were held out as a whole: perplexity per token, and bits
per byte of UTF-8.

{perplexity}

On pairs of the standard library of up to 512 tokens, {clean} as they are against {each} of each
damage, all made of different pairs: AUC of RMI in the direction stated (0.5 is chance), and median
RMI in nats per token.

{damage}

Of these {all} records, `rmi` (strong, ranked in 10 bins of nll(Q)) and `disagreement` (strong and
weak) each keep the upper quarter, {kept} records: {overlap:.0f} % of them are the same.

- Damaged among those of `rmi`: {kept_rmi}.
- Damaged among those of `disagreement`: {kept_disagreement}.

The top of RMI is where echoes are: cut it off with `keep: {{rank: [lo, hi]}}`.

## Licence

Apache-2.0, as qaqfilter.
"""
