"""scikit-learn's own checks. What does not apply is listed with its reason."""

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from hiperceiver.estimators import HiPClassifier, HiPEmbedder, HiPRegressor

from .smallest import FAST


def expected_failures(estimator: Any) -> dict[str, str]:
    """Check -> why it is not for this estimator."""
    learned = "two steps learn nothing: it passes with 80 (learning rate 0.01), and test_estimators.py has fits that do"
    rounded = "float32: products of other numbers of rows are rounded otherwise, which shows in sums near 0"
    batches = "steps are of batches: examples that are repeated come in other ones than examples that weigh more"
    repeated = {"check_sample_weight_equivalence_on_dense_data": batches}
    return {
        HiPClassifier: {"check_classifiers_train": learned, **repeated},
        HiPRegressor: {"check_regressors_train": learned, **repeated},
        HiPEmbedder: {"check_methods_subset_invariance": rounded},
    }[type(estimator)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [HiPClassifier(**FAST), HiPRegressor(**FAST), HiPEmbedder(**FAST)], expected_failed_checks=expected_failures
)
def test_an_estimator_is_one_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)
