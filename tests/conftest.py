"""How tests are spread over processes, and what one leaves to the next."""

import logging
import os
import sys

import pytest

# What takes longest to make is made once: its tests stay in one process, in the order in which they are collected. A file goes to
# one process, too, or each would make the fixtures of its module again.
ONE_STUDY = ("tests/e2e/", "tests/model/", "tests/report/")
# Long files whose tests share only what all processes share; they come last and fill the gaps.
ONE_BY_ONE = ("tests/workflow/test_matrix.py", "tests/network/augment/test_transforms.py")


def pytest_xdist_make_scheduler(config, log):
    """(xdist's groups by mark do not work with this pytest.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Spread(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file in ONE_BY_ONE:
                return nodeid
            return next((folder for folder in ONE_STUDY if nodeid.startswith(folder)), file)

    config.option.loadscopereorder = False
    return Spread(config, log)


@pytest.fixture(autouse=True, scope="session")
def _key_of_tests(tmp_path_factory):
    """The key of hashed PatientIDs is the user's own: tests make one of theirs."""
    os.environ.setdefault("PROMET_ID_KEY", str(tmp_path_factory.mktemp("key") / "patient-id.key"))


@pytest.fixture(autouse=True)
def _tiny_numbers():
    """A training in the test's own process leaves numbers below 1e-38 zero: not for the next test."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _log_level():
    """A prediction in the test's own process keeps the log silent: not for the next test."""
    level = logging.getLogger("promet").level
    yield
    logging.getLogger("promet").setLevel(level)
