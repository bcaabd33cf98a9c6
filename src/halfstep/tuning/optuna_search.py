"""Points proposed by Optuna's tree-structured Parzen estimator; the only file that imports Optuna."""

from __future__ import annotations

from typing import Any

from halfstep.tuning.space import Choices, Integers, LogUniform, Point, Space, Uniform
from halfstep.tuning.trial import Trial

try:
    import optuna
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("search='optuna' needs Optuna: pip install 'halfstep[tune]'", name="optuna") from error


class OptunaSearch:
    """A search by an Optuna study.

    The study is in memory and its sampler has a seed, so that the same trials lead to the same points. The first
    point is `start`, if it is given.
    """

    def __init__(self, space: Space, seed: int, maximize: bool, start: Point | None = None) -> None:
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # no message about the new study
        try:
            self._study = optuna.create_study(
                direction="maximize" if maximize else "minimize",
                sampler=optuna.samplers.TPESampler(seed=seed % (1 << 32)),
            )
        finally:
            optuna.logging.set_verbosity(level)
        self._distributions = {name: _distribution(each) for name, each in space.dimensions.items()}
        self._asked: Any = None
        if start is not None:
            self._study.enqueue_trial(dict(start))

    def ask(self) -> Point | None:
        self._asked = self._study.ask(self._distributions)
        return {name: self._asked.params[name] for name in self._distributions}

    def tell(self, trial: Trial) -> None:
        states = optuna.trial.TrialState
        if trial.state == "finished":
            self._study.tell(self._asked, trial.value)
            return
        if trial.state == "pruned":  # the sampler ranks these by how far they came, and by what they had there
            steps = [value for fold in trial.rungs for value in fold.values()]
            for step, value in enumerate(steps):
                self._asked.report(value, step)
        self._study.tell(self._asked, state=states.PRUNED if trial.state == "pruned" else states.FAIL)


def _distribution(dimension: Any) -> optuna.distributions.BaseDistribution:
    match dimension:
        case Uniform():
            return optuna.distributions.FloatDistribution(dimension.low, dimension.high)
        case LogUniform():
            return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=True)
        case Integers():
            return optuna.distributions.IntDistribution(dimension.low, dimension.high, log=dimension.log)
        case Choices() if dimension.are_ascending and len(dimension.values) > 1:
            return optuna.distributions.IntDistribution(0, len(dimension.values) - 1)
        case Choices():
            return optuna.distributions.CategoricalDistribution(list(range(len(dimension.values))))
    raise AssertionError(dimension)
