"""Errors of the API as problem details (RFC 9457): the field, its value, and the remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import Response

MEDIA_TYPE = "application/problem+json"


class FieldError(NamedTuple):
    """What is wrong with a field of a request."""

    field: str
    value: str
    message: str


class ProblemError(Exception):
    """An error that is sent as the response to a request.

    Parameters
    ----------
    detail : str
        What is wrong, and the remedy.
    """

    def __init__(
        self, status: int, detail: str, errors: Sequence[FieldError] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers or {}

    def body(self) -> bytes:
        """Return the problem details as JSON."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = [error._asdict() for error in self.errors]
        return json.dumps(content).encode()

    def response(self) -> Response:
        """Return the response."""
        return Response(self.body(), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def of_field(field: str, value: str, message: str, status: int = 422) -> ProblemError:
    """Return the error about one field."""
    return ProblemError(status, f"{field}: {message}", [FieldError(field, value, message)])
