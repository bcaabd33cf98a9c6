"""Half-steps on the emulated device, against those of the CPU and against themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

import halfstep as hs
from emulated_device import ORDERS, DeviceArray, EmulatedDevice
from halfstep.errors import DeviceError, NumericalError, ParameterError
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.cuda import row_lists, rows, session
from halfstep.solver.cuda.gram import gramian
from halfstep.solver.cuda.layout import SHAPES
from halfstep.solver.cuda.session import CudaBackend
from halfstep.solver.session import Backend, Side
from session_contract import Problems, start_of
from settings import SETTINGS, Setting, Table
from thorough import THOROUGH

pytestmark = pytest.mark.slow

EXACT = hs.solvers.Cholesky()
BIASED = next(each for each in SETTINGS if each.name == "signed-biased-missing")
UNBIASED = next(each for each in SETTINGS if each.name == "ials")


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    return EmulatedDevice()


@pytest.fixture(scope="module")
def table() -> Table:
    """A table with rows and columns of all lengths, some without observations."""
    rng = np.random.default_rng(0)
    observed = rng.random((40, 30)) < np.linspace(0.0, 1.0, 30)
    observed[3] = False
    return Table(observed, rng.integers(1, 6, observed.shape).astype(float))


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide rows of a small table into parts, some of which are longer than a batch."""
    monkeypatch.setattr(row_lists, "PART_LENGTH", 18)
    monkeypatch.setattr(rows, "PIECE_LENGTH", 7)


def problems_of(setting: Setting, table: Table, rank: int, dtype: str = "float32", reg: float = 0.7) -> Problems:
    return setting.half_problems(table, rank=rank, reg=reg, rho=2.0, dtype=dtype)


def solved(backend: Backend, problems: Problems, dtype: str = "float32") -> tuple[list[np.ndarray], list[float]]:
    """Return the factors, and the terms of the objective, after both half-steps."""
    with backend.open(*problems, start_of(problems, dtype)) as opened:
        for side in Side:
            opened.half_step(side, EXACT)
        terms = opened.terms()
        opened.accept()
        return [F[:, : problems[0].unknowns] for F in opened.factors()], list(terms)


def solved_users(backend: Backend, users: HalfProblem, items: HalfProblem) -> np.ndarray:
    """Return the factors of users after a half-step."""
    with backend.open(users, items, start_of((users, items), users.weights.dtype.name)) as opened:
        opened.half_step(Side.USERS, EXACT)
        opened.accept()
        return opened.factors()[0][:, : users.unknowns]


def assert_close(one: np.ndarray, other: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_float32_equals_the_cpu(setting: Setting, table: Table, device: EmulatedDevice) -> None:
    problems = problems_of(setting, table, rank=9)
    (P, Q), terms = solved(CudaBackend(device), problems)
    (cpu_P, cpu_Q), cpu_terms = solved(CPUBackend(1), problems)
    assert_close(P, cpu_P, 1e-5)
    assert_close(Q, cpu_Q, 1e-5)
    np.testing.assert_allclose(terms, cpu_terms, rtol=1e-5)
    assert "sum_parts" in device.launches


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("setting", [BIASED, UNBIASED], ids=str)
@pytest.mark.parametrize("rank", [1, 3, 15, 31, 64] if THOROUGH else [1, 15, 64])
def test_any_rank_equals_the_cpu(setting: Setting, rank: int, table: Table, device: EmulatedDevice) -> None:
    problems = problems_of(setting, table, rank, "float64")
    (P, Q), terms = solved(CudaBackend(device), problems, "float64")
    (cpu_P, cpu_Q), cpu_terms = solved(CPUBackend(1), problems, "float64")
    assert_close(P, cpu_P, 1e-9)
    assert_close(Q, cpu_Q, 1e-9)
    np.testing.assert_allclose(terms, cpu_terms, rtol=1e-9)


@pytest.mark.parametrize("setting", [BIASED, UNBIASED], ids=str)
@pytest.mark.parametrize(("rank", "part_length"), [(15, 18), (15, 100), (73, 100)])
def test_bits_do_not_depend_on_the_order_of_threads(
    setting: Setting, rank: int, part_length: int, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_lists, "PART_LENGTH", part_length)
    found = [solved(CudaBackend(EmulatedDevice(order)), problems_of(setting, table, rank)) for order in ORDERS]
    for factors, terms in found[1:]:
        assert terms == found[0][1]
        for F, first in zip(factors, found[0][0], strict=True):
            np.testing.assert_array_equal(F, first)


@pytest.mark.parametrize(
    ("rank", "largest", "name", "dtype"),
    [
        (64, 56, "als-wr", "float32"),
        (64, 56, "signed-biased-missing", "float64"),
        (160, 232, "hu", "float32"),
        *(
            (64, 56, name, "float32")
            for name in ("biased-weighted", "hu", "ials", "signed-biased-missing")
            if THOROUGH
        ),
        *((160, 232, name, "float32") for name in ("signed-biased-missing",) if THOROUGH),
    ],
)
def test_rows_of_all_lengths_in_the_dual_equal_those_of_the_cpu(
    rank: int, largest: int, name: str, dtype: str, device: EmulatedDevice
) -> None:
    rng = np.random.default_rng(0)
    observed = rng.random((250, 180)) < np.linspace(0.0, 1.0, 250)[:, None]
    table = Table(observed, rng.integers(1, 6, observed.shape).astype(float))
    users, items = problems_of(next(each for each in SETTINGS if each.name == name), table, rank, dtype)
    device.launches.clear()
    found = solved_users(CudaBackend(device), users, items)
    assert device.launches.count("solve_dual") == [shape.size for shape in SHAPES].index(largest) + 1
    np.testing.assert_array_equal(found, solved_users(CudaBackend(EmulatedDevice("reversed")), users, items))
    exact = solved_users(CPUBackend(1), users.astype("float64"), items.astype("float64"))
    assert_close(found, exact, 1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize(("name", "dtype"), [("als-wr", "float64"), ("signed-biased-missing", "float32")])
def test_large_ranks_equal_the_cpu(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_lists, "LEAST_DUAL_RANK", 1000)
    rng = np.random.default_rng(0)
    observed = rng.random((6, 320)) < np.array([0.0, 0.01, 0.05, 0.1, 0.9, 1.0])[:, None]
    table = Table(observed, rng.integers(1, 6, observed.shape).astype(float))
    problems = problems_of(next(each for each in SETTINGS if each.name == name), table, 272, dtype)
    device = EmulatedDevice()
    found = solved_users(CudaBackend(device), *problems)
    assert device.launches == ["solve_large_rows"]
    np.testing.assert_array_equal(found, solved_users(CudaBackend(EmulatedDevice("reversed")), *problems))
    exact = solved_users(CPUBackend(1), *(each.astype("float64") for each in problems))
    assert_close(found, exact, 1e-5 if dtype == "float32" else 1e-9)


def test_ranks_that_do_not_fit_the_shared_memory_are_refused(table: Table, device: EmulatedDevice) -> None:
    problems = problems_of(UNBIASED, table, rank=513)
    refused = pytest.raises(ParameterError, match="rank=513 is not supported on a GPU: set 512 or less")
    with refused, CudaBackend(device).open(*problems, start_of(problems, "float32")):
        pass


def scaled(problem: HalfProblem, row: int, weight: float, reg: float) -> HalfProblem:
    """Return a problem in which one row has other weights and another λ."""
    weights = np.broadcast_to(problem.weights, problem.indices.shape).copy()
    weights[problem.indptr[row] : problem.indptr[row + 1]] = weight
    regularization = problem.regularization.copy()
    regularization[row] = reg
    return replace(problem, weights=weights, regularization=regularization)


@pytest.mark.parametrize(("rank", "launches"), [(15, ["solve_rows"]), (40, ["solve_dual"])])
@pytest.mark.parametrize("name", ["als-wr", "biased"])
def test_rows_that_lose_precision_are_solved_in_float64(
    name: str, rank: int, launches: list[str], table: Table, device: EmulatedDevice
) -> None:
    users, items = problems_of(next(each for each in SETTINGS if each.name == name), table, rank)
    users = scaled(users, 7, weight=1e4, reg=1e-4)
    P, Q = start_of((users, items), "float32")
    Q[20:] = Q[20]  # so that the systems of the dual are ill-conditioned, too
    device.launches.clear()
    with CudaBackend(device).open(users, items, (P, Q)) as opened:
        opened.half_step(Side.USERS, EXACT)
        opened.accept()
        found = opened.factors()[0]
    assert device.launches == [*launches, "solve_rows"]
    with CPUBackend(1).open(
        users.astype("float64"), items.astype("float64"), (P.astype(float), Q.astype(float))
    ) as opened:
        opened.half_step(Side.USERS, EXACT)
        opened.accept()
        expected = opened.factors()[0]
    assert_close(found[:, : users.unknowns], expected[:, : users.unknowns], 1e-5)


def test_half_steps_with_an_ill_conditioned_gramian_are_in_float64(table: Table, device: EmulatedDevice) -> None:
    users, items = problems_of(UNBIASED, table, rank=40, reg=1e-4)
    (P, _), _ = solved(CudaBackend(device), (users, items))
    (expected, _), _ = solved(CPUBackend(1), (users.astype("float64"), items.astype("float64")))
    assert_close(P, expected, 1e-6)


def test_first_row_that_cannot_be_solved_in_float64_is_named(table: Table, device: EmulatedDevice) -> None:
    problems = problems_of(next(each for each in SETTINGS if each.name == "als-wr"), table, rank=40, reg=0.0)
    P, Q = start_of(problems, "float32")
    with CudaBackend(device).open(*problems, (P.copy(), Q.copy())) as opened:
        with pytest.raises(NumericalError, match=r"row 0 is not positive definite .* set regularization=") as ours:
            opened.half_step(Side.USERS, EXACT)
        opened.undo()
        np.testing.assert_array_equal(opened.factors()[0], P)
    with CPUBackend(1).open(*problems, (P, Q)) as opened, pytest.raises(NumericalError) as theirs:
        opened.half_step(Side.USERS, EXACT)
    assert (ours.value.row, ours.value.regularization) == (theirs.value.row, theirs.value.regularization)


@pytest.mark.parametrize("weighted", [True, False])
def test_gramian_of_many_rows(weighted: bool, device: EmulatedDevice) -> None:
    rng = np.random.default_rng(0)
    F, m = (
        rng.normal(size=(70 * 1024 + 5, 4)).astype("float32"),
        rng.random(70 * 1024 + 5) if weighted else np.ones(1),
    )
    G = gramian(device, device.asarray(m), 3, device.asarray(F))
    wide = F[:, :3].astype(float)
    np.testing.assert_allclose(G, (wide * m[:, None]).T @ wide, rtol=1e-6, atol=1e-2)


def test_other_solvers_are_refused(table: Table, device: EmulatedDevice) -> None:
    problems = problems_of(UNBIASED, table, rank=3)
    refused = pytest.raises(ParameterError, match=r"solver=Subspace\(\) is not supported on a GPU: use Cholesky")
    with CudaBackend(device).open(*problems, start_of(problems, "float32")) as opened, refused:
        opened.half_step(Side.USERS, hs.solvers.Subspace())


def test_priors_are_refused(table: Table, device: EmulatedDevice) -> None:
    problems = problems_of(UNBIASED, table, rank=3)
    refused = pytest.raises(ParameterError, match="side information is not supported on a GPU: fit without it, or on")
    with CudaBackend(device).open(*problems, start_of(problems, "float32")) as opened, refused:
        opened.set_prior(Side.USERS, Prior.around(np.zeros((1, 3))))


@pytest.mark.usefixtures("short_parts")
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_steps_equal_those_of_the_cpu(setting: Setting, table: Table, device: EmulatedDevice) -> None:
    problems, found = problems_of(setting, table, rank=9, dtype="float64"), []
    for backend in (CudaBackend(device), CPUBackend(1)):
        with backend.open(*problems, start_of(problems)) as opened:
            for side in Side:
                opened.half_step(side, hs.solvers.ConjugateGradient(steps=2))
            opened.accept()
            found.append(opened.factors())
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, 1e-8)


class StreamingDevice(EmulatedDevice):
    """A device that records the sizes of the arrays that are copied to it."""

    def asarray(self, array: np.ndarray) -> DeviceArray:
        self.sizes.append(len(array))
        return super().asarray(array)

    sizes: ClassVar[list[int]] = []


@pytest.mark.parametrize("setting", [BIASED, UNBIASED], ids=str)
@pytest.mark.parametrize("rank", [5, 18])
def test_bits_do_not_depend_on_the_memory_of_the_device(
    setting: Setting, rank: int, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_lists, "PART_LENGTH", 18)
    monkeypatch.setattr(session, "LEAST_CELLS", 1)
    problems = problems_of(setting, table, rank)
    rows = sum(len(each.regularization) * session.bytes_per_row(each) for each in problems)
    room = 60 * session.bytes_per_cell(problems[0])
    small = StreamingDevice(memory=int((rows + room) / session.USABLE) + 1)
    small.sizes.clear()
    (P, Q), terms = solved(CudaBackend(small), problems)
    assert len(problems[0].indices) > 500
    assert max(small.sizes) <= 60
    (expected_P, expected_Q), expected_terms = solved(CudaBackend(EmulatedDevice()), problems)
    np.testing.assert_array_equal(P, expected_P)
    np.testing.assert_array_equal(Q, expected_Q)
    assert terms == expected_terms


def test_factors_that_do_not_fit_the_device_are_an_error(table: Table) -> None:
    problems = problems_of(UNBIASED, table, rank=3)
    backend = CudaBackend(EmulatedDevice(memory=2_000))
    too_little = pytest.raises(DeviceError, match=r"the factors need .* bytes on the GPU, which has 2,000 bytes left")
    with too_little, backend.open(*problems, start_of(problems, "float32")):
        pass
