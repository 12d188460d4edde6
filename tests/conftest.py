"""How tests are spread over processes."""

ONE_STUDY = "tests/e2e/"  # they share a study that takes minutes to make


def pytest_xdist_make_scheduler(config, log):
    """Every test on its own, but those of one study in one process. (xdist's groups by mark do not work with this pytest.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Spread(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ONE_STUDY if nodeid.startswith(ONE_STUDY) else nodeid

    return Spread(config, log)
