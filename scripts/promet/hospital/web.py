"""DICOMweb over HTTP: one request, tried again where that may help, and never a word of what it was about.

A PACS says many things without an error: a stream that ends early, a list that is cut at a limit. What comes back from
``Server`` is whole by HTTP's own means; whether the content is whole is asked where it is read.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from promet.core.errors import Interrupted, UsageError

TOKEN = "PROMET_PACS_TOKEN"
TRIES = 4  # the first and three more
PAUSE_S = 0.5  # before the second; doubled each time
TIMEOUT_S = 60.0
PAGE = 100  # entries asked for at a time
UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")
LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1")
REDIRECTS = (301, 302, 303, 307, 308)
AGAIN = (408, 425, 429)  # too slow, too early, too often


class Broken(Exception):
    """An answer that is not whole, or none; the next one may be."""


@dataclass(frozen=True)
class Answer:
    """Status, kind of content (``multipart/related`` and so on, with its parameters) and the whole body."""

    status: int
    kind: Message
    body: bytes


class Server:
    """A DICOMweb service.

    Args:
        base: its address, ``https://host/dicom-web``.
        pause: seconds before a second try, doubled before each further one.
        timeout: seconds without a byte after which a try has failed.

    Raises:
        UsageError: E_PACS_ADDRESS, E_PACS_TOKEN, E_PACS_PLAIN.
    """

    def __init__(self, base: str, pause: float = PAUSE_S, timeout: float = TIMEOUT_S) -> None:
        self._base, self._pause, self._timeout = _address(base), pause, timeout
        self._headers = _credentials(self._base)
        self._line: http.client.HTTPConnection | None = None

    def ask(self, *path: str, key: tuple[str, ...], **filters: str) -> list[dict[str, Any]]:
        """Every entry of a list (QIDO-RS), page by page until a page brings nothing new.

        Args:
            path: parts of the address below the base.
            key: tags whose values tell two entries apart.
            filters: what an entry must be, and ``includefield``.

        Returns:
            entries in DICOM's JSON, none twice; a service that pays no heed to ``offset`` repeats its first page.
        """
        found: dict[tuple[str, ...], dict[str, Any]] = {}
        while True:
            words = {**filters, "limit": str(PAGE), "offset": str(len(found))}
            page = self.tried("GET", path, {"Accept": "application/dicom+json"}, query=words, read=_entries)
            new = {
                name: entry
                for entry in page
                if (name := tuple(value(entry, tag) for tag in key)) not in found
            }
            if not new:
                return list(found.values())
            found |= new

    def tried(
        self,
        method: str,
        path: tuple[str, ...],
        headers: dict[str, str],
        body: bytes | None = None,
        query: dict[str, str] | None = None,
        read: Callable[[Answer], Any] = lambda answer: answer,
        good: tuple[int, ...] = (200, 204),
    ) -> Any:
        """``read`` of the answer; a broken one (``Broken``, or another status than ``good``) is asked for again.

        Raises:
            Interrupted: E_PACS_SILENT, after the last try.
            UsageError: what the service refuses, and trying again would not help.
        """
        target = "/".join((self._base.path.rstrip("/"), *(quote(part, safe="") for part in path)))
        target += f"?{urlencode(query)}" if query else ""
        why = ""
        for number in range(TRIES):
            if number:
                time.sleep(self._pause * 2 ** (number - 1))
            try:
                return read(_judged(self._once(method, target, headers, body), good))
            except Broken as error:
                why = str(error)
                self.close()
        raise Interrupted(
            "E_PACS_SILENT",
            f"The PACS gave no whole answer in {TRIES} tries ({why})",
            "",
            "Wait until it answers; then the same command goes on",
        )

    def close(self) -> None:
        """End the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _once(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> Answer:
        for _ in range(4):
            response, content = self._exchange(method, target, headers, body)
            if response.status not in REDIRECTS:
                return Answer(response.status, response.headers, content)
            target = self._within(target, response.headers.get("Location", ""))
        raise Broken("it redirects in a circle")

    def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            if self._line is None:
                self._line = _connection(self._base, self._timeout)
            self._line.request(method, target, body, {**headers, **self._headers})
            response = self._line.getresponse()
            return response, response.read()
        except ssl.SSLCertVerificationError as error:
            raise UsageError(
                "E_PACS_TLS",
                "The certificate of the PACS is not to be trusted",
                "one of an authority that this system knows",
                "Ask for the hospital's own authority and name its file in SSL_CERT_FILE",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            # Without the error's text: it may quote what was sent.
            words = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise Broken(words) from None

    def _within(self, target: str, location: str) -> str:
        """The target that a redirect names, on this very host."""
        origin = f"{self._base.scheme}://{self._base.netloc}"
        url = urlsplit(urljoin(origin + target, location))
        if f"{url.scheme}://{url.netloc}".lower() != origin.lower() or not location:
            raise UsageError(
                "E_PACS_REDIRECT",
                "The PACS sends the request on to another host",
                "an answer of its own: a token goes to nobody else",
                "Give the address where it answers itself",
            )
        return url.path + (f"?{url.query}" if url.query else "")


def _address(base: str) -> SplitResult:
    try:
        url = urlsplit(base)
        good = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        good = False
    if not good or url.username is not None or url.query or url.fragment or not base.isascii():
        raise UsageError(
            "E_PACS_ADDRESS",
            "The address of the PACS is none of a DICOMweb service",
            "https://HOST/PATH, without a user name, a question mark or a hash",
            f"Credentials belong into the environment variable {TOKEN}",
        )
    return url


def _credentials(base: SplitResult) -> dict[str, str]:
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        return {}
    if not re.fullmatch(r"[\x21-\x7e]+(?: [\x21-\x7e]+)?", token):
        raise UsageError(
            "E_PACS_TOKEN",
            f"{TOKEN} holds something else than a token",
            "a token, or a scheme and its credentials with one blank between them, in plain letters",
        )
    if base.scheme == "http" and not LOOPBACK.fullmatch(base.hostname or ""):
        raise UsageError(
            "E_PACS_PLAIN",
            f"{TOKEN} would go over the network unencrypted",
            "an address that begins with https",
            "Ask for the encrypted address, or set no token where the PACS wants none",
        )
    return {"Authorization": token if " " in token else f"Bearer {token}"}


def _connection(base: SplitResult, timeout: float) -> http.client.HTTPConnection:
    host, port = base.hostname or "", base.port
    if base.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=timeout)


def _judged(answer: Answer, good: tuple[int, ...]) -> Answer:
    """The answer, if its status is one of ``good``."""
    status = answer.status
    if status in good:
        return answer
    if status in (401, 403):
        raise UsageError(
            "E_PACS_DENIED",
            f"The PACS does not let this user in (HTTP {status})",
            f"credentials in the environment variable {TOKEN}",
            "Ask whoever runs it for a token that may search and retrieve, or store for promet send",
        )
    if status in (404, 410):
        raise UsageError(
            "E_PACS_UNKNOWN",
            f"The PACS does not know what was asked for (HTTP {status})",
            "the address of its DICOMweb service, and images that it has where it lists them",
            "Check the address; where it lists what it has lost, ask whoever runs it",
        )
    if status in AGAIN or status >= 500 or status < 300:
        raise Broken(f"HTTP {status}")
    raise UsageError(
        "E_PACS_REFUSED",
        f"The PACS refuses the request (HTTP {status})",
        "a DICOMweb service: QIDO-RS and WADO-RS, for promet send STOW-RS",
        "Check the address, and ask whoever runs it what it offers",
    )


def _entries(answer: Answer) -> list[dict[str, Any]]:
    """The entries of a list; none where there is no content."""
    if answer.status == 204:
        return []
    if "json" not in answer.kind.get_content_type():
        raise foreign()
    try:
        entries = json.loads(answer.body)
    except ValueError:
        raise Broken("a list that is cut") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise foreign()
    return entries


def foreign() -> UsageError:
    """Something answers that is no DICOMweb service."""
    return UsageError(
        "E_PACS_FOREIGN",
        "What answers at this address is no DICOMweb service",
        "lists as application/dicom+json, images as multipart/related",
        "Check the address; a page to log in at is none",
    )


def value(entry: dict[str, Any], tag: str) -> str:
    """The first value of an element in DICOM's JSON as text, '' when there is none."""
    found = entry.get(tag)
    values = found.get("Value") if isinstance(found, dict) else None
    first = values[0] if isinstance(values, list) and values else ""
    return str(first).strip() if isinstance(first, str | int | float) else ""


def uid(entry: dict[str, Any], tag: str) -> str:
    """A UID of an entry.

    Raises:
        UsageError: E_PACS_FOREIGN: there is none, or it is none, and would become a part of an address.
    """
    found = value(entry, tag)
    if not UID.fullmatch(found) or len(found) > 64:
        raise foreign()
    return found


def number(entry: dict[str, Any], tag: str) -> int | None:
    """A count of an entry; None where it is not told."""
    found = value(entry, tag)
    return int(found) if found.isdecimal() else None
