"""The commands in this process, on one thread, as in the tests of the command line."""

from ..cli.conftest import _one_thread, hip  # noqa: F401 - fixtures
