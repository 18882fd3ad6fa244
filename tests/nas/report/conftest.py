import pytest

from nas.report.data import Results
from tests.nas.report.sample import sample


@pytest.fixture(scope="session")
def results() -> Results:
    return sample(count=120, stages=2)
