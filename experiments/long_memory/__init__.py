"""Which cell when: tasks that ask for memory, cells of equal parameters, several seeds.

    python -m experiments.long_memory                        parity and copy, three cells
    python -m experiments.long_memory --preset s3            one task, all cells
    python -m experiments.long_memory --preset s3 --resume   go on with it
    python -m experiments.long_memory.table                  all that is in results/ in one table

| file | topic |
|---|---|
| `config.py`, `presets.py` | every option of a run; each task's settings, and its learning rates |
| `tasks.py`, `corpora.py` | tasks that are drawn from a seed; digits and characters |
| `data.py` | what a run learns from, chooses by and is measured on |
| `cells.py` | the cells by name |
| `widths.py` | the width of each that gives equal parameters |
| `model.py`, `problem.py` | layers or residual blocks of a cell; all seeds side by side |
| `measure.py`, `report.py` | figures at each length, mean and deviation; what is said |
| `experiment.py` | all of it as one record |
| `compare.py`, `table.py` | a task by all cells; all tasks in one table |
"""
