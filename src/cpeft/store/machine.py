"""What a result says of the machine it was made on: versions of what its numbers depend on, and hardware."""

import hashlib
import platform
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cpeft.plugins import plugin_versions

PACKAGES = ("cpeft", "torch", "transformers", "datasets", "numpy", "scikit-learn", "accelerate", "peft")
CODE = "cpeft code"  # changes with every line of the package, which its version does not


def versions() -> dict[str, str]:
    """Installed versions by package, and digests of the package's own source and of the plugins of this process."""
    found = {CODE: code_digest(), **plugin_versions()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Twelve digits of the SHA-256 over all Python files of the package, as they were when first asked for."""
    package, every = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        every.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return every.hexdigest()[:12]


def hardware() -> dict[str, Any]:
    """Machine, system, threads, and the name of the GPU or None."""
    import torch  # here, so that versions can be compared without it

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "machine": platform.machine(), "system": platform.system(), "threads": torch.get_num_threads(), "gpu": gpu,
    }  # fmt: skip
