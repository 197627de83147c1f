"""A FHIR R4 server over HTTPS: one transaction bundle a version.

The bundle's entries are conditional creations (``ifNoneExist``) and conditional updates by the
result's own identifiers: a server that has them answers 200 in the place of 201, and holds each
once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edgehemo.device.receivers import Receiver
from edgehemo.interop.receivers.door import Parcel, one_by_one
from edgehemo.interop.receivers.https import HttpAnswer, HttpRoad, of_the_receiver
from edgehemo.interop.states import Answer, Failed, Refused, Stored

_MEDIA_TYPE = "application/fhir+json"
# Words of an OperationOutcome that are shown.
_MOST_ISSUES = 5


class FhirDoor:
    """One server. Raises ReceiverFileError where the receiver's files are wrong."""

    def __init__(self, receiver: Receiver) -> None:
        # The base address with its slash left out: a transaction is posted to the base itself.
        self._url = receiver.address.rstrip("/")
        self._road = HttpRoad(receiver)

    def send(self, parcels: Sequence[Parcel]) -> list[Answer]:
        return one_by_one(self._sent, parcels)

    def _sent(self, parcel: Parcel) -> Answer:
        headers = {"content-type": f"{_MEDIA_TYPE}; charset=utf-8", "accept": _MEDIA_TYPE}
        answer = self._road.post(self._url, parcel.body, headers)
        return answer if isinstance(answer, Failed) else answer_of(answer)

    def missing(self) -> Sequence[tuple[int, int]]:
        return ()

    def close(self) -> None:
        self._road.close()


def answer_of(answer: HttpAnswer) -> Answer:
    """What a server's answer to a transaction means.

    The transaction counts as stored where the answer is a transaction-response whose entries all
    say 2xx: a page of a portal that answers 200 to everything has stored nothing.
    """
    if (failed := of_the_receiver(answer)) is not None:
        return failed
    content = _json(answer)
    said = f"HTTP {answer.status}: {_issues(content) or answer.text[:1000]}"
    if answer.status >= 400:
        return Refused("MESSAGE_TOO_LARGE" if answer.status == 413 else "MESSAGE_REFUSED", said)
    if content is None or content.get("resourceType") != "Bundle":
        return Failed("ANSWER_UNREADABLE", "the answer is no FHIR bundle")
    if content.get("type") != "transaction-response":
        return Failed("ANSWER_UNREADABLE", "the answer is no transaction-response")
    entries = content.get("entry")
    if not isinstance(entries, list) or not entries:
        return Failed("ANSWER_UNREADABLE", "the answer names nothing that was stored")
    statuses = [_status(entry) for entry in entries]
    if any(not status.startswith("2") for status in statuses):
        return Refused("MESSAGE_REFUSED", f"entries came back as {', '.join(statuses)}")
    there = sum(status.startswith("200") for status in statuses)
    return Stored(f"{len(statuses) - there} new, {there} there already")


def _json(answer: HttpAnswer) -> dict[str, Any] | None:
    try:
        value = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _status(entry: object) -> str:
    response = entry.get("response") if isinstance(entry, dict) else None
    status = response.get("status") if isinstance(response, dict) else None
    return str(status) if status is not None else "nothing"


def _issues(content: dict[str, Any] | None) -> str:
    """The words of an OperationOutcome."""
    if content is None or content.get("resourceType") != "OperationOutcome":
        return ""
    issues = content.get("issue")
    found = []
    for issue in issues if isinstance(issues, list) else ():
        if isinstance(issue, dict):
            details = issue.get("details")
            text = details.get("text") if isinstance(details, dict) else None
            where = issue.get("expression")
            words = str(issue.get("diagnostics") or text or issue.get("code") or "")
            if isinstance(where, list) and where:
                words += f" ({', '.join(str(each) for each in where)})"
            found.append(words)
    return "; ".join(found[:_MOST_ISSUES])
