"""API keys: random strings with scopes; only their digests are stored."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from halfstep._support.files import write_atomically
from halfstep.errors import DataError, ParameterError
from halfstep.serve.signature import Signature

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "hs_"  # by which secret scanners recognize keys
CHECK_SECONDS = 1.0  # between checks whether the file has changed


@dataclass(frozen=True)
class Key:
    """A stored key.

    Attributes
    ----------
    name : str
    digest : str
        SHA-256 of the key. A salt is not needed, because keys have 256 random bits.
    scopes : tuple of {"read", "write", "admin"}
        "admin" includes the others.
    """

    name: str
    digest: str
    scopes: tuple[Scope, ...]

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has a scope."""
        return scope in self.scopes or "admin" in self.scopes


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Parse scopes that are separated by commas."""
    given = [part.strip() for part in text.split(",")]
    for each in given:
        if each not in SCOPES:
            raise ParameterError(f"the scope {each!r} is unknown: choose from {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in given)


def read_keys(path: Path) -> list[Key]:
    """Read a file of keys.

    Raises
    ------
    DataError
        If the file is invalid.
    OSError
        If the file cannot be read.
    """
    try:
        stored = json.loads(path.read_text())
        if not isinstance(stored, list):
            raise TypeError
        keys = [Key(each["name"], each["sha256"], tuple(each["scopes"])) for each in stored]
        valid = all(len(bytes.fromhex(key.digest)) == 32 and {*key.scopes} <= {*SCOPES} for key in keys)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is not a valid file of keys ({type(error).__name__}): delete it, and add keys with halfstep "
            "keys add"
        ) from None
    if not valid:
        raise DataError(
            f"{path} has a key with an invalid digest or scope: delete the file, and add keys with halfstep keys add"
        )
    return keys


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Write a file of keys that only its owner can read."""
    stored = [{"name": key.name, "sha256": key.digest, "scopes": list(key.scopes)} for key in keys]
    is_new = not path.exists()
    write_atomically(path, (json.dumps(stored, indent=1) + "\n").encode())
    if is_new:
        path.chmod(0o600)


def add_key(path: Path, name: str, scopes: Sequence[Scope]) -> str:
    """Create a key, add its digest to a file, and return the key, which is not stored."""
    if not name.strip():
        raise ParameterError(f"the name of the key is {name!r}: give a name, such as that of its application")
    keys = read_keys(path) if path.exists() else []
    if any(key.name == name for key in keys):
        raise ParameterError(f"{path} already has a key named {name!r}: remove it first, or choose another name")
    key = PREFIX + secrets.token_urlsafe(32)
    write_keys(path, [*keys, Key(name, _digest(key), tuple(scopes))])
    return key


def remove_key(path: Path, name: str) -> None:
    """Remove a key from a file; running servers refuse it after about a second."""
    keys = read_keys(path)
    kept = [key for key in keys if key.name != name]
    if len(kept) == len(keys):
        names = ", ".join(repr(key.name) for key in keys)
        remedy = f"give one of {names}" if keys else "it has no keys"
        raise ParameterError(f"{path} has no key named {name!r}: {remedy}")
    write_keys(path, kept)


class KeyRing:
    """The keys of a server, which are read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature: Signature | None = Signature.of(path)  # before the keys, in case the file is replaced
        self._keys = read_keys(path)
        self._checked = time.monotonic()

    def find(self, key: str) -> Key | None:
        """Return the stored key with the digest of this one; None if there is none.

        A valid key takes as long as an invalid one: all digests are compared, each in constant time.
        """
        self._refresh()
        digest, found = _digest(key), None
        for each in self._keys:
            if hmac.compare_digest(each.digest, digest):
                found = each
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        try:
            signature = Signature.of(self._path)
            if signature != self._signature:
                self._keys, self._signature = read_keys(self._path), signature
        except (OSError, DataError):
            self._keys, self._signature = [], None  # refuse all keys, because any of them may have been revoked


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
