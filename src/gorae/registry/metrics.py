"""What is counted, in Prometheus' text format (exposition format 0.0.4).

    gorae_registry_requests_total{route,method,status}     counter
    gorae_registry_request_seconds{route}                  histogram
    gorae_registry_requests_in_flight                      gauge
    gorae_registry_received_bytes_total, …sent_bytes_total counter
    gorae_registry_collections_total{outcome}, …collected_blobs_total, …collected_bytes_total
    process_resident_memory_bytes, process_start_time_seconds

Labels come from our own route table, never from a request: a client cannot make series.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator

from gorae.registry.garbage import Report

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0)
PREFIX = "gorae_registry"
KIND = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    def __init__(self) -> None:
        self.in_flight = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._collections: defaultdict[str, int] = defaultdict(int)
        self._collected = [0, 0]
        self._started = time.time()

    def answered(self, route: str, method: str, status: int, seconds: float, sent: int) -> None:
        self._requests[route, method, status] += 1
        self._buckets[route][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds
        self.sent_bytes += sent

    async def received(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.received_bytes += len(chunk)
            yield chunk

    def collected(self, report: Report | None, *, failed: bool = False) -> None:
        self._collections["failed" if failed else "busy" if report is None else "done"] += 1
        if report is not None:
            self._collected[0] += report.deleted
            self._collected[1] += report.freed

    def text(self) -> str:
        lines: list[str] = []

        def family(name: str, kind: str, told: str, samples: list[tuple[str, float]]) -> None:
            lines.append(f"# HELP {name} {told}")
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(f"{name}{labels} {value:g}" if value < 1e6 else f"{name}{labels} {value:.0f}" for labels, value in samples)

        requests = [
            (f'{{route="{route}",method="{method}",status="{status}"}}', float(count))
            for (route, method, status), count in sorted(self._requests.items())
        ]
        family(f"{PREFIX}_requests_total", "counter", "Requests answered.", requests)
        family(f"{PREFIX}_request_seconds", "histogram", "Time to answer a request.", [])
        lines.extend(self._histogram())
        family(f"{PREFIX}_requests_in_flight", "gauge", "Requests under way.", [("", self.in_flight)])
        family(f"{PREFIX}_received_bytes_total", "counter", "Bytes of blobs received.", [("", self.received_bytes)])
        family(f"{PREFIX}_sent_bytes_total", "counter", "Bytes of bodies sent.", [("", self.sent_bytes)])
        outcomes = [(f'{{outcome="{word}"}}', float(count)) for word, count in sorted(self._collections.items())]
        family(f"{PREFIX}_collections_total", "counter", "Garbage collections.", outcomes)
        family(f"{PREFIX}_collected_blobs_total", "counter", "Blobs deleted by collections.", [("", self._collected[0])])
        family(f"{PREFIX}_collected_bytes_total", "counter", "Bytes freed by collections.", [("", self._collected[1])])
        family("process_resident_memory_bytes", "gauge", "Resident memory.", [("", resident())])
        family("process_start_time_seconds", "gauge", "When the process started.", [("", self._started)])
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        lines = []
        for route, counts in sorted(self._buckets.items()):
            total = 0
            for limit, count in zip((*BUCKETS, None), counts, strict=True):
                total += count
                lines.append(
                    f'{PREFIX}_request_seconds_bucket{{route="{route}",le="{limit if limit is not None else "+Inf"}"}} {total}'
                )
            lines.append(f'{PREFIX}_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'{PREFIX}_request_seconds_count{{route="{route}"}} {total}')
        return lines


def resident() -> int:
    """Bytes of memory that this process holds (proc(5), statm)."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
