"""A run, of one task and one cell, as one record; see `common.experiment`."""

from experiments.common.experiment import Experiment
from experiments.long_memory.config import CORPORA
from experiments.long_memory.data import load
from experiments.long_memory.measure import measure
from experiments.long_memory.model import build
from experiments.long_memory.presets import PRESETS
from experiments.long_memory.problem import make_problem, model_keys, model_names, optimizer
from experiments.long_memory.report import describe, report

EXPERIMENT = Experiment(
    name="long_memory",
    about="Which cell when: tasks that ask for memory, cells of equal parameters.",
    presets={name: preset.configs[0] for name, preset in PRESETS.items()},
    corpora=CORPORA,
    load=load,
    build=build,
    problem=make_problem,
    optimizer=optimizer,
    keys=model_keys,
    names=model_names,
    describe=describe,
    measure=measure,
    report=report,
)
