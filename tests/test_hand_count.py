"""The whole chain against a hand count: exact fractions, no planner, no numpy, no qaqfilter code.

Six records, two n-gram models. The likelihoods are multiplied out as fractions from the model's
definition; IFD, RMI, strata, ranks and disagreement follow from them by their formulas.
"""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pyarrow.parquet as pq
import pytest

import qaqfilter

START, VOCABULARY = 256, 256
RECORDS = [
    ("add a and b", "a + b"),
    ("negate x", "-x"),
    ("call f with x and y", "f(x, y)"),
    ("echo me", "echo me"),
    ("first of xs", "xs[0]"),
    ("wrong one", "import os"),
]
RECIPE = """  - {id: ifd, use: ifd, model: strong}
  - {id: nll, use: ifd, model: strong, variant: ifd_nll}
  - {id: rmi, use: rmi, model: strong}
  - {id: rifd, use: rifd, model: strong}
  - {id: rloss, use: rifd, model: strong, variant: rifd_nll}
  - {id: pmi, use: pmi, model: strong}
  - {id: mean, use: pmi, model: strong, per: token}
  - {id: back, use: pmi, model: strong, of: query}
  - {id: coder, use: coder_reviewer, model: strong}
  - {id: means, use: coder_reviewer, model: strong, per: token}
  - {id: ppl, use: perplexity, model: strong, of: query}
  - {id: both, use: perplexity, model: strong, of: both, band: mid}
  - {id: bytes, use: bits_per_byte, model: strong, of: both}
  - {id: gap, use: loss_gap, model: weak, reference: strong}
  - {id: mix, use: combine, of: {ifd.ifd_ppl: 3, rmi.rmi: -1}}
  - {id: low, use: disagreement, strong: strong, weak: weak, bins: 2, arm: diff_low}
  - {id: sum, use: disagreement, strong: strong, weak: weak, bins: 2, arm: sum_high}
  - {id: less, use: disagreement, strong: strong, weak: weak, bins: 2, arm: sum_low}
  - {id: qaq, use: disagreement, strong: strong, weak: weak, bins: 2, keep: {above: 0.0}}"""
MODELS = """  strong: {use: ngram, order: 2, add_k: 0.5, cache: 0.25}
  weak: {use: ngram, order: 1}
"""


def counts(sequences, order):
    """How often each context stood, and each context with what followed."""
    contexts, follows = Counter(), Counter()
    for tokens in sequences:
        padded = [START] * (order - 2) + tokens if order > 1 else tokens
        first = max(order - 1, 1)
        for place in range(first, len(padded)):
            context = tuple(padded[place - order + 1 : place])
            contexts[context] += 1
            follows[context, padded[place]] += 1
    return contexts, follows


def likelihood(text, before, order, k, cache):
    """P(text | before) as a fraction: fitted on all records both ways, mixed with its own past."""
    fit = [
        [START, *one.encode(), 10, *other.encode()]
        for q, a in RECORDS
        for one, other in ((q, a), (a, q))
    ]
    fitted = counts(fit, order)
    tokens = [START, *before.encode(), *text.encode()]
    product = Fraction(1)
    for place in range(len(tokens) - len(text.encode()), len(tokens)):
        past = counts([tokens[:place]], order)
        padded = [START] * max(order - 2, 0) + tokens
        at = place + max(order - 2, 0)
        context = tuple(padded[at - order + 1 : at])
        parts = [
            (follows[context, tokens[place]] + k) / (contexts[context] + k * VOCABULARY)
            for contexts, follows in (fitted, past)
        ]
        product *= (1 - cache) * parts[0] + cache * parts[1]
    return product


def nll(text, before, model):
    """Mean negative log-likelihood: the logarithm of the exact product, over the bytes."""
    product = likelihood(text, before, *model)
    log = math.log(product.numerator) - math.log(product.denominator)
    return -log / len(text.encode())


STRONG = (2, Fraction(1, 2), Fraction(1, 4))
WEAK = (1, Fraction(1), Fraction(1, 2))


def four(model):
    """The four nll of each record."""
    return {
        "query": [nll(q, "", model) for q, _ in RECORDS],
        "answer": [nll(a, "", model) for _, a in RECORDS],
        "answer_given_query": [nll(a, q + "\n", model) for q, a in RECORDS],
        "query_given_answer": [nll(q, a + "\n", model) for q, a in RECORDS],
    }


def two_bins(values):
    """Two equal-count bins; the edge is the fourth smallest of six, and belongs to the upper."""
    edge = sorted(values)[3]
    return [int(value >= edge) for value in values]


def ranks(values, bins):
    """(rank − ½) / n inside each bin, ties sharing the mean rank."""
    found = []
    for value, own in zip(values, bins, strict=True):
        peers = [v for v, b in zip(values, bins, strict=True) if b == own]
        below, same = sum(p < value for p in peers), sum(p == value for p in peers)
        found.append((below + (same + 1) / 2 - 0.5) / len(peers))
    return found


@pytest.fixture
def table(write_recipe):
    recipe = write_recipe(RECIPE, head=MODELS, pairs=RECORDS)
    return pq.read_table(qaqfilter.run(recipe).files["scores"]).to_pydict()


def close(found, expected):
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_the_likelihoods(table):
    for name, model in (("strong", STRONG), ("weak", WEAK)):
        for likelihood_name, values in four(model).items():
            if name == "weak" and likelihood_name == "answer":
                continue
            sums = table[f"{name}.{likelihood_name}.logprob"]
            tokens = table[f"{name}.{likelihood_name}.tokens"]
            side = 0 if likelihood_name.startswith("query") else 1
            assert tokens == [len(record[side].encode()) for record in RECORDS]
            close([-s / t for s, t in zip(sums, tokens, strict=True)], values)


def test_ifd_in_both_variants(table):
    n = four(STRONG)
    both = list(zip(n["answer_given_query"], n["answer"], strict=True))
    close(table["ifd.ifd_ppl"], [math.exp(given - alone) for given, alone in both])
    close(table["nll.ifd_nll"], [given / alone for given, alone in both])


def test_rmi_strata_and_disagreement(table):
    rmi, rank = {}, {}
    for name, model in (("strong", STRONG), ("weak", WEAK)):
        n = four(model)
        rmi[name] = [q - qa for q, qa in zip(n["query"], n["query_given_answer"], strict=True)]
        rank[name] = ranks(rmi[name], two_bins(n["query"]))
    close(table["rmi.rmi"], rmi["strong"])
    close(table["qaq.strong_rank"], rank["strong"])
    close(table["qaq.weak_rank"], rank["weak"])
    diff = [s - w for s, w in zip(rank["strong"], rank["weak"], strict=True)]
    close(table["qaq.diff"], diff)
    assert table["kept"] == [d > 0 for d in diff]
    assert 0 < sum(table["kept"]) < len(RECORDS)
    close(table["low.minus_diff"], [-d for d in diff])
    total = [s + w for s, w in zip(rank["strong"], rank["weak"], strict=True)]
    close(table["sum.sum"], total)
    close(table["less.minus_sum"], [-t for t in total])


def sizes(side):
    return [len(record[side].encode()) for record in RECORDS]


def test_rifd_in_both_variants(table):
    n = four(STRONG)
    both = list(zip(n["query_given_answer"], n["query"], strict=True))
    close(table["rifd.rifd_ppl"], [math.exp(given - alone) for given, alone in both])
    close(table["rloss.rifd_nll"], [given / alone for given, alone in both])


def test_pmi_of_either_side(table):
    n = four(STRONG)
    mean = [alone - g for alone, g in zip(n["answer"], n["answer_given_query"], strict=True)]
    close(table["mean.pmi_per_token"], mean)
    close(table["pmi.pmi"], [m * size for m, size in zip(mean, sizes(1), strict=True)])
    back = [alone - g for alone, g in zip(n["query"], n["query_given_answer"], strict=True)]
    close(table["back.pmi"], [m * size for m, size in zip(back, sizes(0), strict=True)])


def test_coder_reviewer_as_sums_and_as_means(table):
    n = four(STRONG)
    both = list(zip(n["answer_given_query"], n["query_given_answer"], strict=True))
    close(table["means.coder_reviewer_per_token"], [-(coder + rev) for coder, rev in both])
    sums = [
        -(coder * answer + reviewer * query)
        for (coder, reviewer), answer, query in zip(both, sizes(1), sizes(0), strict=True)
    ]
    close(table["coder.coder_reviewer"], sums)


def totals(model):
    """-log P of the query followed by the answer, and the bytes of both."""
    n = four(model)
    queries, answers = sizes(0), sizes(1)
    nats = [
        q * size + a * other
        for q, a, size, other in zip(
            n["query"], n["answer_given_query"], queries, answers, strict=True
        )
    ]
    return nats, [q + a for q, a in zip(queries, answers, strict=True)]


def test_perplexity_and_its_band(table):
    close(table["ppl.perplexity"], [math.exp(n) for n in four(STRONG)["query"]])
    both = [math.exp(nats / size) for nats, size in zip(*totals(STRONG), strict=True)]
    close(table["both.perplexity"], both)
    rank = ranks(both, [0] * len(both))
    close(table["both.mid"], [1 - abs(2 * r - 1) for r in rank])


def test_bits_per_byte(table):
    bits = [nats / math.log(2) / size for nats, size in zip(*totals(STRONG), strict=True)]
    close(table["bytes.bits_per_byte"], bits)
    assert table["bytes.bytes"] == [q + a for q, a in zip(sizes(0), sizes(1), strict=True)]


def test_loss_gap(table):
    weak, strong = four(WEAK)["answer_given_query"], four(STRONG)["answer_given_query"]
    close(table["gap.loss_gap"], [w - s for w, s in zip(weak, strong, strict=True)])


def test_combine(table):
    n = four(STRONG)
    ifd = [g - a for g, a in zip(n["answer_given_query"], n["answer"], strict=True)]
    rmi = [q - g for q, g in zip(n["query"], n["query_given_answer"], strict=True)]
    everyone = [0] * len(RECORDS)
    one, other = ranks(ifd, everyone), ranks(rmi, everyone)
    close(table["mix.combined"], [(3 * i - r) / 4 for i, r in zip(one, other, strict=True)])
