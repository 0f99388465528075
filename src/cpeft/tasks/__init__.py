"""Text only: a raw row of a dataset to `Example(source, target, references)`."""

from cpeft.tasks.base import TASKS as TASKS
from cpeft.tasks.base import Example as Example
from cpeft.tasks.base import Row as Row
from cpeft.tasks.base import Task as Task
from cpeft.tasks.instructions import instruction as instruction
