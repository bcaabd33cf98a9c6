"""Base class of models with incremental updates, which other threads can read during an update."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice, check_flag
from halfstep.data import GrowableInteractions, Interactions, as_interactions
from halfstep.data.split_parts import without_users
from halfstep.errors import DataError, ParameterError
from halfstep.models.gramians import Gramians
from halfstep.models.half_step_model import HalfStepModel
from halfstep.models.histories import NO_INTERACTIONS
from halfstep.models.live_array import Lease, LiveArray, Publication
from halfstep.models.origin import Origin
from halfstep.models.similarity import UnitFactors
from halfstep.models.updates import Update, UpdateSide, UpdateState
from halfstep.objective.problem import HalfProblem

LIVE = ("user_factors", "item_factors", "user_biases", "item_biases", "item_counts")  # updates write to these


class IncrementalModel(HalfStepModel):
    """Base class of models with `partial_fit`; see `FactorModel` for fitted attributes and thread safety."""

    _gramians: Gramians | None = None  # of factors that no update has changed
    _items_gram: tuple[NDArray[np.float64], float] | None = None  # G of the items after updates, and Σ m
    _update_state: UpdateState | None = None
    _live: Mapping[str, LiveArray] | None = None  # the arrays that updates write to, by their names
    _leases: Mapping[str, Lease | NDArray[Any]] = MappingProxyType({})  # of arrays that another model can write to
    _pending: Publication | None = None  # an update that is being published
    _no_readers: AbstractContextManager[Any] = nullcontext()  # a lock of readers, held while updates are published
    _WORKING: ClassVar[tuple[str, ...]] = (
        *HalfStepModel._WORKING, "_gramians", "_items_gram", "_update_state", "_live", "_leases", "_pending"
    )  # fmt: skip
    _OWN: ClassVar[tuple[str, ...]] = (*HalfStepModel._OWN, "_update_state", "_live", "_no_readers")

    def partial_fit(
        self, new: Any, *, duplicates: Literal["last", "sum", "error"] = "last", update_items: bool = True
    ) -> Self:
        """Update the model with new interactions: solve the affected users, then the affected items.

        Each affected row is solved by the half-step of `fit`, with all its interactions. New users and items are
        appended to the vocabularies. Popularity and the Gramians of missing cells (He et al. 2016) are updated; μ is
        not. Other rows are unchanged, although the counts and factors that they depend on may have changed: after
        many updates, fit again.

        The factors of a new item with only new users, and of these users, are 0 until one of them has an interaction
        with a known item or user.

        An update with one interaction solves two rows, regardless of the size of the model. The first call after
        loading, pickling or an interrupted fit also computes the Gramians of all rows if missing cells have weights.
        Arrays obtained from the model before its first update never change; later ones are updated in place. Shared
        factors are copied before an update, at most once for each object that shares them: another thread that is
        reading the model, a copy of the model, a model from `fold_in`, or an array obtained before the first update.

        Thread-safe: updates are serialized, and other threads see an update completely or not at all. The same holds
        after a ``KeyboardInterrupt`` during an update.

        Parameters
        ----------
        new : Interactions, sparse matrix or dataframe
            The new interactions, as for `fit`; with timestamps and weights if the training interactions have
            them, and with values if these have them and the objective uses them (with ``duplicates="sum"``,
            `Implicit` counts an interaction without a value as one more event). A model that has not been fitted is
            fitted on them.
        duplicates : {"last", "sum", "error"}
            How new interactions in observed cells are handled: "last" replaces the old value, "sum" adds to it (such
            as play counts), "error" raises an error and leaves the model unchanged.
        update_items : bool
            Whether to update items. If not, users are the same as after `fold_in` of all their interactions.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the interactions are invalid, or inconsistent with those that the model was fitted on, such as an id of
            another type; the model is unchanged.
        ParameterError
            If the model has side information, which does not support incremental updates.
        NumericalError
            If the system of a row is not positive definite; the row is unchanged.
        """
        check_choice("duplicates", duplicates, ("last", "sum", "error"))
        check_flag("update_items", update_items)
        with self._locks.writing.lock:
            return self._updated(new, duplicates, update_items=bool(update_items))

    def _updated(self, new: Any, duplicates: Literal["last", "sum", "error"], *, update_items: bool) -> Self:
        """Update the model; the caller holds the lock `writing`."""
        self._check_parameters()
        with self._locks.state.lock:
            self._finish_pending()
        if self._factorization is None:
            return self.fit(new)
        self._check_updates()
        new = as_interactions(new, duplicates=duplicates)
        counts_events = self._fitted.values_are == "counted" or self._objective.counts_events
        if self._fitted.values_are != "one" and not (counts_events and duplicates != "last"):
            more = ", or set duplicates='sum' to count each as one more event" if counts_events else ""
            self._refuse_without_values(new, "the new interactions", f"a value for each{more}")
        state = self._get_update_state()
        if len(new) == 0:
            return self
        update = state.prepared(new, duplicates=duplicates, update_items=update_items, threads=self.threads)
        self._publish(update, state.items_gram)
        state.accept(update, self._fitted)
        if update.error is not None:
            raise update.error
        return self

    def _check_updates(self) -> None:
        """Raise an error if the fitted model does not support incremental updates."""
        fitted = self._fitted
        if fitted.coefficients is not None:
            raise ParameterError(
                "incremental updates do not support side information, whose coefficients depend on all rows: fit "
                "again, or fold_in the users with new interactions"
            )
        if fitted.is_folded:
            raise DataError(
                "this model was returned by fold_in and has only the folded-in users: update the fitted model, or "
                "fold in longer histories"
            )
        if fitted.data is None:
            raise DataError(NO_INTERACTIONS)

    def remove_users(self, users: Any) -> Self:
        """Remove users with their interactions, and update the items that they interacted with.

        Afterwards, no factor depends directly on the removed interactions: the users are no longer in the vocabulary,
        the counts and weights of items exclude them, and each of their items is solved by the half-step of `fit`
        with its remaining interactions. Items without remaining interactions get zero factors. As with
        `partial_fit`, other rows are unchanged, although the removed interactions influenced them during the fit:
        after many removals, fit again. Unknown users are ignored.

        Thread-safe: other threads see the removal completely or not at all. It takes as long as copying the model.

        Parameters
        ----------
        users : id or array-like of ids

        Returns
        -------
        self

        Raises
        ------
        DataError
            If an id is of a different type than those of the model, or the model was saved without its interactions;
            the model is unchanged.
        ParameterError
            If the model has side information, which does not support incremental updates.
        NumericalError
            If the system of an item is not positive definite; the model is unchanged.
        """
        with self._locks.writing.lock:
            self._check_updates()
            positions = np.unique(self.users_.positions(users, "mark", name="user id"))
            positions = positions[positions >= 0]
            if len(positions) == 0:
                return self
            without = self.as_saved()
            rows = without._drop_users(positions)
            state = without._get_update_state()
            update = state.solved_items(rows, self.threads)
            if update.error is not None:
                raise update.error
            without._publish(update, state.items_gram)
            self._set_result(without._fitted.with_plain_interactions())
        return self

    def _drop_users(self, positions: NDArray[np.integer]) -> NDArray[np.integer]:
        """Drop users, and return the positions of the items that they interacted with.

        Items whose interactions are all dropped get zero factors; they are not returned.
        """
        fitted, before = self._fitted, self._fitted.interactions
        assert before is not None
        data = without_users(before, positions)
        rows = np.flatnonzero(data.item_counts != fitted.item_counts)
        emptied = rows[data.item_counts[rows] == 0]
        factors, biases = fitted.item_factors.copy(), fitted.item_biases.copy()
        factors[emptied], biases[emptied] = 0, 0
        without = replace(
            fitted,
            users=data.users,
            user_factors=np.delete(fitted.user_factors, positions, axis=0),
            user_biases=np.delete(fitted.user_biases, positions),
            item_factors=factors,
            item_biases=biases,
            item_counts=data.item_counts,
            data=data,
        )
        self._set_result(without)
        return rows[data.item_counts[rows] > 0]

    def as_saved(self, origin: Origin | None = None) -> Self:
        """Return a copy in the state of the model after saving and loading it.

        For incremental updates, a model keeps sums such as Gramians, and updates them instead of computing them
        again; the results differ in rounding. Later updates of the copy and of a loaded model are bitwise identical.

        Parameters
        ----------
        origin : Origin, optional
            Replaces the times of the fit and of the last update.
        """
        model = copy.copy(self)
        fitted = model._fitted.with_plain_interactions()
        working = {name: getattr(type(self), name) for name in self._WORKING if name != "_leases"}
        model._set_state(fitted if origin is None else replace(fitted, origin=origin), **working)
        return model

    def _publish(self, update: Update, items_gram: tuple[NDArray[np.float64], float] | None) -> None:
        """Publish an update to readers, atomically."""
        assert self._live is not None
        changes = {
            "users": update.data.users,
            "items": update.data.items,
            "data": update.data,
            "origin": self._fitted.origin.updated_now(),
        }
        working = {"_items_gram": items_gram, "_unit_factors": None}
        publication = Publication(self._live, update.writes, changes, working)
        self._take_back(update.writes)
        with self._no_readers:
            while True:
                publication.leave_readers()
                with self._locks.state.lock:
                    if publication.is_free:
                        self._pending = publication
                        self._finish_pending()
                        return

    def _take_back(self, names: Iterable[str]) -> None:
        """Release this model's references to arrays that it shares.

        An array then counts as shared only if another object references it.
        """
        assert self._live is not None
        fitted = self._fitted
        lent = {name: array for name in names if (array := self._live[name]).is_behind(getattr(fitted, name))}
        if lent:
            with self._locks.state.lock:
                self._set_state(replace(fitted, **self._views_of(lent)))

    def _finish_pending(self) -> None:
        """Publish a pending update, possibly one that Ctrl-C interrupted; the caller holds the lock `state`."""
        publication = self._pending
        if publication is None:
            return
        leases = {name: lease for name, lease in self._leases.items() if name not in publication.moved}
        updated = publication.applied_to(self._fitted)
        self._set_state(updated, _live=publication.arrays, _leases=leases, _pending=None, **publication.working)

    def _snapshot(self) -> Self:
        if self._is_snapshot:
            return self
        with self._locks.state.lock:
            self._finish_pending()
            if self._gramians is None:
                self._gramians = Gramians()
            if self._unit_factors is None:
                self._unit_factors = UnitFactors()
            leases = {name: array.lease() for name, array in (self._live or {}).items() if array.is_own}
            snapshot = object.__new__(type(self))
            snapshot.__dict__.update(self.__dict__, _is_snapshot=True, _leases={**self._leases, **leases})
        return snapshot

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if self._factorization is not None:
            state["_factorization"] = state["_factorization"].with_plain_interactions()
        state["_gramians"] = None
        return state  # keep `_leases`: they prevent in-place updates until the arrays are pickled

    def _of_users(
        self, data: Interactions, factors: NDArray[np.floating], biases: NDArray[np.floating], **more: Any
    ) -> Self:
        model = super()._of_users(data, factors, biases, **more)
        model._leases = {name: lease for name, lease in self._leases.items() if name.startswith("item")}
        return model

    def _get_update_state(self) -> UpdateState:
        """Return the state for updates; it is created by the first call and after an unfinished update."""
        state = self._update_state
        if state is None or not state.is_consistent:
            fitted = self._fitted
            data = fitted.data
            assert data is not None
            data = GrowableInteractions.of(data) if isinstance(data, Interactions) else data.independent_copy()
            before, live = self._live or {}, {}
            for name in LIVE:
                array = getattr(fitted, name)
                is_known = name in before and before[name].is_behind(array)
                live[name] = before[name] if is_known else LiveArray(array)
            arrays = self._views_of(live)
            gramians = self._gramians or Gramians()
            state = UpdateState(
                data,
                UpdateSide(arrays["user_factors"], arrays["user_biases"], data.user_counts),
                UpdateSide(arrays["item_factors"], arrays["item_biases"], fitted.item_counts),
                objective=self._objective,
                regularization=self._regularization,
                mean=fitted.mean,
                rank=fitted.rank,
                known=lambda what, m: gramians.known(what, m, getattr(self._fitted, f"{what}_factors")),
            )
            with self._locks.state.lock:
                self._set_state(fitted, _update_state=state, _live=live)
        return state

    def _views_of(self, live: Mapping[str, LiveArray]) -> dict[str, Any]:
        """Return views of the live arrays at their current lengths; these views do not count as shared references."""
        return {name: array.first(len(getattr(self._fitted, name))) for name, array in live.items()}

    def _user_problem(self, data: Interactions) -> HalfProblem:
        side = super()._user_problem(data)
        if len(side.row_missing) == 0:
            return side
        m = side.column_missing.astype(np.float64)
        if self._items_gram is not None:
            of_items, total = self._items_gram
            return replace(side, gram=of_items * (float(m.sum()) / total))
        assert self._gramians is not None
        return replace(side, gram=self._gramians.of("item", m, self.item_factors_, self.threads))
