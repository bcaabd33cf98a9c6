"""What all tests share."""

import pytest
from hypothesis import settings

import halfstep as hs

settings.register_profile("full", deadline=None)  # the first example of many compiles a kernel
settings.register_profile("quick", deadline=None, max_examples=5)


def pytest_configure(config: pytest.Config) -> None:
    """Generate fewer examples for the quick suite."""
    settings.load_profile("quick" if config.option.markexpr == "not slow" else "full")


@pytest.fixture(scope="session")
def titles() -> None:
    """Movies' titles, which the copy of MovieLens in the package index is without."""
    if hs.datasets.movielens_100k().item_titles is None:
        pytest.skip("MovieLens 100K came without titles: set HALFSTEP_DATA to a folder with ml-100k/u.item")
