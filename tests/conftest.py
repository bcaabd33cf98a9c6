"""What all tests share."""

import pytest
from hypothesis import settings

import halfstep as hs

settings.register_profile("halfstep", deadline=None)  # the first example of many compiles a kernel
settings.load_profile("halfstep")


@pytest.fixture(scope="session")
def titles() -> None:
    """Films' titles, which the copy of MovieLens in the package index is without."""
    if hs.datasets.movielens_100k().item_titles is None:
        pytest.skip("MovieLens 100K came without titles: set HALFSTEP_DATA to a folder with ml-100k/u.item")
