"""One model over windows of records: load it, ask for likelihoods, hand back columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import PicklingError

import numpy as np

from qaqfilter.ahead import one_ahead
from qaqfilter.answering import Answerer, Progress, Tokens
from qaqfilter.blame import Culprit
from qaqfilter.blocks import Block
from qaqfilter.digests import VerifiedResources
from qaqfilter.execution import WindowScores
from qaqfilter.hanging import Watch
from qaqfilter.nulls import not_finite
from qaqfilter.one_tokenizer import tokenizer_digest
from qaqfilter.opening import Opened, opened
from qaqfilter.options import LOCATION, fields_marked
from qaqfilter.preparing import Prepared, Preparer
from qaqfilter.protocols import Backend, PromptFormat, Resources
from qaqfilter.recipe_keys import TooLong
from qaqfilter.store import ScoreStore, open_store
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import Ints, LikelihoodColumn, Record, Status, Window
from qaqfilter.units import pooled


@dataclass(slots=True)
class ScoringStage:
    """One model, one prompt, and the likelihoods that are wanted of every record.

    `tokens` are those of them that are wanted token by token too. `remake` gives a function and
    its arguments that make the stage in another process.
    """

    model: str
    backend: Block
    prompt: Block
    likelihoods: tuple[str, ...]
    resources: Resources
    too_long: TooLong = "reject"
    store: Path | None = None
    progress: Progress = lambda records, tokens: None
    sha256: str | Mapping[str, str] | None = None
    window_seconds: float | None = None
    tokens: frozenset[str] = frozenset()
    remake: Callable[[], tuple[Callable[..., ScoringStage], tuple[object, ...]]] | None = None

    def __reduce__(self) -> tuple[Callable[..., ScoringStage], tuple[object, ...]]:
        """A stage travels as what it is made of, and is made anew where it arrives."""
        if self.remake is None:
            raise PicklingError(f"the stage of {self.culprit} belongs to no run that can travel")
        return self.remake()

    @property
    def culprit(self) -> Culprit:
        """The model as messages name it."""
        # A step's own view of a model is called <step>@<model>.
        return Culprit(
            self.model.rpartition("@")[2],
            self.backend.component.name,
            self.location or "",
            self.backend.plugin.distribution,
        )

    def opened(self) -> AbstractContextManager[Opened]:
        """Backend and prompt, made; weights that load late are not loaded."""
        return opened(self.culprit, self.backend, self.prompt, self.resources, self._verified())

    @contextmanager
    def open(self) -> Iterator[Callable[[Iterable[Window]], Iterator[WindowScores]]]:
        """Load the model; free it on leaving, whatever happened."""
        with self.opened() as model, self.scorer(model) as scorer:
            yield scorer

    @contextmanager
    def scorer(self, model: Opened) -> Iterator[Scorer]:
        """What scores with a model that `opened` has opened; the store is closed on leaving."""
        with open_store(self.store, model.facts) as store:
            yield Scorer(
                self.culprit,
                model.backend,
                model.prompt,
                self.likelihoods,
                too_long=self.too_long,
                store=store,
                progress=self.progress,
                window_seconds=self.window_seconds,
                tokens=self.tokens,
            )

    @property
    def location(self) -> str | None:
        """Where the weights come from: the option `model`, else the first that is a location."""
        names = fields_marked(self.backend.component.config, LOCATION)
        if not names:
            return None
        found: str | None = getattr(self.backend.options, "model" if "model" in names else names[0])
        return found

    def _verified(self) -> Resources:
        """For the backend alone: a prompt may borrow its template from another model."""
        if self.sha256 is None or self.location is None:
            return self.resources
        return VerifiedResources(self.resources, self.location, self.sha256)


class Scorer:
    """Scores windows with an open backend; the next is read and tokenised meanwhile."""

    def __init__(
        self,
        model: Culprit | str,
        backend: Backend,
        prompt: PromptFormat,
        likelihoods: Sequence[str],
        *,
        too_long: TooLong = "reject",
        store: ScoreStore | None = None,
        progress: Progress = lambda records, tokens: None,
        window_seconds: float | None = None,
        tokens: Collection[str] = (),
    ) -> None:
        self._model = Culprit(model) if isinstance(model, str) else model
        self._backend = backend
        self._likelihoods = tuple(likelihoods)
        self._detailed = np.array([name in tokens for name in likelihoods], dtype=np.bool_)
        self._prepare = Preparer(backend, prompt, likelihoods, too_long)
        # Two, since the next window is tokenised while the model works on this one.
        self._watch = Watch(self._model, window_seconds)
        self._watch_ahead = Watch(self._model, window_seconds)
        self._tokenizer = ""
        self._answers = Answerer(self._model, backend, self._watch, store, progress)

    def __call__(self, windows: Iterable[Window]) -> Iterator[WindowScores]:
        """Yield one WindowScores a window, in order."""
        with (
            closing(self._watch),
            closing(self._watch_ahead),
            closing(one_ahead(map(self._prepared, windows))) as coming,
        ):
            for prepared in coming:
                self._watch.begin(prepared.window)
                yield self._score(prepared)

    def _prepared(self, window: Window) -> Prepared:
        self._watch_ahead.begin(window)
        with self._model.blamed("preparing its texts"):
            if not self._tokenizer:
                self._tokenizer = self._watch_ahead.call(tokenizer_digest, self._backend)
            return self._watch_ahead.call(self._prepare, window)

    def _score(self, prepared: Prepared) -> WindowScores:
        window, owner = prepared.window, prepared.owner
        # Which exchange and which likelihood each request of the plan belongs to.
        exchange, likelihood = np.nonzero(prepared.status == Status.OK)
        detailed = self._detailed[likelihood] if self._detailed.any() else None
        answers, found, cost = self._answers(
            prepared.plan, owner[exchange], len(window.records), detailed
        )
        columns = {}
        for number, name in enumerate(self._likelihoods):
            column = LikelihoodColumn.empty(len(owner))
            column.status[:] = prepared.status[:, number]
            column.put(exchange[likelihood == number], answers.take(likelihood == number))
            columns[name] = column
        nulls = not_finite([c.status for c in columns.values()], owner, window.records)
        counts = _exchanges_by_unit(window.records)
        if len(counts) != len(owner):
            columns = {name: pooled(column, counts) for name, column in columns.items()}
        with self._model.blamed("giving its facts"):
            batch_tokens, facts = self._backend.batch_tokens, self._backend.facts
        return WindowScores(
            window.rows,
            columns,
            np.bincount(owner, prepared.cut, len(window.records)).astype(np.int64),
            cost,
            batch_tokens,
            facts,
            nulls,
            prepared.refused,
            {} if found is None else self._tokens(found, exchange, likelihood, columns, counts),
            self._tokenizer,
        )

    def _tokens(
        self,
        found: Tokens,
        exchange: Ints,
        likelihood: Ints,
        columns: Mapping[str, LikelihoodColumn],
        counts: Ints,
    ) -> dict[str, TokenLogprobs]:
        """By likelihood, for each unit the tokens of its exchanges, as many as its column says."""
        nothing = np.empty(0, dtype=np.float32)
        ends = np.cumsum(counts)
        tokens = {}
        for number in np.flatnonzero(self._detailed).tolist():
            name = self._likelihoods[number]
            arrays = [nothing] * int(counts.sum())
            for request in np.flatnonzero(likelihood == number).tolist():
                one = found[request]
                arrays[exchange[request]] = nothing if one is None else one
            defined = (columns[name].status == Status.OK).tolist()
            tokens[name] = TokenLogprobs.of(
                [
                    np.concatenate(arrays[first:end]) if there else nothing
                    for first, end, there in zip(ends - counts, ends, defined, strict=True)
                ]
            )
        return tokens


def _exchanges_by_unit(records: Sequence[Record]) -> Ints:
    """How many exchanges each unit has: all of a record that is pooled, else one."""
    counts: list[int] = []
    for record in records:
        counts += [len(record.earlier) + 1] if record.pooled else [1] * record.units
    return np.array(counts, dtype=np.int64)
