"""Biases that drift: what is added to a score at a time t,

    b_{i,bin(t)} + a_u dev_u(t),     dev_u(t) = sign(t − t̄_u) |t − t̄_u|^0.4 / s

(Koren, "Collaborative filtering with temporal dynamics", KDD 2009): an item's bias in the bin of time that t falls
into, and a user's trend around t̄_u, the mean time of the user's observations. Nothing in it needs the future:

- The bins' bounds are quantiles of the training data's times, so that each bin has its share of the observations,
  and one wrong date in the far past cannot leave all others in a single bin. Later than the last bound is the last
  bin: it is carried forward, however late; the first bin is carried back likewise.
- A user's trend does not go on after the user's last observation, nor before the first: from there on, dev_u stays
  what it was and fades, by the factor exp(−gap / period), where the period is that from the first observation to the
  last. So a trend is believed for about as long as it was seen. A user who rated for ten minutes, favourites first,
  would else be said to have changed for good, or even by many times as much in the following months.
- s is the root mean square of dev_u over the training data. It takes the unit of time out, which for timestamps that
  are numbers nobody knows, and makes a trend as large as a bias, so that one λ means as much for either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DataError, ParameterError
from halfstep.interactions import Interactions
from halfstep.parameters import as_pair, check_integer, check_number
from halfstep.short_repr import short_repr

Floats = NDArray[np.float64]

EXPONENT = 0.4  # Koren's β


@dataclass(frozen=True, repr=False, kw_only=True)
class Drift:
    """Biases that change with time: each item's from bin to bin, each user's along a trend.

    Parameters
    ----------
    bins : int
        How many bins of time items have a bias in, beside the one for all times; 1 for items that do not drift. There
        may be fewer where many observations have the same time.
    user_trend : bool
        Whether users have a trend.
    regularization : float, or a pair of them
        λ ≥ 0 of the users' trends and of the items' bins, or of either alike: the objective's term is
        Σ_u λ_u a_u² + Σ_ib λ_ib b_ib², where λ grows with the number of observations of the user, or of the item in
        the bin, as the other λ of the model do. The defaults were chosen by time within MovieLens 100K's first 80,000
        ratings. They shrink much: what is left of a trend is carried into the future, where it may not go on.
    """

    bins: int = 10
    user_trend: bool = True
    regularization: float | tuple[float, float] = (30.0, 50.0)

    def __post_init__(self) -> None:
        check_integer("bins", self.bins, minimum=1)
        if not isinstance(self.user_trend, bool | np.bool_):
            raise ParameterError(f"user_trend={self.user_trend!r}: give True or False")
        for strength in self.strengths:
            check_number("regularization", strength)
        if self.bins == 1 and not self.user_trend:
            raise ParameterError("bins=1 and user_trend=False: nothing drifts then; leave drift out, or set either")

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def strengths(self) -> tuple[float, float]:
        """λ of the users' trends and of the items' bins."""
        return as_pair("regularization", self.regularization)


@dataclass(frozen=True, eq=False)
class FittedDrift:
    """The drift of a fitted model. Times are numbers here, or the microseconds of instants.

    Attributes
    ----------
    edges : ndarray of shape (n_bins − 1,)
        Ascending: a bin begins with its edge.
    scale : ndarray of shape (1,)
        s.
    end : ndarray of shape (1,)
        The last time of the training data: what "now" means.
    is_instant : ndarray of bool of shape (1,)
        Whether the training data's timestamps are instants rather than numbers.
    item_biases : ndarray of shape (n_items, n_bins)
        b_{i,bin}; 0 where an item has no observation in a bin.
    trends, means, first, last : ndarray of shape (n_users,)
        a_u, t̄_u, and the times of the user's first and last observation; zeros for users without any.
    """

    edges: Floats
    scale: Floats
    end: Floats
    is_instant: NDArray[np.bool_]
    item_biases: Floats
    trends: Floats
    means: Floats
    first: Floats
    last: Floats

    @classmethod
    def begin(cls, drift: Drift, data: Interactions) -> Self:
        """Lay the bins out, and set all that drifts to 0.

        Raises
        ------
        DataError
            If the data have no timestamps.
        """
        if data.timestamps is None:
            raise DataError(
                "drift needs timestamps, which these interactions do not have: name their column by timestamp=..., "
                "or leave drift out"
            )
        is_instant = np.array([data.timestamps.dtype.kind == "M"])
        t = _numbers(data.timestamps)
        edges = np.unique(np.quantile(t, np.arange(1, drift.bins) / drift.bins, method="higher"))
        edges = edges[edges > t.min()]  # before the others would be nothing
        none = np.zeros(0)
        start = cls(
            edges,
            np.ones(1),
            np.array([t.max()]),
            is_instant,
            np.zeros((data.n_items, len(edges) + 1)),
            none,
            none,
            none,
            none,
        ).of_users(data)
        square = float(np.mean(start.deviations(data.user_positions, t) ** 2))
        return replace(start, scale=np.array([square**0.5 if square > 0 else 1.0]))

    def of_users(self, data: Interactions) -> Self:
        """The same for other users, whose trends are 0; all of these are now where they have no timestamps."""
        zeros = np.zeros(data.n_users)
        if data.timestamps is None or len(data) == 0:
            return replace(self, trends=zeros, means=zeros, first=zeros, last=zeros)
        t, u = self.times(data.timestamps), data.user_positions
        origin, counts = t[0], data.user_counts
        has_any = counts > 0
        means = np.bincount(u, weights=t - origin, minlength=len(counts)) / np.maximum(counts, 1) + origin
        first, last = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
        np.minimum.at(first, u, t)
        np.maximum.at(last, u, t)
        means, first, last = (np.where(has_any, each, 0.0) for each in (means, first, last))
        return replace(self, trends=zeros, means=means, first=first, last=last)

    def towards(self, other: FittedDrift, share: float) -> Self:
        """Go some of the way to another drift of the same users and items."""
        item_biases = self.item_biases + share * (other.item_biases - self.item_biases)
        return replace(self, item_biases=item_biases, trends=self.trends + share * (other.trends - self.trends))

    def times(self, timestamps: NDArray[Any]) -> Floats:
        """Timestamps as numbers.

        Raises
        ------
        DataError
            If they are instants and those of the training data are numbers, or the reverse.
        """
        if (timestamps.dtype.kind == "M") != bool(self.is_instant[0]):
            kinds = ["numbers", "instants"]
            raise DataError(
                f"the timestamps are {kinds[timestamps.dtype.kind == 'M']}, such as {timestamps[0]}, and those that "
                f"the model was fitted on are {kinds[bool(self.is_instant[0])]}: give such"
            )
        return _numbers(timestamps)

    def bins(self, t: Floats) -> NDArray[np.int32]:
        """The bin of each time."""
        return np.searchsorted(self.edges, t, side="right").astype(np.int32)

    def deviations(self, u: NDArray[np.integer], t: Floats) -> Floats:
        """dev_u(t) of users and times."""
        first, last = self.first[u], self.last[u]
        within = np.clip(t, first, last)
        away, gap, period = within - self.means[u], np.abs(t - within), last - first
        periods = np.divide(gap, period, out=np.zeros(len(away)), where=period > 0)
        deviations: Floats = np.sign(away) * np.abs(away) ** EXPONENT / self.scale[0] * np.exp(-periods)
        return deviations

    @property
    def items_now(self) -> Floats:
        """What is added to each item's bias once the last bin has begun."""
        return self.item_biases[:, -1]

    @property
    def users_now(self) -> Floats:
        """What is added to each user's bias at the end of the training data, or of the user's own if later."""
        return self.trends * self.deviations(np.arange(len(self.last)), np.maximum(self.last, self.end[0]))

    def at(self, u: NDArray[np.integer], i: NDArray[np.integer], t: Floats | None) -> Floats:
        """What is added to the scores of pairs of positions at times, or now; an unknown id, −1, adds nothing."""
        total = np.zeros(len(u))
        users, items = u >= 0, i >= 0
        if t is None:
            total[items] += self.items_now[i[items]]
            total[users] += self.users_now[u[users]]
        else:
            total[items] += self.item_biases[i[items], self.bins(t[items])]
            total[users] += self.trends[u[users]] * self.deviations(u[users], t[users])
        return total

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as a file holds them."""
        return {f"{_PREFIX}{field.name}": getattr(self, field.name) for field in dataclasses.fields(self)}

    @staticmethod
    def left_out(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Those of a file's arrays that are not a drift's."""
        return {name: array for name, array in arrays.items() if not name.startswith(_PREFIX)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], n_users: int, n_items: int) -> FittedDrift | None:
        """Take arrays from a file, None if there are none; ValueError if they do not fit so many users and items."""
        ours = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
        if not ours:
            return None
        n_edges = len(ours["edges"]) if "edges" in ours and ours["edges"].ndim == 1 else 0
        expected = {field.name: (n_users,) for field in dataclasses.fields(cls)}
        expected |= {"edges": (n_edges,), "scale": (1,), "end": (1,), "is_instant": (1,)}
        shapes: dict[str, tuple[int, ...]] = expected | {"item_biases": (n_items, n_edges + 1)}
        found = {name: array.shape for name, array in ours.items()}
        kinds = {name: np.bool_ if name == "is_instant" else np.float64 for name in ours}
        if found != shapes or any(array.dtype != kinds[name] for name, array in ours.items()):
            raise ValueError(
                f"what drifts in it, of shapes {found}, does not fit {n_users} users and {n_items} items"
            )
        if not all(np.isfinite(array).all() for array in ours.values()) or ours["scale"][0] <= 0:
            raise ValueError("what drifts in it is not all finite")
        if (np.diff(ours["edges"]) < 0).any():
            raise ValueError("the bins of its drift do not ascend")
        return cls(**ours)


_PREFIX = "drift."


def _numbers(timestamps: NDArray[Any]) -> Floats:
    if timestamps.dtype.kind == "M":
        timestamps = timestamps.astype("datetime64[us]").view(np.int64)
    return timestamps.astype(np.float64)
