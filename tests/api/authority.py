"""Certificates for the tests, made by openssl: an authority, a server, clients; one of another authority, one that has expired."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import peers


class Authority:
    """`folder/NAME/{ca,cert,key}.pem` for each name it was asked for: the layout of DOCKER_CERT_PATH."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = folder / "ca.pem", folder / "ca-key.pem"
        self._run(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", str(self.key), "-out", str(self.certificate)),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"),
        )

    def issue(self, name: str, *, server: bool = False, expired: bool = False) -> Path:
        """A folder with the certificate, its key, and the authority."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "ca.pem").write_bytes(self.certificate.read_bytes())
        extensions = folder / "extensions"
        extensions.write_text(
            f"extendedKeyUsage={'serverAuth' if server else 'clientAuth'}\nbasicConstraints=CA:FALSE\n"
            + ("subjectAltName=DNS:localhost,IP:127.0.0.1\n" if server else "")
        )
        self._run(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/O=tests/CN={name}"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "request")),
        )
        # `x509` takes a negative number of days: the end lies before the beginning, and both in the past.
        self._run(
            *("x509", "-req", "-in", str(folder / "request"), "-CA", str(self.certificate), "-CAkey", str(self.key)),
            *("-CAcreateserial", "-days", "-1" if expired else "1", "-extfile", str(extensions), "-out", str(folder / "cert.pem")),
        )
        return folder

    def _run(self, *words: str) -> None:
        subprocess.run([peers.need("openssl", "openssl"), *words], check=True, capture_output=True)
