"""Modules of frameworks that are not installed name the command that installs them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, sys
for package in ("sklearn", "mlflow", "lenskit", "rectools"):
    sys.modules[package] = None
    try:
        importlib.import_module(f"halfstep.integrations.{package}")
    except ModuleNotFoundError as error:
        print(error.name, error)
"""


def test_the_command_is_named() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        "sklearn halfstep.integrations.sklearn requires scikit-learn: run pip install 'scikit-learn>=1.6'",
        "mlflow halfstep.integrations.mlflow requires MLflow: run pip install mlflow",
        "lenskit halfstep.integrations.lenskit requires LensKit: run pip install lenskit",
        "rectools halfstep.integrations.rectools requires RecTools: run pip install rectools",
    ]
