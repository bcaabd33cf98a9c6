"""A client of ``halfstep serve`` that needs only the standard library.

Run it against a server of the model in docs/serve.md: ``python client.py http://localhost:8000``. If the server needs
keys, set ``HALFSTEP_KEY``.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any
from urllib.parse import quote, urlencode

TRY_AGAIN = (408, 429, 500, 503, 507)
ATTEMPTS = 8
LONGEST_PAUSE = 30.0  # seconds


class Client:
    """Sends events and asks for recommendations.

    Parameters
    ----------
    url : str
        The URL of the server, such as ``http://localhost:8000``.
    key : str, optional
        An API key with the scopes read and write.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def send(self, user: Any, item: Any, **fields: Any) -> int:
        """Store an event, and return its offset.

        The event has the same id in all attempts, so it counts once, even if only the answer of an attempt was lost.
        """
        event = {"event_id": str(uuid.uuid4()), "user": user, "item": item, "time": time.time(), **fields}
        return int(self._request("/v1/events", event)["offset"])

    def recommend(self, user: Any, n: int = 10, after: int | None = None) -> dict[str, Any]:
        """Return the list for a user; with `after`, from a model that has learned the events up to this offset."""
        parameters = {"n": n} if after is None else {"n": n, "after": after}
        return self._request(f"/v1/users/{quote(str(user), safe='')}/recommendations?{urlencode(parameters)}")

    def _request(self, path: str, body: Any = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(ATTEMPTS):
            pause = min(0.1 * 2**attempt, LONGEST_PAUSE)
            try:
                request = urllib.request.Request(self._url + path, data, self._headers)
                with urllib.request.urlopen(request, timeout=10) as answer:
                    found: dict[str, Any] = json.load(answer)
                    return found
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in TRY_AGAIN:  # sending the request again would not help
                        raise RuntimeError(json.load(error)["detail"]) from None
                pause = max(pause, float(error.headers.get("Retry-After", 0)))
                reason: object = error
            except (OSError, http.client.HTTPException) as error:  # the event may or may not be stored
                reason = error
            if attempt < ATTEMPTS - 1:
                time.sleep(pause)
        raise ConnectionError(f"{self._url} did not accept the request after {ATTEMPTS} attempts ({reason})")


def main() -> None:
    """Ask for a list, report that its first item was played, and ask again."""
    client = Client(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000", os.environ.get("HALFSTEP_KEY"))
    before = client.recommend("listener-001", n=3)
    print("before:", ", ".join(each["item"] for each in before["items"]))
    played = before["items"][0]["item"]
    offset = client.send("listener-001", played, type="play", list_id=before["list_id"])
    after = client.recommend("listener-001", n=3, after=offset)
    print(f"after playing {played}:", ", ".join(each["item"] for each in after["items"]))


if __name__ == "__main__":
    main()
