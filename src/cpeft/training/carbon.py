"""Electricity as codecarbon sees it: kWh and kg of CO2 equivalent from one moment to the next.

The offline tracker, which writes no file and contacts no server. Its two threads only read counters; they touch no tensor and
no random generator, so a measured run has the bits of an unmeasured one. For a process that trains alone the measurement is of
the part of the machine that it uses: its own processor time, memory and GPU. Counters of a whole device (RAPL, NVML) also
count what other programs drew from it meanwhile. Where a processor has no counter, codecarbon estimates from load and rated
power; what it says about that is in `notes`, and the kinds of sensors in `sensors`.
"""

import logging
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from cpeft.errors import ConfigError
from cpeft.options.training import EnergyOptions
from cpeft.registry import suggest
from cpeft.store.result import Spent

WORLD = (
    0.475  # kg per kWh, the world's average of 2019 by the International Energy Agency, which codecarbon falls back on
)
SAMPLE_S = 15.0  # between codecarbon's readings of energy counters
WARNINGS: dict[
    bool, tuple[str, ...]
] = {}  # by scope: codecarbon looks for sensors once per process and warns only then


def check_energy(options: EnergyOptions) -> None:
    """Raise ConfigError for a measurement that is not possible: no package, a country codecarbon does not know, or
    a country and an intensity."""
    if options.country and options.intensity is not None:
        raise ConfigError("[energy] give a country or an intensity, not both")
    if options.measure == "off":
        return
    if find_spec("codecarbon") is None:
        if options.measure == "on":
            raise ConfigError("energy.measure = 'on' needs the package codecarbon: pip install 'cpeft[carbon]'")
        return
    if options.country:
        from codecarbon.input import DataSource

        known = list(DataSource().get_global_energy_mix_data())
        if options.country not in known:
            near = suggest(options.country, known).partition("; known")[0]
            raise ConfigError(
                f"[energy] codecarbon has no country '{options.country}'{near} (three letters, as in SVK)"
            )


class _Messages(logging.Filter):
    """Keeps codecarbon's warnings and lets none of its lines through; it would print them and swallow its own exceptions."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []
        self.error = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1]:
            self.error = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        elif record.levelno >= logging.WARNING:
            self.warnings.append(" ".join(record.getMessage().split()))
        return False


class Meter:
    """A stopwatch for electricity: `start`, then `lap` for what was spent since, then `stop`, as often as wanted.

    Never raises for a machine that cannot be measured: `reason` says why nothing is, and what is spent is None from then on.
    """

    def __init__(self, options: EnergyOptions, whole_machine: bool = False) -> None:
        self.options, self.whole_machine = options, whole_machine
        self.sensors: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.reason = ""
        self._tracker: Any = None
        self._messages = _Messages()
        if options.measure == "off":
            self.reason = "energy.measure = 'off'"
        elif find_spec("codecarbon") is None:
            self.reason = "codecarbon is not installed: pip install 'cpeft[carbon]'"

    @property
    def running(self) -> bool:
        return self._tracker is not None

    def start(self) -> None:
        """Begin to measure."""
        if self.reason or self.running:
            return
        import codecarbon

        logging.getLogger("codecarbon").addFilter(self._messages)
        forced = self.options.intensity if self.options.country is None else None
        if self.options.country is None and forced is None:
            forced = WORLD
        tracker = codecarbon.OfflineEmissionsTracker(
            country_iso_code=self.options.country, force_carbon_intensity_g_co2e_kwh=None if forced is None else 1000 * forced,
            tracking_mode="machine" if self.whole_machine else "process", gpu_ids=self._gpus(), measure_power_secs=SAMPLE_S,
            output_methods=[], output_handlers=[], emissions_endpoint=None, electricitymaps_api_token=None,
            output_dir=tempfile.gettempdir(), allow_multiple_runs=True, log_level="warning",
        )  # fmt: skip
        tracker.start()
        self._tracker = tracker
        self._began = time.monotonic()
        described = getattr(tracker, "_hardware", ())
        self.sensors = tuple(dict.fromkeys(each.description() for each in described)) or self.sensors

    def _gpus(self) -> Sequence[int] | None:
        """The one GPU this process computes on, by NVML's own count, or None for all there are."""
        import torch  # here: options are listed without it

        if self.whole_machine or not torch.cuda.is_available():
            return None
        import pynvml

        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        try:
            pynvml.nvmlInit()
            return [pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))]
        except pynvml.NVMLError as error:
            self.notes = (
                *self.notes,
                f"NVML does not identify the GPU of this process ({error}); all GPUs are counted",
            )
            return None

    def stop(self) -> Spent | None:
        """What was spent since the start or the last lap; None where nothing is measured."""
        if not self.running:
            return None
        tracker, self._tracker = self._tracker, None
        tracker.stop()
        logging.getLogger("codecarbon").removeFilter(self._messages)
        warnings = [text for text in self._messages.warnings if "Multiple instances" not in text]  # we allow them
        WARNINGS[self.whole_machine] = tuple(dict.fromkeys((*WARNINGS.get(self.whole_machine, ()), *warnings)))
        self.notes = tuple(dict.fromkeys((*self.notes, *WARNINGS[self.whole_machine])))
        self._messages.warnings.clear()
        found = getattr(tracker, "final_emissions_data", None)  # codecarbon swallows its exceptions and leaves it out
        if found is None:
            self.reason = f"codecarbon could not measure: {self._messages.error or 'it gave no reason'}"
            return None
        return Spent(float(found.energy_consumed), float(found.emissions), time.monotonic() - self._began)

    def lap(self) -> Spent | None:
        """What was spent since the start or the last lap; measuring continues."""
        spent = self.stop()
        self.start()
        return spent
