"""The result of a search: trials, the best parameters, and the model."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice
from halfstep._support.html_table import and_more, html_table
from halfstep._support.plurals import with_count
from halfstep.data.frames import new_frame
from halfstep.errors import ParameterError, TuningError
from halfstep.evaluation import Evaluation, evaluate
from halfstep.evaluation.metric_names import PER_LIST, PER_PAIR
from halfstep.evaluation.tuning.space import Space, is_number, with_parameters
from halfstep.evaluation.tuning.trial import Trial, best_of, shown

IMAGE_KINDS = "png", "svg", "pdf"
ROWS_SHOWN = 5  # when printed


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Tuning:
    """The result of `tune`: the trials, and the model with the best parameters.

    Iteration yields the trials in the order in which they were run.

    Attributes
    ----------
    estimator : str
        The class of the estimator.
    metric : str
        The metric, such as "rmse" or "ndcg@10".
    maximize : bool
        Whether larger values are better.
    search : {"grid", "random", "tpe", "doubling"}
    folds : str
        The number and the kind of the folds.
    trials : tuple of Trial
    space : Space
        The search space.
    n_scored, n_cold : tuple of int
        For each fold, the number of test interactions that were scored, and of those that were excluded because their
        user or item has no training interactions.
    model : fitted model or None
        The model with the best parameters, fitted to all data; None with ``refit=False``.
    untuned : unfitted model
        The estimator before tuning, with the seed of the search if it had none.
    """

    estimator: str
    metric: str
    maximize: bool
    search: str
    folds: str
    trials: tuple[Trial, ...]
    space: Space
    n_scored: tuple[int, ...]
    n_cold: tuple[int, ...]
    model: Any
    untuned: Any = None
    frame_kind: str | None = None

    @property
    def best(self) -> Trial:
        """The trial with the best mean over all folds; the first one in case of ties."""
        best = best_of(self.trials, self.maximize)
        assert best is not None  # tune raises an error if there is none
        return best

    @property
    def best_parameters(self) -> dict[str, Any]:
        """The parameters of the best trial, by name."""
        return dict(self.best.parameters)

    @property
    def best_estimator(self) -> Any:
        """An unfitted estimator with the best parameters."""
        return with_parameters(self.untuned, self.best_parameters)

    @property
    def best_value(self) -> float:
        """The metric of the best trial, mean over the folds.

        The best of many values is optimistically biased: score the model once on a test set that the search has not
        used.
        """
        return self.best.value

    @property
    def seconds(self) -> float:
        """The duration of all trials, including those from a journal."""
        return sum(trial.seconds for trial in self.trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    def score(self, test: Any, metrics: str | Sequence[str] | None = None, n: int | Sequence[int] = 10) -> Evaluation:
        """Compare the tuned model with the untuned model and with baselines on a test set.

        Parameters
        ----------
        test : Interactions, scipy.sparse matrix or dataframe
            Interactions that were held out from the search, such as by ``split_by_time``.
        metrics : str or sequence of str, optional
            Metrics as for `evaluate`. By default, the metric of the search.
        n : int or sequence of int
            Cutoffs of metrics whose names have no cutoff.

        Returns
        -------
        Evaluation
            The models are "tuned" and "untuned", which is fitted to the same interactions.

        Raises
        ------
        TuningError
            If there is no model, because of ``refit=False``.
        ParameterError
            If the metric of the search is a function or unknown to `evaluate`, and `metrics` is None.
        """
        if self.model is None:
            raise TuningError("there is no model to score: call tune with refit=True")
        if metrics is None and self.metric.partition("@")[0] not in (*PER_PAIR, *PER_LIST):
            raise ParameterError(
                f"the metric of the search, {self.metric!r}, is unknown to evaluate: set metrics, such as 'ndcg@10'"
            )
        untuned = copy.deepcopy(self.untuned).fit(self.model.interactions_)
        return evaluate(
            {"tuned": self.model, "untuned": untuned}, test, self.metric if metrics is None else metrics, n
        )

    def to_frame(self, kind: str | None = None) -> Any:
        """Return a dataframe with a row for each trial.

        Parameters
        ----------
        kind : {"pandas", "polars", "pyarrow", "modin", "cudf"}, optional
            The library. By default, that of the dataframe that the data came from, else the first of pandas, Polars
            and PyArrow that is installed.

        Returns
        -------
        dataframe
            Columns: trial; the parameters, by name; the metric, mean over the folds; fold_1, fold_2...; state,
            started_from, seconds and error. Folds that were not scored are NaN.
        """
        trials = self.trials
        columns = {"trial": np.array([trial.number for trial in trials])}
        columns |= {
            name: _column([shown(trial.parameters[name]) for trial in trials]) for name in self.space.dimensions
        }
        columns[self.metric] = np.array([trial.value for trial in trials])
        for fold in range(len(self.n_scored)):
            scored = [trial.values[fold] if fold < len(trial.values) else np.nan for trial in trials]
            columns[f"fold_{fold + 1}"] = np.array(scored, np.float64)
        columns["state"] = np.array([trial.state for trial in trials], object)
        columns["started_from"] = np.array([trial.started_from for trial in trials], object)
        columns["seconds"] = np.array([trial.seconds for trial in trials])
        columns["error"] = np.array([trial.error for trial in trials], object)
        return new_frame(columns, self.frame_kind if kind is None else kind)

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the model, in types that JSON supports."""
        return {
            "estimator": self.estimator,
            "metric": self.metric,
            "direction": "maximize" if self.maximize else "minimize",
            "search": self.search,
            "folds": self.folds,
            "n_scored": list(self.n_scored),
            "n_cold": list(self.n_cold),
            "seconds": self.seconds,
            "best": self.best.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
        }

    def plot(self) -> Any:
        """Plot the metric of all finished trials against each parameter, and mark the best trial.

        Returns
        -------
        matplotlib.figure.Figure
            Notebooks display it; `savefig` writes it to a file.

        Raises
        ------
        ModuleNotFoundError
            If Matplotlib is not installed.
        """
        from halfstep.evaluation.tuning.plotting import plot

        return plot(self.space, self.trials, self.best, self.metric)

    def image(self, kind: str = "png") -> bytes:
        """Return the plot of `plot` as the content of an image file.

        Parameters
        ----------
        kind : {"png", "svg", "pdf"}

        Raises
        ------
        ParameterError
            If `kind` is unknown.
        ModuleNotFoundError
            If Matplotlib is not installed.
        """
        check_choice("kind", kind, IMAGE_KINDS)
        from halfstep.evaluation.tuning.plotting import image

        return image(self.space, self.trials, self.best, self.metric, kind)

    def png(self) -> bytes:
        """Return the plot of `plot` as the content of a png file."""
        return self.image("png")

    def __repr__(self) -> str:
        table, left_out = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
        if left_out:
            lines.append(f"... and {left_out} more finished {'trial' if left_out == 1 else 'trials'}; see to_frame()")
        return "\n".join([*self._about(), *lines])

    def _repr_html_(self) -> str:
        title, *notes = self._about()
        (columns, *rows), left_out = self._table()
        more = and_more(left_out, "finished trial")
        return html_table(title, columns, rows, bold=[0], notes=[*more, *notes])

    def _about(self) -> tuple[str, ...]:
        """Return descriptions of the search and of the scores, and the error of the first failed trial."""
        states = Counter(trial.state for trial in self.trials)
        trials = with_count(len(self.trials), "trial")
        counts = [trials, *(f"{states[s]} {s}" for s in ("pruned", "failed") if states[s])]
        cold = f", {sum(self.n_cold):,} of cold-start users or items excluded" if any(self.n_cold) else ""
        failure = next((trial.error for trial in self.trials if trial.state == "failed"), None)
        return (
            f"Tuning of {self.estimator} by {self.metric}, {self.search}: {', '.join(counts)}, {self.seconds:.1f} s",
            f"{self.folds}: {sum(self.n_scored):,} test interactions scored{cold}",
            *([] if failure is None else [f"first failure: {failure}"]),
        )

    def _table(self) -> tuple[list[list[str]], int]:
        """Return the best trials with a header, and the number of other finished trials."""
        sign = -1 if self.maximize else 1
        ranked = sorted(
            (trial for trial in self.trials if trial.state == "finished"), key=lambda trial: sign * trial.value
        )
        names = list(self.space.dimensions)
        table = [["trial", self.metric, "folds", *names]]
        for trial in ranked[:ROWS_SHOWN]:
            folds = " ".join(f"{value:.4f}" for value in trial.values)
            parameters = (_short(trial.parameters[name]) for name in names)
            table.append([str(trial.number), f"{trial.value:.4f}", folds, *parameters])
        return table, max(len(ranked) - ROWS_SHOWN, 0)


def _column(values: list[Any]) -> NDArray[Any]:
    """Return numbers unchanged, and other values as strings."""
    if all(map(is_number, values)):
        return np.array(values)
    return np.array([None if value is None else str(value) for value in values], object)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
