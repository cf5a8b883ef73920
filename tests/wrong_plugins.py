"""Plugins with one fault each, under their contracts: run by test_contracts_bite.py, and no other.

`put` makes a test class of a wrong plugin; `breaks` is the one rule that has to fail. The plugins
without a fault, from which they are made, have to pass.
"""

from __future__ import annotations

import pickle
import random
from contextlib import nullcontext, suppress
from dataclasses import replace
from html import escape
from itertools import count
from pathlib import Path

import numpy as np
import orjson
import pytest
from pydantic import BaseModel, Field

from qaqfilter import (
    BackendError,
    BadRecord,
    Component,
    Decisions,
    Divisible,
    Need,
    Needs,
    Options,
    Origin,
    Paper,
    PromptError,
    PromptRefused,
    Record,
    Request,
    Segment,
    SourceError,
)
from qaqfilter.testing import (
    BackendContract,
    DamageContract,
    ExecutorContract,
    HereResources,
    PageContract,
    PromptContract,
    SelectorContract,
    SinkContract,
    SourceContract,
    VerbatimSinkContract,
    tiny_records,
)
from qaqfilter.testing.executors import Numbered
from qaqfilter_ngram import NgramOptions
from qaqfilter_ngram.backend import NgramBackend

_numbers = count()


def fixture(value):
    return pytest.fixture(scope="class")(classmethod(lambda cls, value=value: value))


def put(contract, breaks, **fixtures):
    """A test class of these fixtures, by a name that says what it breaks."""
    name = f"Test{contract.__name__}{next(_numbers)}"
    made = {key: fixture(value) for key, value in fixtures.items()}
    globals()[name] = type(name, (contract,), {"breaks": breaks, "__module__": __name__, **made})


def named(create, config=Options, name="wrong", summary="has a fault", needs=None):
    return Component(name, config, create, summary, needs)


# --- components -------------------------------------------------------------------------


class Words:
    """A selector without a fault, that measures."""

    columns = ("words",)

    def __init__(self, config):
        pass

    def measure(self, record):
        return {"words": len(record.answer.split())}


class Lax(BaseModel):
    """Takes any key."""


class Bare(Options):
    """An option without a description."""

    depth: int = 3


def selector(breaks, made, **more):
    put(SelectorContract, breaks, component=named(made), **more)


selector(None, Words)
for wrong in (
    {"name": "two words"},
    {"summary": ""},
):
    put(
        SelectorContract,
        "test_it_is_a_component_with_a_name_and_a_summary",
        component=named(Words, **wrong),
    )
put(SelectorContract, "test_options_refuse_unknown_keys", component=named(Words, Lax))
put(SelectorContract, "test_every_option_is_described", component=named(Words, Bare))
missing = Needs("nowhere", ("no_such_module_at_all",))
put(SelectorContract, "test_its_needs_can_be_checked", component=named(Words, needs=missing))
put(SelectorContract, "test_its_needs_can_be_checked", component=named(Words, needs="torch"))


# --- selectors --------------------------------------------------------------------------


class Gain:
    """A selector without a fault, that asks a model."""

    columns = ("gain", "twice")
    needs = (Need("m", "answer"), Need("m", "answer_given_query"))

    def __init__(self, config):
        pass

    def score(self, table):
        gain = table.nll(*self.needs[0]) - table.nll(*self.needs[1])
        return self.spoilt(table, {"gain": gain, "twice": gain * 2})

    def spoilt(self, table, found):
        return found


selector(None, Gain)


class Idle:
    columns = ("x",)

    def __init__(self, config):
        pass


class Twice(Words):
    columns = ("words", "words")


class Taken(Words):
    columns = ("group",)

    def measure(self, record):
        return {"group": 1.0}


for wrong in (Idle, Twice, Taken):
    selector("test_it_has_columns_and_gives_them", wrong)


class Forgets(Words):
    def measure(self, record):
        return {"word": 1.0}


class Says(Words):
    def measure(self, record):
        return {"words": "many" if len(record.answer) > 100 else 1.0}


class Chokes(Words):
    def measure(self, record):
        return {"words": 1 / len(record.answer.split())}


class Unlabelled(Words):
    labels = ("language",)


for wrong in (Forgets, Says, Unlabelled):
    selector("test_measure_gives_what_is_declared", wrong)
selector(("test_measure_gives_what_is_declared", "test_measure_remembers_nothing"), Chokes)


class Counts(Words):
    seen = 0

    def measure(self, record):
        self.seen += 1
        return {"words": self.seen}


class Draws(Words):
    def measure(self, record):
        return {"words": random.random()}


for wrong in (Counts, Draws):
    selector("test_measure_remembers_nothing", wrong)


class Swapped(Gain):
    def spoilt(self, table, found):
        return dict(reversed(found.items()))


class Extra(Gain):
    def spoilt(self, table, found):
        return found | {"more": found["gain"]}


for wrong in (Swapped, Extra):
    selector("test_score_gives_the_declared_columns_in_order", wrong)


class Counted:
    """Whole numbers."""

    columns = ("tokens",)
    needs = ()

    def __init__(self, config):
        pass

    def score(self, table):
        return {"tokens": np.ones(len(table), dtype=np.int64)}


class Narrow(Gain):
    def spoilt(self, table, found):
        return {name: values.astype(np.float32) for name, values in found.items()}


class Column(Gain):
    def spoilt(self, table, found):
        return {name: list(values) for name, values in found.items()}


for wrong in (Narrow, Column, Counted):
    selector("test_columns_are_float64_with_one_value_a_row", wrong)


class Long(Gain):
    def spoilt(self, table, found):
        return found if table.records == len(table) else {n: v[1:] for n, v in found.items()}


selector("test_records_with_several_rows_get_a_value_a_row_or_a_record", Long)


class Fewer(Gain):
    """Rows without a likelihood are left out."""

    def spoilt(self, table, found):
        there = table.likelihood(*self.needs[0]).status == 0
        return {name: values[there] for name, values in found.items()}


LENGTHS = (
    "test_columns_are_float64_with_one_value_a_row",
    "test_records_with_several_rows_get_a_value_a_row_or_a_record",
    "test_order_changes_nothing",
    "test_undefined_is_nan",
)
selector(LENGTHS, Fewer)


class Adds(Gain):
    def spoilt(self, table, found):
        table.columns["mine"] = found["gain"]
        return found


class Renumbers(Gain):
    def spoilt(self, table, found):
        table.rows[:] = table.rows[::-1].copy()
        return found


for wrong in (Adds, Renumbers):
    selector("test_score_leaves_the_table_alone", wrong)


class Zeros(Gain):
    def spoilt(self, table, found):
        return {name: np.nan_to_num(values) for name, values in found.items()}


class Nothing(Gain):
    def spoilt(self, table, found):
        return {name: values * np.nan for name, values in found.items()}


for wrong in (Zeros, Nothing):
    selector("test_undefined_is_nan", wrong)


class Drifts(Gain):
    calls = 0

    def spoilt(self, table, found):
        self.calls += 1
        return {name: values + (self.calls > 1) for name, values in found.items()}


selector(("test_score_remembers_nothing", "test_order_changes_nothing"), Drifts)
made = count()


class Differs(Gain):
    """Another number from every object."""

    def __init__(self, config):
        self.number = next(made)

    def spoilt(self, table, found):
        return {name: values + self.number for name, values in found.items()}


selector("test_score_remembers_nothing", Differs)


class Places(Gain):
    def spoilt(self, table, found):
        return {name: values + np.arange(len(table)) for name, values in found.items()}


selector("test_order_changes_nothing", Places)
selector(None, Places, order_matters=True)


class Picks(Gain):
    def decide(self, table):
        kept = table.column("gain") > 0
        nothing = np.full(len(table), np.nan)
        return self.decided(
            Decisions(
                kept, np.where(kept, 0, 1).astype(np.int16), ("kept", "low"), nothing, nothing
            )
        )

    def decided(self, decisions):
        return decisions


class PicksShort(Picks):
    def decided(self, decisions):
        return replace(decisions, kept=decisions.kept[1:])


class PicksWithoutReason(Picks):
    def decided(self, decisions):
        return replace(decisions, reason=decisions.reason * 0)


class PicksUnknown(Picks):
    def decided(self, decisions):
        return replace(decisions, reason=decisions.reason * 7)


class PicksMask(Picks):
    def decided(self, decisions):
        return decisions.kept


selector(None, Picks)
for wrong in (PicksShort, PicksWithoutReason, PicksUnknown, PicksMask):
    selector("test_decisions_fit_the_table", wrong)


class CitesText(Words):
    papers = ("arXiv 2603.12165",)


class CitesNowhere(Words):
    papers = (Paper("QAQ", "2603.12165"),)


for wrong in (CitesText, CitesNowhere):
    selector("test_papers_can_be_cited", wrong)


# --- sources ----------------------------------------------------------------------------


class At(Options):
    """Which of the made-up inputs is read."""

    input: str = Field("good", description="good, bad or missing.")


class Rows:
    """A source without a fault: two parts of two rows."""

    def __init__(self, config):
        self.input = config.input

    def read(self):
        if self.input == "missing":
            raise SourceError("nowhere: no such input")
        return self.items()

    def items(self):
        for part in ("one", "two"):
            for ordinal in range(2):
                origin = Origin(part, ordinal)
                if self.input == "bad" and (part, ordinal) == ("one", 1):
                    yield self.bad(BadRecord("is no row", b"%", origin))
                    continue
                fields = {"query": f"{part} {ordinal}", "answer": "yes"}
                row = orjson.dumps(fields)
                yield self.spoilt(Record(f"{part}-{ordinal}", *fields.values(), row, origin))

    def spoilt(self, record):
        return replace(record, fields=orjson.loads(record.row))

    def bad(self, record):
        return record


ROWS = [
    orjson.dumps({"query": f"{p} {n}", "answer": "yes"}) for p in ("one", "two") for n in (0, 1)
]


def source(breaks, made):
    put(
        SourceContract,
        breaks,
        component=named(made, At),
        bad_options={"input": "bad"},
        missing_options={"input": "missing"},
        expected_rows=ROWS,
    )


source(None, Rows)


class Parts(Rows):
    def read_part(self, part):
        return (item for item in self.read() if item.origin.part == part)


source(None, Parts)


class PartsFromOne(Parts):
    """Ordinals count from the beginning of the part, also when it is read alone: these do not."""

    def read_part(self, part):
        for item in super().read_part(part):
            yield replace(item, origin=Origin(part, item.origin.ordinal + 1))


source("test_a_part_alone_is_as_it_is_among_others", PartsFromOne)


class Lists(Rows):
    def read(self):
        return list(super().read())


source(("test_it_streams_records_and_bad_records", "test_a_read_may_be_left_early"), Lists)


class Few(Rows):
    """What is bad in the good input."""

    def items(self):
        yield from super().items()
        yield BadRecord("odd", b"", Origin("two", 2))


source("test_it_streams_records_and_bad_records", Few)


class Flips(Rows):
    """The other way round at the second read."""

    reads = 0

    def items(self):
        self.reads += 1
        found = list(super().items())
        parts = found[2:] + found[:2] if self.reads == 2 else found
        yield from parts


source(("test_every_read_gives_the_same", "test_a_read_may_be_left_early"), Flips)
sources = count()


class Stamps(Rows):
    """Another id from every object."""

    def __init__(self, config):
        super().__init__(config)
        self.number = next(sources)

    def spoilt(self, record):
        return replace(super().spoilt(record), id=f"{record.id}-{self.number}")


source("test_every_read_gives_the_same", Stamps)


class GoesOn(Rows):
    """A read that was left is gone on with."""

    going = None

    def items(self):
        if self.going is None:
            self.going = super().items()
        yield from self.going
        self.going = None


source("test_a_read_may_be_left_early", GoesOn)


class Mixes(Rows):
    def items(self):
        found = list(super().items())
        yield from (found[0], found[2], found[1], found[3])


class FromOne(Rows):
    def items(self):
        for one in super().items():
            yield replace(one, origin=Origin(one.origin.part, one.origin.ordinal + 1))


source(("test_parts_stand_together_and_ordinals_rise", "test_rows_are_the_original"), Mixes)
source("test_parts_stand_together_and_ordinals_rise", FromOne)


class Nameless(Rows):
    def spoilt(self, record):
        return replace(super().spoilt(record), id="")


source("test_records_have_ids", Nameless)


class TabRows(Rows):
    def spoilt(self, record):
        return replace(super().spoilt(record), row=b"query\tanswer")


source(("test_rows_are_json_lines", "test_rows_are_the_original"), TabRows)


class Rewrites(Rows):
    def spoilt(self, record):
        return replace(super().spoilt(record), row=record.row.replace(b":", b": "))


source("test_rows_are_the_original", Rewrites)


class NoFields(Rows):
    def spoilt(self, record):
        return record


class NoText(Rows):
    def spoilt(self, record):
        return replace(super().spoilt(record), answer=None)


for wrong in (NoFields, NoText):
    source("test_texts_and_fields_are_whole", wrong)


class Stumbles(Rows):
    def bad(self, record):
        raise ValueError("line 2 is no row")


class Wordless(Rows):
    def bad(self, record):
        return replace(record, error=" ")


class Skips(Rows):
    def items(self):
        yield from (one for one in super().items() if isinstance(one, Record))


class GivesUp(Rows):
    def items(self):
        for one in super().items():
            yield one
            if isinstance(one, BadRecord):
                return


for wrong in (Stumbles, Wordless, Skips, GivesUp):
    source("test_a_bad_row_is_a_bad_record", wrong)


class OpensAtOnce(Rows):
    def __init__(self, config):
        super().__init__(config)
        if self.input == "missing":
            raise SourceError("nowhere")


source("test_making_it_reads_nothing", OpensAtOnce)


class LetsPass(Rows):
    def read(self):
        if self.input == "missing":
            raise FileNotFoundError("nowhere")
        return super().read()


class SaysNothing(Rows):
    def read(self):
        return iter(()) if self.input == "missing" else super().read()


for wrong in (LetsPass, SaysNothing):
    source("test_missing_input_is_a_source_error", wrong)


# --- sinks ------------------------------------------------------------------------------


class Lines:
    """A sink without a fault."""

    kept_name, rejected_name = "kept.jsonl", "rejected.jsonl"

    def __init__(self, config, folder):
        self.folder = Path(folder)
        self.kept, self.rejected = [], []

    def keep(self, record):
        self.kept.append(record.row)

    def reject(self, record, rejection):
        self.rejected.append(record.row)

    def annotate(self, field, names):
        self.field = field

    def keep_with(self, record, numbers):
        self.kept.append(orjson.dumps({**record.fields, self.field: numbers}) + b"\n")

    def close(self):
        (self.folder / self.kept_name).write_bytes(b"".join(self.kept))
        if self.rejected:
            (self.folder / self.rejected_name).write_bytes(b"".join(self.rejected))


def sink(breaks, made, contract=SinkContract, **more):
    put(contract, breaks, component=named(made), **more)


sink(None, Lines, VerbatimSinkContract)


class OtherNames(Lines):
    rejected_name = "dropped.jsonl"


class TakesManifest(Lines):
    def close(self):
        super().close()
        (self.folder / "manifest.json").write_bytes(b"{}")


sink(("test_files_are_called_kept_and_rejected", "test_rejected_records_are_written"), OtherNames)
sink("test_files_are_called_kept_and_rejected", TakesManifest)


class Strays(Lines):
    def close(self):
        super().close()
        Path("log.txt").write_text("done")


class Climbs(Lines):
    def close(self):
        super().close()
        (self.folder.parent / "index.txt").write_text("done")


for wrong in (Strays, Climbs):
    sink("test_it_writes_in_its_folder_alone", wrong)


class Reverses(Lines):
    def close(self):
        self.kept.sort(key=lambda row: row[::-1])
        super().close()


class Dedups(Lines):
    def keep(self, record):
        if all(record.answer.encode() not in row for row in self.kept):
            super().keep(record)


class AllTogether(Lines):
    def reject(self, record, rejection):
        super().reject(record, rejection)
        self.keep(record)


ORDER = "test_kept_records_are_there_in_order"
sink(ORDER, Dedups)
sink(ORDER, AllTogether)
sink((ORDER, "test_numbers_stand_beside_their_record"), Reverses)


class KeepsOnly(Lines):
    def reject(self, record, rejection):
        pass


class NeedsNumbers(Lines):
    def reject(self, record, rejection):
        self.rejected.append(b"%f" % rejection.value)


sink("test_rejected_records_are_written", KeepsOnly)
sink(
    (
        "test_rejected_records_are_written",
        *("test_files_are_called_kept_and_rejected", "test_it_writes_in_its_folder_alone"),
    ),
    NeedsNumbers,
)


class Heads(Lines):
    def close(self):
        super().close()
        (self.folder / self.rejected_name).write_bytes(b"".join(self.rejected) or b"[]")


sink("test_there_may_be_no_rejects", Heads)


class NeedsOne(Lines):
    def close(self):
        if self.kept or self.rejected:
            super().close()
        else:
            raise IndexError("no rows")


class Pads(Lines):
    def close(self):
        self.kept = self.kept or [] if self.rejected else self.kept or [b"{}\n"]
        super().close()


for wrong in (NeedsOne, Pads):
    sink("test_nothing_may_be_kept", wrong)


class Leaks(Lines):
    def close(self):
        super().close()
        LEFT_OPEN.append((self.folder / self.kept_name).open("rb"))


LEFT_OPEN = []
sink("test_close_closes_its_files", Leaks)


class OffByOne(Lines):
    before = None

    def keep_with(self, record, numbers):
        super().keep_with(record, self.before or numbers)
        self.before = numbers


sink("test_numbers_stand_beside_their_record", OffByOne)


def made_unsaid(config, folder):
    """Nobody can see from outside that what it returns can annotate."""
    return Lines(config, folder)


sink("test_numbers_stand_beside_their_record", made_unsaid)


class Tidies(Lines):
    def keep(self, record):
        self.kept.append(orjson.dumps(dict(sorted(record.fields.items()))) + b"\n")


sink("test_kept_rows_leave_byte_for_byte", Tidies, VerbatimSinkContract)


# --- prompts ----------------------------------------------------------------------------

ARROW = Segment(" => ", markup=True)


class Sides:
    """A prompt format without a fault."""

    def __init__(self, config, backend, resources):
        pass

    def request(self, likelihood, record):
        query, answer = Segment(record.query), Segment(record.answer)
        before = tuple(Segment(turn.text) for turn in record.history)
        known = {
            "query": Request(before, query),
            "answer": Request(before, answer),
            "answer_given_query": Request((*before, query, ARROW), answer),
            "query_given_answer": Request((*before, answer, ARROW), query),
        }
        if likelihood not in known:
            raise PromptError(f"no likelihood {likelihood!r}")
        return self.spoilt(likelihood, record, known[likelihood])

    def spoilt(self, likelihood, record, request):
        return request


def prompt(breaks, made, **more):
    put(PromptContract, breaks, component=named(made), **more)


prompt(None, Sides)


class Texts(Sides):
    def spoilt(self, likelihood, record, request):
        return request.target.text if record.query.startswith("Print") else request


class Lazy(Sides):
    def request(self, likelihood, record):
        if likelihood not in ("query", "answer"):
            raise KeyError(likelihood)
        return super().request(likelihood, record)


prompt(
    (
        "test_known_likelihoods_are_requests",
        "test_the_target_is_the_side_that_is_asked_for",
        "test_the_other_side_is_given",
        "test_a_request_is_a_function_of_its_record",
    ),
    Texts,
)
prompt("test_unknown_likelihoods_are_a_prompt_error", Lazy, known=("query", "answer"))


class Guesses(Sides):
    def request(self, likelihood, record):
        known = likelihood.startswith(("query", "answer"))
        return super().request(likelihood if known else "answer", record)


prompt("test_unknown_likelihoods_are_a_prompt_error", Guesses)
TARGET = "test_the_target_is_the_side_that_is_asked_for"


class Shortens(Sides):
    def spoilt(self, likelihood, record, request):
        return replace(request, target=Segment(request.target.text[:50]))


class Crosses(Sides):
    def spoilt(self, likelihood, record, request):
        wrong = record.answer if likelihood.startswith("query") else record.query
        return replace(request, target=Segment(wrong))


for wrong in (Shortens, Crosses):
    prompt(TARGET, wrong)


class Leaky(Sides):
    """What is scored alone has the other side in front."""

    def spoilt(self, likelihood, record, request):
        alone = {"query": record.answer, "answer": record.query}
        if likelihood not in alone:
            return request
        return replace(request, context=(*request.context, Segment(alone[likelihood])))


class Quotes(Sides):
    def spoilt(self, likelihood, record, request):
        texts = [replace(s, text=s.text if s.markup else f'"{s.text}"') for s in request.context]
        return request if record.history else replace(request, context=tuple(texts))


for wrong in (Leaky, Quotes):
    prompt("test_the_other_side_is_given", wrong)


class MarksTarget(Sides):
    def spoilt(self, likelihood, record, request):
        return replace(request, target=replace(request.target, markup=True))


class MarksId(Sides):
    def spoilt(self, likelihood, record, request):
        return replace(request, context=(Segment(record.id, markup=True), *request.context))


for wrong in (MarksTarget, MarksId):
    prompt("test_data_are_never_markup", wrong)


class Numbers(Sides):
    asked = 0

    def spoilt(self, likelihood, record, request):
        self.asked += 1
        return replace(request, context=(Segment(f"({self.asked})"), *request.context))


prompt("test_a_request_is_a_function_of_its_record", Numbers)


class LastTurn(Sides):
    def spoilt(self, likelihood, record, request):
        return replace(request, context=request.context[1 if record.history else 0 :])


class Refuses(Sides):
    def spoilt(self, likelihood, record, request):
        if record.history:
            raise PromptRefused("no turns")
        return request


class Fails(Sides):
    def spoilt(self, likelihood, record, request):
        if record.history:
            raise PromptError("no turns")
        return request


prompt(None, Refuses)
for wrong in (LastTurn, Fails):
    prompt("test_conversations_are_shown_whole_or_refused", wrong)


# --- executors --------------------------------------------------------------------------


class Straight:
    """An executor without a fault."""

    def __init__(self, config):
        pass

    def score(self, stage, windows):
        with stage.open() as score:
            yield from score(windows)


def executor(breaks, made):
    put(ExecutorContract, breaks, component=named(made))


executor(None, Straight)


class Elsewhere(Straight):
    """Right: what can be divided is scored by a stage that was pickled."""

    def score(self, stage, windows):
        if not isinstance(windows, Divisible):
            yield from super().score(stage, windows)
            return
        shared, ranges, _ = windows.divided()
        for one in ranges:
            for answer in Straight.score(
                self, pickle.loads(pickle.dumps(stage)), shared.windows(one)
            ):
                stage.progress(len(answer.rows), 0)
                yield answer


executor(None, Elsewhere)


class LosesARange(Elsewhere):
    def score(self, stage, windows):
        for answer in super().score(stage, windows):
            if not (isinstance(windows, Divisible) and answer.rows[0] >= 24):
                yield answer


def _silent(records, tokens):
    pass


class SaysNothing(Elsewhere):
    def score(self, stage, windows):
        far = isinstance(windows, Divisible)
        yield from super().score(replace(stage, progress=_silent) if far else stage, windows)


class SwallowsElsewhere(Elsewhere):
    def score(self, stage, windows):
        with suppress(BackendError) if isinstance(windows, Divisible) else nullcontext():
            yield from super().score(stage, windows)


class AnswersNothing(Elsewhere):
    """One window at least, whatever there is."""

    def score(self, stage, windows):
        if isinstance(windows, Divisible) and not windows.divided().windows:
            windows = Numbered(1)
        yield from super().score(stage, windows)


DIVIDED, AFAR = "test_divisible_windows_are_answered_once", "test_a_failure_elsewhere_is_passed_on"
executor(DIVIDED, LosesARange)
executor("test_progress_is_told_wherever_the_work_is", SaysNothing)
executor(AFAR, SwallowsElsewhere)
executor("test_no_divisible_windows_no_answers", AnswersNothing)


class Repeats(Straight):
    def score(self, stage, windows):
        for n, answer in enumerate(super().score(stage, windows)):
            yield answer
            if n == 7:
                yield answer


class Halves(Straight):
    """Windows of another size than planned, for small batches."""

    def score(self, stage, windows):
        for answer in super().score(stage, windows):
            rows = answer.rows if answer.rows[0] < 20 else answer.rows[1:]
            yield replace(answer, rows=rows)


for wrong in (Repeats, Halves):
    executor(("test_every_window_is_answered_once", DIVIDED), wrong)


class Sums(Straight):
    def score(self, stage, windows):
        for answer in super().score(stage, windows):
            column = answer.columns["answer"]
            columns = {"answer": replace(column, logprob=np.round(column.logprob / 10))}
            yield replace(answer, columns=columns)


class NoFacts(Straight):
    def score(self, stage, windows):
        for answer in super().score(stage, windows):
            yield replace(answer, facts={})


for wrong in (Sums, NoFacts):
    executor(("test_scores_are_handed_on_whole", DIVIDED), wrong)


class NeverLeaves(Straight):
    def score(self, stage, windows):
        yield from stage.open().__enter__()(windows)


class LeavesWell(Straight):
    """Frees the model where all goes well, and no other time."""

    def score(self, stage, windows):
        opened = stage.open()
        yield from opened.__enter__()(windows)
        opened.__exit__(None, None, None)


class LeavesLate(Straight):
    """Frees it in any case but that of a run that ends early."""

    def score(self, stage, windows):
        opened = stage.open()
        try:
            yield from opened.__enter__()(windows)
        except GeneratorExit:
            raise
        except BaseException:
            opened.__exit__(None, None, None)
            raise
        opened.__exit__(None, None, None)


class LeavesOnFailure(Straight):
    def score(self, stage, windows):
        opened = stage.open()
        try:
            yield from opened.__enter__()(windows)
        except BaseException:
            opened.__exit__(None, None, None)
            raise


FREED = ("test_the_model_is_freed_after_a_failure", "test_the_model_is_freed_when_nobody_asks_on")
executor(("test_the_model_is_freed_at_the_end", *FREED), NeverLeaves)
executor(FREED, LeavesWell)
executor(FREED[1], LeavesLate)
executor("test_the_model_is_freed_at_the_end", LeavesOnFailure)


class Hushes(Straight):
    def score(self, stage, windows):
        try:
            yield from super().score(stage, windows)
        except Exception:  # noqa: BLE001 - the fault that is shown
            return


class Rewords(Straight):
    def score(self, stage, windows):
        try:
            yield from super().score(stage, windows)
        except Exception as error:
            raise RuntimeError("a worker died") from error


executor(("test_a_failure_is_passed_on", AFAR), Hushes)
executor(("test_a_failure_is_passed_on", FREED[0], AFAR), Rewords)


class Collects(Straight):
    def score(self, stage, windows):
        yield from super().score(stage, list(windows))


executor("test_windows_are_read_as_it_goes", Collects)


class NeedsWindow(Straight):
    def score(self, stage, windows):
        coming = iter(windows)
        first = next(coming, None)
        if first is None:
            raise ValueError("nothing to do")
        with stage.open() as score:
            yield from score([first])
            yield from score(coming)


executor(("test_no_windows_no_answers", "test_no_divisible_windows_no_answers"), NeedsWindow)


# --- damages ----------------------------------------------------------------------------


class Shouts:
    """A damage without a fault."""

    def __init__(self, config):
        pass

    def damage(self, record, others, rng):
        return (record.query, record.answer.upper() + "!") if record.answer.strip() else None


def damage(breaks, made):
    put(DamageContract, breaks, component=named(made))


damage(None, Shouts)


class Gentle(Shouts):
    def damage(self, record, others, rng):
        return record.query, record.answer


class Whole(Shouts):
    def damage(self, record, others, rng):
        return replace(record, answer="")


class Answers(Shouts):
    def damage(self, record, others, rng):
        return record.query, None


damage("test_something_is_spoilt", Gentle)
for wrong in (Whole, Answers):
    damage("test_a_copy_is_two_texts_or_none", wrong)


class Tires(Shouts):
    done = 0

    def damage(self, record, others, rng):
        self.done += 1
        return record.query, f"{self.done}"


class Global(Shouts):
    def damage(self, record, others, rng):
        np.random.random()
        return record.query, "no"


class Reseeds(Shouts):
    def damage(self, record, others, rng):
        random.seed(7)
        return record.query, f"{random.random()}"


damage("test_the_same_seed_gives_the_same_copy", Tires)
for wrong in (Global, Reseeds):
    damage("test_all_chance_comes_from_rng", wrong)


class Marks(Shouts):
    def damage(self, record, others, rng):
        record.fields["spoilt"] = True
        return record.query, "no"


damage("test_records_stay_as_they_were", Marks)


class Borrows(Shouts):
    def damage(self, record, others, rng):
        return record.query, others[0].answer + "?"


damage("test_there_may_be_no_others", Borrows)


# --- pages ------------------------------------------------------------------------------


class Shown:
    """A page without a fault."""

    def __init__(self, config):
        pass

    def wanted(self, run):
        return range(13, 15)

    def html(self, run, records):
        shown = "".join(f"<pre>{self.said(one.answer)}</pre>" for one in records.values())
        return f"<!doctype html><title>Shown</title>{shown}".encode()

    def said(self, text):
        return escape(text)


def page(breaks, made):
    put(PageContract, breaks, component=named(made))


page(None, Shown)


class Beyond(Shown):
    def wanted(self, run):
        return [0, -1]


class Fractions(Shown):
    def wanted(self, run):
        return [0.5]


for wrong in (Beyond, Fractions):
    page("test_wanted_are_rows_of_the_run", wrong)


class Bald(Shown):
    def html(self, run, records):
        return b"<p>"


page("test_html_is_a_page_in_bytes", Bald)


class Raw(Shown):
    def said(self, text):
        return text


class InScript(Shown):
    """JSON is no HTML: what ends a script ends it in a string as well."""

    def said(self, text):
        return f"<script>let text = {orjson.dumps(text).decode()}</script>"


class InAttribute(Shown):
    def said(self, text):
        return f'<p title="{text}"></p>'


for wrong in (Raw, InScript, InAttribute):
    page("test_text_of_records_stays_text", wrong)


class Fetches(Shown):
    def said(self, text):
        return '<script src="https://example.org/charts.js"></script>'


page("test_it_fetches_nothing", Fetches)


class NeedsKept(Shown):
    def html(self, run, records):
        assert run.report.kept
        return super().html(run, records)


page("test_a_run_may_have_kept_nothing", NeedsKept)


# --- backends ---------------------------------------------------------------------------


class Ngram(NgramBackend):
    """A backend without a fault."""

    def __init__(self, order=2):
        super().__init__(NgramOptions(order=order), HereResources())

    def logprobs(self, sequences):
        return self.spoilt(sequences, super().logprobs(sequences))

    def spoilt(self, sequences, found):
        return found


def backend(breaks, made):
    put(BackendContract, breaks, backend=made(), other_backends=[made(order=3)])


backend(None, Ngram)


class Short(Ngram):
    def spoilt(self, sequences, found):
        return [tuple(array[1:] for array in arrays) for arrays in found]


class Single(Ngram):
    def spoilt(self, sequences, found):
        return [tuple(array.astype(np.float32) for array in arrays) for arrays in found]


class Positive(Ngram):
    def spoilt(self, sequences, found):
        return [tuple(-array for array in arrays) for arrays in found]


class ByPlace(Ngram):
    """A token's number depends on the span's beginning."""

    def spoilt(self, sequences, found):
        return [
            tuple(array - span[0] / 1e3 for array, span in zip(arrays, one.spans, strict=True))
            for arrays, one in zip(found, sequences, strict=True)
        ]


class Backwards(Ngram):
    def spoilt(self, sequences, found):
        return list(reversed(found))


class Loses(Ngram):
    def spoilt(self, sequences, found):
        return found[:1]


class Neighbours(Ngram):
    def spoilt(self, sequences, found):
        return [tuple(array - len(sequences) / 1e3 for array in arrays) for arrays in found]


class Deaf(Ngram):
    def spoilt(self, sequences, found):
        return [tuple(np.full(b - a, -1.0) for a, b in one.spans) for one in sequences]


class Cuts(Ngram):
    def logprobs(self, sequences):
        if any(len(one.ids) > self.max_length for one in sequences):
            return [tuple(np.zeros(b - a) for a, b in one.spans) for one in sequences]
        return super().logprobs(sequences)


class NeedsSome(Ngram):
    def logprobs(self, sequences):
        sequences[0]
        return super().logprobs(sequences)


class Fills(Ngram):
    """Something stands for nothing."""

    def encode(self, text, *, markup):
        return super().encode(text, markup=markup) or [self.start_token]


class Moody(Ngram):
    def spoilt(self, sequences, found):
        self.facts = {**self.facts, "calls": self.facts.get("calls", 0) + 1}
        return found


class Astray(Ngram):
    def places(self, text):
        return [(0, 1) for _ in super().encode(text, markup=False)]


class Batches(Ngram):
    def encode_batch(self, texts, *, markup):
        return [self.encode(text.strip(), markup=markup) for text in texts]


class Silent(Ngram):
    """Its options are left out of its facts."""

    facts = property(lambda self: {"backend": "silent"}, lambda self, value: None)


class Elsewhere(NgramBackend):
    """Has seen another text than those that the contract tries; without a fault."""

    def __init__(self, fitted):
        records = [replace(record, query="", answer=fitted) for record in tiny_records()]
        super().__init__(NgramOptions(cache=0), HereResources(records))


NEIGHBOURS = "test_neighbours_and_order_change_nothing"
SPANS = "test_one_array_a_span_as_long_as_the_span"
SHORT = ("test_spans_that_overlap_agree", "test_the_context_is_used", NEIGHBOURS)
backend((SPANS, *SHORT), Short)
backend(SPANS, Single)
backend("test_log_probabilities_are_finite_and_not_positive", Positive)
backend("test_spans_that_overlap_agree", ByPlace)
for wrong in (Backwards, Loses, Neighbours):
    backend(NEIGHBOURS, wrong)
put(BackendContract, "test_the_context_is_used", backend=Deaf(), other_backends=())
backend("test_too_long_raises", Cuts)
backend("test_no_sequences_no_answers", NeedsSome)
backend("test_encoding_is_a_function_of_the_text", Fills)
backend("test_facts_make_a_fingerprint", Moody)
backend("test_places_are_those_of_the_tokens", Astray)
backend("test_a_batch_of_texts_is_encoded_as_each_alone", Batches)
FACTS = "test_other_numbers_have_other_facts"
backend(FACTS, Silent)
put(BackendContract, FACTS, backend=Ngram())
put(BackendContract, FACTS, backend=Ngram(), other_backends=[Ngram()])
put(BackendContract, None, backend=Ngram(), other_backends=())
elsewhere = {"backend": Elsewhere("ubub"), "other_backends": [Elsewhere("obob")]}
put(BackendContract, "test_the_context_is_used", **elsewhere)
put(BackendContract, None, contexts=("u", "o", "b"), **elsewhere)
