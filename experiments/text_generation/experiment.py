"""The experiment as one record; see `common.experiment`."""

from experiments.common.experiment import Experiment
from experiments.text_generation.config import CORPORA
from experiments.text_generation.configs import PRESETS
from experiments.text_generation.data import load
from experiments.text_generation.measure import measure
from experiments.text_generation.model import build
from experiments.text_generation.problem import make_problem, optimizer
from experiments.text_generation.report import describe, report
from experiments.text_generation.use import Task, use

EXPERIMENT = Experiment(
    name="text_generation",
    about="Train a recurrent language model on text, or write with a trained one.",
    presets=PRESETS,
    corpora=CORPORA,
    load=load,
    build=build,
    problem=make_problem,
    optimizer=optimizer,
    first_carry=lambda config, model, params: model.initial_state(params, config.batch_size),
    describe=describe,
    measure=measure,
    report=report,
    task=Task,
    use=use,
)
