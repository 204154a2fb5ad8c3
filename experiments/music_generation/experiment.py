"""The experiment as one record; see `common.experiment`."""

from experiments.common.experiment import Experiment
from experiments.music_generation.config import CORPORA
from experiments.music_generation.configs import PRESETS
from experiments.music_generation.data import facts_of, load_data
from experiments.music_generation.measure import measure
from experiments.music_generation.model import build
from experiments.music_generation.problem import keys, make_problem
from experiments.music_generation.report import describe, report
from experiments.music_generation.use import Task, use

EXPERIMENT = Experiment(
    name="music_generation",
    about="Train recurrent networks on piano rolls, or compose with a trained one.",
    presets=PRESETS,
    corpora=CORPORA,
    load=load_data,
    facts=facts_of,
    build=build,
    problem=make_problem,
    keys=keys,
    describe=describe,
    measure=measure,
    report=report,
    task=Task,
    use=use,
)
