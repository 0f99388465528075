"""What changes the model itself, to compare prompts with. One file per baseline, one decorator each."""

from cpeft.baselines.base import Baseline as Baseline
from cpeft.baselines.base import changed_lm as changed_lm
from cpeft.baselines.base import load_learner as load_learner
