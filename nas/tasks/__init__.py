"""Tasks: samples with targets in a training, a validation and a test split, and their criterion.

A search never sees the test split. Read the modules in this order: `task` (the type), `criterion`
(what a good answer is), `section` (the keys that all task sections of a recipe share), `source` and
`aims` (how samples become a task). Then there is one file per kind of task.
"""

from nas.tasks.arrays import ArraysTask
from nas.tasks.diabetes import DiabetesTask
from nas.tasks.digits import DigitsTask
from nas.tasks.feature_table import FeaturesTask
from nas.tasks.image_folder import FolderTask
from nas.tasks.image_pairs import ImagePairsTask
from nas.tasks.next_token import NextTokenTask
from nas.tasks.openml import OpenMLTask
from nas.tasks.task import Split, Task, TaskError, TrainSplit
from nas.tasks.text_classification import TextClassificationTask

__all__ = [
    "ArraysTask",
    "DiabetesTask",
    "DigitsTask",
    "FeaturesTask",
    "FolderTask",
    "ImagePairsTask",
    "NextTokenTask",
    "OpenMLTask",
    "Split",
    "Task",
    "TaskError",
    "TextClassificationTask",
    "TrainSplit",
]
