"""Makes the study on paper known to the tests of this folder."""

from tests.study_on_paper import paper  # noqa: F401
