"""Metrics for Prometheus."""

from __future__ import annotations

import os
import time
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where several processes of a server keep their values
LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The metrics of a server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "halfstep_request_seconds",
            "Time to answer a request.",
            ["route", "method", "status"],
            buckets=LATENCIES,
            registry=registry,
        )
        self.events = Counter("halfstep_events", "Events received, by result.", ["result"], registry=registry)
        self.lists = Counter("halfstep_lists", "Lists of recommendations that were served.", registry=registry)
        self.hits = Counter("halfstep_attributed_events", "Events with a list_id.", registry=registry)

        def gauge(name: str, text: str, across: Literal["livemax", "livemin", "livesum"]) -> Gauge:
            return Gauge(name, text, multiprocess_mode=across, registry=registry)

        self.lag = gauge("halfstep_lag_events", "Events in the log that the model has not learned from.", "livemax")
        self.offset = gauge("halfstep_learned_offset", "Offset up to which the model has learned.", "livemin")
        self.refused = gauge("halfstep_refused_events", "Events that the model could not learn from.", "livemax")
        loaded = "halfstep_model_loaded_timestamp_seconds"
        self.model_loaded = gauge(loaded, "When the served model was loaded.", "livemin")
        self.waiting = gauge("halfstep_waiting_events", "Events waiting to be written to the log.", "livesum")
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, route: str, method: str, status: int, began: float) -> None:
        """Record a request that began at this value of `time.perf_counter`."""
        key = route, method, status
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(route, method, str(status))
        child.observe(time.perf_counter() - began)

    def exposition(self) -> bytes:
        """Return the metrics of all processes of this server in the text format of Prometheus."""
        registry = self._registry
        if SHARED_FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
