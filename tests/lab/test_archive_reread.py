"""An archive is read again by real processes that are killed: every field is there once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.place import open_archive
from tests.support.archives import archive_of, draw_slide
from tests.support.s3_server import s3_server

pytestmark = pytest.mark.lab

SLIDES, FIELDS = 4, 5
PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed in range(1, SLIDES + 1):
        draw_slide(folder / f"S-{seed}", seed, fields=FIELDS)
    return folder


class Run:
    """`edgehemo archive reread` as a user starts it."""

    def __init__(self, store: str, out: Path, *options: str) -> None:
        self.out = out
        self.log = out.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "edgehemo", "archive", "reread", "--store", store,
                    "--batch", "1", "--json", str(out), *options,
                ],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def below(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def workers(self) -> list[psutil.Process]:
        """The processes of Dask's workers: of those below, those that have a reader."""
        return [
            process
            for process in psutil.Process(self.process.pid).children()
            if any("reader_process" in " ".join(each.cmdline()) for each in process.children())
        ]

    def ends(self) -> dict[str, Any]:
        assert self.process.wait(PATIENCE_S) == 0, self.log.read_text()
        found: dict[str, Any] = json.loads(self.out.read_text())
        return found

    def kill(self) -> None:
        with ExitStack() as stack:
            for each in self.below():
                stack.callback(each.wait, 60)
            self.process.kill()
            self.process.wait()


def until(there: Callable[[], Any], what: str) -> Any:
    ends = time.monotonic() + PATIENCE_S
    while not (found := there()):
        assert time.monotonic() < ends, what
        time.sleep(0.1)
    return found


def parts(store: str) -> int:
    archive = open_archive(store)
    return sum("/fields/parts/" in key for key in archive.store.keys(layout.READINGS))


def whole(told: dict[str, Any], fields: int = SLIDES * FIELDS) -> None:
    """Every field and sample is there once."""
    reading = told["reading"]
    assert told["done"] and told["missing"] == []
    assert (reading["fields"], reading["read"]) == (fields, fields)
    assert (reading["samples"], reading["samples_read"]) == (SLIDES, SLIDES)
    assert reading["twice"] == reading["set_aside"] == reading["waiting"] == 0


def test_a_worker_and_the_run_with_its_scheduler_are_killed(slides: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "archive")
    archive_of(store, slides)
    first = Run(store, tmp_path / "first.json", "--workers", "2")
    until(lambda: parts(store) >= 2, "nothing is read")
    # Nothing that it started listens to another machine.
    for process in [psutil.Process(first.process.pid), *first.below()]:
        for held in process.net_connections(kind="inet"):
            assert held.laddr.ip in ("127.0.0.1", "::1"), held
    until(first.workers, "no worker")[0].send_signal(signal.SIGKILL)
    before = parts(store)
    until(lambda: parts(store) >= before + 3, "it does not go on without a worker")
    below = first.below()
    first.kill()
    assert not [each for each in below if each.is_running()]
    kept = parts(store)
    assert kept < SLIDES * FIELDS
    told = Run(store, tmp_path / "second.json", "--workers", "2").ends()
    whole(told)
    assert told["fields_in_run"] == SLIDES * FIELDS - kept
    # Once more, and there is nothing to do.
    again = Run(store, tmp_path / "third.json").ends()
    whole(again)
    assert (again["fields_in_run"], again["workers"]) == (0, 0)


class Cluster:
    """A scheduler and workers of their own, as somebody else keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, workers: int) -> None:
        self._run(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port),
            "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
        )  # fmt: skip
        for _ in range(workers):
            self.worker()

    def worker(self, **environment: str) -> None:
        self._run(
            "distributed.cli.dask_worker", self.address, "--host", "127.0.0.1", "--nthreads", "1",
            "--no-nanny", "--no-dashboard", "--death-timeout", "60", "--local-directory",
            str(self.folder), **environment,
        )  # fmt: skip

    def _run(self, module: str, *options: str, **environment: str) -> None:
        with (self.folder / "cluster.log").open("ab") as log:
            self.running.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *options],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **environment},
                )
            )

    def kill(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        self.running.clear()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.kill()


def strange_versions(folder: Path) -> str:
    """A path on which another version of numpy is said to be installed."""
    said = folder / "strange" / "numpy-0.0.1.dist-info"
    said.mkdir(parents=True)
    (said / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    return str(said.parent)


def test_a_scheduler_of_others_is_killed_and_a_strange_worker_gets_no_work(
    slides: Path, tmp_path: Path, other: Cluster
) -> None:
    store, many = str(tmp_path / "archive"), SLIDES * FIELDS * 4
    for path in slides.glob("*/*.png"):  # more of them, so that it goes on for a while
        pixels = cv2.imread(str(path))
        assert pixels is not None
        for turns in range(4):
            turned = tmp_path / "in" / path.parent.name / f"{path.stem}_{turns}.png"
            turned.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(turned), np.rot90(pixels, turns))
    _, came = archive_of(store, tmp_path / "in")
    assert came.new == many
    other.start(1)
    run = Run(store, tmp_path / "told.json", "--scheduler", other.address, "--patience", "200")
    until(lambda: parts(store) >= 1, "nothing is read")
    other.worker(PYTHONPATH=strange_versions(tmp_path))
    until(
        lambda: "gets no work: numpy 0.0.1 in the place of" in run.log.read_text(),
        "the strange worker is not told",
    )
    other.running[0].send_signal(signal.SIGKILL)
    other.kill()
    before = parts(store)
    until(lambda: "waiting for it" in run.log.read_text(), "it did not notice")
    other.start(2)
    whole(run.ends(), many)
    assert before < many
    assert "asks for no certificate" in run.log.read_text()


def test_workers_that_differ_are_refused_before_anything_is_read(
    slides: Path, tmp_path: Path, other: Cluster
) -> None:
    store = str(tmp_path / "archive")
    archive_of(store, slides / "S-1")
    other.start(0)
    other.worker(PYTHONPATH=strange_versions(tmp_path))
    run = Run(store, tmp_path / "told.json", "--scheduler", other.address)
    assert run.process.wait(PATIENCE_S) == 2
    said = run.log.read_text()
    assert "workers are not like this machine" in said and "numpy 0.0.1 in the place of" in said
    assert parts(store) == 0


def test_a_scheduler_that_never_answers_is_told(slides: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "archive")
    archive_of(store, slides / "S-1")
    run = Run(store, tmp_path / "told.json", "--scheduler", "tcp://127.0.0.1:1", "--patience", "1")
    assert run.process.wait(PATIENCE_S) == 2
    assert "the same command goes on with the rest" in run.log.read_text()


def test_an_archive_in_s3(slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with s3_server(tmp_path, "smears") as address:
        store = f"s3://smears/archive?endpoint={address}&region=us-east-1"
        _, came = archive_of(store, slides / "S-1", slides / "S-2")
        assert came.new == 2 * FIELDS
        _, again = archive_of(store, slides / "S-1")
        assert (again.new, again.known) == (0, FIELDS)
        told = Run(store, tmp_path / "told.json", "--workers", "1").ends()
        assert told["done"] and told["reading"]["read"] == 2 * FIELDS
        assert told["reading"]["samples_read"] == 2
        assert Run(store, tmp_path / "again.json").ends()["fields_in_run"] == 0
