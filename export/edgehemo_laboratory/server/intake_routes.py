"""What kiosks ask of the laboratory, by HTTPS and their certificate."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgehemo.errors import UsageError
from edgehemo.files.strict import Record
from edgehemo.interop.laboratory import (
    ENROLMENT_PATH,
    MAX_BATCH_BYTES,
    MAX_PICTURE_BYTES,
    MAX_RECEIPT_BYTES,
    PAIRED_PATH,
    PART_BYTES,
    PATH,
    PICTURES_PATH,
    PUBLISHED_PATH,
    RENEWAL_PATH,
    VISIT_PATH,
    Enrolment,
    Paired,
    PairedTaken,
    Receipt,
    Renewal,
    Visit,
    Visited,
    message_of,
    unpacked_batch,
)
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.enrolment.kiosks import (
    RENEW_AFTER_DAYS,
    Known,
    certificate_shown,
    enrol,
    known_by,
    renew,
)
from edgehemo_laboratory.errors import (
    ConflictError,
    LaboratoryError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)
from edgehemo_laboratory.intake.pairs import keep_paired
from edgehemo_laboratory.intake.taking import NotItsRecordsError, taken
from edgehemo_laboratory.intake.visiting import visited
from edgehemo_laboratory.pictures.keeping import keep, settle
from edgehemo_laboratory.pictures.store import PictureStore
from edgehemo_laboratory.server.bodies import body_of
from edgehemo_laboratory.server.shown import certificate_digest
from edgehemo_laboratory.steering.changing import watch
from edgehemo_laboratory.steering.kept import part_of
from edgehemo_laboratory.steering.offering import heard, is_offered
from edgehemo_laboratory.storage.interface import Storage

log = logging.getLogger(__name__)

# Batches that are unpacked and judged at a time: each may take so much memory as it unpacks to.
AT_ONCE = 4
# A code that does not count is answered so late: guessing 80 bits is hopeless, and is slow too.
WRONG_CODE_S = 1.0
_DAY_S = 86_400
# The only form in which kiosks ask for parts.
_RANGE = re.compile(r"bytes=([0-9]{1,12})-([0-9]{1,12})")


class KioskRoutes:
    """The routes. pictures: None where this laboratory keeps none. received: told of receipts."""

    def __init__(
        self,
        storage: Storage,
        certificates: Certificates,
        pictures: PictureStore | None,
        *,
        received: Callable[[Receipt], None] = lambda _: None,
    ) -> None:
        self._storage, self._certificates, self._pictures = storage, certificates, pictures
        self._received = received
        self._unpacking = asyncio.Semaphore(AT_ONCE)

    @property
    def routes(self) -> list[Route]:
        picture = f"{PICTURES_PATH}/{{store}}/{{result_id}}/{{position:int}}"
        return [
            Route(PATH, told(self.results), methods=["POST"]),
            Route(ENROLMENT_PATH, told(self.enrolment), methods=["POST"]),
            Route(RENEWAL_PATH, told(self.renewal), methods=["POST"]),
            Route(VISIT_PATH, told(self.visit), methods=["POST"]),
            Route(PAIRED_PATH, told(self.paired), methods=["POST"]),
            Route(picture, told(self.picture), methods=["PUT"]),
            Route(f"{PUBLISHED_PATH}/{{sha256}}", told(self.published), methods=["GET"]),
            Route(f"{PICTURES_PATH}/{{store}}/{{result_id}}", told(self.settle), methods=["POST"]),
        ]

    async def _known(self, request: Request) -> Known:
        """Whose certificate was shown; 403 where there is none that counts."""
        digest = certificate_digest(request.scope)
        if digest is None:
            raise HTTPException(
                403, "no certificate was shown: enrol this kiosk with a pairing code"
            )
        known = await known_by(self._storage, digest)
        if known is None:
            raise HTTPException(
                403, "the laboratory does not know this kiosk, or has revoked it: enrol it again"
            )
        if known.fresh:
            await certificate_shown(self._storage, known)
        return known

    async def results(self, request: Request) -> Response:
        known = await self._known(request)
        data = await body_of(request, MAX_BATCH_BYTES)
        packed = request.headers.get("content-encoding", "") == "gzip"
        async with self._unpacking:
            batch = await asyncio.to_thread(unpacked_batch, data, compressed=packed)
            receipt = await taken(self._storage, known.kiosk, batch)
        self._received(receipt)
        return answered(receipt)

    async def enrolment(self, request: Request) -> Response:
        asked = message_of(Enrolment, await body_of(request, MAX_RECEIPT_BYTES))
        try:
            given = await enrol(self._storage, self._certificates, asked)
        except StorageError:
            raise
        except LaboratoryError as error:
            await asyncio.sleep(WRONG_CODE_S)
            raise HTTPException(403, str(error)) from None
        log.info("kiosk %s was enrolled", given.kiosk)
        return answered(given)

    async def renewal(self, request: Request) -> Response:
        known = await self._known(request)
        asked = message_of(Renewal, await body_of(request, MAX_RECEIPT_BYTES))
        return answered(await renew(self._storage, self._certificates, known, asked))

    async def visit(self, request: Request) -> Response:
        known = await self._known(request)
        asked = message_of(Visit, await body_of(request, MAX_RECEIPT_BYTES))
        missing, wanted = await visited(
            self._storage, known.kiosk, asked, pictures=self._pictures is not None
        )
        age_s = seconds_of(now()) - known.made_at_s
        offers = None
        if asked.running is not None:
            seen = await heard(self._storage, known.kiosk, asked.running)
            offers = seen.offers
            if seen.failed:
                # What falls back on one kiosk is offered to no other before it is looked at.
                await watch(self._storage)
        return answered(
            Visited(
                missing=missing,
                pictures=wanted,
                renew=age_s > RENEW_AFTER_DAYS * _DAY_S,
                laboratory=tuple(each.pem for each in self._certificates.to_trust),
                offers=offers,
            )
        )

    async def paired(self, request: Request) -> Response:
        known = await self._known(request)
        said = message_of(Paired, await body_of(request, MAX_RECEIPT_BYTES))
        return answered(PairedTaken(upto=await keep_paired(self._storage, known.kiosk, said)))

    async def published(self, request: Request) -> Response:
        """A part of a publication that is offered to the kiosk that asks."""
        known = await self._known(request)
        sha256 = request.path_params["sha256"]
        size = await is_offered(self._storage, known.kiosk, sha256)
        if size is None:
            raise HTTPException(404, "this is not offered to this kiosk now")
        span = _RANGE.fullmatch(request.headers.get("range", ""))
        if span is None:
            raise HTTPException(416, "ask for a part of it, with Range")
        first, last = int(span[1]), min(int(span[2]), size - 1)
        if not first <= last or last - first >= PART_BYTES:
            raise HTTPException(416, f"ask for up to {PART_BYTES} bytes of its {size}")
        part = await part_of(self._storage, sha256, first, last)
        headers = {"content-range": f"bytes {first}-{last}/{size}", "accept-ranges": "bytes"}
        return Response(part, 206, headers, "application/octet-stream")

    async def picture(self, request: Request) -> Response:
        known = await self._known(request)
        if self._pictures is None or known.kiosk.pictures == "never":
            raise HTTPException(403, "this laboratory takes no pictures from this kiosk")
        data = await body_of(request, MAX_PICTURE_BYTES)
        place = request.path_params
        new = await keep(
            self._storage,
            self._pictures,
            known.kiosk,
            data,
            store=place["store"],
            result_id=place["result_id"],
            position=place["position"],
            sha256=request.query_params.get("sha256", ""),
        )
        return Response("", 201 if new else 200)

    async def settle(self, request: Request) -> Response:
        """A kiosk says that it sent all pictures of a result that it has, or why it sends none."""
        known = await self._known(request)
        words = (await body_of(request, 2000)).decode("utf-8", "replace")
        place = request.path_params
        await settle(self._storage, known.kiosk, place["store"], place["result_id"], words)
        return Response("", 200)


def answered(record: Record) -> Response:
    """A record as an answer; without what is not known, which kiosks of an older version refuse."""
    return JSONResponse(record.model_dump(exclude_none=True))


def told(
    work: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A route whose errors are answers that a kiosk understands: nothing was stored, and either
    it comes again by itself or its people are told why.
    """

    async def answer(request: Request) -> Response:
        try:
            return await work(request)
        except HTTPException as error:
            return _said(error.status_code, error.detail)
        except StorageFullError as error:
            log.error("%s", error)
            return _said(507, "the laboratory has no space left")
        except (StorageBusyError, ConflictError) as error:
            log.warning("%s", error)
            return _said(503, "the laboratory's storage cannot be reached now")
        except StorageError as error:
            log.error("%s", error)
            return _said(500, "the laboratory's storage failed")
        except NotItsRecordsError as error:
            return _said(403, str(error))
        except UsageError as error:
            return _said(422, str(error))

    return answer


def _said(status: int, words: str) -> Response:
    return Response(f"{words}\n", status, media_type="text/plain")
