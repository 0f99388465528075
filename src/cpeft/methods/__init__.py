"""What produces the prompt of every example. One file per method, one decorator each."""

from cpeft.methods.base import METHODS as METHODS
from cpeft.methods.base import MethodInputs as MethodInputs
from cpeft.methods.base import MethodOptions as MethodOptions
from cpeft.methods.base import MethodShape as MethodShape
from cpeft.methods.base import ParamGroup as ParamGroup
from cpeft.methods.base import PromptContext as PromptContext
from cpeft.methods.base import PromptMethod as PromptMethod
from cpeft.methods.base import PromptOutput as PromptOutput
