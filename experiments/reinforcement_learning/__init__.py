"""Memory in the loop: recurrent PPO where an agent does not see all that matters.

    python -m experiments.reinforcement_learning                    a short T-maze
    python -m experiments.reinforcement_learning --preset tmaze     a longer one, more memories
    python -m experiments.reinforcement_learning --preset tmaze --resume
    python -m experiments.reinforcement_learning.speed              beside Flax's scanned GRU
    python -m experiments.reinforcement_learning.table              all that is in results/

| file | topic |
|---|---|
| `config.py` | every option of a training; each comparison's settings |
| `environments.py` | T-maze, repeat previous, CartPole without velocities; gymnax's |
| `agent.py` | a memory, any of the library's or frames, between what is seen and done |
| `ppo.py` | recurrent PPO, a training as one program |
| `training.py` | the check that the ratio is 1; compiled for all seeds, run, on record |
| `compare.py`, `table.py` | a task by several memories; all tasks in one page |
| `speed.py` | updates a second beside Flax's GRU in the same code |
"""
