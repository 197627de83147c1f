"""Whatever is sent to the kiosk, nothing it answers is a fault of its own.

A longer run stands among the attacks of `make soak`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehemo.kiosk.state import screen_of
from tests.support.kiosk_fuzz import BEGINNINGS, REQUESTS, Sent, Target, fuzzed, hurried, target


@pytest.fixture(scope="module")
def runner(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[asyncio.Runner, Target]]:
    """One kiosk for all examples, each of which brings it to where it begins."""
    with pytest.MonkeyPatch.context() as patched, asyncio.Runner() as loop:
        hurried(patched.setattr)
        opened = target(tmp_path_factory.mktemp("fuzz") / "records")
        to = loop.run(opened.__aenter__())
        try:
            yield loop, to
        finally:
            loop.run(opened.__aexit__(None, None, None))


@given(st.sampled_from(sorted(BEGINNINGS)), st.lists(REQUESTS, min_size=1, max_size=6))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large
    ],
)  # fmt: skip
def test_nothing_that_is_sent_ends_in_a_fault(
    runner: tuple[asyncio.Runner, Target], beginning: str, requests: list[Sent]
) -> None:
    loop, to = runner
    assert loop.run(fuzzed(to, beginning, requests)) == []


def test_every_beginning_is_come_to(runner: tuple[asyncio.Runner, Target]) -> None:
    """Or the fuzz would go on at the sign-in page for ever."""
    loop, to = runner
    elsewhere = {"practice": "person", "supervisor": "home", "engineer": "home"}
    for name, (role, before) in BEGINNINGS.items():
        loop.run(to.at(role, before))
        assert screen_of(to.kiosk.state) == elsewhere.get(name, name)
