"""Cut at each step of a sample: server, capturing process, browser; and back to the step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehemo.records.store import Store
from edgehemo.records.taking import takings
from edgehemo.records.verifying import verify
from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import PIN, KioskServer, kill, missing_parts, opened_browser

pytestmark = pytest.mark.lab

# A slide whose fields take a while, so that the cut comes in the midst of them.
SLOW = "simulated:?seed=3&fields=40&bad=1&width=640&height=480"


@pytest.fixture
def kiosk(tmp_path: Path) -> Iterator[KioskServer]:
    server = KioskServer(tmp_path / "kiosk", SLOW, fields_wanted=4)
    with server.running():
        yield server


def results_of(kiosk: KioskServer) -> list[tuple[str, str]]:
    """Sample and state of each stored result; the kiosk must have ended. The records are whole."""
    with Store.below(kiosk.data).writer() as writer:
        assert writer.set_aside is None
        assert verify(writer).faults == ()
        assert not [each for each in takings(writer) if each.owner == "command"]
        return [(row[0], row[1]) for row in writer.rows("SELECT sample, state FROM latest")]


def steps_of_a_sample(forms: KioskForms) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Goes through a sample; at each step says its name and where a cut there may lead back to.

    What comes by itself may have come meanwhile.
    """
    forms.sign_in()
    yield "home", ("home",)
    forms.do("newsample")
    yield "number", ("number",)
    forms.do("givenumber", number="26-0417")
    yield "person", ("person",)
    forms.do("giveperson", age_years="32", sex="female", pregnant="0", smokes="false")
    yield "check runs", ("check",)
    forms.checked()
    yield "check answered", ("check",)
    forms.checked()
    forms.do("startcapture")
    yield "capture begins", ("capture",)
    fields(forms, 1)
    yield "capture, a field", ("capture", "analysis", "result")
    forms.look()
    if forms.screen == "capture":
        fields(forms, 2)
        forms.do("analysenow")
    yield "analysis", ("analysis", "result")
    forms.wait("result", timeout_s=120)
    yield "result", ("result",)
    if 'value="openreview"' in forms.page:
        forms.do("openreview")
        yield "review", ("review",)
        forms.do("confirmpage", page="0")
        yield "review, a page", ("review",)
    forms.review_all()
    yield "sign off", ("sign_off",)
    forms.do("sign")
    yield "signing", ("sign_off", "done")
    if forms.look() == "sign_off":
        forms.sign()
    forms.wait("done")
    yield "done", ("done",)
    forms.do("finish")


def fields(forms: KioskForms, number: int) -> None:
    """Wait until so many fields were read, or the sample has gone on."""
    ends = time.monotonic() + 60
    while forms.look() == "capture" and forms.page.count('<figure class="thumb') < number:
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_power_cut_at_each_step_leads_back_to_it(kiosk: KioskServer) -> None:
    with KioskForms(kiosk) as forms:
        for step, back_at in steps_of_a_sample(forms):
            kiosk.cut()
            kiosk.start()
            assert forms.look() == "pin", step
            assert forms.give_pin() in back_at, step
        assert forms.screen == "home"
    kiosk.stop()
    assert results_of(kiosk) == [("26-0417", "signed")]


def test_the_process_that_captures_may_die_at_each_step(kiosk: KioskServer) -> None:
    """Within its bounds: another is begun each time, and the sample goes on."""
    died = 0
    with KioskForms(kiosk) as forms:
        for step, back_at in steps_of_a_sample(forms):
            # Three ends in ten minutes are mended by themselves; it is not asked for more here.
            if step not in ("check runs", "capture, a field", "analysis"):
                continue
            for worker in kiosk.workers():
                kill(worker)
                died += 1
            later = {"check runs": ("check",)}.get(step, back_at)
            forms.wait(*later, timeout_s=60)
    assert died >= 2
    kiosk.stop()
    assert results_of(kiosk) == [("26-0417", "signed")]


def test_the_browser_may_die_at_each_step(kiosk: KioskServer) -> None:
    """Another browser takes the kiosk over with the PIN, at the step it was in."""
    if missing := missing_parts():
        pytest.skip(missing)
    with KioskForms(kiosk) as forms:
        steps = steps_of_a_sample(forms)
        seen = 0
        for step, back_at in steps:
            if step not in ("number", "capture, a field", "result", "sign off"):
                continue
            with opened_browser() as touch:
                touch.page.goto(kiosk.url)
                assert "in use at another screen" in touch.page.content(), step
                touch.type(PIN)
                touch.on()
                # The page of who only looks has the name of the step, too.
                touch.page.get_by_text("in use at another screen").first.wait_for(state="detached")
                touch.at(*back_at)
                for process in touch.processes():
                    kill(process)
            # The one before is a second screen now, and takes it back.
            forms.look()
            assert "in use at another screen" in forms.page, step
            forms.give_pin()
            assert forms.look() in back_at, step
            seen += 1
        assert seen == 4
    kiosk.stop()
    assert results_of(kiosk) == [("26-0417", "signed")]


def test_a_cut_in_the_midst_of_everything(tmp_path: Path) -> None:
    """Many cuts at odd moments of the capture and the analysis: no field counts twice."""
    kiosk = KioskServer(tmp_path / "kiosk", SLOW, fields_wanted=8)
    with kiosk.running(), KioskForms(kiosk) as forms:
        forms.to_capture("26-0418")
        for number in range(6):
            time.sleep(0.15 + 0.37 * number)
            kiosk.cut()
            kiosk.start()
            forms.look()
            assert forms.give_pin() in ("capture", "analysis", "result"), forms.fault
        forms.wait("result", timeout_s=180)
        forms.review_all()
        forms.sign()
    assert results_of(kiosk) == [("26-0418", "signed")]
