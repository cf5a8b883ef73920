"""The contract of prompt formats: data stand in their own segments, whole, and never as markup."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qaqfilter.errors import PromptError, PromptRefused
from qaqfilter.joint import Joint
from qaqfilter.protocols import Backend, Component, PromptFormat, Resources
from qaqfilter.testing.components import ComponentContract
from qaqfilter.testing.rules import rule
from qaqfilter.testing.samples import HereResources, conversation, many_records
from qaqfilter.types import LIKELIHOODS, Record, Request

HOOK = "qaqfilter_prompts"


class PromptContract(ComponentContract):
    """Override `component`, `options` if need be, and `known` where not all four are there."""

    @pytest.fixture
    def known(self) -> tuple[str, ...]:
        """The likelihoods that the format has with `options`."""
        return LIKELIHOODS

    @pytest.fixture
    def backend(self, reference_backend: Backend) -> Backend:
        """The model that is asked: an embedded one, or yours, for the sake of its template."""
        return reference_backend

    @pytest.fixture
    def resources(self) -> Resources:
        """What the format may ask of a run."""
        return HereResources()

    @pytest.fixture
    def make(
        self, component: Component[Any], config: Any, backend: Backend, resources: Resources
    ) -> Callable[[], PromptFormat]:
        """Makes the format, as for a model that is opened."""
        return lambda: component.create(config, backend, resources)

    @pytest.fixture
    def prompt(self, make: Callable[[], PromptFormat]) -> PromptFormat:
        """The format under test."""
        return make()

    @pytest.fixture
    def records(self) -> list[Record]:
        """What is shown: odd letters, special tokens as data, long and plain texts."""
        return [one for one in many_records() if one.query.strip() and one.answer.strip()]

    @rule(HOOK)
    def test_known_likelihoods_are_requests(
        self, prompt: PromptFormat, known: tuple[str, ...], records: list[Record]
    ) -> None:
        """`request` gives a `Request` or a `Joint` for each likelihood that the format has."""
        assert known and not {*known} - {*LIKELIHOODS}, f"`known` is {known}"
        for likelihood in known:
            _requests(prompt, (likelihood,), records)

    @rule(HOOK)
    def test_unknown_likelihoods_are_a_prompt_error(
        self, prompt: PromptFormat, known: tuple[str, ...], records: list[Record]
    ) -> None:
        """For a likelihood that the format does not have it raises `PromptError`."""
        for likelihood in ({*LIKELIHOODS} - {*known}) | {"no_such_likelihood"}:
            try:
                found = prompt.request(likelihood, records[0])
            except PromptError:
                continue
            raise AssertionError(f"{likelihood} gave {found!r:.80}")

    @rule(HOOK)
    def test_the_target_is_the_side_that_is_asked_for(
        self, prompt: PromptFormat, known: tuple[str, ...], records: list[Record]
    ) -> None:
        """The target is one segment of data with the whole of the side that the likelihood is of,
        verbatim. (`trim` of a format may take the white space around it.)
        """
        for likelihood, one, request in _requests(prompt, known, records):
            side = one.query if likelihood.startswith("query") else one.answer
            if isinstance(request, Joint):
                # Where a script puts the boundary is its own affair, right or wrong.
                assert side in request.text, f"{likelihood}: {side!r:.60} is not in the text"
                ends = 0 <= (request.boundary or 0) < len(request.text)
                assert ends, f"{likelihood}: nothing stands behind the boundary"
            else:
                right = request.target.text in (side, side.strip())
                assert right, f"{likelihood}: the target is {request.target.text!r:.60}"

    @rule(HOOK)
    def test_the_other_side_is_given(
        self, prompt: PromptFormat, known: tuple[str, ...], records: list[Record]
    ) -> None:
        """What a likelihood is given stands before the target, verbatim; what it is not given
        stands nowhere.
        """
        for likelihood, one, request in _requests(prompt, known, records):
            if isinstance(request, Joint):
                continue  # scripts put a side into what is not scored, or leave it out
            other = one.answer if likelihood.startswith("query") else one.query
            texts = [segment.text for segment in request.context if not segment.markup]
            given = other in texts or other.strip() in texts
            assert given == ("given" in likelihood), (
                f"{likelihood}: the other side {'stands' if given else 'is not'} in {texts!r:.200}"
            )

    @rule(HOOK)
    def test_data_are_never_markup(
        self, prompt: PromptFormat, known: tuple[str, ...], records: list[Record]
    ) -> None:
        """Text of a record is never markup, in which special tokens count: what is markup is the
        same for every record.
        """
        for likelihood in known:
            shapes = {}
            for one in records:
                request = prompt.request(likelihood, one)
                if isinstance(request, Request):
                    assert not request.target.markup, f"{likelihood}: the target is markup"
                    markup = tuple(piece.text for piece in request.context if piece.markup)
                    shapes[markup] = one.id
            assert len(shapes) <= 1, f"{likelihood}: markup differs by record: {[*shapes]!r:.300}"

    @rule(HOOK)
    def test_a_request_is_a_function_of_its_record(
        self,
        make: Callable[[], PromptFormat],
        prompt: PromptFormat,
        known: tuple[str, ...],
        records: list[Record],
    ) -> None:
        """A request depends on the likelihood and the record alone: it is the same at every call,
        in any order, from another format of the same options.
        """
        first = _requests(prompt, known, records)
        again = _requests(prompt, known[::-1], records[::-1])[::-1]
        other = _requests(make(), known, records)
        for found in (again, other):
            for (likelihood, one, here), (_, _, there) in zip(first, found, strict=True):
                assert here == there, (
                    f"{likelihood} of {one.id}: {there!r:.200}, then {here!r:.200}"
                )

    @rule(HOOK)
    def test_conversations_are_shown_whole_or_refused(
        self, prompt: PromptFormat, known: tuple[str, ...]
    ) -> None:
        """Earlier turns stand before both sides, verbatim and as data; what a format cannot show
        it refuses with `PromptRefused`.
        """
        one = conversation()
        for likelihood in known:
            try:
                request = prompt.request(likelihood, one)
            except PromptRefused:
                continue
            if isinstance(request, Request):
                texts = [segment.text for segment in request.context if not segment.markup]
                turns = [turn.text for turn in one.history]
                shown = [text for text in texts if text in turns]
                # A template of a user's own may leave the history out, and then whole.
                assert shown in (turns, []), f"{likelihood}: of {turns} it shows {shown}"


def _requests(
    prompt: PromptFormat, likelihoods: tuple[str, ...], records: list[Record]
) -> list[tuple[str, Record, Request | Joint]]:
    found = [(name, one, prompt.request(name, one)) for name in likelihoods for one in records]
    for name, one, request in found:
        right = isinstance(request, Request | Joint)
        assert right, f"{name} of {one.id} is a {type(request).__name__}, no Request or Joint"
    return found
