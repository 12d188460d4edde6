"""Store objects over DICOMweb (STOW-RS), and believe only what the answer counts."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from promet.core.errors import UsageError
from promet.hospital.web import Answer, Broken, Server, foreign, value

STORED, FAILED, INSTANCE = "00081199", "00081198", "00081155"


def store(server: Server, files: dict[str, bytes]) -> None:
    """Store DICOM files, SOPInstanceUID -> bytes; storing them again changes nothing.

    Raises:
        UsageError: E_SEND_STORED: the PACS counts others than were sent; what the service refuses.
        Interrupted: E_PACS_SILENT.
    """
    boundary = "promet-" + hashlib.sha256(b"".join(files.values())).hexdigest()[:32]
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + data + b"\r\n" for data in files.values()) + f"--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    answer = server.tried("POST", ("studies",), headers, body, read=_told, good=(200, 202, 409))
    server.close()
    stored = {value(item, INSTANCE) for item in _items(answer, STORED)}
    failed = len(_items(answer, FAILED))
    if failed or stored != set(files):
        raise UsageError(
            "E_SEND_STORED",
            f"{len(files)} objects were sent, and the PACS counts {len(stored & set(files))} as stored and {failed} as refused",
            "as many as were sent",
            "Ask whoever runs it whether it takes segmentations (SEG) and reports (SR); then send again",
        )


def _told(answer: Answer) -> dict[str, Any]:
    if "json" not in answer.kind.get_content_type():
        raise foreign()
    try:
        told = json.loads(answer.body)
    except ValueError:
        raise Broken("an answer that is cut") from None
    told = told[0] if isinstance(told, list) and told else told
    if not isinstance(told, dict):
        raise foreign()
    return told


def _items(answer: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    found = answer.get(tag)
    items = found.get("Value") if isinstance(found, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
