"""A receiver as a process of its own, which can be killed: laboratory, FHIR server, MLLP listener.

What it acknowledges is in its database with FULL. Its faults are planted by chance or by script:

    python -m tests.support.receiver_stub laboratory --store FILE --port 0 --faults 0.3

Each message is in one row of the table ``stored`` under its identity, however often it comes;
``came`` counts how often. Prints its port in the first line.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgehemo.errors import UsageError
from edgehemo.interop.laboratory import PATH, Receipt, ReceiptItem, unpacked_batch

Kind = Literal["laboratory", "fhir", "mllp"]
# What can go wrong with one message: before it is stored, after it was, and by the receiver's will.
Fault = Literal["busy", "failed", "lost before", "lost after", "slow", "refused", "broken"]
FAULTS: tuple[Fault, ...] = ("busy", "failed", "lost before", "lost after", "slow", "broken")
SLOW_S = 3.0


@dataclass
class Stub:
    """What it keeps, and what goes wrong next. script: faults of the next messages, "" for none;
    after it the share of faults by chance. refuse: of identities or control ids that hold one of
    these words in what they say.
    """

    store: Path
    share: float = 0.0
    script: list[str] = field(default_factory=list)
    refuse: str = ""
    token: str = ""
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.connection = sqlite3.connect(self.store, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS stored (number INTEGER PRIMARY KEY, identity TEXT UNIQUE, "
            "sequence INTEGER, sha256 TEXT, body BLOB, came INTEGER NOT NULL DEFAULT 1)"
        )

    def fault(self) -> str:
        if self.script:
            return self.script.pop(0)
        return self.chance.choice(FAULTS) if self.chance.random() < self.share else ""

    def keep(self, rows: Sequence[tuple[str, int | None, bytes]]) -> list[bool]:
        """Whether each is new; all or nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        new = []
        for identity, sequence, body in rows:
            known = self.connection.execute(
                "UPDATE stored SET came = came + 1 WHERE identity = ?", (identity,)
            ).rowcount
            if not known:
                self.connection.execute(
                    "INSERT INTO stored (identity, sequence, sha256, body) VALUES (?, ?, ?, ?)",
                    (identity, sequence, hashlib.sha256(body).hexdigest(), body),
                )
            new.append(not known)
        self.connection.execute("COMMIT")
        return new

    def refuses(self, body: bytes) -> bool:
        return bool(self.refuse) and self.refuse.encode() in body


class HungUpError(BaseException):
    """The connection is cut off without an answer; nothing on the way makes one of it."""


async def faulty(stub: Stub, fault: str) -> Response | None:
    """What comes in the place of the work; None where it is done first."""
    if fault == "busy":
        return Response("later, please", 503)
    if fault == "failed":
        return Response("something fell over", 500)
    if fault == "lost before":
        raise HungUpError
    if fault == "slow":
        await asyncio.sleep(SLOW_S)
    return None


def laboratory(stub: Stub) -> Starlette:
    async def take(request: Request) -> Response:
        if stub.token and request.headers.get("authorization") != f"Bearer {stub.token}":
            return Response("who are you", 401)
        fault = stub.fault()
        if (answer := await faulty(stub, fault)) is not None:
            return answer
        if fault == "refused":
            return Response("this batch is bad", 422)
        try:
            batch = unpacked_batch(await request.body())
        except UsageError as error:
            return Response(str(error), 400)
        bad = [item for item in batch.items if stub.refuses(bytes(item.result))]
        good = [item for item in batch.items if item not in bad]
        stub.keep([(item.identity, item.sequence, bytes(item.result)) for item in good])
        if fault == "lost after":
            raise HungUpError
        if fault == "broken":
            return Response("<html>welcome to the internet cafe</html>", 200)
        receipt = Receipt(
            items=(
                *(
                    ReceiptItem(identity=item.identity, outcome="stored", sha256=item.sha256)
                    for item in good
                ),
                *(
                    ReceiptItem(identity=item.identity, outcome="refused", words="I know better")
                    for item in bad
                ),
            )
        )
        return JSONResponse(receipt.model_dump())

    return Starlette(routes=[Route(PATH, take, methods=["POST"])])


def fhir(stub: Stub) -> Starlette:
    async def take(request: Request) -> Response:
        fault = stub.fault()
        if (answer := await faulty(stub, fault)) is not None:
            return answer
        body = await request.body()
        if fault == "refused" or stub.refuses(body):
            outcome = {
                "resourceType": "OperationOutcome",
                "issue": [{"severity": "error", "code": "invalid", "diagnostics": "I know better"}],
            }
            return JSONResponse(outcome, 422)
        bundle: dict[str, Any] = json.loads(body)
        # By what it finds a resource that is there already: conditional creation, or update.
        entries = [
            entry["request"].get("ifNoneExist", entry["request"]["url"])
            for entry in bundle["entry"]
        ]
        (new,) = stub.keep([(bundle["identifier"]["value"], None, body)])
        if fault == "lost after":
            raise HungUpError
        if fault == "broken":
            return Response("<html>welcome to the internet cafe</html>", 200)
        status = "201 Created" if new else "200 OK"
        done = [{"response": {"status": status, "location": each}} for each in entries]
        return JSONResponse(
            {"resourceType": "Bundle", "type": "transaction-response", "entry": done}
        )

    return Starlette(routes=[Route("/fhir", take, methods=["POST"])])


class _Server(uvicorn.Server):
    """Says its port, and lets a cut-off connection be one: no 500 in the place of silence."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


class _CutsOff:
    """Ends the connection where the application wants no answer to be sent."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        except HungUpError:
            transport = send.__self__.transport  # uvicorn's request cycle knows its connection
            transport.abort()


def serve_http(stub: Stub, kind: Kind, port: int, certificate: str, key: str) -> None:
    app = laboratory(stub) if kind == "laboratory" else fhir(stub)
    config = uvicorn.Config(
        _CutsOff(app), host="127.0.0.1", port=port, log_level="critical", http="h11",
        ssl_certfile=certificate or None, ssl_keyfile=key or None, lifespan="off",
    )  # fmt: skip
    _Server(config).run()


async def serve_mllp(stub: Stub, port: int, certificate: str, key: str) -> None:
    import ssl

    import hl7
    from hl7.mllp import start_hl7_server

    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

    async def take(reader: Any, writer: Any) -> None:
        try:
            while not writer.is_closing():
                await one(await reader.readmessage(), writer)
        except (asyncio.IncompleteReadError, ConnectionError, HungUpError):
            pass
        finally:
            writer.transport.abort()

    async def one(message: Any, writer: Any) -> None:
        text = str(message)
        fault = stub.fault()
        if fault in ("busy", "lost before"):
            raise HungUpError
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
        identity = str(message.segment("MSH")(10))
        if fault == "failed":
            writer.writeblock(b"what is this?")
        elif fault == "refused" or stub.refuses(text.encode()):
            answer = message.create_ack("AE")
            answer.segment("MSA").assign_field("I know better", 3)
            writer.writemessage(answer)
        else:
            stub.keep([(identity, None, text.encode())])
            if fault == "lost after":
                raise HungUpError
            if fault == "broken":
                # Of an earlier message, which somebody asked for long ago; then the right one.
                late = hl7.parse(text.replace(identity, "EARLIER"))
                writer.writemessage(late.create_ack("AR"))
            writer.writemessage(message.create_ack("AA"))
        await writer.drain()

    server = await start_hl7_server(
        take, host="127.0.0.1", port=port, encoding="utf-8", ssl=context
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["laboratory", "fhir", "mllp"])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--script", default="", help="faults of the first messages, by commas")
    parser.add_argument("--refuse", default="")
    parser.add_argument("--token", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--certificate", default="")
    parser.add_argument("--key", default="")
    asked = parser.parse_args()
    script = [each.strip() for each in asked.script.split(",")] if asked.script else []
    stub = Stub(
        asked.store, asked.faults, script, asked.refuse, asked.token, random.Random(asked.seed)
    )
    if asked.kind == "mllp":
        asyncio.run(serve_mllp(stub, asked.port, asked.certificate, asked.key))
    else:
        serve_http(stub, asked.kind, asked.port, asked.certificate, asked.key)


if __name__ == "__main__":
    main()
