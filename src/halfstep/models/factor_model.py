"""Base class of all models: prediction, recommendation, similarity and saving.

A pair of a user and an item has the score

    ŷ_ui = μ + b_u + b_i + p_u·q_i

ALS, SGD and the baselines differ only in how they estimate its terms; a baseline has rank 0.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep._support.checks import as_path, check_choice, check_flag, check_integer, check_threads
from halfstep._support.estimator import Estimator
from halfstep._support.html_table import html_table
from halfstep._support.locks import ModelLocks
from halfstep._support.plurals import with_count
from halfstep._support.short_repr import changed_parameters, short_value
from halfstep.data import IndexLists, Interactions, Vocabulary
from halfstep.data.recommendations import Recommendations, SimilarItems, SimilarUsers
from halfstep.errors import NotFittedError, ParameterError
from halfstep.models.factorization import Factorization
from halfstep.models.fitted_attribute import FittedAttribute
from halfstep.models.pairs import mark_or_raise, positions_of_pairs
from halfstep.models.similarity import UnitFactors, most_similar
from halfstep.models.top_items import FactorScores, Ids, ItemLists, UserScores, distinct_users, top_items
from halfstep.solver.backends import BackendName

if TYPE_CHECKING:
    from halfstep.vectors import Format, Metric

PAIRS_AT_ONCE = 1 << 16  # scored together, which bounds memory


class FactorModel(Estimator):
    """Base class of all models: factors and biases with their ids.

    Attributes
    ----------
    users_, items_ : Vocabulary
        Ids by position: row ``k`` of the factors belongs to id ``k``.
    user_factors_ : ndarray of shape (n_users, rank)
    item_factors_ : ndarray of shape (n_items, rank)
    user_biases_, item_biases_ : ndarray of shape (n_users,) and (n_items,)
    mean_ : float
        μ; 0 for models without biases.
    item_counts_ : ndarray of shape (n_items,)
        The number of users of each item in the training data.
    interactions_ : Interactions or None
        The training interactions; None if the model was saved or imported without them.

    Notes
    -----
    Models are thread-safe. Each call of `predict`, `recommend`, `similar_items`, `similar_users`, `fold_in`,
    `explain`, `save` and `copy.copy`, and each access to `interactions_`, uses the state of the model between two
    updates, while `partial_fit` and `fit` run in other threads. Updates are serialized and never lost, except that
    `fit` discards the updates that were made while it ran. Attributes that are read one after the other, such as
    `users_` and `user_factors_`, may come from different updates, and updates modify these arrays in place: read them
    from a copy of the model. Do not set parameters while other threads use the model.
    """

    users_ = FittedAttribute[Vocabulary]()
    items_ = FittedAttribute[Vocabulary]()
    user_factors_ = FittedAttribute[NDArray[np.floating]]()
    item_factors_ = FittedAttribute[NDArray[np.floating]]()
    user_biases_ = FittedAttribute[NDArray[np.floating]]()
    item_biases_ = FittedAttribute[NDArray[np.floating]]()
    mean_ = FittedAttribute[float]()
    item_counts_ = FittedAttribute[NDArray[np.int64]]()
    threads: int | None = None  # a parameter of models that are fitted in several threads
    backend: BackendName = "cpu"  # a parameter of models that are fitted on several backends
    _factorization: Factorization | None = None
    _unit_factors: UnitFactors | None = None  # of the factors since the last update
    _is_snapshot: bool = False  # a copy for a single call, which is never updated
    _WORKING: ClassVar[tuple[str, ...]] = ("_unit_factors",)  # reset by a fit
    _OWN: ClassVar[tuple[str, ...]] = ("_own_locks", "_is_snapshot")  # not shared with copies of a model

    def __sklearn_is_fitted__(self) -> bool:
        return self._factorization is not None

    def __repr__(self) -> str:
        shown = super().__repr__()
        return f"<{shown}, {self._size()}>" if self.__sklearn_is_fitted__() else shown

    def _repr_html_(self) -> str:
        state = self._size() if self.__sklearn_is_fitted__() else "not fitted"
        params = self.get_params(deep=False)
        columns = {"parameter": list(params), "value": [short_value(value) for value in params.values()]}
        fitted = {name: getattr(self, f"{name}_") for name in params if hasattr(self, f"{name}_")}
        if fitted:  # values that fit has chosen for parameters that are None
            columns["fitted"] = [short_value(fitted[name]) if name in fitted else "" for name in params]
        changed = changed_parameters(self)
        bold = [number for number, name in enumerate(params) if name in changed]
        return html_table(
            f"{type(self).__name__}, {state}", list(columns) if params else [], zip(*columns.values(), strict=True),
            notes=["Bold: differs from the default"] if bold else [], bold=bold,
        )  # fmt: skip

    def _size(self) -> str:
        """Return a description of the size of a fitted model."""
        fitted = self._snapshot()._fitted
        size = f"fitted: {with_count(len(fitted.users), 'user')}, {with_count(len(fitted.items), 'item')}"
        return f"{size}, rank {fitted.rank}" if fitted.rank else size

    @property
    def interactions_(self) -> Interactions | None:
        """The training interactions; None if the model was saved or imported without them."""
        return self._snapshot()._fitted_for("interactions_").interactions

    def _fitted_for(self, name: str) -> Factorization:
        """Return the factorization; if there is none, raise an error that names the attribute asked for."""
        if self._factorization is None:
            kind = type(self).__name__
            raise NotFittedError(f"this {kind} has no {name!r} yet: call {kind}.fit(data) first")
        return self._factorization

    @property
    def _fitted(self) -> Factorization:
        return self._fitted_for("user_factors_")

    def _set_result(self, fitted: Factorization, **working: Any) -> None:
        """Replace the factorization, and the working state that belongs to it."""
        with self._locks.writing.lock, self._locks.state.lock:
            self._set_state(fitted, **{name: getattr(type(self), name) for name in self._WORKING} | working)

    def _set_state(self, fitted: Factorization, **working: Any) -> None:
        """Replace the factorization and some working state; the caller holds the lock `state`."""
        self.__dict__.update(working, _factorization=fitted)  # one step, which Ctrl-C cannot interrupt halfway

    @property
    def _locks(self) -> ModelLocks:
        locks: ModelLocks | None = self.__dict__.get("_own_locks")
        return self.__dict__.setdefault("_own_locks", ModelLocks()) if locks is None else locks

    def _snapshot(self) -> Self:
        """Return a copy that updates do not change, for methods that read several attributes."""
        if self._is_snapshot:
            return self
        with self._locks.state.lock:
            if self._unit_factors is None:
                self._unit_factors = UnitFactors()
            snapshot = object.__new__(type(self))
            snapshot.__dict__.update(self.__dict__)
        snapshot._is_snapshot = True
        return snapshot

    def _independent(self) -> Self:
        """Return a new model that shares the arrays of this one, which is a snapshot."""
        model = object.__new__(type(self))
        model.__dict__.update({name: value for name, value in self.__dict__.items() if name not in self._OWN})
        return model

    def _of_users(
        self, data: Interactions, factors: NDArray[np.floating], biases: NDArray[np.floating], **more: Any
    ) -> Self:
        """Return a model of other users, with the items of this one, which is a snapshot."""
        model = self._independent()
        model._factorization = self._fitted.of_users(data, factors, biases, **more)
        return model

    def __copy__(self) -> Self:
        """Return a copy; updates of either model do not change the other."""
        return self._snapshot()._independent()

    def __getstate__(self) -> dict[str, Any]:
        return {**copy.copy(self).__dict__, "_unit_factors": None}

    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
    ) -> NDArray[np.float64]:
        """Score pairs of a user and an item.

        Parameters
        ----------
        users, items : array-like of ids, both of length n
            A single id is paired with every id of the other side. If `users` is Interactions, their pairs are scored,
            and `items` is omitted.
        unknown : {"baseline", "raise"}
            How ids that the model was not fitted on are handled: "baseline" scores the pair by μ plus the bias of the
            known side, "raise" raises `UnknownIdError`.

        Returns
        -------
        ndarray of shape (n,)
            ŷ_ui = μ + b_u + b_i + p_u·q_i, in the units of the fitted target.

        Raises
        ------
        DataError
            If `users` and `items` differ in length; if `items` is given in addition to Interactions; or if an id is
            missing or of a different type than the ids of the model, such as ``"12"`` if these are integers.
        UnknownIdError
            If an id is unknown and ``unknown="raise"``.
        """
        self = self._snapshot()
        u, i = positions_of_pairs(self._fitted, users, items, unknown)
        scores = np.empty(len(u), dtype=np.float64)
        for start in range(0, len(u), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            scores[part] = self._score(u[part], i[part])
        return scores

    def _predicts_values(self, data: Interactions) -> bool:
        """Whether predictions for the cells of `data` are in the units of its values."""
        return data.has_values and (self.interactions_ is None or self.interactions_.has_values)

    def recommend(
        self,
        users: Ids | None = None,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        exclude: ItemLists | None = None,
        candidates: ItemLists | None = None,
        unknown: Literal["baseline", "raise"] = "baseline",
        threads: int | None = None,
    ) -> Recommendations:
        """Return the top-n items for each user.

        Parameters
        ----------
        users : id, array-like of ids, Interactions or table, optional
            By default, all users of the model. For Interactions, or a table with the column ``user``, their distinct
            users in order of appearance.
        n : int
            Maximum number of items per user. Lists are shorter if fewer items are available.
        exclude_seen : bool
            Whether to exclude the items of the user in the training data.
        exclude : array-like of item ids, or mapping from user id to such, optional
            Additional items to exclude, for all users or for each user.
        candidates : array-like of item ids, or mapping from user id to such, optional
            The items to choose from; a user that is missing in a mapping gets an empty list. By default, all items
            with training interactions; others are recommended only if they are listed here.
        unknown : {"baseline", "raise"}
            How users that the model was not fitted on are handled: "baseline" ranks items by μ + b_i, or by
            popularity if the model has no biases; "raise" raises `UnknownIdError`. Unknown items are ignored.
        threads : int, optional
            Number of threads; by default, that of the model, or all cores if it has none. Does not affect the result.

        Returns
        -------
        Recommendations
            With the scores of `predict`. In case of ties, the item with the lower position comes first; for users
            without factors in a model without biases, the more popular item.

        Raises
        ------
        UnknownIdError
            If a user is unknown and ``unknown="raise"``.
        DataError
            If ``exclude_seen=True`` and the model has no training interactions; or if an id, including those in
            `exclude` and `candidates`, is missing or of a different type than the ids of the model.
        """
        check_integer("n", n, minimum=1)
        check_flag("exclude_seen", exclude_seen)
        threads = self.threads if threads is None else threads
        check_threads(threads)
        missing = mark_or_raise(unknown)
        self = self._snapshot()
        if users is None:
            ids, u = self.users_.ids, np.arange(len(self.users_), dtype=np.int32)
        else:
            ids, u = self.users_.look_up(distinct_users(users), missing, name="user id")
        seen = self._fitted.seen(u) if exclude_seen else IndexLists.empty(len(u))
        positions, scores = top_items(
            self._fitted, self._user_scores(u, threads), ids, u, n, skip=seen, exclude=exclude, candidates=candidates
        )
        return Recommendations(
            queries=ids, catalog=self.items_, positions=positions, scores=scores,
            titles=self._fitted.titles, frame_kind=self._fitted.frame_kind,
        )  # fmt: skip

    def similar_items(
        self,
        items: Ids | None = None,
        n: int = 10,
        *,
        metric: Literal["cosine", "dot"] = "cosine",
        threads: int | None = None,
    ) -> SimilarItems:
        """Return the items with the most similar factors, for each item.

        Parameters
        ----------
        items : id or array-like of ids, optional
            By default, all items.
        n : int
            Maximum number of items. The item itself and items without factors are excluded.
        metric : {"cosine", "dot"}
            q_i·q_j / (‖q_i‖ ‖q_j‖), or q_i·q_j, which favors popular items. Biases are ignored.
        threads
            As in `recommend`.

        Returns
        -------
        SimilarItems

        Raises
        ------
        DataError
            If an item id is missing or of a different type than those of the model.
        UnknownIdError
            If an item is unknown.

        Notes
        -----
        Normalized factors are cached until the model is updated.
        """
        self = self._snapshot()
        ids, positions, similarities = self._most_similar("item", items, n, metric, threads)
        return SimilarItems(
            queries=ids, catalog=self.items_, positions=positions, scores=similarities,
            titles=self._fitted.titles, frame_kind=self._fitted.frame_kind,
        )  # fmt: skip

    def similar_users(
        self,
        users: Ids | None = None,
        n: int = 10,
        *,
        metric: Literal["cosine", "dot"] = "cosine",
        threads: int | None = None,
    ) -> SimilarUsers:
        """Return the users with the most similar factors, for each user; see `similar_items`."""
        self = self._snapshot()
        ids, positions, similarities = self._most_similar("user", users, n, metric, threads)
        return SimilarUsers(
            queries=ids, catalog=self.users_, positions=positions, scores=similarities,
            frame_kind=self._fitted.frame_kind,
        )  # fmt: skip

    def _most_similar(
        self,
        side: Literal["user", "item"],
        asked: Ids | None,
        n: int,
        metric: Literal["cosine", "dot"],
        threads: int | None,
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
        """Return ids, and the positions and similarities of the closest rows of the same side."""
        check_integer("n", n, minimum=1)
        check_choice("metric", metric, ("cosine", "dot"))
        threads = self.threads if threads is None else threads
        check_threads(threads)
        is_item = side == "item"
        vocabulary, F = (self.items_, self.item_factors_) if is_item else (self.users_, self.user_factors_)
        if asked is None:
            ids, rows = vocabulary.ids, np.arange(len(vocabulary), dtype=np.int32)
        else:
            ids, rows = vocabulary.look_up(asked, name=f"{side} id")
        assert self._unit_factors is not None
        return ids, *most_similar(F, self._unit_factors.of(side, F), rows, n, metric, threads)

    def _user_scores(self, u: NDArray[np.int32], threads: int | None) -> UserScores:
        """Return the scores of users at these positions."""
        return FactorScores(self._fitted, u, threads, self.backend)

    def _score(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        """Score pairs of positions; −1 stands for an unknown id, whose terms are 0."""
        return self._fitted.scores(u, i)

    def save(self, path: str | os.PathLike[str], *, interactions: bool = True) -> None:
        """Write the model to one file, which `halfstep.load` reads.

        The file is written atomically: until it is complete, an existing file is unchanged. It is in the safetensors
        format, and loading it executes no code. Functions are not stored: if the weight of the objective is a
        user-defined function, the loaded model predicts and recommends, but fitting it raises an error that names the
        function.

        Parameters
        ----------
        path : path of a file
            By convention, with the suffix ``.halfstep``.
        interactions : bool
            Whether to save the training interactions. Without them, the file is smaller, but the loaded model cannot
            exclude seen items, explain scores or be updated. For interactions on disk
            (``read_interactions(..., on_disk=folder)``), the file stores only the path of the folder, which must
            still exist when the model is loaded.

        Raises
        ------
        NotFittedError
            If the model has not been fitted.
        DataError
            If an id is of a type that cannot be stored, such as a user-defined class; nothing is written.
        ModelFileError
            If the file cannot be written, for example if the disk is full.
        """
        from halfstep.models.storage import StoredModel, write_model

        path = as_path("path", path)
        check_flag("interactions", interactions)
        self = self._snapshot()
        kind = type(self)
        if not kind.__module__.startswith("halfstep."):
            raise ParameterError(
                f"{kind.__name__} is defined outside of halfstep, so halfstep.load could not restore it: pass its "
                "factors to halfstep.persistence.from_arrays, and save the model that this returns"
            )
        parameters: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(self)  # type: ignore[arg-type]  # all models are dataclasses
        fitted = self._fitted
        stored = StoredModel(
            kind=kind.__name__,
            parameters={field.name: getattr(self, field.name) for field in parameters},
            fitted=fitted if interactions else dataclasses.replace(fitted, data=None),
            more=self._to_arrays(),
        )
        write_model(stored, path)

    def export_vectors(
        self,
        target: str | os.PathLike[str],
        format: Format = "parquet",  # noqa: A002
        *,
        metric: Metric = "dot",
        n: int = 10,
    ) -> float | None:
        """Write vectors of users and items, or an index of them, and return the recall of the index.

        Their similarity ranks items as the model does. For the parameters, the returned value and errors, see
        `halfstep.vectors.save`; for `metric`, see `halfstep.vectors.of_model`.
        """
        from halfstep.vectors import of_model, save

        return save(of_model(self, metric), target, format, n=n)

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of a model file that are specific to this class."""
        return {}

    def _from_arrays(self, fitted: Factorization, arrays: Mapping[str, NDArray[Any]]) -> Factorization:
        """Return a factorization with the arrays of `_to_arrays`; ValueError if they do not match it."""
        return fitted
