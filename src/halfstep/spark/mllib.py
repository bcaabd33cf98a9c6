"""The interface of MLlib's ``pyspark.ml.recommendation``."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import functions

import halfstep as hs
from halfstep._support.checks import check_choice
from halfstep.cluster.folder import Folder
from halfstep.errors import ParameterError
from halfstep.spark.fits import fit
from halfstep.spark.model import SparkModel
from halfstep.spark.parameters import FitParameters, ModelParameters

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FOLDERS = "spark.halfstep.folder", "spark.checkpoint.dir"  # in the configuration of Spark


class ALS(FitParameters, Estimator, DefaultParamsWritable, DefaultParamsReadable):  # type: ignore[misc]
    """``pyspark.ml.recommendation.ALS``: same names, defaults and objective; see `halfstep.presets.spark`.

    Unlike in MLlib, ids may also be strings or 64-bit integers. Repeated interactions of a user with an item are
    merged, by their mean for explicit ratings and by their sum for implicit feedback. `numUserBlocks`,
    `numItemBlocks`, `checkpointInterval`, storage levels and `blockSize` have no effect. `halfstep.spark.fit` has all
    other objectives of halfstep.

    Parameters
    ----------
    folder : str, optional
        For the files of models: a path that all machines share, or a URL for fsspec. By default, that of
        ``spark.halfstep.folder`` or ``spark.checkpoint.dir`` in the configuration of Spark, or a temporary folder
        that exists until Python exits if Spark runs on this machine only. Models that are saved are independent of
        it.
    others
        As in MLlib.
    """

    @keyword_only  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        rank: int = 10,
        maxIter: int = 10,
        regParam: float = 0.1,
        numUserBlocks: int = 10,
        numItemBlocks: int = 10,
        implicitPrefs: bool = False,
        alpha: float = 1.0,
        userCol: str = "user",
        itemCol: str = "item",
        seed: int | None = None,
        ratingCol: str = "rating",
        nonnegative: bool = False,
        checkpointInterval: int = 10,
        intermediateStorageLevel: str = "MEMORY_AND_DISK",
        finalStorageLevel: str = "MEMORY_AND_DISK",
        coldStartStrategy: str = "nan",
        blockSize: int = 4096,
        folder: str = "",
    ) -> None:
        super().__init__()
        self._set(**self._input_kwargs)

    @keyword_only  # type: ignore[untyped-decorator]
    def setParams(
        self,
        *,
        rank: int = 10,
        maxIter: int = 10,
        regParam: float = 0.1,
        numUserBlocks: int = 10,
        numItemBlocks: int = 10,
        implicitPrefs: bool = False,
        alpha: float = 1.0,
        userCol: str = "user",
        itemCol: str = "item",
        seed: int | None = None,
        ratingCol: str = "rating",
        nonnegative: bool = False,
        checkpointInterval: int = 10,
        intermediateStorageLevel: str = "MEMORY_AND_DISK",
        finalStorageLevel: str = "MEMORY_AND_DISK",
        coldStartStrategy: str = "nan",
        blockSize: int = 4096,
        folder: str = "",
    ) -> Self:
        """Set the parameters that are given."""
        return self._with(**self._input_kwargs)

    @property
    def estimator(self) -> hs.ALS:
        """The estimator of halfstep with these parameters."""
        return hs.presets.spark(
            rank=self.getRank(),
            maxIter=self.getMaxIter(),
            regParam=self.getRegParam(),
            implicitPrefs=self.getImplicitPrefs(),
            alpha=self.getAlpha(),
            nonnegative=self.getNonnegative(),
            random_state=self.getSeed() % (1 << 64),
        ).set_params(progress=False)

    def _fit(self, dataset: DataFrame) -> ALSModel:
        check_choice("coldStartStrategy", self.getColdStartStrategy(), ("nan", "drop"))
        fitted = fit(
            self.estimator,
            dataset,
            folder=f"{self.getFolder() or default_folder(dataset.sparkSession)}/{uuid.uuid4().hex}",
            user=self.getUserCol(),
            item=self.getItemCol(),
            value=self.getRatingCol() or None,
            duplicates="sum" if self.getImplicitPrefs() else "mean",
        )
        model = ALSModel(fitted)
        model._resetUid(self.uid)
        self._copyValues(model)
        return model


class ALSModel(ModelParameters, Model, MLWritable, MLReadable):  # type: ignore[misc]
    """``pyspark.ml.recommendation.ALSModel``.

    Attributes
    ----------
    model : SparkModel
        The model, with methods that MLlib lacks: recommendations without seen items, new users,
        `SparkModel.to_local`.
    """

    def __init__(self, model: SparkModel) -> None:
        super().__init__()
        self._setDefault(userCol="user", itemCol="item", coldStartStrategy="nan")
        self.model = model

    @property
    def rank(self) -> int:
        """The number of factors."""
        return self.model.rank

    @property
    def userFactors(self) -> DataFrame:
        """Columns ``id`` and ``features``."""
        return self.model.user_factors()

    @property
    def itemFactors(self) -> DataFrame:
        """Columns ``id`` and ``features``."""
        return self.model.item_factors()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        check_choice("coldStartStrategy", self.getColdStartStrategy(), ("nan", "drop"))
        prediction = self.getPredictionCol()
        scored = self.model.predict(
            dataset, user=self.getUserCol(), item=self.getItemCol(), prediction=prediction, unknown="nan"
        )
        return scored.where(~functions.isnan(prediction)) if self.getColdStartStrategy() == "drop" else scored

    def recommendForAllUsers(self, numItems: int) -> DataFrame:
        """Return the top items of all users: columns `userCol` and ``recommendations``."""
        return self.model.recommend(numItems, **self._of_items)

    def recommendForUserSubset(self, dataset: DataFrame, numItems: int) -> DataFrame:
        """Return the top items of the users in a column `userCol`."""
        return self.model.recommend(numItems, users=dataset, **self._of_items)

    def recommendForAllItems(self, numUsers: int) -> DataFrame:
        """Return the top users of all items: columns `itemCol` and ``recommendations``."""
        return self.model.recommend_users(numUsers, **self._names)

    def recommendForItemSubset(self, dataset: DataFrame, numUsers: int) -> DataFrame:
        """Return the top users of the items in a column `itemCol`."""
        return self.model.recommend_users(numUsers, items=dataset, **self._names)

    @property
    def _names(self) -> dict[str, Any]:
        return {"user": self.getUserCol(), "item": self.getItemCol(), "score": "rating"}

    @property
    def _of_items(self) -> dict[str, Any]:
        return {**self._names, "exclude_seen": False}

    def write(self) -> ALSModelWriter:
        """Return a writer: ``write().overwrite().save(path)``."""
        return ALSModelWriter(self)

    @classmethod
    def read(cls) -> ALSModelReader:
        """Return a reader: ``read().load(path)``."""
        return ALSModelReader()

    def __repr__(self) -> str:
        return f"ALSModel: uid={self.uid}, rank={self.rank}"


class ALSModelWriter(MLWriter):  # type: ignore[misc]
    """Saves parameters with Spark, and the files of the model next to them."""

    def __init__(self, model: ALSModel) -> None:
        super().__init__()
        self._model = model

    def save(self, path: str) -> None:
        """Save the model to a path that all machines share."""
        if self.shouldOverwrite:
            Folder(as_url(path)).remove("")
        self.saveImpl(path)

    def saveImpl(self, path: str) -> None:
        name = f"model-{uuid.uuid4().hex}"
        DefaultParamsWriter.saveMetadata(self._model, path, self.sparkSession, extraMetadata={"folder": name})
        self._model.model.save(f"{as_url(path)}/{name}")


class ALSModelReader(MLReader):  # type: ignore[misc]
    """Reads what `ALSModelWriter` saves."""

    def load(self, path: str) -> ALSModel:
        """Open a saved model."""
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        model = ALSModel(SparkModel.load(self.sparkSession, f"{as_url(path)}/{metadata['folder']}"))
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model


def as_url(path: str) -> str:
    """Return a path of Spark for Python: without ``file:``, and with ``s3`` for ``s3a``."""
    path = path.rstrip("/")
    if path.startswith("file:"):
        return "/" + path.removeprefix("file:").lstrip("/")
    return path.replace("s3a://", "s3://", 1)


def default_folder(spark: SparkSession) -> str:
    """Return the folder for models if none is given."""
    for name in FOLDERS:
        if found := spark.conf.get(name, None):
            return as_url(found)
    if str(spark.conf.get("spark.master", "")).startswith("local"):
        return _temporary_folder()
    raise ParameterError(
        "models require a folder that all machines share: set folder, or spark.halfstep.folder in the configuration "
        "of Spark, to its path or to a URL for fsspec, such as 's3://bucket/models'"
    )


@cache
def _temporary_folder() -> str:
    path = tempfile.mkdtemp(prefix="halfstep-spark-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
