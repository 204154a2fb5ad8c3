"""The experiment as one record; see `common.experiment`."""

from experiments.common.experiment import Experiment
from experiments.common.records import PACKAGES
from experiments.speech_recognition.config import CORPORA
from experiments.speech_recognition.configs import PRESETS
from experiments.speech_recognition.data import load
from experiments.speech_recognition.measure import measure
from experiments.speech_recognition.model import build
from experiments.speech_recognition.problem import make_problem
from experiments.speech_recognition.report import describe, report
from experiments.speech_recognition.use import Task, use

EXPERIMENT = Experiment(
    name="speech_recognition",
    about="Train a speech recogniser, or write down recordings with a trained one.",
    presets=PRESETS,
    corpora=CORPORA,
    load=load,
    build=build,
    problem=make_problem,
    describe=describe,
    measure=measure,
    report=report,
    task=Task,
    use=use,
    packages=(*PACKAGES, "scipy", "soundfile", "jiwer"),
)
