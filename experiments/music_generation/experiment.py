"""The experiment as one record; see `common.experiment`."""

from experiments.common.experiment import Experiment, keys_of
from experiments.music_generation.config import CORPORA
from experiments.music_generation.configs import PRESETS
from experiments.music_generation.data import load
from experiments.music_generation.measure import measure
from experiments.music_generation.model import build
from experiments.music_generation.problem import make_problem
from experiments.music_generation.report import describe, report
from experiments.music_generation.use import Task, use

EXPERIMENT = Experiment(
    name="music_generation",
    about="Train recurrent networks on piano rolls, or compose with a trained one.",
    presets=PRESETS,
    corpora=CORPORA,
    load=load,
    build=build,
    problem=make_problem,
    keys=lambda config, facts: keys_of(config.seeds),
    describe=describe,
    measure=measure,
    report=report,
    task=Task,
    use=use,
)
