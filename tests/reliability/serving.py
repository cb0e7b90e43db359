"""The smallest registry that an image can be pulled from, in threads of the test's own process."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gorae.oci import media_type


class Shelf:
    """One image, `host/app:v1`, whose one layer has one file. `with Shelf() as shelf`."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[bytes, str]] = {"/v2/": (b"{}", "application/json")}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            info = tarfile.TarInfo("file")
            info.size = 100_000
            tar.addfile(info, io.BytesIO(bytes(100_000)))
        plain = buffer.getvalue()
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]}
        config = self._blob(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), media_type.OCI_CONFIG)
        layer = self._blob(gzip.compress(plain), media_type.OCI_LAYER_GZIP)
        manifest = {"schemaVersion": 2, "mediaType": media_type.OCI_MANIFEST, "config": config, "layers": [layer]}
        self.answers["/v2/app/manifests/v1"] = (json.dumps(manifest).encode(), media_type.OCI_MANIFEST)
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                data, kind = answers.get(self.path, (b"{}", ""))
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind or "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.name = f"127.0.0.1:{self._server.server_address[1]}/app"

    def __enter__(self) -> Shelf:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _blob(self, data: bytes, kind: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.answers[f"/v2/app/blobs/{digest}"] = (data, "application/octet-stream")
        return {"mediaType": kind, "digest": digest, "size": len(data)}
