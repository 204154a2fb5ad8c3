"""The experiment as one record, chosen by the kind of its data; see `common.experiment`."""

from experiments.common.experiment import Experiment
from experiments.stock_prediction.config import CORPORA
from experiments.stock_prediction.configs import PRESETS
from experiments.stock_prediction.kinds import kind_of
from experiments.stock_prediction.problem import model_keys, model_names
from experiments.stock_prediction.use import Task, use

EXPERIMENT = Experiment(
    name="stock_prediction",
    about="Train recurrent networks on prices or hours, or forecast with trained ones.",
    presets=PRESETS,
    corpora=CORPORA,
    load=lambda config: kind_of(config).data.load(config),
    build=lambda config, facts: kind_of(config).build(config, facts),
    problem=lambda config, data, model: kind_of(config).problem.make_problem(config, data, model),
    keys=model_keys,
    names=model_names,
    describe=lambda data: kind_of(data).report.describe(data),
    measure=lambda trained, data: kind_of(trained.config).measure.measure(trained, data),
    report=lambda trained, *rest: kind_of(trained.config).report.report(trained, *rest),
    task=Task,
    use=use,
)
