"""The classifiers that arms are judged by: a CNN made for two CPU cores, and CART; they take tensors."""

from augment.classifiers.cart import Cart, fit_cart
from augment.classifiers.cnn import CNN, default_updates, fit_cnn
from augment.classifiers.learning import Learning
from augment.classifiers.scores import Scores, mean_scores, score_predictions

__all__ = [
    "CNN",
    "Cart",
    "Learning",
    "Scores",
    "default_updates",
    "fit_cart",
    "fit_cnn",
    "mean_scores",
    "score_predictions",
]
