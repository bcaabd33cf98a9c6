"""Protocols: the metrics, cutoffs and ranked items of published results, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from halfstep.data import Interactions
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.task import Task, training_of_items
from halfstep.models.factor_model import FactorModel


class Protocol(NamedTuple):
    """The items to rank for each user, and the metrics of the ranking.

    Attributes
    ----------
    metrics : tuple of str
        Metrics with their cutoffs; the last one is the one to tune for.
    has_candidates : bool
        Whether given candidates are ranked, one of which is relevant, instead of all items that the user does not
        have in the training data.
    is_folded : bool
        Whether the users are not in the training data, and are folded in.
    """

    metrics: tuple[str, ...]
    has_candidates: bool = False
    is_folded: bool = False


PROTOCOLS: Mapping[str, Protocol] = {
    # He et al. 2020, "LightGCN: simplifying and powering graph convolution network for recommendation"
    "lightgcn": Protocol(("recall@20", "ndcg@20")),
    # Liang et al. 2018, "Variational autoencoders for collaborative filtering"
    "vae": Protocol(("attainable_recall@20", "attainable_recall@50", "ndcg@100"), is_folded=True),
    # He et al. 2017, "Neural collaborative filtering"
    "ncf": Protocol(("hit_rate@10", "ndcg@10"), has_candidates=True),
}


def read_protocol(name: str, *, has_candidates: bool, others: Mapping[str, bool]) -> Protocol:
    """Return a protocol.

    Parameters
    ----------
    has_candidates : bool
        Whether candidates are given.
    others : mapping from str to bool
        Whether each of the other parameters that a protocol sets is given. ``exclude_seen=False`` is the default of
        protocols with candidates.
    """
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise ParameterError(f"protocol={name!r}: give one of {', '.join(map(repr, PROTOCOLS))}, or None")
    protocol = PROTOCOLS[name]
    for other, is_given in others.items():
        if is_given and not (protocol.has_candidates and other == "exclude_seen=False"):
            raise ParameterError(f"protocol={name!r} cannot be combined with {other}: omit one of them")
    if has_candidates and not protocol.has_candidates:
        raise ParameterError(f"protocol={name!r} ranks all items without training interactions: omit candidates")
    if protocol.has_candidates and not has_candidates:
        raise ParameterError(f"protocol={name!r} ranks candidates: give the candidates of each user")
    return protocol


def check_task(name: str, models: Mapping[str, FactorModel], task: Task) -> None:
    """Check that the users of an evaluation meet the requirements of a protocol.

    Raises
    ------
    ParameterError
        If the protocol requires models that are folded in, and they are not.
    DataError
        If the protocol requires users that are not in the training data, and some are; or if it requires one relevant
        item for each user, and a user has several.
    """
    protocol = PROTOCOLS[name]
    if protocol.is_folded:
        for model in models.values():
            _check_held_out(name, model, task.test)
    if protocol.has_candidates and task.relevant.max(initial=0) > 1:
        row = task.relevant.argmax()
        raise DataError(
            f"protocol={name!r} has one relevant item for each user, and user {task.users.tolist()[row]!r} has "
            f"{task.relevant[row]:,}: hold out one, as with split_leave_last_out"
        )


def _check_held_out(name: str, model: FactorModel, test: Interactions) -> None:
    """Check that a model is folded in, and was not fitted on the users of the test set."""
    if not model._fitted.is_folded:
        raise ParameterError(
            f"protocol={name!r} scores users that are not in the training data: give the result of "
            "model.fold_in(histories), as with split_held_out_users"
        )
    training = training_of_items(model)
    if training is None:  # of a folded-in model from a file
        return
    positions = training.users.shared(test.users)
    is_trained = (positions >= 0) & (training.user_counts[positions] > 0) & (test.user_counts > 0)
    if is_trained.any():
        user = test.users.ids[is_trained].tolist()[0]
        raise DataError(
            f"protocol={name!r} scores users that are not in the training data, but "
            f"{np.count_nonzero(is_trained):,} of the {np.count_nonzero(test.user_counts):,} users of the test set "
            f"are, such as {user!r}: split by split_held_out_users; if different users have the same ids, as rows of "
            "sparse matrices do, set other ids in Interactions.from_sparse(matrix, users=...)"
        )
