"""Figures for Prometheus: what this server did, and how the kiosks are as the storage has it.

What comes of the storage is looked up now and then, and not when somebody asks: however often that
is, the intake feels nothing of it. Every label takes few values: sites and kiosks are counted, and
what is more than `MOST_KIOSKS` or `MOST_SITES` is summed up or left out, and that is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter as Counted
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edgehemo.errors import place_of
from edgehemo.guidance.catalogue import catalogue
from edgehemo.interop.laboratory import Receipt
from edgehemo.version import __version__
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.errors import StorageError
from edgehemo_laboratory.health.told import Fate
from edgehemo_laboratory.output import KioskEntry
from edgehemo_laboratory.overview import kiosk_entries
from edgehemo_laboratory.storage.interface import Storage

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
MOST_KIOSKS = 1000
MOST_SITES = 100
OTHER_SITES = "other sites"
# Seconds of a batch: a quick one on a quiet server to the longest that a kiosk waits.
BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# A status that says what is wrong with the storage.
STORAGE_ERRORS: Mapping[int, str] = {507: "full", 503: "away", 500: "other"}
OUTCOMES = ("stored", "refused", "later")
# Of those that a later one has taken the place of nothing is told.
_NEWEST = (
    "NOT EXISTS (SELECT 1 FROM publication n WHERE n.kind = p.kind AND n.name = p.name "
    "AND n.serial > p.serial)"
)
_PUBLICATIONS = (
    "SELECT p.kind, s.state, count(*) FROM publication p JOIN publication_standing s "
    f"ON s.publication = p.number WHERE {_NEWEST} GROUP BY p.kind, s.state"
)
_ANSWERS = (
    "SELECT p.kind, k.standing, count(*) FROM publication p JOIN publication_kiosk k "
    f"ON k.publication = p.number WHERE {_NEWEST} GROUP BY p.kind, k.standing"
)
_NOT_SAID = "not said yet"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the storage said. at_s: when, monotonic. wanted: results whose pictures were asked for
    and have not come. publications: kind, state and number of the newest of each name; answers:
    their kind, what kiosks say of them, and how many say so.
    """

    at_s: float
    kiosks: Sequence[KioskEntry]
    wanted: int
    publications: Sequence[tuple[str, str, int]] = ()
    answers: Sequence[tuple[str, str, int]] = ()


class Metrics:
    """All of one server. broker: asked whether the broker is heard; None without one. fates: of
    the messages that came from it.
    """

    def __init__(
        self,
        *,
        broker: Callable[[], bool] | None = None,
        fates: Callable[[], Mapping[Fate, int]] = dict,
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "edgehemo_laboratory_requests_total",
            "Requests that were answered.",
            ["route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "edgehemo_laboratory_batch_duration_seconds",
            "How long a batch of results took until its receipt.",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "edgehemo_laboratory_batches_in_progress",
            "Batches that came and have no receipt yet.",
            registry=self.registry,
        )
        self._results = Counter(
            "edgehemo_laboratory_results_total",
            "Versions of results that came, by what their receipt says; one that came again counts "
            "again.",
            ["outcome"],
            registry=self.registry,
        )
        self._errors = Counter(
            "edgehemo_laboratory_storage_errors_total",
            "Requests that the storage failed.",
            ["kind"],
            registry=self.registry,
        )
        self._pictures = Counter(
            "edgehemo_laboratory_pictures_total",
            "Pictures that were stored.",
            registry=self.registry,
        )
        # Nothing happened yet is a zero, not a gap.
        for outcome in OUTCOMES:
            self._results.labels(outcome)
        for kind in STORAGE_ERRORS.values():
            self._errors.labels(kind)
        self._requests.labels("results", "200")
        Gauge(
            "edgehemo_laboratory_build_info",
            "Always 1; which version runs.",
            ["version"],
            registry=self.registry,
        ).labels(__version__).set(1)
        self._looked = _Looked(broker, fates)
        self.registry.register(self._looked)

    def begun(self) -> None:
        """A batch came."""
        self._waiting.inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered. route: one of few names."""
        self._requests.labels(route, str(status)).inc()
        if route == "results":
            self._waiting.dec()
            self._seconds.observe(seconds)
        if status in STORAGE_ERRORS:
            self._errors.labels(STORAGE_ERRORS[status]).inc()
        if route == "pictures" and status == 201:
            self._pictures.inc()

    def received(self, receipt: Receipt) -> None:
        """A batch has its receipt."""
        for outcome, number in Counted(item.outcome for item in receipt.items).items():
            self._results.labels(outcome).inc(number)

    async def look(self, storage: Storage, certificates: Certificates) -> None:
        """Look up what the storage says of the kiosks. StorageError where it cannot be asked."""
        ((wanted,),) = await storage.rows(
            "SELECT count(*) FROM wanted_pictures WHERE settled_at IS NULL"
        )
        found = await kiosk_entries(storage, certificates)
        self._looked.snapshot = Snapshot(
            time.monotonic(),
            found,
            wanted,
            [(kind, state, number) for kind, state, number in await storage.rows(_PUBLICATIONS)],
            [(kind, said, number) for kind, said, number in await storage.rows(_ANSWERS)],
        )

    async def look_on(
        self, storage: Storage, certificates: Certificates, every_s: float = LOOK_EVERY_S
    ) -> None:
        """Look now and then, until it is cancelled. Whatever goes wrong, it goes on."""
        while True:
            try:
                await self.look(storage, certificates)
                self._looked.storage_up = True
            except StorageError:
                self._looked.storage_up = False
            except Exception as error:
                log.error("metrics: %s at %s", type(error).__name__, place_of(error))
            await asyncio.sleep(every_s)


class _Looked(Collector):
    """The last snapshot as metrics, made when they are asked for."""

    def __init__(
        self, broker: Callable[[], bool] | None, fates: Callable[[], Mapping[Fate, int]]
    ) -> None:
        self._broker, self._fates = broker, fates
        self.snapshot: Snapshot | None = None
        self.storage_up = False

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "edgehemo_laboratory_storage_up",
            "Whether the storage could be asked lately.",
            self.storage_up,
        )
        if self._broker is not None:
            yield _gauge(
                "edgehemo_laboratory_broker_up",
                "Whether the broker of health is heard.",
                self._broker(),
            )
            messages = CounterMetricFamily(
                "edgehemo_laboratory_health_messages",
                "Messages from the broker, by what became of them.",
                labels=["fate"],
            )
            for fate, number in self._fates().items():
                messages.add_metric([fate], number)
            yield messages
        if self.snapshot is not None:
            yield from _of_kiosks(self.snapshot, time.monotonic() - self.snapshot.at_s)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry is not to ask before there is a snapshot."""
        yield from ()


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=float(value))


@dataclass(frozen=True, slots=True)
class _OfKiosk:
    """A metric with a value for each kiosk that has one. passing: whether it grows with time."""

    name: str
    about: str
    value: Callable[[KioskEntry], float | None]
    passing: bool = False


def _of_live(name: str, factor: float = 1.0) -> Callable[[KioskEntry], float | None]:
    def value(entry: KioskEntry) -> float | None:
        found = None if entry.live is None else getattr(entry.live, name)
        return None if found is None else found * factor

    return value


OF_KIOSKS: tuple[_OfKiosk, ...] = (
    _OfKiosk(
        "edgehemo_laboratory_kiosk_silence_seconds",
        "Since the laboratory last heard a kiosk, by the laboratory's clock.",
        lambda entry: entry.silent_s,
        passing=True,
    ),
    _OfKiosk(
        "edgehemo_laboratory_kiosk_missing_numbers",
        "Numbers that a kiosk has noted for the laboratory and that never came.",
        lambda entry: sum(last - first + 1 for one in entry.records for first, last in one.missing),
    ),
    _OfKiosk(
        "edgehemo_laboratory_kiosk_live",
        "Whether a kiosk tells the broker that it lives; absent of those that tell no broker.",
        lambda entry: None if entry.live is None else float(entry.live.word == "live"),
    ),
    _OfKiosk(
        "edgehemo_laboratory_kiosk_free_bytes",
        "Room for more records, as a kiosk says.",
        _of_live("free_mb", 1e6),
    ),
    _OfKiosk(
        "edgehemo_laboratory_kiosk_backup_age_seconds",
        "Since the last good backup, as a kiosk says.",
        _of_live("backup_age_s"),
        passing=True,
    ),
    _OfKiosk(
        "edgehemo_laboratory_kiosk_result_age_seconds",
        "Since the newest result was made, as a kiosk says.",
        _of_live("result_age_s"),
        passing=True,
    ),
    _OfKiosk(
        "edgehemo_laboratory_kiosk_waiting_messages",
        "Messages that wait to be sent there.",
        _of_live("waiting"),
    ),
    _OfKiosk(
        "edgehemo_laboratory_kiosk_temperature_celsius",
        "Of the board, as a kiosk says.",
        _of_live("celsius"),
    ),
)


def _of_kiosks(snapshot: Snapshot, passed_s: float) -> Iterator[Metric]:
    yield _gauge(
        "edgehemo_laboratory_look_age_seconds",
        "Since what follows was looked up in the storage.",
        passed_s,
    )
    entries = snapshot.kiosks
    sites = _sites(entries)
    kiosks = GaugeMetricFamily(
        "edgehemo_laboratory_kiosks", "Kiosks by site and standing.", labels=["site", "standing"]
    )
    counts = Counted((sites[entry.site], entry.standing) for entry in entries)
    for labels, number in sorted(counts.items()):
        kiosks.add_metric(list(labels), number)
    yield kiosks
    results = sum(one.results for entry in entries for one in entry.records)
    yield _gauge("edgehemo_laboratory_stored_results", "Results that are stored.", results)
    yield _gauge(
        "edgehemo_laboratory_wanted_pictures",
        "Results whose pictures were asked for and wait.",
        snapshot.wanted,
    )
    yield _by_two(
        "edgehemo_laboratory_publications",
        "What is published, the newest of each name, by kind and state.",
        ("kind", "state"),
        snapshot.publications,
    )
    yield _by_two(
        "edgehemo_laboratory_publication_kiosks",
        "Kiosks that are to have what is published, by what they say of it.",
        ("kind", "standing"),
        [(kind, said or _NOT_SAID, number) for kind, said, number in snapshot.answers],
    )
    serving = [entry for entry in entries if entry.standing == "in service"]
    # Where they are too many those that are silent for longest are the ones to be seen.
    serving.sort(key=lambda entry: -(entry.silent_s or 0))
    shown, left_out = serving[:MOST_KIOSKS], serving[MOST_KIOSKS:]
    yield _gauge(
        "edgehemo_laboratory_kiosks_left_out",
        "Kiosks of which there are no metrics.",
        len(left_out),
    )
    for each in OF_KIOSKS:
        family = GaugeMetricFamily(each.name, each.about, labels=["kiosk", "site"])
        for entry in shown:
            value = each.value(entry)
            if value is not None:
                more_s = passed_s if each.passing else 0.0
                family.add_metric([entry.name, sites[entry.site]], value + more_s)
        yield family
    yield _codes(
        "edgehemo_laboratory_kiosk_fault",
        "Always 1; what stops a kiosk's work.",
        "fault",
        shown,
        sites,
    )
    yield _codes(
        "edgehemo_laboratory_kiosk_blocked",
        "Always 1; why a kiosk gives no results.",
        "blocked",
        shown,
        sites,
    )


def _by_two(
    name: str, about: str, labels: tuple[str, str], rows: Sequence[tuple[str, str, int]]
) -> Metric:
    family = GaugeMetricFamily(name, about, labels=labels)
    for first, second, number in sorted(rows):
        family.add_metric([first, second], number)
    return family


def _codes(
    name: str, about: str, key: str, shown: Sequence[KioskEntry], sites: Mapping[str, str]
) -> Metric:
    family = GaugeMetricFamily(name, about, labels=["kiosk", "site", "code"])
    for entry in shown:
        code = None if entry.live is None else getattr(entry.live, key)
        if code is not None:
            known = code if code in catalogue() else "other"
            family.add_metric([entry.name, sites[entry.site], known], 1.0)
    return family


def _sites(entries: Sequence[KioskEntry]) -> dict[str, str]:
    """Site -> its label: the largest by their names, the rest together."""
    largest = Counted(entry.site for entry in entries).most_common(MOST_SITES)
    named = {site for site, _ in largest}
    return {entry.site: entry.site if entry.site in named else OTHER_SITES for entry in entries}
