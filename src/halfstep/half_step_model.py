"""What a model can do whose rows are solved by half-steps: fold in, explain, learn on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.drift import FittedDrift
from halfstep.drifting import solve_with_trends, trend_ridge
from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.factor_model import FactorModel
from halfstep.features import refuse_features
from halfstep.gramians import Gramians
from halfstep.interactions import Interactions, Ledger, as_histories, as_interactions
from halfstep.interactions.sparse import is_sparse
from halfstep.live import Lease, LiveArray, Publication
from halfstep.objective import Objective, Statistics
from halfstep.online import Online, OnlineSide, Update
from halfstep.parameters import check_choice, check_flag, check_integer
from halfstep.recommendations import Explanation
from halfstep.ridge_link import FittedLink
from halfstep.rows import solve_rows, system
from halfstep.sides import Regularization, Side, users_side
from halfstep.similarity import UnitFactors
from halfstep.storage import NotStored

FORGETFUL = "this model does not know what it was fitted on: save it with its interactions"

LIVE = ("user_factors_", "item_factors_", "user_biases_", "item_biases_", "item_counts_")  # updates write to these


class HalfStepModel(FactorModel):
    """Base of models that minimize an `Objective`; see `FactorModel` for fitted attributes and thread safety."""

    objective: Objective
    threads: int | None
    _link: FittedLink | None = None  # of models with features on either side
    _gramians: Gramians | None = None  # of factors that no update has changed
    _items_gram: tuple[NDArray[np.float64], float] | None = None  # G of the items after updates, and Σ m
    _online: Online | None = None
    _live: Mapping[str, LiveArray] | None = None  # the arrays that updates write to, by the attributes' names
    _leases: Mapping[str, Lease | NDArray[Any]] = MappingProxyType({})  # of arrays that another model can write to
    _pending: Publication | None = None  # an update that is being published
    _OWN: ClassVar[tuple[str, ...]] = (*FactorModel._OWN, "_online", "_live")

    @property
    def _regularization(self) -> Regularization:
        raise NotImplementedError

    def fit(self, data: Any, y: None = None) -> Self:
        """Fit the model, from scratch whatever was fitted before."""
        raise NotImplementedError

    def fold_in(
        self,
        histories: Any,
        *,
        unknown_items: Literal["ignore", "raise"] = "ignore",
        user_features: Any = None,
    ) -> Self:
        """Give the model of other users: never seen, or with a longer history, from what they have done.

        Each is solved by the same half-step as in `fit`, against the items as they are, with λ scaled and cells
        weighted by the same statistics. Nothing is learned about the items; `partial_fit` does that.

        Parameters
        ----------
        histories : Interactions, sparse matrix, dataframe or mapping
            All interactions of each user, as for `fit`; or a mapping from user id to a mapping or pandas Series from
            item ids to values, or to a list of item ids: one event each for `Implicit`, and an error if the model was
            fitted on values that are its targets, such as ratings. The columns of a sparse matrix are the items of
            the model, in the order of `items_`; a one-dimensional sparse array is the history of a single user, with
            id 0.
            Where biases drift, it is at their times that things were done; now, if they have none.
        unknown_items : {"ignore", "raise"}
            What to do with an item that the model was not fitted on: leave it out, or raise `UnknownIdError`.
        user_features : dataframe or scipy sparse matrix, optional
            Of these users, if the model was fitted with `user_features`: with the same columns, of which those that
            the fit did not have are passed over, or a matrix with a row for each. Categories that are new, and users
            without features, count as missing. (Implicit features are those of the histories.)

        Returns
        -------
        ALS
            A model of these users alone, which shares the items with this one, so that ``fold_in(h).recommend()``
            are recommendations straight from histories. A user without any known item has what its features say, and
            zeros without. This model is unchanged.

        Raises
        ------
        DataError
            If the histories or the features are unusable, values are missing, a matrix has another number of columns
            than the model has items, or an item id is of a type that no item id of the model has. User ids may be of
            any type, since they are ids of new users.
        UnknownIdError
            If an item is unknown and ``unknown_items="raise"``.
        NumericalError
            If a user's system is not positive definite.
        """
        self._check_parameters()
        self = self._snapshot()
        data = self._histories(histories, unknown_items)
        if self._link is None:
            refuse_features("user_features", user_features)
        if self.drift_ is not None:
            return self._fold_in_drifting(data, self.drift_)
        link = None if self._link is None else self._link.of_others(data, user_features)
        side, prior = self._users_side(data), None if link is None else link.prior(data)
        with naming_the_row("user", data):
            factors, biases = solve_rows(
                side, self.item_factors_, self.item_biases_, threads=self.threads, prior=prior
            )
        folded = self._folded(data, factors, biases)
        if link is not None:
            folded._link = link
        return folded

    def _fold_in_drifting(self, data: Interactions, drift: FittedDrift) -> Self:
        """The same where biases drift: users are solved together with their trends."""
        asked, drift = self.objective.drift, drift.of_users(data)
        side, deviations = self._users_side(data, drift), None
        if asked is None or asked.user_trend:
            t = None if data.timestamps is None else drift.times(data.timestamps)
            if t is not None and len(t):
                deviations = drift.deviations(data.user_positions, t)[data.by_user.order]
        ridge = trend_ridge(0.0 if asked is None else asked.strengths[0], data, self._regularization)
        with naming_the_row("user", data):
            factors, biases, trends = solve_with_trends(
                side, deviations, ridge, self.item_factors_, self.item_biases_, threads=self.threads
            )
        folded = self._folded(data, factors, biases)
        folded.drift_ = replace(drift, trends=trends)
        return folded

    def _histories(self, histories: Any, unknown_items: Literal["ignore", "raise"]) -> Interactions:
        """Return the histories of users to be folded in, on the items of the model."""
        check_choice("unknown_items", unknown_items, ("ignore", "raise"))
        given = self._with_items_checked(histories, "raise" if unknown_items == "raise" else "mark")
        if self._values_are == "given" and not self.objective.counts_events:
            self._refuse_without_values(
                given, "the histories", "each item's value, as in {user: {item: 4.0}}, or a column of values"
            )
        return replace(
            given.rebased(items=self.items_),
            item_titles=self._titles,
            frame_kind=given.frame_kind or self._frame_kind,
        )

    def _refuse_without_values(self, data: Interactions, what: str, remedy: str) -> None:
        """Raise an error for interactions without values that the objective would take for values of 1."""
        if len(data) and not data.has_values and self.objective.uses_values:
            fitted_on = "values" if self._values_are == "given" else "counts"
            raise DataError(
                f"{what} have no values, and the model was fitted on {fitted_on}, which its objective "
                f"{type(self.objective).__name__} uses: give {remedy}"
            )

    def _predicts_values(self, data: Interactions) -> bool:
        """Whether the targets are the values of the interactions, such as ratings, rather than preferences."""
        objective = self.objective
        if isinstance(objective, NotStored) or isinstance(getattr(objective, "target", None), NotStored):
            return False
        known = data.rebased(items=self.items_)
        cells, _ = Statistics(self.mean_, self.item_counts_, self.users_).place(known)
        return super()._predicts_values(data) and objective.predicts_values(cells)

    def _folded(self, data: Interactions, factors: NDArray[np.floating], biases: NDArray[np.floating]) -> Self:
        """Return a model of these users, with the items of this one."""
        folded = self._independent()
        folded.__dict__.update(users_=data.users, user_factors_=factors, user_biases_=biases, _data=data)
        folded._items_data = self._items_data if self._is_folded else self._data
        folded._is_folded = True
        folded._leases = {name: lease for name, lease in self._leases.items() if name.startswith("item")}
        return folded

    def _with_items_checked(self, histories: Any, unknown: Literal["raise", "mark"]) -> Interactions:
        """Return histories, checking the number of columns and the types of item ids."""
        if is_sparse(histories):
            columns, n_items = histories.shape[-1], len(self.items_)
            if columns != n_items:
                raise DataError(
                    f"the histories have {columns:,} columns, and the model has {n_items:,} items: rows are users, "
                    "columns are items"
                )
            return Interactions.of_stored(histories, items=self.items_)
        data = as_histories(histories)
        self.items_.positions(data.items.ids[data.item_counts > 0], unknown, name="item id")
        return data

    def explain(self, user: Any, item: Any, n: int = 5) -> Explanation:
        """Say what each interaction of a user contributes to the score of an item (Hu et al. 2008, §5).

        The user's factors are x_u = A_u⁻¹ Σ_j w_uj (t_uj − o_j) y_j, so the score is a sum over the user's
        interactions j:

            y_i·x_u = Σ_j  w_uj (t_uj − o_j) · y_iᵀ A_u⁻¹ y_j

        where y_iᵀ A_u⁻¹ y_j is how alike the items i and j are in this user's eyes. What its features say of a user
        linked to them, y_iᵀ A_u⁻¹ λ_u D βᵀ f_u, is there without any interaction, except for what it says because of
        one, by implicit features: that is part of its contribution.

        Parameters
        ----------
        user, item : id
        n : int
            How many contributions to show when printed; the result holds all.

        Returns
        -------
        Explanation

        Raises
        ------
        UnknownIdError
            If the user or the item is unknown. A new user is explained by ``fold_in(history).explain(...)``.
        DataError
            If the model does not know what it was fitted on, or an id is of a type that no id of the model has.
        """
        check_integer("n", n, minimum=1)
        self._check_parameters()
        self = self._snapshot()
        u, i = self.users_.position(user, name="user id"), self.items_.position(item, name="item id")
        data = self._data
        if data is None:
            raise DataError(FORGETFUL)
        history = data.of_user(u) if isinstance(data, Ledger) else data.subset(data.user_positions == u)
        contributions, baseline = self._contributions(history, u, i)
        pattern = history.by_user
        return Explanation(
            user=self.users_[u],
            item=self.items_[i],
            score=float(self.predict([self.users_[u]], [self.items_[i]])[0]),
            baseline=self.mean_ + baseline + self._drift_now(u, i),
            item_ids=self.items_.ids[pattern.indices],
            values=history.values[pattern.order],
            contributions=contributions.astype(np.float64),
            titles=self._titles,
            shown=n,
        )

    def _contributions(self, history: Interactions, u: int, i: int) -> tuple[NDArray[np.floating], float]:
        """What each interaction of user u, row by row, adds to the score of item i; and what is there without."""
        side = self._users_side(history).take(np.array([u]))
        A, Y, pull = system(side, self.item_factors_, self.item_biases_)
        y = np.append(self.item_factors_[i], [1.0] * (len(A) - self.item_factors_.shape[1])).astype(A.dtype)
        try:
            weights = np.linalg.solve(A, y) if len(history) else np.zeros_like(y)
        except np.linalg.LinAlgError as error:
            raise NumericalError(
                f"user {self.users_[u]!r}: its system is singular: raise the regularization"
            ) from error
        contributions, baseline = pull * (Y @ weights), float(self.item_biases_[i])
        if self._link is None:
            return contributions, baseline
        ridge = float(side.regularization[0]) * np.append(np.ones(side.rank), [side.bias_ratio] * side.biases)
        of_mean = ridge * weights if len(history) else y  # without history, users are at their means
        if len(self._link.of_bags) and len(history):
            contributions += len(history) ** -0.5 * (self._link.of_bags[side.indices] @ of_mean)
        said = self._link.given.matrix[[u]] @ self._link.of_given
        return contributions, baseline + float((said @ of_mean).sum())

    def partial_fit(
        self,
        new: Any,
        *,
        duplicates: Literal["last", "sum", "error"] = "last",
        update_items: bool = True,
    ) -> Self:
        """Learn from new interactions without fitting anew: solve the users that they touch, then the items.

        Each touched row is solved by the same half-step as in `fit`, from all that it has now. New users and items
        are appended to the vocabularies. What all rows share is kept up to date: popularity, and the sums over all
        rows that missing cells add to each system (He et al. 2016). μ stays as it was fitted. Rows that are not
        touched stay, although the counts and factors that they depend on may have changed: after many updates, fit
        again.

        A new item that nobody but new users have stays at 0, and so do they, until one of them meets what is known:
        nothing says in which direction they should go.

        One interaction costs as much as solving two rows, whatever the size of the model. The first call after
        loading, pickling or an interrupted fit also computes the Gramians of all rows if missing cells have weights.
        Arrays that were obtained from the model before its first update never change; those that are obtained later
        are written to. A call while another thread reads the model, or while a copy of it, a model from `fold_in` or
        an array from before the first update exists, copies the factors that these share, at most once for each of
        them.

        Thread-safe: updates are serialized, and other threads see an update completely or not at all. The same holds
        after a ``KeyboardInterrupt`` during an update.

        Parameters
        ----------
        new : Interactions, sparse matrix or dataframe
            Only the new interactions, as for `fit`; with timestamps and weights if the training interactions have
            them, and with values if these have them and the objective uses them (with ``duplicates="sum"``,
            `Implicit` counts an interaction without a value as one more event). A model that has not been fitted is
            fitted on them.
        duplicates : {"last", "sum", "error"}
            How an interaction is handled whose cell is already observed: "last" replaces the old value, "sum" adds to
            it (counts of plays), "error" raises an error and changes nothing.
        update_items : bool
            Whether items learn, too. Without, the items stay as they are and the users end where `fold_in` of all
            that they have would put them, in whatever pieces it came.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the interactions are invalid, or inconsistent with those that the model was fitted on, such as an id of
            another type; the model is unchanged.
        ParameterError
            If biases drift: the bins of time and what is carried forward are of the data that were fitted. Or if rows
            are linked to features.
        NumericalError
            If a row's system is not positive definite; that row is as it was then.
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
        if "_data" not in self.__dict__:
            return self.fit(new)
        if self.drift_ is not None:
            raise ParameterError(
                "a model whose biases drift cannot learn on, as its bins of time end with the data that it was "
                "fitted on: fit again, or fold_in the users who have something new"
            )
        if self._link is not None:
            raise ParameterError(
                "a model whose rows are linked to features cannot learn on, as what these say depends on all rows: "
                "fit again, or fold_in the users who have something new"
            )
        if self._is_folded:
            raise DataError(
                "this model was made by fold_in: it knows its own users, not those whom the items were learnt from. "
                "Update the model that was fitted, or fold longer histories in"
            )
        new = as_interactions(new, duplicates=duplicates)
        counts_events = self._values_are == "counted" or self.objective.counts_events
        if self._values_are != "one" and not (counts_events and duplicates != "last"):
            more = ", or set duplicates='sum' to count each as one more event" if counts_events else ""
            self._refuse_without_values(new, "the new interactions", f"a value for each{more}")
        online = self._online_state()
        if len(new) == 0:
            return self
        update = online.prepared(new, duplicates=duplicates, update_items=update_items, threads=self.threads)
        self._publish(update, online.items_gram)
        online.accept(update, self.__dict__)
        if update.error is not None:
            raise update.error
        return self

    def _publish(self, update: Update, items_gram: tuple[NDArray[np.float64], float] | None) -> None:
        """Publish an update to readers, atomically."""
        assert self._live is not None
        state = {
            "users_": update.ledger.users,
            "items_": update.ledger.items,
            "_data": update.ledger,
            "_items_gram": items_gram,
            "_unit_factors": None,
        }
        publication = Publication(self._live, update.writes, state)
        self._take_back(update.writes)
        while True:
            publication.leave_readers()
            with self._locks.state.lock:
                if publication.is_free:
                    self._pending = publication
                    self._finish_pending()
                    return

    def _take_back(self, names: Iterable[str]) -> None:
        """Keep no lent arrays, so that only others who obtained them have leases."""
        assert self._live is not None
        lent = {name: array for name in names if (array := self._live[name]).is_behind(self.__dict__[name])}
        with self._locks.state.lock:
            self.__dict__.update(self._views_of(lent))

    def _finish_pending(self) -> None:
        """Publish a pending update, possibly one that Ctrl-C interrupted; the caller holds the lock `state`."""
        publication = self._pending
        if publication is None:
            return
        leases = {name: lease for name, lease in self._leases.items() if name not in publication.moved}
        self.__dict__.update(publication.apply(), _live=publication.arrays, _leases=leases, _pending=None)

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
        for name in ("_data", "_items_data"):
            if isinstance(state.get(name), Ledger):
                state[name] = state[name].interactions
        state["_gramians"] = None
        return state  # with its leases, since the arrays must not change until they are pickled

    def _remember(self, data: Interactions, *, more: Mapping[str, Any] | None = None, **fitted: Any) -> None:
        fresh: dict[str, Any] = {
            "_link": None,
            "_is_folded": False,
            "_items_data": None,
            "_gramians": None,
            "_unit_factors": None,
            "_items_gram": None,
            "_online": None,
            "_live": None,
            "_leases": {},
            "_pending": None,
        }
        super()._remember(data, more=fresh | dict(more or {}), **fitted)

    def _more_arrays(self) -> dict[str, NDArray[Any]]:
        return ({} if self._link is None else self._link.to_arrays()) | super()._more_arrays()

    def _take_more_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super()._take_more_arrays(arrays)
        k, objective = self.item_factors_.shape[1], self.objective
        # an objective that a file does not hold does not say whether it has biases
        unknowns = (k, k + 1) if isinstance(objective, NotStored) else (k + bool(objective.biases),)
        link = FittedLink.from_arrays(arrays, len(self.user_factors_), len(self.item_factors_), unknowns)
        if link is not None:
            self._link = link

    def _online_state(self) -> Online:
        """Return the state for updates; a new one at first, and after an update that was not finished."""
        online = self._online
        if online is None or not online.is_consistent:
            data = self._data
            if data is None:
                raise DataError(FORGETFUL)
            ledger = data.parted() if isinstance(data, Ledger) else Ledger.of(data)
            before, live = self._live or {}, {}
            for name in LIVE:
                array = self.__dict__[name]
                is_known = name in before and before[name].is_behind(array)
                live[name] = before[name] if is_known else LiveArray(array)
            arrays = self._views_of(live)
            gramians = self._gramians or Gramians()
            online = Online(
                ledger,
                OnlineSide(arrays["user_factors_"], arrays["user_biases_"], ledger.user_counts),
                OnlineSide(arrays["item_factors_"], arrays["item_biases_"], self.item_counts_),
                objective=self.objective,
                regularization=self._regularization,
                mean=self.mean_,
                rank=self.item_factors_.shape[1],
                known=lambda what, m: gramians.known(what, m, self.__dict__[f"{what}_factors_"]),
            )
            with self._locks.state.lock:
                self.__dict__.update(_online=online, _live=live)
        return online

    def _views_of(self, live: Mapping[str, LiveArray]) -> dict[str, NDArray[Any]]:
        """Return views of the live arrays in their current lengths, which are no leases."""
        return {name: array.first(len(self.__dict__[name])) for name, array in live.items()}

    def _users_side(self, data: Interactions, drift: FittedDrift | None = None) -> Side:
        """The half-step of some users, whose items are this model's; `drift` is these users', if not the model's."""
        cost = self.objective.cost(data, Statistics(self.mean_, self.item_counts_, self.users_))
        if self._link is not None:
            cost = cost.without_missing_of(data.user_counts == 0, self.item_counts_ == 0)
        drift = self.drift_ if drift is None else drift
        if drift is not None:
            t = None if data.timestamps is None else drift.times(data.timestamps)
            cost = replace(cost, targets=cost.targets - drift.at(data.user_positions, data.item_positions, t))
        side = users_side(
            data,
            cost,
            rank=self.item_factors_.shape[1],
            regularization=self._regularization,
            dtype=np.float64,
        )
        if len(side.row_missing) == 0:
            return side
        m = side.column_missing.astype(np.float64)
        if self._items_gram is not None:
            of_items, total = self._items_gram
            return replace(side, gram=of_items * (float(m.sum()) / total))
        assert self._gramians is not None
        return replace(side, gram=self._gramians.of("item", m, self.item_factors_, self.threads))


@contextmanager
def naming_the_row(what: Literal["user", "item"], data: Interactions) -> Iterator[None]:
    """Turn the position in a `NumericalError` into the id that the caller knows."""
    try:
        yield
    except NumericalError as error:
        if error.row is None:
            raise
        ids = data.users if what == "user" else data.items
        raise error.named(f"{what} {ids[error.row]!r}") from error
