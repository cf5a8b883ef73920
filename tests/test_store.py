"""Keys and fingerprints: different requests and models never share one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qaqfilter import Request, Segment
from qaqfilter.store import fingerprint, request_key

segments = st.builds(Segment, st.text("ab", max_size=3), st.booleans())
requests = st.builds(Request, st.lists(segments, max_size=3).map(tuple), segments)


@given(requests, requests)
def test_a_key_is_shared_by_equal_requests_only(one, other):
    assert (request_key(one) == request_key(other)) == (one == other)


@pytest.mark.parametrize(
    "other",
    [
        Request((Segment("a"), Segment("b")), Segment("c")),
        Request((Segment("ab"),), Segment("c", markup=True)),
        Request((Segment("ab", markup=True),), Segment("c")),
        Request((Segment("a"),), Segment("bc")),
        Request((), Segment("abc")),
    ],
)
def test_boundaries_and_markup_are_part_of_the_key(other):
    assert request_key(other) != request_key(Request((Segment("ab"),), Segment("c")))


def test_the_truncation_policy_is_part_of_the_key():
    request = Request((), Segment("a"))
    assert request_key(request, "cut_answer") != request_key(request, "reject")
    assert request_key(request) == request_key(request, "reject")


def test_the_key_does_not_change_between_versions():
    """Stored scores are found by it: another key would lose them all. Bytes written out by hand."""
    request = Request((Segment("Q", markup=True), Segment("é")), Segment("answer"))
    written = b"\0\0\0\2\1\0\0\0\0\0\0\0\1Q\0\0\0\0\0\0\0\0\2\xc3\xa9\0\0\0\0\0\0\0\0\6answerreject"
    assert request_key(request) == hashlib.blake2b(written, digest_size=16).digest()


def test_a_fingerprint_depends_on_facts_and_not_on_their_order():
    facts = {"model": "digest", "dtype": "float32", "start": 1}
    assert fingerprint(facts) == fingerprint(dict(reversed(facts.items())))
    assert len({fingerprint(facts | {key: "other"}) for key in facts} | {fingerprint(facts)}) == 4
