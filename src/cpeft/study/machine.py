"""What a result says of the machine it was made on: versions of what its numbers depend on, and hardware."""

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("cpeft", "torch", "transformers", "datasets", "numpy", "scikit-learn", "accelerate", "peft")


def versions() -> dict[str, str]:
    """Installed versions by package."""
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def hardware() -> dict[str, Any]:
    """Machine, system, threads, and the name of the GPU or None."""
    import torch  # here, so that versions can be compared without it

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "machine": platform.machine(), "system": platform.system(), "threads": torch.get_num_threads(), "gpu": gpu,
    }  # fmt: skip
