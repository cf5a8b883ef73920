"""A model to be run over windows: how it is opened, and made anew in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import PicklingError

import numpy as np

from qaqfilter.answering import Progress
from qaqfilter.blame import Culprit
from qaqfilter.blocks import Block
from qaqfilter.costs import Cost
from qaqfilter.digests import VerifiedResources
from qaqfilter.execution import Killer, Readied, WindowScores
from qaqfilter.opening import Opened, opened
from qaqfilter.options import LOCATION, fields_marked
from qaqfilter.preparing import Prepared, Preparer
from qaqfilter.protocols import Resources
from qaqfilter.recipe_keys import TooLong
from qaqfilter.scoring import Scorer
from qaqfilter.store import open_store
from qaqfilter.tokens import TokenLogprobs
from qaqfilter.types import LikelihoodColumn, Window


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
    def open(self) -> Iterator[Callable[[Iterable[Window | Readied]], Iterator[WindowScores]]]:
        """Load the model; free it on leaving, whatever happened."""
        with self.opened() as model, self.scorer(model) as scorer:
            yield scorer

    @contextmanager
    def preparing(self) -> Iterator[Callable[[Window], Prepared]]:
        """What tokenises windows, with no weights where the backend loads them late."""
        with self.opened() as model:
            prepare = Preparer(model.backend, model.prompt, self.likelihoods, self.too_long)

            def prepared(window: Window) -> Prepared:
                with self.culprit.blamed("preparing its texts"):
                    return prepare(window)

            yield prepared

    def skipped(self, window: Window, why: str) -> WindowScores:
        """What stands for records that kill whoever scores them: nothing is scored."""
        units = sum(record.units for record in window.records)
        nothing = TokenLogprobs.of([np.empty(0, dtype=np.float32)] * units)
        return WindowScores(
            window.rows,
            {name: LikelihoodColumn.empty(units) for name in self.likelihoods},
            np.zeros(len(window.rows), dtype=np.int64),
            Cost(),
            0,
            {},
            tokens=dict.fromkeys(self.tokens, nothing),
            killers=[Killer(record.row, why) for record in window.records],
        )

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
