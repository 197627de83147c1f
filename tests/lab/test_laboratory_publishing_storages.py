"""Publications on PostgreSQL as on SQLite."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from edgehemo_laboratory.steering.changing import advance, halt, resume, roll_back, watch
from edgehemo_laboratory.steering.kept import file_of, publications
from edgehemo_laboratory.steering.overview import overview
from edgehemo_laboratory.steering.publishing import Plan, prepared_package, publish
from edgehemo_laboratory.steering.stages import Stage
from edgehemo_laboratory.storage.own_postgres import own_postgres, programs
from tests.laboratory.test_laboratory_publishing import Fleet, fleet
from tests.support.bundle_makers import signing_key
from tests.support.publications import changed_words, running

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
TWO = (Stage(share=0.25, wait_s=0, used_share=0.5), Stage(share=1.0, wait_s=0))


@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")
def test_postgresql_keeps_stages_findings_and_rollbacks(tmp_path: Path) -> None:
    key = signing_key()
    words = changed_words("Se déconnecter", "Se deconnecter ")

    async def work(at: Fleet) -> None:
        await at.come(8)
        for name in at.ran:
            at.ran[name] = running(keys=(key.public.identifier,))
        await at.all_visit()
        file = prepared_package("language", "fr", 1, words, key)
        kept = await publish(at.storage, file, Plan(stages=TWO, by_itself=True), by="engineer")
        assert await file_of(at.storage, kept) == file.content
        offered = [name for name, got in (await at.all_visit()).items() if got]
        for name in offered:
            at.says(name, kept, "in use")
        await at.all_visit()
        assert await watch(at.storage) == []
        assert (await publications(at.storage))[0].stage == 1
        assert all((await at.all_visit()).values())
        left = next(name for name in at.ran if name not in offered)
        at.says(left, kept, "fell back", "not read back")
        await at.all_visit()
        (halted,) = await watch(at.storage)
        assert "not read back" in halted.why
        await at.storage.do("UPDATE publication_kiosk SET standing_at_s = standing_at_s - 60")
        await resume(at.storage, kept.number, "a worn card", by="engineer")
        assert await watch(at.storage) == []
        await halt(at.storage, kept.number, "a wrong word", by="engineer")
        back = await roll_back(at.storage, kept.number, key, "a wrong word", by="engineer")
        seen = await overview(at.storage)
        assert [each.serial for each in seen.publications] == [2, 1]
        assert len(seen.running) == 8 and set(seen.publications[0].for_kiosks) >= set(offered)
        assert (await publications(at.storage, staged=True)) == [back]
        with pytest.raises(Exception, match="no stage follows"):
            await advance(at.storage, back.number, by="engineer")

    # Not below pytest's own folder, which is shut to everybody else.
    with (
        tempfile.TemporaryDirectory(prefix="edgehemo-cluster-") as folder,
        own_postgres(Path(folder)) as cluster,
    ):
        fleet(tmp_path, work, cluster.url)
