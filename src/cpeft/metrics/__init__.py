"""Pure functions (predictions, references) -> float."""

from cpeft.metrics.base import METRICS as METRICS
from cpeft.metrics.base import Metric as Metric
from cpeft.metrics.base import MetricContext as MetricContext
from cpeft.metrics.base import metric as metric
