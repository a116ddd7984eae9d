from collections.abc import Callable

from augment.testing import parametrize_with_checks


@parametrize_with_checks(["eigen"])
def test_contract(check: Callable[[], None]) -> None:
    check()
