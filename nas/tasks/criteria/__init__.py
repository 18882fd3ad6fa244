"""The criteria of the shipped kinds of task, one file each."""

from nas.tasks.criteria.classification import Classification
from nas.tasks.criteria.pixels import Pixels
from nas.tasks.criteria.regression import Regression
from nas.tasks.criteria.token_prediction import TokenPrediction

__all__ = ["Classification", "Pixels", "Regression", "TokenPrediction"]
