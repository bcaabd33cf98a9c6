"""The threads of BLAS."""

from __future__ import annotations

from threadpoolctl import threadpool_info


def blas_threads() -> set[int]:
    """Return the numbers of threads of the BLAS libraries, without FAISS's, which has a limit for each thread."""
    return {
        pool["num_threads"]
        for pool in threadpool_info()
        if pool["user_api"] == "blas" and "faiss" not in pool["filepath"]
    }
