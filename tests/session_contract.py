"""The contract of sessions, which the tests of each backend inherit.

The reference backend is dense NumPy, so that the contract does not depend on one kind of machine.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import halfstep as hs
import reference
from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.layout import empty_factors
from halfstep.solver.session import Backend, Session, Side
from halfstep.solvers import NAMES, Solver
from reference_session import dense
from settings import SETTINGS, Setting, Table

RANK, REG, RHO = 3, 0.7, 2.0
EXACT = hs.solvers.Cholesky()
Problems = tuple[HalfProblem, HalfProblem]


def small_table() -> Table:
    rng = np.random.default_rng(0)
    observed = rng.random((14, 9)) < 0.4
    observed[4], observed[:, 7] = False, False  # a user and an item without observations
    return Table(observed, rng.integers(1, 6, observed.shape).astype(float))


def problems_of(setting: Setting, table: Table, reg: float = REG) -> Problems:
    return setting.half_problems(table, rank=RANK, reg=reg, rho=RHO, dtype="float64")


def start_of(problems: Problems, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    rng, unknowns = np.random.default_rng(1), problems[0].unknowns
    P, Q = (empty_factors(len(each.indptr) - 1, unknowns, dtype) for each in problems)
    for F, each in zip((P, Q), problems, strict=True):
        F[:, :unknowns] = rng.normal(size=(len(F), unknowns))
        F[np.diff(each.indptr) == 0] = 0.0
    return P, Q


def unpadded(session: Session, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    P, Q = (F[:, : problems[0].unknowns].astype(float) for F in session.factors())
    return P, Q


def mapped(problem: HalfProblem, folder: Path, mode: Literal["r", "c"]) -> HalfProblem:
    """Return the same problem with memory-mapped arrays."""
    arrays = {}
    for field in fields(problem):
        array = getattr(problem, field.name)
        if isinstance(array, np.ndarray) and len(array):
            np.save(folder / f"{field.name}.npy", array)
            arrays[field.name] = np.load(folder / f"{field.name}.npy", mmap_mode=mode)
    return replace(problem, **arrays)


class SessionContract:
    """Tests of the fixture `backend`."""

    @pytest.fixture(params=SETTINGS, ids=str)
    def setting(self, request: pytest.FixtureRequest) -> Setting:
        return request.param

    @pytest.fixture(params=["subspace", "cg"])
    def approximate(self, request: pytest.FixtureRequest) -> Solver:
        return NAMES[request.param]()

    @pytest.fixture
    def table(self) -> Table:
        return small_table()

    def test_half_steps_and_terms_equal_dense_ones(self, backend: Backend, setting: Setting, table: Table) -> None:
        problems = problems_of(setting, table)
        problem, (P, Q) = dense(*problems), (F[:, : problems[0].unknowns].copy() for F in start_of(problems))
        with backend.open(*problems, start_of(problems)) as session:
            for _ in range(2):
                session.half_step(Side.USERS, EXACT)
                P = reference.half_step(problem, Q)
                np.testing.assert_allclose(session.terms()[:3], reference.terms(problem, P, Q), rtol=1e-9, atol=1e-9)
                session.half_step(Side.ITEMS, EXACT)
                Q = reference.half_step(problem.transposed, P)
                np.testing.assert_allclose(session.terms()[:3], reference.terms(problem, P, Q), rtol=1e-9, atol=1e-9)
                session.accept()
                for ours, theirs in zip(unpadded(session, problems), (P, Q), strict=True):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)

    def test_initial_terms_equal_dense_ones(self, backend: Backend, setting: Setting, table: Table) -> None:
        problems = problems_of(setting, table)
        P, Q = (F[:, : problems[0].unknowns].copy() for F in start_of(problems))
        with backend.open(*problems, start_of(problems)) as session:
            np.testing.assert_allclose(
                session.terms()[:3], reference.terms(dense(*problems), P, Q), rtol=1e-9, atol=1e-9
            )

    def test_undo_returns_to_the_accepted_factors(self, backend: Backend, table: Table) -> None:
        problems = problems_of(SETTINGS[0], table)
        with backend.open(*problems, start_of(problems)) as session:
            for side in Side:
                session.half_step(side, EXACT)
            session.accept()
            accepted, terms = unpadded(session, problems), session.terms()
            for side in Side:
                session.half_step(side, EXACT)
            for before, now in zip(accepted, unpadded(session, problems), strict=True):
                np.testing.assert_array_equal(before, now)  # not accepted
            session.undo()
            np.testing.assert_allclose(session.terms(), terms, rtol=1e-9)
            session.half_step(Side.USERS, EXACT)
            session.accept()
            P = reference.half_step(dense(*problems), accepted[1])
            np.testing.assert_allclose(unpadded(session, problems)[0], P, rtol=1e-8, atol=1e-10)
            np.testing.assert_array_equal(unpadded(session, problems)[1], accepted[1])

    def test_extrapolation_uses_the_last_two_accepted_factors(self, backend: Backend, table: Table) -> None:
        problems = problems_of(SETTINGS[0], table)
        with backend.open(*problems, start_of(problems)) as session:
            session.extrapolate(Side.ITEMS, 0.5)  # has no effect before the first acceptance
            accepted = []
            for _ in range(2):
                for side in Side:
                    session.half_step(side, EXACT)
                session.accept()
                accepted.append(unpadded(session, problems)[1])
            session.extrapolate(Side.ITEMS, 0.5)
            session.half_step(Side.USERS, EXACT)
            Q = accepted[1] + 0.5 * (accepted[1] - accepted[0])
            expected = reference.terms(dense(*problems), reference.half_step(dense(*problems), Q), Q)
            np.testing.assert_allclose(session.terms()[:3], expected, rtol=1e-9)
            np.testing.assert_array_equal(unpadded(session, problems)[1], accepted[1])
            session.undo()
            session.extrapolate(Side.ITEMS, 0.5)  # has no effect after undo
            np.testing.assert_array_equal(unpadded(session, problems)[1], accepted[1])
            session.half_step(Side.USERS, EXACT)
            session.accept()
            P = reference.half_step(dense(*problems), accepted[1])
            np.testing.assert_allclose(unpadded(session, problems)[0], P, rtol=1e-8, atol=1e-10)

    def test_approximate_solvers_converge(self, backend: Backend, approximate: Solver, table: Table) -> None:
        problems = problems_of(next(each for each in SETTINGS if each.name == "ials"), table)
        Q = start_of(problems)[1][:, : problems[0].unknowns]
        with backend.open(*problems, start_of(problems)) as session:
            for _ in range(8):
                session.half_step(Side.USERS, approximate)
            session.accept()
            expected = reference.half_step(dense(*problems), Q)
            np.testing.assert_allclose(unpadded(session, problems)[0], expected, rtol=1e-6, atol=1e-8)

    def test_singular_system_raises_with_the_first_row(self, backend: Backend, table: Table) -> None:
        setting = next(each for each in SETTINGS if each.name == "als-wr")
        problems = problems_of(setting, table, reg=0.0)
        P, Q = start_of(problems)
        Q[:, 0] = 0.0  # so that the first factor of users is undetermined
        with backend.open(*problems, (P.copy(), Q.copy())) as session:
            with pytest.raises(NumericalError, match="the system of row 0 is not positive definite") as caught:
                session.half_step(Side.USERS, EXACT)
            assert caught.value.row == 0
            session.undo()
            np.testing.assert_array_equal(session.factors()[0], P)
            np.testing.assert_array_equal(session.factors()[1], Q)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_factors_have_the_layout_and_dtype_of_the_start(self, backend: Backend, dtype: str, table: Table) -> None:
        problems = problems_of(SETTINGS[0], table)
        start = start_of(problems, dtype)
        with backend.open(*problems, start) as session:
            for side in Side:
                session.half_step(side, EXACT)
            session.accept()
            for F, before in zip(session.factors(), start, strict=True):
                assert (F.dtype, F.shape) == (before.dtype, before.shape)
                assert not F[:, problems[0].unknowns :].any()

    @pytest.mark.slow
    def test_problems_may_be_memory_mapped(
        self, backend: Backend, setting: Setting, table: Table, tmp_path: Path
    ) -> None:
        problems, found = problems_of(setting, table), []
        (tmp_path / "users").mkdir()
        (tmp_path / "items").mkdir()
        mode = "r" if setting is SETTINGS[0] else "c"  # kernels are compiled separately for read-only arrays
        in_files = mapped(problems[0], tmp_path / "users", mode), mapped(problems[1], tmp_path / "items", mode)
        for each in (problems, in_files):
            with backend.open(*each, start_of(each)) as session:
                for side in Side:
                    session.half_step(side, EXACT)
                found.append(session.terms())
                session.accept()
                found.append(unpadded(session, each))
        assert found[0] == found[2]
        for one, other in zip(found[1], found[3], strict=True):
            np.testing.assert_array_equal(one, other)
