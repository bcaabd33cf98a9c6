"""Sessions of Spark for tests, if it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from typing import Any, Literal, get_args

import pytest

Kind = Literal["connect", "executors", "local"]  # so that files that follow each other share one
KINDS: tuple[Kind, ...] = get_args(Kind)
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -Xss8m"  # compiles in little time, to code with larger stacks
OPTIONS = {
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.extraJavaOptions": JAVA_OPTIONS,
    "spark.executor.extraJavaOptions": JAVA_OPTIONS,
}
_sessions: dict[Kind, Any] = {}  # at most one: all contexts of a process share a JVM, one after the other


def missing() -> str | None:
    """Return the reason why Spark cannot run here, or None."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed"
    java = shutil.which("java") if "JAVA_HOME" not in os.environ else f"{os.environ['JAVA_HOME']}/bin/java"
    if java is None:
        return "Java is not installed"
    found = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', found)
    return None if version is not None and int(version[1]) >= 17 else "Java 17 or later is not installed"


def require_spark() -> None:
    """Skip a test, or let it fail in the continuous integration, where Spark is not installed."""
    reason = missing()
    if reason is not None and os.environ.get("HALFSTEP_TEST_SERVICES") == "required":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


def spark_session(kind: Kind) -> Any:
    """Return the session of this kind, and stop that of another kind."""
    if kind not in _sessions:
        stop()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _sessions[kind] = _started(kind)
    return _sessions[kind]


def _started(kind: Kind) -> Any:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for name, value in OPTIONS.items():
        builder = builder.config(name, value)
    match kind:
        case "local":
            builder = builder.master("local[2]")
        case "executors":
            builder = builder.master("local-cluster[2,1,1024]")
        case "connect":
            os.environ["SPARK_TESTING"] = "1"  # any free port
            builder = builder.remote("local[2]")
    return builder.getOrCreate()


def stop() -> None:
    """Stop the current session."""
    while _sessions:
        _, spark = _sessions.popitem()
        spark.stop()
