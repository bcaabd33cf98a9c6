"""A Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    """Two nodes with a CPU each; they end before other tests, whose processes would end with a node."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")  # tests do not use the network
        from ray.cluster_utils import Cluster

        # nodes of a busy machine answer late; this process would end if one were declared dead
        patient = {"health_check_initial_delay_ms": 60_000, "health_check_timeout_ms": 60_000}
        nodes = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": patient},
        )
        nodes.add_node(num_cpus=1)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
        yield nodes
        ray.shutdown()
        nodes.shutdown()
