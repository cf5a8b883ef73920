"""JSON over HTTP: one connection a thread, patience with a busy server, a sentence for the rest.

http.client and nothing more: it comes with Python, keeps a connection open, and follows no
redirect, with which a key would go to somebody else. It knows no proxies.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from qaqfilter import BackendError

logger = logging.getLogger(__name__)

BUSY = frozenset({429, 502, 503, 504})
LONGEST_WAIT = 60.0
"""Seconds between two tries."""
MOST_SHOWN = 300
"""Characters of a server's own words in a message."""


class ServerError(BackendError):
    """The server did not give what was asked for; `status` is HTTP's, 0 where there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """`url` is http or https, without a slash at its end. `key` goes along as a bearer token.

    May be used from several threads.
    """

    def __init__(self, url: str, key: str | None, *, timeout: float, retries: int) -> None:
        self.url = url
        self._key, self._timeout, self._retries = key, timeout, retries
        parts = urlsplit(url)
        self._kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path
        self._own = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._reached = False

    def ask(self, path: str, body: object | None = None) -> Any:
        """What the server says at `path`, parsed; with a body it is a POST. Raises ServerError."""
        status, text = self._patiently(path, body)
        if status != http.HTTPStatus.OK:
            raise ServerError(self._refusal(path, status, text), status)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ServerError(
                f"{self.url}{path} does not answer in JSON ({error}): {self._shown(text)}; is this "
                "a completions server?"
            ) from error

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    def _patiently(self, path: str, body: object | None) -> tuple[int, bytes]:
        """Status and text of the first answer that is not "busy"."""
        problem, wait, tries = "", 0.0, self._retries + 1
        for attempt in range(tries):
            if attempt:
                logger.warning("%s: %s; again in %.1f s", self.url, problem, wait)
                time.sleep(wait)
            wait = min(LONGEST_WAIT, 0.5 * 2**attempt)
            try:
                status, text, after = self._once(path, body)
            except TimeoutError as error:
                raise ServerError(
                    f"{self.url}{path} gave no answer within {self._timeout:g} s; give it a longer "
                    "`timeout`, or less to do at once: `batch_tokens`"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}".rstrip(": ")
                if not self._reached:
                    raise ServerError(
                        f"{self.url} cannot be reached ({problem}); is the server running, and the "
                        "address right?"
                    ) from error
            else:
                self._reached = True
                if status not in BUSY:
                    return status, text
                problem, wait = f"HTTP {status}", wait if after is None else after
        raise ServerError(
            f"{self.url}{path} failed {tries} time{'s' * (tries > 1)} in a row, at last with "
            f"{problem}; what was scored is in the score store: run it again when it is back"
        )

    def _once(self, path: str, body: object | None) -> tuple[int, bytes, float | None]:
        """Status, text, and how long the server says to wait."""
        headers = {"Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        payload = None
        if body is not None:
            # JSON may escape half a surrogate pair, which UTF-8 cannot hold.
            payload = json.dumps(body).encode("ascii")
            headers["Content-Type"] = "application/json"
        method = "POST" if body is not None else "GET"
        connection = self._connection()
        while True:
            used = connection.sock is not None
            try:
                connection.request(method, self._path + path, payload, headers)
                answer = connection.getresponse()
                text = answer.read()
                break
            except BaseException as error:
                connection.close()  # half an answer may still come; the next request opens it anew
                # Servers hang up on who was silent for some seconds: that is no failure.
                if not (used and isinstance(error, ConnectionError)):
                    raise
        return answer.status, text, _seconds(answer.headers.get("Retry-After"))

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._kind(self._host, self._port, timeout=self._timeout)
            self._own.connection = found
            with self._lock:
                self._open.append(found)
        return found

    def _refusal(self, path: str, status: int, text: bytes) -> str:
        said = self._shown(text)
        if status in (401, 403):
            sent = "refuses the key" if self._key is not None else "wants a key"
            return (
                f"{self.url} {sent} (HTTP {status}); put the key into QAQFILTER_COMPLETIONS_KEY, "
                "and the server's address into QAQFILTER_COMPLETIONS_SERVER"
            )
        if 300 <= status < 400:
            return (
                f"{self.url}{path} is somewhere else (HTTP {status}); write that address as `url`"
            )
        return f"{self.url}{path} answered HTTP {status}: {said}"

    def _shown(self, text: bytes) -> str:
        """The server's own words: on one line, not many, and without the key."""
        words = text.decode("utf-8", "replace")
        try:
            told = json.loads(words)
            told = told.get("error", told)
            words = str(told.get("message") or told.get("detail") or words)
        except (ValueError, AttributeError, RecursionError):
            pass
        if self._key:
            words = words.replace(self._key, "(the key)")
        words = " ".join(words.split())
        return words if len(words) <= MOST_SHOWN else f"{words[:MOST_SHOWN]} ..."


def _seconds(value: str | None) -> float | None:
    """Retry-After as seconds; its other form, a date, counts as none."""
    try:
        return min(LONGEST_WAIT, max(0.0, float(value or "")))
    except ValueError:
        return None
