"""What a kiosk writes down of its work: nothing of a patient, whatever happens to the sample."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import PIN, KioskServer, kill

pytestmark = pytest.mark.lab

NUMBER, SECOND_NUMBER = "QX-778899-ZZ", "QX-665544-YY"
WORDS = "Okonkwo said so"
# What would name a patient, a sample or a secret, wherever it is written.
TELLING = (NUMBER, SECOND_NUMBER, "Okonkwo", "37.25", "female", "pregnan", "trimester", "smok")


def test_the_log_of_whole_samples_names_no_patient(tmp_path: Path) -> None:
    said = tmp_path / "faults"
    source = f"simulated:?seed=3&fields=30&bad=2&faults_from={said}"
    kiosk = KioskServer(tmp_path / "kiosk", source, fields_wanted=4, options=("-vv",))
    with kiosk.running(), KioskForms(kiosk) as forms:
        # A sample that is signed against its grade, with reasons in words; on the way to it a
        # number that is none, answers that do not fit, a camera that is pulled, a process that
        # dies, and a wrong PIN.
        forms.sign_in(pin="9999")
        forms.give_pin()
        forms.do("newsample")
        forms.do("givenumber", number="Okonkwo")
        forms.do("givenumber", number=NUMBER)
        forms.do("giveperson", age_years="37.25", sex="male", pregnant="2")
        forms.do("giveperson", age_years="37.25", sex="female", pregnant="2", smokes="true")
        forms.checked()
        forms.do("startcapture")
        said.write_text("unplugged")
        forms.wait("fault", "result", "analysis")
        said.unlink()
        forms.wait("capture", "analysis", "result")
        for worker in kiosk.workers():
            kill(worker)
        forms.wait("result", timeout_s=120)
        forms.review_all()
        forms.do("sign", grade="severe", because="other", reason=WORDS)
        forms.wait("done")
        forms.do("finish")
        # And one that is given up.
        forms.do("newsample")
        forms.do("givenumber", number=SECOND_NUMBER)
        forms.do("askabandon")
        assert forms.screen == "abandon"
        forms.do("abandon", reason="other", words=WORDS)
        assert forms.screen == "home"
        kiosk.cut()
        kiosk.start()
    written = [kiosk.log, *(path for path in kiosk.folder.rglob("*.log*") if path.is_file())]
    text = "\n".join(path.read_text(errors="replace") for path in written)
    assert len(text) > 500, "the log says what was done"
    for word in TELLING:
        assert word.lower() not in text.lower(), word
    assert not re.search(rf"\b{PIN}\b", text)
