"""Bytes that only a key opens: AES-256-GCM, a nonce of its own each time, bound to the place where they rest.

Knows nothing of what is sealed, nor of where keys are kept.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from safelight.errors import Damaged

KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
SEALED_BYTES = NONCE_BYTES + TAG_BYTES  # that closing adds

# Bytes for one process alone, by a public key whose private half is in that process's memory (HPKE, RFC 9180).
FOR_ONE_PROCESS = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Seal:
    """One key. What was closed for one place cannot be opened as if it had been found in another."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._cipher = AESGCM(key)

    @classmethod
    def new(cls) -> Seal:
        return cls(os.urandom(KEY_BYTES))

    def close(self, data: bytes, place: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Raises Damaged for what was not closed with this key, for this place, as it is."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            raise Damaged from None
