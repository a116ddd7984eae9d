"""Every registered generator keeps the contract: this is the test of all plugins, and grows with the registry."""

from collections.abc import Callable

from augment import registry
from augment.testing import parametrize_with_checks


@parametrize_with_checks(registry.registered())
def test_contract(check: Callable[[], None]):
    check()
