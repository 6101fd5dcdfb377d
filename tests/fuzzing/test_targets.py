"""Whatever the bytes from outside are, their parser returns or refuses them; `just fuzz` looks longer."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_accepted_or_refused_for_their_digest(name: str) -> None:
    target = TARGETS[name]
    results = [target.run(content) for content in target.seeds()]
    assert all(results) or name == "offer"


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
@pytest.mark.parametrize("name", TARGETS)
def test_parser_returns_or_refuses_whatever_the_bytes(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    content = bytearray(data.draw(st.sampled_from(target.seeds())))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    target.run(bytes(content))
