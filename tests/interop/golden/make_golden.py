"""Store what other libraries compute, for machines that do not have them.

    KERAS_BACKEND=jax python -m tests.interop.golden.make_golden

Run it from the repository with torch, Keras and Haiku installed, when a case in
`*_cases.py` that is named in its STORED has changed. Weights and data are drawn by
NumPy from fixed seeds.
"""

import importlib

from tests.interop import recorded


def main() -> None:
    for library in ("torch", "keras", "haiku"):
        cases = importlib.import_module(f"tests.interop.{library}_cases")
        runs = {name: cases.record(cases.build(name)) for name in cases.STORED}
        path = recorded.GOLDEN / f"{library}.npz"
        recorded.save(path, runs)
        print(f"{path.name}: {', '.join(runs)}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
