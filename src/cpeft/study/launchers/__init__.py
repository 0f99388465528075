"""Where the workers of a study run. One file per launcher, one decorator each."""

from cpeft.study.launchers.base import LAUNCHERS as LAUNCHERS
from cpeft.study.launchers.base import Launcher as Launcher
from cpeft.study.launchers.base import LauncherOptions as LauncherOptions
from cpeft.study.launchers.base import launcher_options as launcher_options
