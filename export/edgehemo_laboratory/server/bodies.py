"""What is posted, read within bounds: before and after it is unpacked."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request


async def body_of(request: Request, most: int) -> bytes:
    """The whole body; 413 for more than so many bytes, 400 where it was cut off."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise HTTPException(413, f"more than {most} bytes")
    parts: list[bytes] = []
    size = 0
    async for part in _parts(request):
        size += len(part)
        if size > most:
            raise HTTPException(413, f"more than {most} bytes")
        parts.append(part)
    return b"".join(parts)


async def _parts(request: Request) -> AsyncIterator[bytes]:
    try:
        async for part in request.stream():
            yield part
    except ClientDisconnect:
        raise HTTPException(400, "cut off") from None
