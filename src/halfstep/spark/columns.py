"""Columns of dataframes as workers take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from halfstep.errors import DataError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType, StructType

ARROW_OF_SPARK = {"int": pa.int32(), "bigint": pa.int64(), "string": pa.string(), "double": pa.float64()}
SCORE = pa.float32()


class ColumnNames(NamedTuple):
    """The names of the columns of interactions.

    Attributes
    ----------
    user, item : str
    value, weight : str or None
        None if there is no such column.
    """

    user: str
    item: str
    value: str | None = None
    weight: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """The names by role."""
        return {role: name for role, name in self._asdict().items() if name is not None}


def interactions(df: DataFrame, names: ColumnNames) -> tuple[DataFrame, pa.Schema]:
    """Return the columns ``user``, ``item``, ``value`` and ``weight`` of a dataframe, and their types.

    Raises
    ------
    DataError
        If ids are neither integers nor strings.
    """
    from pyspark.sql import functions

    chosen = df.select(*(functions.col(name).alias(role) for role, name in names.given.items()))
    types = {field.name: field.dataType for field in chosen.schema.fields}
    kinds = {
        role: _kind_of_ids(types[role], role, name) if role in ("user", "item") else "double"
        for role, name in names.given.items()
    }
    columns = [functions.col(role).cast(kind).alias(role) for role, kind in kinds.items()]
    return chosen.select(*columns), pa.schema({role: ARROW_OF_SPARK[kind] for role, kind in kinds.items()})


def ids(df: DataFrame, name: str, role: str, kind: str) -> Column:
    """Return a column of ids for a model whose ids are of this type; ids that are not integral become missing.

    Raises
    ------
    DataError
        If the ids are not of this type.
    """
    from pyspark.sql import functions

    column = functions.col(name)
    given = _kind_of_ids(df.select(column).schema.fields[0].dataType, role, name)
    if (given == "string") != (kind == "string"):
        raise other_type(name, role, is_text=given == "string")
    if given == "double":
        column = functions.when(column == functions.floor(column), column)
    return column.cast("string" if kind == "string" else "bigint")


def other_type(name: str, role: str, *, is_text: bool) -> DataError:
    """Return the error for a column whose ids are strings, but those of the model numbers, or vice versa."""
    found, known = ("strings", "integers") if is_text else ("numbers", "strings")
    return DataError(
        f"the {role} ids in the column {name!r} are {found}, but those of the model are {known}: convert them to "
        f"{known}"
    )


def _kind_of_ids(kind: DataType, role: str, name: str) -> str:
    from pyspark.sql.types import DecimalType, FractionalType, IntegralType, StringType

    if isinstance(kind, StringType):
        return "string"
    if isinstance(kind, IntegralType):
        return "bigint"
    if isinstance(kind, FractionalType | DecimalType):
        return "double"  # workers check that these are integers
    raise DataError(
        f"the {role} ids in the column {name!r} are of type {kind.simpleString()}: convert them to integers or "
        "strings"
    )


def schemas(fields: dict[str, Any]) -> tuple[StructType, pa.Schema]:
    """Return the schema of a dataframe in Spark and in Arrow.

    Parameters
    ----------
    fields : mapping from str to str or dict
        The type of each column: "int", "bigint", "string", "float"; "floats" for lists of these; and a mapping for
        lists of structs.
    """
    from pyspark.sql.types import StructType

    spark, arrow = StructType(), {}
    for name, kind in fields.items():
        spark_type, arrow[name] = _types(kind)
        spark = spark.add(name, spark_type, nullable=not isinstance(kind, str) or kind in ("float", "floats"))
    return spark, pa.schema(arrow)


def _types(kind: Any) -> tuple[DataType, pa.DataType]:
    from pyspark.sql import types

    if isinstance(kind, dict):
        struct = types.StructType()
        for name, each in kind.items():
            struct = struct.add(name, _types(each)[0])
        return types.ArrayType(struct), pa.list_(pa.struct({name: _types(each)[1] for name, each in kind.items()}))
    if kind == "floats":
        return types.ArrayType(types.FloatType(), containsNull=False), pa.list_(SCORE)
    if kind == "float":
        return types.FloatType(), SCORE
    of_ids = {"int": types.IntegerType(), "bigint": types.LongType(), "string": types.StringType()}
    return of_ids[kind], ARROW_OF_SPARK[kind]
