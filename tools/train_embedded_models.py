"""Train `builtin:strong` and `builtin:weak`: about an hour on two cores, seeded, resumable.

    python tools/train_embedded_models.py --work build/embedded --ship plugins/qaqfilter_embedded

Run it again with the same folder to go on after a kill. Steps: read installed packages' source,
train the tokenizer, train each model in two phases (copying first, then docstring/function pairs),
write Hugging Face folders of float16 weights to WORK/models, and measure them.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import shutil
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.multiprocessing.spawn import spawn

sys.path.insert(0, str(Path(__file__).parent))

from embedded import card, corpus, export, measuring
from embedded.model import STRONG, WEAK, Llama, Shape, new_model
from embedded.sequences import (
    Example,
    Ids,
    Mixture,
    Tokenised,
    Words,
    batches,
    copying,
    shuffled_words,
    word_families,
)
from embedded.training import Phase, Trainer, skipping

SEED = 3
PHASES = {
    "strong": (
        Phase("copying", 4, 3e-3, 2048, decays=False, until=0.8),
        Phase("pairs", 37, 3e-3, 4096, decays=True),
    ),
    "weak": (
        Phase("copying", 0.5, 4e-3, 2048, decays=False),
        Phase("pairs", 4, 4e-3, 4096, decays=True),
    ),
}


def read(work: Path) -> corpus.Corpus:
    kept = work / "corpus.pickle"
    if not kept.exists():
        found = corpus.read_corpus(SEED)
        kept.write_bytes(pickle.dumps(found))
    result: corpus.Corpus = pickle.loads(kept.read_bytes())  # our own file
    return result


def train_tokenizer(work: Path, texts: corpus.Corpus) -> Tokenizer:
    """Byte-level BPE of 4,096 tokens; docstrings and code weigh about the same."""
    path = work / "tokenizer.json"
    if not path.exists():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=STRONG.vocabulary,
            special_tokens=["<|begin|>", "<|end|>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )

        def lines() -> Iterator[str]:
            for pair in texts.pairs:
                yield pair.query[:1500]
                yield pair.answer[:1500]

        tokenizer.train_from_iterator(lines(), trainer)
        tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


def tokenise(tokenizer: Tokenizer, texts: corpus.Corpus) -> tuple[list[Tokenised], list[Ids]]:
    """Pairs and plain code in ids."""

    def ids(strings: list[str]) -> list[Ids]:
        # Piece by piece: the library's encodings take a hundred times the room of the ids.
        pieces = (strings[start : start + 500] for start in range(0, len(strings), 500))
        return [
            array("H", found.ids)
            for piece in pieces
            for found in tokenizer.encode_batch_fast(piece)
        ]

    queries = ids([pair.query[:3000] for pair in texts.pairs])
    summaries = ids([pair.query.split("\n\n")[0][:3000] for pair in texts.pairs])
    answers = ids([pair.answer[:6000] for pair in texts.pairs])
    pairs = [Tokenised(*found) for found in zip(queries, summaries, answers, strict=True)]
    return pairs, ids([pair.answer for pair in texts.code])


def train(
    name: str,
    shape: Shape,
    *,
    work: Path,
    tokenizer: Tokenizer,
    data: tuple[list[Tokenised], list[Ids]],
    held_out: list[tuple[str, str]],
    scale: float,
) -> Llama:
    """One model, its phases run by every process alike."""
    families, words = word_families(tokenizer)
    newline = tokenizer.encode("\n").ids
    model = new_model(shape, torch.from_numpy(families), SEED)
    print(name, sum(p.numel() for p in model.parameters()), "parameters", flush=True)

    def first(draw: random.Random) -> Iterator[list[Example]]:
        return batches(repetition(draw, words, newline[0], shape), PHASES[name][0].tokens, draw)

    def second(draw: random.Random) -> Iterator[list[Example]]:
        mixture = Mixture(
            pairs=data[0],
            code=data[1],
            words=words,
            newline=newline,
            vocabulary=shape.vocabulary,
            seed=SEED,
        )
        endless = (example for epoch in range(1000) for example in mixture.examples(epoch))
        return batches(endless, PHASES[name][1].tokens, draw)

    probe = [copying(random.Random(n), shape.vocabulary, 160) for n in range(32)]
    few = measuring.drawn(held_out, "watched")[:240]

    def watch(model: Llama) -> dict[str, float]:
        copied = float(measuring.mean_losses(model, probe).mean())
        return {"copying": copied, **measuring.damage_aucs(model, tokenizer, few, 40)}

    trainer = Trainer(model, work / name, watch)
    streams = (skipping(first, f"{SEED}:first"), skipping(second, f"{SEED}:second"))
    phases = [replace(phase, minutes=phase.minutes * scale) for phase in PHASES[name]]
    trainer.run(list(zip(phases, streams, strict=True)))
    return model


def repetition(draw: random.Random, words: Words, newline: int, shape: Shape) -> Iterator[Example]:
    while True:
        if draw.random() < 0.6:
            yield copying(draw, shape.vocabulary, draw.randint(24, 160))
        else:
            yield shuffled_words(draw, words, newline)


def work_on(rank: int, workers: int, work: Path, only: str | None, scale: float) -> None:
    """What each of the processes does."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{(work / 'meeting').resolve()}", rank=rank, world_size=workers
    )
    texts = read(work)
    tokenizer = train_tokenizer(work, texts)
    data = tokenise(tokenizer, texts)
    held_out = measuring.fitting(
        tokenizer, [(pair.query, pair.answer) for pair in texts.held_out], STRONG.context
    )
    for name, shape in (("strong", STRONG), ("weak", WEAK)):
        if only in (None, name):
            model = train(
                name,
                shape,
                work=work,
                tokenizer=tokenizer,
                data=data,
                held_out=held_out,
                scale=scale,
            )
            if rank == 0:
                export.write_folder(model, tokenizer, work / "models" / name)
                found = measuring.perplexities(model, tokenizer, held_out)
                print(name, json.dumps(found), flush=True)
    dist.barrier()


def ship(work: Path, target: Path) -> None:
    """Copy both folders to `target`, and write the card beside them."""
    texts = read(work)
    held_out = measuring.fitting(
        train_tokenizer(work, texts),
        [(pair.query, pair.answer) for pair in texts.held_out],
        STRONG.context,
    )
    measured = card.measure(work, held_out)
    (work / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    for name in PHASES:
        shutil.copytree(work / "models" / name, target / name, dirs_exist_ok=True)
    card.write(work, target / "MODEL_CARD.md", measured)


def describe(work: Path) -> None:
    """Write data.json: pairs, tokens, version and licence by package."""
    texts = read(work)
    data, code = tokenise(train_tokenizer(work, texts), texts)
    tokens: Counter[str] = Counter()
    for pair, found in zip(texts.pairs, data, strict=True):
        tokens[pair.package] += len(found.query) + len(found.answer)
    plain: Counter[str] = Counter()
    for pair, ids in zip(texts.code, code, strict=True):
        plain[pair.package] += len(ids)
    facts = {
        "pairs": Counter(pair.package for pair in texts.pairs),
        "tokens": tokens,
        "code_tokens": plain,
        "licences": corpus.licences(),
    }
    (work / "data.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--only", choices=sorted(PHASES), help="train one of the two")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the minutes, for a rehearsal"
    )
    parser.add_argument("--ship", type=Path, help="then measure, and copy models and card there")
    options = parser.parse_args()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    describe(work)
    (work / "meeting").unlink(missing_ok=True)
    arguments = (options.workers, work, options.only, options.scale)
    spawn(work_on, args=arguments, nprocs=options.workers)  # type: ignore[no-untyped-call]
    if options.ship is not None:
        ship(work, options.ship)


if __name__ == "__main__":
    main()
