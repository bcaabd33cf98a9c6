import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from halfstep._support.integer_sets import distinct, is_in


@given(st.lists(st.integers(-5, 5)), st.sampled_from(["int32", "int64", "uint8"]))
def test_values_are_those_of_unique(values, dtype):
    given_values = np.abs(values).astype(dtype) if dtype == "uint8" else np.array(values, dtype)
    found = distinct(given_values)
    np.testing.assert_array_equal(found, np.unique(given_values))
    assert found.dtype == given_values.dtype


def test_given_values_keep_their_order():
    values = np.array([3, 1, 3])
    distinct(values)
    assert values.tolist() == [3, 1, 3]


@given(st.lists(st.integers(-5, 5)), st.lists(st.integers(-5, 5)), st.sampled_from(["int32", "int64"]))
def test_members_are_those_of_isin(values, others, dtype):
    one, two = np.array(values, dtype), np.array(others, dtype)
    found = is_in(one, two)
    np.testing.assert_array_equal(found, np.isin(one, two))
    assert found.dtype == bool
