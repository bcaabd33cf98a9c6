"""Fitted attributes of models: views of the factorization that a model holds."""

from __future__ import annotations

from typing import Generic, NoReturn, Protocol, Self, TypeVar, overload

from halfstep.models.factorization import Factorization

T = TypeVar("T")


class Model(Protocol):
    """A model with fitted attributes."""

    def _fitted_for(self, name: str) -> Factorization: ...


class FittedAttribute(Generic[T]):
    """A read-only attribute, such as ``mean_``, with the value of the same name in the model's factorization."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name, self._field = name, name.removesuffix("_")

    @overload
    def __get__(self, model: None, owner: type) -> Self: ...
    @overload
    def __get__(self, model: Model, owner: type) -> T: ...
    def __get__(self, model: Model | None, owner: type) -> Self | T:
        if model is None:
            return self
        value: T = getattr(model._fitted_for(self._name), self._field)
        return value

    def __set__(self, model: Model, value: object) -> NoReturn:
        raise AttributeError(f"{self._name} of {type(model).__name__} is set by fit and cannot be assigned")
