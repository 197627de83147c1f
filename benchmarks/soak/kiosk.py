"""The kiosk: requests that no page of it sends, and samples one after another.

None may end in a fault of its own, and its memory must not grow.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from kiosk_loop import broken, looped

from edgehemo.kiosk import app
from soak.attack import Attack, Figures, Scene
from tests.support.kiosk_by_touch import missing_parts
from tests.support.kiosk_fuzz import BEGINNINGS, REQUESTS, Sent, fuzzed, hurried, target

# Runs of requests in a round, and requests in a run.
RUNS, LONGEST_RUN = 100, 8


def requests(scene: Scene) -> Figures:
    """Runs of requests from each of the screens."""
    hurried(lambda _, name, value: setattr(app, name, value))
    answers: Counter[int] = Counter()
    faults: list[str] = []

    async def one(beginning: str, sent: list[Sent]) -> None:
        wrong = await fuzzed(to, beginning, sent, answers)
        faults.extend(f"{status} at {beginning}: {each}" for status, each in wrong)

    with asyncio.Runner() as loop:
        opened = target(scene.folder / "records")
        to = loop.run(opened.__aenter__())
        try:
            for number in scene.rounds():

                @seed(scene.rng.randrange(2**32) + number)
                @settings(
                    max_examples=RUNS,
                    deadline=None,
                    database=None,
                    phases=(Phase.generate,),
                    suppress_health_check=list(HealthCheck),
                )
                @given(
                    st.sampled_from(sorted(BEGINNINGS)),
                    st.lists(REQUESTS, min_size=1, max_size=LONGEST_RUN),
                )
                def sent(beginning: str, them: list[Sent]) -> None:
                    loop.run(one(beginning, them))

                sent()
        finally:
            loop.run(opened.__aexit__(None, None, None))
    return {
        "requests": answers.total(),
        "answers": {str(status): count for status, count in sorted(answers.items())},
        "faults": faults[:20],
        "broken": len(faults),
    }


def samples(scene: Scene) -> Figures:
    """One sample after another by touch; `benchmarks/kiosk_loop.py` alone says more."""
    if missing := missing_parts():
        return {"not run": missing, "broken": 0}
    found = looped(0.0 if scene.times is not None else scene.seconds / 60)
    wrong = broken(found)
    kept = ("samples", "answers", "grown_mb", "cpu_s_per_s", "last_field_to_result_s")
    return {**{name: found[name] for name in kept}, "wrong": wrong[:20], "broken": len(wrong)}


ATTACKS: Mapping[str, Attack] = {"kiosk: requests": requests, "kiosk: samples by touch": samples}
