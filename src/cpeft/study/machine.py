"""What a result says of the machine it was made on: versions of what its numbers depend on, and hardware."""

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cpeft.models.cache import code_digest

PACKAGES = ("cpeft", "torch", "transformers", "datasets", "numpy", "scikit-learn", "accelerate", "peft")
CODE = "cpeft code"  # changes with every line of the package, which its version does not


def versions() -> dict[str, str]:
    """Installed versions by package, and what the package's own source is known by."""
    found = {CODE: code_digest()}
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
