"""The keys of tokens: PEM files that the operator names, never anything that a token brings along (`jwk`, `jku`, `x5c` are not
looked at).

    Ed25519   EdDSA        `gorae registry key` makes such a one
    P-256     ES256
    RSA       RS256        at least 2048 bits

An algorithm belongs to a key, not to a token: "none", or a public key taken for a shared secret, cannot happen.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gorae.errors import Conflict, InvalidArgument

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Trusted:
    """A public key: `identifier` is a token's `kid`."""

    identifier: str
    algorithm: str
    key: PublicKey


@dataclass(frozen=True)
class Signing:
    public: Trusted
    key: PrivateKey


def read_signing(path: str) -> Signing:
    data = _read(path)
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidArgument(f"key {path}: not a private key in PEM without a password: {error}") from error
    if not isinstance(key, PrivateKey):
        raise InvalidArgument(f"key {path}: neither Ed25519, P-256 nor RSA")
    return Signing(_trusted(key.public_key(), path), key)


def read_trusted(path: str) -> Trusted:
    data = _read(path)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidArgument(f"key {path}: not a public key in PEM: {error}") from error
    return _trusted(key, path)


def make(path: str) -> str:
    """A new Ed25519 key in a file that only its owner reads; answers the public half in PEM."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Conflict(f"{path} exists already: a key is never overwritten") from None
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from error
    with open(number, "wb") as file:
        file.write(pem)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _trusted(key: object, path: str) -> Trusted:
    if isinstance(key, ed25519.Ed25519PublicKey):
        algorithm = "EdDSA"
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        algorithm = "ES256"
    elif isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        algorithm = "RS256"
    else:
        raise InvalidArgument(f"key {path}: neither Ed25519, P-256 nor RSA of 2048 bits and more")
    raw = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Trusted(base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode(), algorithm, key)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"key {path}: {error.strerror}") from error
