"""Models that were fitted on Spark."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa

from halfstep._support.checks import check_choice, check_flag, check_integer
from halfstep.cluster.distribution import distribute
from halfstep.cluster.folder import Folder
from halfstep.cluster.model import ClusterModel
from halfstep.cluster.scoring import scorer_of
from halfstep.errors import DataError
from halfstep.models.als import ALS
from halfstep.spark import tasks
from halfstep.spark.columns import ColumnNames, ids, interactions, other_type, schemas
from halfstep.spark.engine import SparkEngine, numbers
from halfstep.spark.worker import on_batches

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ABOUT = "spark"  # a file


class SparkModel:
    """A model whose users are in blocks in a working folder, which all machines share.

    Dataframes are computed when they are used, from files in that folder. Return values of `fit`, `load` and
    `from_local` are of this class.

    Attributes
    ----------
    items : ALS
        A model of all items on this machine, without users: `ALS.similar_items`, and the fitted attributes of items.
    folder : str
        The working folder.
    columns : ColumnNames
        The columns of the table.
    rank : int
    """

    def __init__(self, spark: SparkSession, model: ClusterModel, n_blocks: int | None = None) -> None:
        about = model.folder.read(ABOUT)[1]
        self._engine = SparkEngine(spark, model.n_blocks if n_blocks is None else n_blocks)
        self._model = model
        self._stamp: str = about["stamp"]
        self._types: tuple[str, str] = (about["types"][0], about["types"][1])
        self.items = model.items
        self.folder = model.folder.url
        self.columns = ColumnNames(*about["columns"])

    @classmethod
    def create(cls, engine: SparkEngine, model: ClusterModel, types: tuple[str, str], columns: ColumnNames) -> Self:
        """Write what Spark needs besides the model, and return a model."""
        model.folder.write(ABOUT, {}, stamp=uuid.uuid4().hex, types=types, columns=columns)
        return cls(engine.spark, model)

    @property
    def rank(self) -> int:
        """The number of factors."""
        return int(self.items.item_factors_.shape[1])

    @property
    def history(self) -> Any:
        """``history_`` of the fit."""
        return self.items.history_

    def __repr__(self) -> str:
        users, items = (partition.n_rows for partition in self._model.table.partitions)
        return f"SparkModel({users:,} users × {items:,} items, rank {self.rank}, {self.folder})"

    def user_factors(self, id: str = "id") -> DataFrame:  # noqa: A002
        """Return the factors of all users: columns `id`, ``features``, and ``bias`` if the model has biases."""
        blocks = numbers(self._engine.spark, self._model.n_blocks)
        return self._rows(blocks, self._fields_of_factors(id, self._types[0]), tasks.user_factors)

    def item_factors(self, id: str = "id") -> DataFrame:  # noqa: A002
        """Return the factors of all items, in the same columns."""
        n = self._model.n_blocks
        fields = self._fields_of_factors(id, self._types[1])
        return self._rows(numbers(self._engine.spark, n), fields, tasks.item_factors, n)

    def predict(
        self,
        df: DataFrame,
        *,
        user: str | None = None,
        item: str | None = None,
        prediction: str = "prediction",
        unknown: Literal["baseline", "nan"] = "baseline",
    ) -> DataFrame:
        """Return a dataframe with the scores of its pairs of a user and an item as a further column of floats.

        Parameters
        ----------
        df : DataFrame
        user, item : str, optional
            Names of columns; by default, those of the training data.
        prediction : str
            The name of the new column.
        unknown : {"baseline", "nan"}
            How pairs with an id that the model was not fitted on are scored: as in `ALS.predict`, or as NaN, like
            pairs with a missing id.

        Raises
        ------
        DataError
            If ids are of a different type than those of the model.
        """
        from pyspark.sql import functions as f

        check_choice("unknown", unknown, ("baseline", "nan"))
        names = user or self.columns.user, item or self.columns.item
        users, items = (
            ids(df, name, role, kind) for name, role, kind in zip(names, ("user", "item"), self._types, strict=True)
        )
        # pandas has no missing integers
        score = f.pandas_udf(_scores(self.folder, self._stamp, unknown == "baseline"), "float")
        scores = score(f.coalesce(users, _any_id(self._types[0])), f.coalesce(items, _any_id(self._types[1])))
        nan = f.lit(float("nan")).cast("float")
        return df.withColumn(
            prediction, f.when(users.isNotNull() & items.isNotNull(), f.coalesce(scores, nan)).otherwise(nan)
        )

    def recommend(
        self,
        n: int = 10,
        *,
        users: DataFrame | None = None,
        exclude_seen: bool = True,
        user: str | None = None,
        item: str | None = None,
        score: str = "score",
        recommendations: str = "recommendations",
    ) -> DataFrame:
        """Return the top-n items for each user.

        Parameters
        ----------
        n : int
        users : DataFrame, optional
            With a column of users; unknown ones are omitted. By default, all users of the model.
        exclude_seen : bool
            Whether to exclude the items of the user in the training data.
        user, item, score, recommendations : str, optional
            Names of columns.

        Returns
        -------
        DataFrame
            Columns `user` and `recommendations`, a list of structs with the fields `item` and `score`.
        """
        check_integer("n", n, minimum=1)
        check_flag("exclude_seen", exclude_seen)
        fields = self._fields_of_items(user, item, score, recommendations)
        if users is None:
            blocks = numbers(self._engine.spark, self._model.n_blocks)
            return self._rows(blocks, fields, tasks.recommend_to_blocks, n, exclude_seen)
        given = ids(users, user or self.columns.user, "user", self._types[0])
        return self._rows(users.select(given).distinct(), fields, tasks.recommend_to_users, n, exclude_seen)

    def recommend_users(
        self,
        n: int = 10,
        *,
        items: DataFrame | None = None,
        user: str | None = None,
        item: str | None = None,
        score: str = "score",
        recommendations: str = "recommendations",
    ) -> DataFrame:
        """Return the top-n users for each item, which include those that have interacted with it.

        Parameters
        ----------
        n : int
        items : DataFrame, optional
            With a column of items; unknown ones are omitted. By default, all items of the model.
        user, item, score, recommendations : str, optional
            Names of columns.

        Returns
        -------
        DataFrame
            Columns `item` and `recommendations`, a list of structs with the fields `user` and `score`.
        """
        from pyspark.sql import functions as f

        check_integer("n", n, minimum=1)
        user, item = user or self.columns.user, item or self.columns.item
        positions = None
        if items is not None:
            asked = items.select(ids(items, item, "item", self._types[1])).distinct().toArrow().column(0)
            known = self.items.items_.positions(asked.drop_null().to_numpy(), "mark")
            positions = np.sort(known[known >= 0])
        # structs are sorted by their first field
        best = {"item": self._types[1], "best": {"score": "float", "user": self._types[0]}}
        blocks = numbers(self._engine.spark, self._model.n_blocks)
        of_blocks = self._rows(blocks, best, tasks.recommend_items, n, positions)
        lists = of_blocks.groupBy("item").agg(f.flatten(f.collect_list("best")).alias("best"))
        highest = f.slice(f.sort_array("best", asc=False), 1, n)
        named = f.transform(highest, lambda each: f.struct(each["user"].alias(user), each["score"].alias(score)))
        return lists.select(f.col("item").alias(item), named.alias(recommendations))

    def fold_in(self, df: DataFrame, *, columns: ColumnNames | None = None, id: str = "id") -> DataFrame:  # noqa: A002
        """Return the factors of new users, or of known users with new histories, while the items are held fixed.

        Parameters
        ----------
        df : DataFrame
            All interactions of each user; unknown items are ignored.
        columns : ColumnNames, optional
            By default, those of the training data.
        id : str
            The name of the column of users in the result.

        Returns
        -------
        DataFrame
            As for `user_factors`.
        """
        table, kind = self._histories(df, columns or self.columns)
        return self._rows(table, self._fields_of_factors(id, kind), tasks.fold_in)

    def recommend_for(
        self, df: DataFrame, n: int = 10, *, columns: ColumnNames | None = None, exclude_seen: bool = True
    ) -> DataFrame:
        """Return the top-n items for new users, see `fold_in` and `recommend`."""
        check_integer("n", n, minimum=1)
        check_flag("exclude_seen", exclude_seen)
        columns = columns or self.columns
        table, kind = self._histories(df, columns)
        fields = {columns.user: kind, "recommendations": {columns.item: self._types[1], "score": "float"}}
        return self._rows(table, fields, tasks.recommend_to_new_users, n, exclude_seen)

    def to_local(self) -> ALS:
        """Return an ordinary model in the memory of this machine, with all users and interactions."""
        return self._model.to_local()

    @classmethod
    def from_local(
        cls,
        als: ALS,
        spark: SparkSession,
        folder: str,
        *,
        user: str = "user",
        item: str = "item",
        value: str | None = None,
        n_blocks: int | None = None,
    ) -> Self:
        """Return a model on Spark with the factors of a model on this machine.

        Parameters
        ----------
        als : ALS
            A fitted model with its training interactions; ids are integers or strings.
        spark : SparkSession
        folder : str
            A new folder that all machines share: a path, or a URL for fsspec.
        user, item, value : str, optional
            Default names of columns.
        n_blocks : int, optional
            By default, the number of tasks that Spark runs at the same time.
        """
        engine = SparkEngine(spark, n_blocks)
        check_is_new(Folder(folder))
        model = distribute(als, Folder(folder), engine.n_blocks)
        types = tuple(tasks.type_of(pa.array(each.ids)) for each in (als.users_, als.items_))
        return cls.create(engine, model, (types[0], types[1]), ColumnNames(user, item, value))

    def save(self, folder: str) -> None:
        """Copy the model to another folder, which must be empty.

        Parameters
        ----------
        folder : str
            A path that all machines share, or a URL for fsspec.
        """
        target = Folder(folder)
        check_is_new(target)
        self._engine.map(copy_file, [(self._model.folder, target, name) for name in self._files()])

    @classmethod
    def load(cls, spark: SparkSession, folder: str) -> Self:
        """Open the model in a folder.

        Raises
        ------
        DataError
            If there is none.
        """
        return cls(spark, ClusterModel.open(folder))

    def _files(self) -> list[str]:
        return [*self._model.files(), ABOUT]

    def _rows(self, df: DataFrame, fields: dict[str, Any], task: Callable[..., Any], *arguments: Any) -> DataFrame:
        """Return the rows that a task yields for the rows of a dataframe."""
        spark_schema, arrow_schema = schemas(fields)
        opened = tasks.Opened(self.folder, self._stamp, arrow_schema, self._engine.threads)
        return df.mapInArrow(on_batches(task, opened, *arguments), spark_schema)

    def _fields_of_factors(self, name: str, kind: str) -> dict[str, Any]:
        biases = {"bias": "float"} if self._model.has_biases else {}
        return {name: kind, "features": "floats", **biases}

    def _fields_of_items(
        self, user: str | None, item: str | None, score: str, recommendations: str
    ) -> dict[str, Any]:
        best = {item or self.columns.item: self._types[1], score: "float"}
        return {user or self.columns.user: self._types[0], recommendations: best}

    def _histories(self, df: DataFrame, columns: ColumnNames) -> tuple[DataFrame, str]:
        """Return the interactions of new users, each of which is in one partition, and the type of their ids."""
        table, schema = interactions(df, columns)
        if pa.types.is_string(schema.field("item").type) != (self._types[1] == "string"):
            raise other_type(columns.item, "item", is_text=self._types[1] != "string")
        kind = "string" if pa.types.is_string(schema.field("user").type) else "bigint"
        return table.repartition("user"), kind


def check_is_new(folder: Folder) -> None:
    """Raise DataError if a folder has a model."""
    if folder.exists(ABOUT):
        raise DataError(f"there is a model in {folder.url} already: give another folder, or remove it first")


def copy_file(task: tuple[Folder, Folder, str]) -> None:
    """Copy a file to another folder."""
    source, target, name = task
    content = source.local_path(name).read_bytes()
    target.write_file(name, lambda path: path.write_bytes(content))


def _any_id(kind: str) -> Column:
    from pyspark.sql.functions import lit

    return lit("") if kind == "string" else lit(0).cast("bigint")


def _scores(url: str, stamp: str, is_baseline: bool) -> Callable[[Any, Any], Any]:
    """Return a function from series of users and items to a series of scores, which Spark pickles."""

    def score(users: Any, items: Any) -> Any:
        return score_pairs(url, stamp, is_baseline, users, items)

    # pandas_udf reads the kind of the function from these
    import pandas as pd

    score.__annotations__ = {"users": pd.Series, "items": pd.Series, "return": pd.Series}
    return score


def score_pairs(url: str, stamp: str, is_baseline: bool, users: Any, items: Any) -> Any:
    """Score pairs on a worker."""
    import pandas as pd

    columns = [tasks.as_ids(pa.Array.from_pandas(each)) for each in (users, items)]
    scores = scorer_of(url, stamp).scores(*columns, is_baseline=is_baseline)
    return pd.Series(scores.astype(np.float32))
