"""The contract as checks that every generator passes, built-in or not.

    augment plugins check NAME                      # on the command line

    @parametrize_with_checks(["mine"])              # in the tests of a package with a generator of its own
    def test_contract(check):
        check()

Which checks apply is chosen by a generator's tags; all run on small grey 28 x 28 and colour 32 x 32 images of three
classes. A generator may offer ``test_options: ClassVar[dict[str, Any]]``, a tiny configuration that makes its checks
fast. The form follows scikit-learn's and imbalanced-learn's ``estimator_checks``.
"""

from augment.testing.checks import checks_for
from augment.testing.kit import CheckResult, check_generator, parametrize_with_checks
from augment.testing.minimal import MinimalGenerator
from augment.testing.subject import Subject

__all__ = ["CheckResult", "MinimalGenerator", "Subject", "check_generator", "checks_for", "parametrize_with_checks"]
