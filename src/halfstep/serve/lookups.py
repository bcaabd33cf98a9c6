"""Lookups in a model: similar items, explanations, histories, and searches for users and items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from halfstep.data import GrowableInteractions
from halfstep.errors import DataError, UnknownIdError
from halfstep.models.factor_model import FactorModel
from halfstep.serve.conversion import Timestamps
from halfstep.serve.ids import Id
from halfstep.serve.messages import (
    ExplanationMessage,
    FoundItem,
    HistoryMessage,
    ListedItem,
    Reason,
    SimilarItemsMessage,
    UserInteraction,
)
from halfstep.serve.problem import ProblemError


def similar(model: FactorModel, item: Id, n: int) -> SimilarItemsMessage:
    """Return the items that are most similar to an item."""
    with _known("item", item):
        similar = model.similar_items([item], n, threads=1)
    titles = titles_of(model)
    ((_, pairs),) = similar
    return SimilarItemsMessage(item=item, title=titles.get(item), items=listed(pairs, titles))


def explain(model: Any, user: Id, item: Id, n: int) -> ExplanationMessage:
    """Explain the score of an item for a user."""
    if not hasattr(model, "explain"):
        raise ProblemError(409, f"{type(model).__name__} does not support explanations")
    for name, given, vocabulary in (("user", user, model.users_), ("item", item, model.items_)):
        if given not in vocabulary:
            raise ProblemError(404, f"the {name} {str(given)[:80]} is not in the model")
    with _known("item", item):
        explained = model.explain(user, item, n)
    order = np.argsort(-explained.contributions, kind="stable")[:n]
    titles = titles_of(model)
    because = [
        Reason(item=each, title=titles.get(each), value=value, contribution=contribution)
        for each, value, contribution in zip(
            explained.item_ids[order].tolist(),
            explained.values[order].tolist(),
            explained.contributions[order].tolist(),
            strict=True,
        )
    ]
    return ExplanationMessage(
        user=user,
        item=item,
        title=titles.get(item),
        score=explained.score,
        baseline=explained.baseline,
        because=because,
    )


def history(model: FactorModel, unit: Timestamps | None, user: Id, n: int) -> HistoryMessage:
    """Return the interactions of a user, most recent first; `unit` is that of the timestamps of the model."""
    fitted = model._snapshot()._fitted
    if fitted.data is None:
        raise ProblemError(
            409,
            "the model was saved without its interactions, so histories are unknown: serve a model with interactions",
        )
    with _known("user", user):
        position = fitted.users.position(user, name="user id")
    data = fitted.data
    if isinstance(data, GrowableInteractions):
        of_user = data.of_user(position)
    else:
        of_user = GrowableInteractions.of(data).of_user(position)
    order = np.arange(len(of_user))[::-1]
    times = of_user.timestamps
    if times is not None:
        order = order[np.argsort(times[order], kind="stable")[::-1]]
    seconds = None if times is None or unit is None else unit.seconds(times)
    titles = titles_of(model)
    ids = of_user.items.ids[of_user.item_positions].tolist()
    interactions = [
        UserInteraction(
            item=ids[row],
            title=titles.get(ids[row]),
            value=float(of_user.values[row]) if of_user.has_values else None,
            time=None if seconds is None else float(seconds[row]),
        )
        for row in order[:n].tolist()
    ]
    return HistoryMessage(user=user, count=len(of_user), items=interactions)


def find_items(model: FactorModel, text: str, n: int) -> list[FoundItem]:
    """Return items whose title or id contains a string, most popular first."""
    model = model._snapshot()
    titles, wanted = titles_of(model), text.casefold()
    order = np.argsort(-model.item_counts_, kind="stable").tolist()
    ids, found = model.items_.ids, []
    for position in order:
        item = ids[position]
        title = titles.get(item)
        if wanted in str(item).casefold() or (title is not None and wanted in title.casefold()):
            found.append(FoundItem(item=_plain(item), title=title))
            if len(found) == n:
                break
    return found


def find_users(model: FactorModel, text: str, n: int) -> list[Id]:
    """Return users whose id begins with a string, then others whose id contains it."""
    wanted = text.casefold()
    ids = [user for user in model.users_.ids.tolist() if wanted in str(user).casefold()]
    ids.sort(key=lambda user: (not str(user).casefold().startswith(wanted), len(str(user)), str(user)))
    return ids[:n]


def titles_of(model: FactorModel) -> Mapping[Any, str]:
    """Return the titles of items; empty if there are none."""
    return model._fitted.titles or {}


def listed(pairs: Sequence[tuple[Any, float]], titles: Mapping[Any, str]) -> list[ListedItem]:
    """Return items with scores and titles."""
    return [ListedItem(item=item, score=score, title=titles.get(item)) for item, score in pairs]


@contextmanager
def _known(name: str, shown: object) -> Iterator[None]:
    """Convert errors about unknown ids."""
    try:
        yield
    except UnknownIdError:
        raise ProblemError(404, f"the {name} {str(shown)[:80]} is not in the model") from None
    except DataError as error:
        raise ProblemError(409, shortened(error)) from None


def shortened(error: Exception) -> str:
    """Return the message of an error, up to a few hundred characters."""
    return str(error)[:300]


def _plain(value: Any) -> Id:
    plain: Id = value.item() if isinstance(value, np.generic) else value
    return plain
