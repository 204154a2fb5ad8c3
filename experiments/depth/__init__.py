"""Why deep: what is said of stacked recurrent layers, with a measurement for each sentence.

    python -m experiments.depth                      what layers know, and which train: offline
    python -m experiments.depth --preset refine      one measurement, in full
    python -m experiments.depth --preset long --resume
    python -m experiments.depth.table                all that is in results/ on one page

| file | topic |
|---|---|
| `settings.py` | every measurement's settings, and the presets |
| `characters.py`, `features.py` | text as ids and windows; labels of each character |
| `network.py`, `train.py` | deep networks of equal parameters; many trained in one program |
| `refine.py` | what each layer knows of the text, probed |
| `speech.py` | the same of a network trained on AN4 |
| `long.py` | the longest lag learned, by depth |
| `expressive.py` | the validation loss by depth, at equal parameters |
| `trainable.py` | which seeds and learning rates reach a bar, by depth |
| `record.py` | rows that are measured once |
| `command.py`, `table.py`, `plots.py` | the command; the page; pictures |
"""
