"""Prometheus metrics: HTTP latencies measured here, everything else read from the database when it is scraped.

Workers, on this machine or another, report through their heartbeat rows, so one scrape sees the whole house.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from safelight.records import Statistics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The server's registry. ``page`` is what ``/metrics`` answers."""

    def __init__(self, statistics: Callable[[], Awaitable[Statistics]]) -> None:
        self._statistics = statistics
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "safelight_http_seconds", "Time from request to the end of the reply.",
            ["method", "route", "status"], buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip

    async def page(self) -> bytes:
        snapshot = CollectorRegistry()
        snapshot.register(_Snapshot(await self._statistics()))
        return generate_latest(self._registry) + generate_latest(snapshot)

    def measured(self, application: Application) -> Application:
        """The same application, timed by route template, so that ids never become labels."""

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await application(scope, receive, send)
            began, status = time.perf_counter(), "500"

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            try:
                await application(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "(none)")
                self._seconds.labels(scope["method"], route, status).observe(time.perf_counter() - began)

        return call


class _Snapshot(Collector):
    def __init__(self, statistics: Statistics) -> None:
        self._now = statistics

    def collect(self) -> Iterable[Metric]:
        now = self._now
        yield GaugeMetricFamily("safelight_jobs_waiting", "Jobs accepted and not begun.", now.waiting)
        yield GaugeMetricFamily("safelight_jobs_running", "Jobs that a worker is on.", now.running)
        yield GaugeMetricFamily(
            "safelight_oldest_wait_seconds", "How long the oldest waiting job has waited.", now.oldest_wait
        )
        yield GaugeMetricFamily("safelight_workers_alive", "Workers with a fresh heartbeat.", len(now.workers))
        yield GaugeMetricFamily("safelight_blob_bytes", "Bytes of live pictures and inputs.", now.blob_bytes)
        yield GaugeMetricFamily("safelight_webhooks_waiting", "Webhooks not yet delivered.", now.webhooks_waiting)
        yield GaugeMetricFamily(
            "safelight_erasures_unverified", "Erasures whose bytes are not yet verified gone.", now.erasures_unverified
        )
        yield GaugeMetricFamily("safelight_files_without_row", "Files that no row is known of.", now.strays)
        yield GaugeMetricFamily("safelight_rows_without_file", "Rows whose file is not there.", now.lost)
        yield GaugeMetricFamily(
            "safelight_stocktaking_timestamp_seconds", "When files and rows were last compared.", now.stock_taken_at
        )
        yield CounterMetricFamily(
            "safelight_files_removed", "Files removed because rows and files were compared.", now.strays_removed
        )
        yield _by("safelight_jobs", "Jobs ended, by outcome.", "outcome", now.outcomes, CounterMetricFamily)
        yield _by("safelight_retries", "Jobs tried again, by reason.", "reason", now.retries, CounterMetricFamily)
        for name, help_text, field in _WORKER:
            values = {worker.name: getattr(worker, field) for worker in now.workers}
            yield _by(f"safelight_worker_{name}", help_text, "worker", values, GaugeMetricFamily)


_WORKER = (
    ("step_seconds", "Mean seconds of one model call, lately.", "step_seconds"),
    ("rows_per_tick", "Mean rows that share one model call, lately.", "rows_per_tick"),
    ("rows_waiting", "Rows admitted and not in the current call.", "rows_waiting"),
)


def _by(name: str, text: str, label: str, values: Mapping[str, float], family: type[Any]) -> Metric:
    metric = family(name, text, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric  # type: ignore[no-any-return]  # the family classes share no typed constructor
