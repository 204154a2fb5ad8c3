"""A run's folder and the small JSON files in it."""

import datetime
import hashlib
import json
import operator
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

RUN_FILE = "run.json"
RESULT_FILE = "result.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader, or a kill, never meets half a file.

    NumPy's and JAX's numbers and arrays become plain ones.

    Raises:
      ValueError: the content has a number that is not finite, which JSON lacks.
    """
    plain = operator.methodcaller("tolist")
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False, default=plain) + "\n"
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest_of(arrays: Any) -> str:
    """Return a SHA-256 of a pytree's arrays, their shapes and dtypes: other data, another one."""
    digest = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(arrays)):
        digest.update(f"{leaf.dtype.str}{leaf.shape}".encode() + leaf.tobytes())
    return digest.hexdigest()


def new_run(root: Path, name: str) -> Path:
    """Create and return a fresh folder `root/<date>-<time>-<name>`."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ["", *(f"-{i}" for i in range(2, 100))]:
        folder = root / f"{stamp}-{name}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # two runs started within one second
            continue
        return folder
    raise FileExistsError(f"new_run: no free name left for {root}/{stamp}-{name}")


def newest_run(root: Path, suits: Callable[[Mapping[str, Any]], bool] | None = None) -> Path | None:
    """Return the folder below `root` whose run was started last, or None.

    Args:
      root: the folder of all runs.
      suits: tells from a run's settings whether it is to be considered; None: every one is.
    """
    files = sorted(root.glob(f"*/{RUN_FILE}"), key=lambda file: file.stat().st_mtime_ns)
    newest_first = (file.parent for file in reversed(files))
    if suits is None:
        return next(newest_first, None)
    return next((run for run in newest_first if suits(read_json(run / RUN_FILE)["config"])), None)


def environment(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Describe versions and hardware, for a result that others can place.

    Args:
      packages: whose versions matter; one that is not installed is left out.
    """
    installed = {dist.name for dist in metadata.distributions()}
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages if name in installed},
        "backend": device.platform,
        "device": device.device_kind,
        "num_devices": jax.device_count(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
    }


def _processor() -> str:
    """Return the processor's model where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
