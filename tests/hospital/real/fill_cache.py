"""Fill roc-validator's cache with the one document that it asks the network for, so that it needs none.

Runs in the folder of programs, where rocrate brings the context of RO-Crate 1.3. What is the same in 1.1 is taken from it: its
terms of Bioschemas have another address there, and sha256 is no term. usage: fill_cache.py CACHE
"""

import json
import sys
from io import BytesIO
from pathlib import Path

import requests
import rocrate
from requests.adapters import BaseAdapter, HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

URL = "https://w3id.org/ro/crate/1.1/context"
CONTEXT = Path(rocrate.__file__).with_name("data") / "ro-crate.jsonld"


class Local(BaseAdapter):
    """Answers with the context, whatever is asked."""

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:
        context = json.loads(CONTEXT.read_text(encoding="utf-8"))
        del context["@context"]["sha256"]
        text = json.dumps(context).replace("https://bioschemas.org/terms/", "https://bioschemas.org/")
        body = BytesIO(text.replace("crate/1.3", "crate/1.1").encode())
        head = {"Content-Type": "application/ld+json"}
        raw = HTTPResponse(body, head, 200, preload_content=False, request_method="GET", request_url=URL)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        pass


if __name__ == "__main__":
    session = CachedSession(sys.argv[1], expire_after=-1, allowable_methods=("GET",), allowable_codes=(200,))
    session.mount("https://", Local())
    session.get(URL).raise_for_status()
