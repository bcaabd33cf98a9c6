"""The emulator detects missing barriers, races and invalid exchanges."""

from __future__ import annotations

import numpy as np
import pytest

from emulated_device import ORDERS, EmulatedDevice

pytestmark = pytest.mark.slow
THREADS = 96


def launch(text: str, *arguments: object, order: str = "forward", blocks: int = 2, threads: int = THREADS) -> None:
    EmulatedDevice(order).compiled(text, "tested")(blocks, threads, *arguments)


def zeros(size: int = THREADS, dtype: str = "float32") -> np.ndarray:
    return EmulatedDevice().xp.zeros(size, dtype)


def results(text: str, *arguments: object, dtype: str = "float32", blocks: int = 1) -> list[list[float]]:
    """Return what a kernel writes to its first argument, for each order of the threads."""
    found = []
    for order in ORDERS:
        out = zeros(THREADS * blocks, dtype)
        launch(text, out, *arguments, order=order, blocks=blocks)
        found.append(out.tolist())
    return found


MIRROR = """
extern "C" __global__ void __launch_bounds__(96) tested(float *out) {
  __shared__ float values[96];
  values[threadIdx.x] = blockIdx.x * blockDim.x + threadIdx.x;
  BARRIER
  out[blockIdx.x * blockDim.x + threadIdx.x] = values[95 - threadIdx.x];
}
"""


def test_barrier_separates_writing_from_reading() -> None:
    expected = np.arange(2 * THREADS).reshape(2, THREADS)[:, ::-1].ravel().tolist()
    assert results(MIRROR.replace("BARRIER", "__syncthreads();"), blocks=2) == [expected] * len(ORDERS)


def test_missing_barrier_gives_results_that_depend_on_the_order() -> None:
    found = results(MIRROR.replace("BARRIER", ""))
    assert not np.array_equal(found[0], found[1], equal_nan=True)


def test_shared_memory_and_registers_start_with_garbage() -> None:
    out = zeros()
    launch(
        """extern "C" __global__ void tested(float *out) {
  __shared__ float values[96];
  float own[4];
  out[threadIdx.x] = threadIdx.x % 2 ? values[threadIdx.x] : own[threadIdx.x % 4];
  values[threadIdx.x] = 0.0f;
}""",
        out,
    )
    assert np.isnan(out[1::2]).all()
    assert (np.abs(out[::2]) > 1e30).all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "if (threadIdx.x < 32) {\n__syncthreads();\n} else {\n__syncthreads();\n}",
            r"tested, block 0, thread 32: waits at .* line 5, while thread 0 waits at .* line 3",
        ),
        ("if (threadIdx.x == 3) return;\n__syncthreads();", r"thread 3: returned, while thread 0 waits at .* line 3"),
        (
            "out[0] = threadIdx.x < 5 ? __shfl_sync(0xffffffffu, 1.0f, 0) : 0.0f;",
            r"thread 0: waits for lanes that do not arrive, .* line 2",
        ),
        (
            "if (threadIdx.x % 2)\n__syncwarp();\nelse\n__syncwarp();",
            r"thread 1: its warp diverged: it waits at .* line 3, thread 0 at .* line 5",
        ),
        ("if (threadIdx.x == 7) __syncwarp(1u);", "thread 7: its lane is not in the mask"),
        (
            "if (threadIdx.x < 4) out[0] = __shfl_sync(15u, 1.0f, 9);",
            "thread 0: reads from lane 9, which is not in the mask",
        ),
    ],
)
def test_divergence_is_an_error(body: str, message: str) -> None:
    text = f'#line 1 "tested.cu"\nextern "C" __global__ void tested(float *out) {{\n{body}\n}}'
    with pytest.raises(AssertionError, match=message):
        launch(text, zeros())


def test_masks_contain_existing_lanes_only() -> None:
    with pytest.raises(AssertionError, match="lanes that do not exist"):
        launch('extern "C" __global__ void tested(int n) { __syncwarp(); }', np.int32(0), threads=40)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("__shfl_sync(0xffffffffu, lane, 5)", lambda lane: 5),
        ("__shfl_sync(0xffffffffu, lane, 5, 8)", lambda lane: lane // 8 * 8 + 5),
        ("__shfl_down_sync(0xffffffffu, lane, 4)", lambda lane: lane + 4 if lane < 28 else lane),
        ("__shfl_up_sync(0xffffffffu, lane, 4, 16)", lambda lane: lane - 4 if lane % 16 >= 4 else lane),
        ("__shfl_xor_sync(0xffffffffu, lane, 12)", lambda lane: lane ^ 12),
        ("(int)__ballot_sync(0xffffffffu, lane == 1 || lane == 4)", lambda lane: 18),
        ("__any_sync(0xffffffffu, lane == 7)", lambda lane: 1),
        ("__all_sync(0xffffffffu, lane < 31)", lambda lane: 0),
        ("__all_sync(0xffffffffu, lane < 32)", lambda lane: 1),
        ("__syncthreads_count(lane < 5)", lambda lane: 15),
        ("__syncthreads_or(threadIdx.x == 70)", lambda lane: 1),
        ("__syncthreads_and(threadIdx.x < 95)", lambda lane: 0),
    ],
)
def test_exchanges_are_those_of_cuda(expression: str, expected) -> None:
    text = f"""extern "C" __global__ void tested(int *out) {{
  const int lane = threadIdx.x % 32;
  out[threadIdx.x] = {expression};
}}"""
    assert results(text, dtype="int32") == [[int(expected(t % 32)) for t in range(THREADS)]] * len(ORDERS)


def test_exchanges_take_values_of_8_bytes() -> None:
    out = zeros(dtype="float64")
    launch(
        """extern "C" __global__ void tested(double *out) {
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x + 1e-12, 1);
}""",
        out,
    )
    np.testing.assert_array_equal(out.view(np.ndarray), (np.arange(THREADS) ^ 1) + 1e-12)


TAKES = """extern "C" __global__ void tested(const float *__restrict__ a, int *b, long long n, float x) {
  if (threadIdx.x == 0) b[0] = (int)(n + x + a[0]);
}"""


def test_arguments_are_passed_by_the_signature() -> None:
    out = zeros(1, "int32")
    launch(TAKES, zeros() + np.float32(3), out, np.int64(1 << 20), np.float32(4))
    assert out[0] == (1 << 20) + 7


@pytest.mark.parametrize(
    ("n", "wrong", "message"),
    [
        (0, np.zeros(3, "float32"), "ndarray instead of an array of the device"),
        (0, zeros(3, "float64"), "float64 instead of float32"),
        (0, zeros(6)[::2], "not contiguous"),
        (2, 3, "int instead of a NumPy scalar"),
        (2, np.int32(3), "int32 instead of int64"),
    ],
)
def test_arguments_of_other_types_are_errors(n: int, wrong: object, message: str) -> None:
    arguments: list[object] = [zeros(), zeros(1, "int32"), np.int64(1), np.float32(4)]
    arguments[n] = wrong
    with pytest.raises(AssertionError, match=f"tested, argument {n}: {message}"):
        launch(TAKES, *arguments)


def test_arrays_of_device_and_host_do_not_mix() -> None:
    device, host = zeros(3), np.zeros(3, "float32")
    xp = EmulatedDevice().xp
    for mixed in (lambda: device + host, lambda: xp.dot(device, host), lambda: np.concatenate([device, device])):
        with pytest.raises(TypeError, match="device"):
            mixed()
    assert type(xp.matmul(device, device)) is type(device)
    assert type(EmulatedDevice().asnumpy(device)) is np.ndarray
