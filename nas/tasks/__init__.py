"""Tasks: labelled images in a training, a validation and a test split.

A search never sees the test split. Read the modules in this order: `task` (the type), `section`
(the keys that all task sections of a recipe share), `clean` (how files become a task). Then there
is one file per kind of source.
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
