"""A real Ray cluster of two machines with one core each, both of them this one."""

from pathlib import Path

import pytest

from tests.cluster.command import Two


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def two():
    """The cluster; the dashboard lists what was done on it."""
    cluster = Two()
    yield cluster
    cluster.shutdown()
