"""The flag that writes the numbers of the tutorial anew."""

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--rewrite-tutorial",
        action="store_true",
        help="take the numbers that the tutorial shows from what its commands print now",
    )


@pytest.fixture
def rewrite_tutorial(request):
    """Whether to write the numbers instead of comparing them."""
    return request.config.getoption("--rewrite-tutorial", default=False)
