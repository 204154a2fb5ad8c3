"""The experiment as one record; see `common.experiment`."""

from experiments.common.experiment import Experiment
from experiments.common.records import PACKAGES
from experiments.machine_translation.config import CORPORA
from experiments.machine_translation.configs import PRESETS, on_own_data
from experiments.machine_translation.data import load
from experiments.machine_translation.measure import measure
from experiments.machine_translation.model import build
from experiments.machine_translation.own_pairs import located
from experiments.machine_translation.problem import make_problem
from experiments.machine_translation.report import describe, report
from experiments.machine_translation.use import Task, use

EXPERIMENT = Experiment(
    name="machine_translation",
    about="Train a recurrent translator with attention, or translate with a trained one.",
    presets=PRESETS,
    corpora=CORPORA,
    located=located,
    on_own_data=on_own_data,
    load=load,
    build=build,
    problem=make_problem,
    describe=describe,
    measure=measure,
    report=report,
    task=Task,
    use=use,
    packages=(*PACKAGES, "sacrebleu", "sentencepiece"),
)
