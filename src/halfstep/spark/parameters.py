"""The parameters of MLlib's ALS, with its names, defaults and methods."""

from __future__ import annotations

from typing import Any, Self

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.recommendation import _ALSModelParams, _ALSParams

MLLIB_SEED = 1994790107  # of org.apache.spark.ml.recommendation.ALS


class ModelParameters(_ALSModelParams):  # type: ignore[misc]
    """Parameters of models."""

    def _with(self, **values: Any) -> Self:
        self._set(**values)
        return self

    def setUserCol(self, value: str) -> Self:
        return self._with(userCol=value)

    def setItemCol(self, value: str) -> Self:
        return self._with(itemCol=value)

    def setColdStartStrategy(self, value: str) -> Self:
        return self._with(coldStartStrategy=value)

    def setPredictionCol(self, value: str) -> Self:
        return self._with(predictionCol=value)

    def setBlockSize(self, value: int) -> Self:
        return self._with(blockSize=value)


class FitParameters(ModelParameters, _ALSParams):  # type: ignore[misc]
    """Parameters of fits."""

    folder: Any = Param(
        Params._dummy(),
        "folder",
        "folder for models, which all machines share: a path, or a URL for fsspec; by default, that of "
        "spark.halfstep.folder or spark.checkpoint.dir, or a temporary folder if Spark runs on this machine only",
        typeConverter=TypeConverters.toString,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(seed=MLLIB_SEED, folder="")

    def getFolder(self) -> str:
        return str(self.getOrDefault(self.folder))

    def setFolder(self, value: str) -> Self:
        return self._with(folder=value)

    def setRank(self, value: int) -> Self:
        return self._with(rank=value)

    def setMaxIter(self, value: int) -> Self:
        return self._with(maxIter=value)

    def setRegParam(self, value: float) -> Self:
        return self._with(regParam=value)

    def setNumUserBlocks(self, value: int) -> Self:
        return self._with(numUserBlocks=value)

    def setNumItemBlocks(self, value: int) -> Self:
        return self._with(numItemBlocks=value)

    def setNumBlocks(self, value: int) -> Self:
        return self._with(numUserBlocks=value, numItemBlocks=value)

    def setImplicitPrefs(self, value: bool) -> Self:
        return self._with(implicitPrefs=value)

    def setAlpha(self, value: float) -> Self:
        return self._with(alpha=value)

    def setRatingCol(self, value: str) -> Self:
        return self._with(ratingCol=value)

    def setNonnegative(self, value: bool) -> Self:
        return self._with(nonnegative=value)

    def setCheckpointInterval(self, value: int) -> Self:
        return self._with(checkpointInterval=value)

    def setIntermediateStorageLevel(self, value: str) -> Self:
        return self._with(intermediateStorageLevel=value)

    def setFinalStorageLevel(self, value: str) -> Self:
        return self._with(finalStorageLevel=value)

    def setSeed(self, value: int) -> Self:
        return self._with(seed=value)
