"""Tasks: labelled images in a train, a validation and a test split; the search never sees test.

Read in this order: `task` (what a task is), `section` (what every task section of a recipe says),
`clean` (how files become a task); then one file per kind of source.
"""

from typing import Annotated

from pydantic import Field

from nas.tasks.arrays import ArraysTask
from nas.tasks.digits import DigitsTask
from nas.tasks.image_folder import FolderTask
from nas.tasks.openml import OpenMLTask
from nas.tasks.task import Split, Task, TaskError, TrainSplit

TaskSection = Annotated[
    DigitsTask | ArraysTask | FolderTask | OpenMLTask, Field(discriminator="kind")
]

__all__ = [
    "ArraysTask",
    "DigitsTask",
    "FolderTask",
    "OpenMLTask",
    "Split",
    "Task",
    "TaskError",
    "TaskSection",
    "TrainSplit",
]
