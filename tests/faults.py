"""Faults put into library and experiments on purpose, and the first test that finds each.

    python -m tests.faults                    every fault
    python -m tests.faults mask wavefront     those with one of the words in their name
    python -m tests.faults --tree PATH        of another tree than this one

A copy of the tree gets one fault at a time, and runs the test files that should find it.
What comes out is a table in Markdown; the exit status is 1 where a fault is found by none.
Run it after tests were made fewer or faster: it takes about ten minutes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.compiling import compile_sooner

ROOT = Path(__file__).parents[1]


class Fault(NamedTuple):
    """A line of a file, and what is put in its place."""

    name: str
    file: str
    old: str  # there exactly once
    new: str
    tests: str  # the file under tests/ that should find it
    only: str = ""  # the tests in it to run, as pytest's -k takes them


CONTRACT, STEPS = "schedules/test_contract.py", "recurrence/test_steps.py"
TRAINING = "experiments/test_training.py"
FAULTS = (
    # cells and modifiers
    Fault(
        "gru: update gate the wrong way round",
        "deeprnn_jax/cells/gru.py",
        "h = (1 - z) * n + z * state.h",
        "h = z * n + (1 - z) * state.h",
        "cells/test_equations.py",
    ),
    Fault(
        "gru: reset gate after the product in place of before",
        "deeprnn_jax/cells/gru.py",
        "h_n = (r * h_proj.h) @ params.w_h[:, 2 * hidden_size :]",
        "h_n = r * (h_proj.h @ params.w_h[:, 2 * hidden_size :])",
        "cells/test_equations.py",
    ),
    Fault(
        "lstm: the output gate's peephole sees the old c",
        "deeprnn_jax/cells/lstm.py",
        "z_o + scale_units(peep.o, c))",
        "z_o + scale_units(peep.o, state.c))",
        "cells/test_equations.py",
    ),
    Fault(
        "variational dropout: what is kept is not scaled up",
        "deeprnn_jax/modifiers/variational.py",
        "h * mask / (1 - rate)",
        "h * mask",
        "test_modifiers.py",
    ),
    Fault(
        "zoneout: all fields of the state by one key",
        "deeprnn_jax/modifiers/zoneout.py",
        "jax.random.bernoulli(keys[field], p,",
        "jax.random.bernoulli(k_keep, p,",
        "test_modifiers.py",
    ),
    Fault(
        "variational dropout: scaled up without a key too",
        "deeprnn_jax/modifiers/variational.py",
        "            return state\n        h = getattr(state, field)\n",
        "            return state._replace(**{field: getattr(state, field) / (1 - rate)})\n"
        "        h = getattr(state, field)\n",
        "test_modifiers.py",
        "without_a_key",
    ),
    Fault(
        "orthogonal: rows are made orthogonal once, not twice",
        "deeprnn_jax/orthonormal.py",
        "row = _without(_without(block[index], q), q)",
        "row = _without(block[index], q)",
        "test_initializers.py",
        "rounding",
    ),
    Fault(
        "orthogonal: the rows of a wide matrix change places",
        "deeprnn_jax/orthonormal.py",
        "q = q if rows < columns else q.T",
        "q = q[::-1] if rows < columns else q.T",
        "test_initializers.py",
        "lapacks",
    ),
    # sequences
    Fault(
        "mask: one step more than the length",
        "deeprnn_jax/sequences.py",
        "inside = time < lengths[None]",
        "inside = time <= lengths[None]",
        CONTRACT,
    ),
    Fault(
        "reset: the state is not reset",
        "deeprnn_jax/sequences.py",
        "return state if reset is None else where_flag(reset, initial, state)",
        "return state",
        CONTRACT,
    ),
    Fault(
        "reset: after the step in place of before",
        "deeprnn_jax/schedules/steps.py",
        "    before = enter_step(lane.initial, state, steps.resets)\n",
        "    before, enter = state, enter_step\n"
        "    def leave_step(mask, before, after, y):\n"
        "        from deeprnn_jax.sequences import leave_step as leave\n"
        "        return leave(mask, before, enter(lane.initial, after, steps.resets), y)\n",
        CONTRACT,
    ),
    Fault(
        "reverse: a reset crossed on its other side",
        "deeprnn_jax/sequences.py",
        "jnp.concatenate([ahead[1:], last])",
        "ahead",
        CONTRACT,
        "both",
    ),
    Fault(
        "reverse: begins at T, not at the row's own length",
        "deeprnn_jax/schedules/layer_by_layer.py",
        "reverse = _turn((u, lanes[1].noise, steps.reversed()))",
        "reverse = _turn((u, lanes[1].noise, steps.reversed()._replace(mask=None)))",
        CONTRACT,
        "both",
    ),
    Fault(
        "reverse: a reset in the padding between two steps is lost",
        "deeprnn_jax/sequences.py",
        "if self.mask is not None:\n            ahead =",
        "if self.mask is None:\n            ahead =",
        "test_sequences.py",
    ),
    # layers and schedules
    Fault(
        "dropout: a locked mask is drawn at every step",
        "deeprnn_jax/layers/layer.py",
        "times = (1,) if layer.locked else shape[:1]",
        "times = shape[:1]",
        "test_randomness.py",
        "locked",
    ),
    Fault(
        "dropout: after the last layer too",
        "deeprnn_jax/schedules/layer_by_layer.py",
        "y, inside = run(x, (*one, index, index == last))",
        "y, inside = run(x, (*one, index, False))",
        "test_modifiers.py",
        "dropout",
    ),
    Fault(
        "keys: both directions draw with one",
        "deeprnn_jax/layers/layer.py",
        "zip(cells, k_cells, strict=False)",
        "zip(cells, k_cells[:1] * 2, strict=False)",
        "test_modifiers.py",
        "share",
    ),
    Fault(
        "keys: every layer draws with the network's",
        "deeprnn_jax/schedules/schedule.py",
        "jax.random.fold_in(key, index)",
        "jax.random.fold_in(key, 0 * index)",
        "test_modifiers.py",
        "share",
    ),
    Fault(
        "wavefront: a diagonal too early",
        "deeprnn_jax/schedules/skew.py",
        "rows[start + layer + jnp.arange(num_steps)[None], layer]",
        "rows[layer + jnp.arange(num_steps)[None], layer]",
        CONTRACT,
        "other_schedules",
    ),
    Fault(
        "wavefront: the next group reads what this one gives now",
        "deeprnn_jax/schedules/diagonals.py",
        "below = arrived",
        "below = y[-1]",
        CONTRACT,
        "other_schedules",
    ),
    Fault(
        "highway: x carried twice",
        "deeprnn_jax/layers/layer.py",
        "gate * y + (1 - gate) * x",
        "gate * y + (2 - gate) * x",
        CONTRACT,
        "highway",
    ),
    Fault(
        "truncated: the gradient goes through",
        "deeprnn_jax/truncation.py",
        "cut = jax.tree.map(lax.stop_gradient, state)",
        "cut = state",
        "test_truncation.py",
    ),
    # precision
    Fault(
        "bfloat16: sums of the cells' products are narrow",
        "deeprnn_jax/precision.py",
        '"preferred_element_type": wide}',
        '"preferred_element_type": dtype}',
        "test_precision.py",
        "close",
    ),
    Fault(
        "bfloat16: a weight's gradient is summed narrow",
        "deeprnn_jax/recurrence/cotangents.py",
        "matrix: Any = cast_from.get(product.matrix_var, product.matrix_var)",
        "matrix: Any = product.matrix_var",
        "test_precision.py",
        "growing",
    ),
    # derivatives of a recurrence
    Fault(
        "backward: a sum with the wrong sign",
        "deeprnn_jax/recurrence/backward.py",
        "sums = map(jnp.add, carries[num_carry:]",
        "sums = map(jnp.subtract, carries[num_carry:]",
        STEPS,
        "normalised",
    ),
    Fault(
        "backward: a bias without what is done after its sum",
        "deeprnn_jax/recurrence/cotangents.py",
        "reduce(var, jnp.sum(stacks[place], 0))",
        "found.add(var, jnp.sum(stacks[place], 0).reshape(-1)[: var.aval.size]"
        ".reshape(var.aval.shape))",
        STEPS,
        "bias",
    ),
    Fault(
        "residual: the carry after the step is read for the one before",
        "deeprnn_jax/recurrence/primitive.py",
        'return shift(carry[residual.carry], after, reverse=params["reverse"])',
        "return after",
        STEPS,
    ),
    Fault(
        "residual: the first carry is read for each of them",
        "deeprnn_jax/recurrence/linearize.py",
        'Residual("before", shown[end], index)',
        'Residual("before", shown[end], 0)',
        STEPS,
        "both and shown",
    ),
    Fault(
        "residual: of a scan backwards, shifted the wrong way",
        "deeprnn_jax/recurrence/loop.py",
        "return jnp.concatenate([afters[1:], first[None]])",
        "return jnp.concatenate([first[None], afters[:-1]])",
        STEPS,
        "backwards",
    ),
    Fault(
        "gradient: contracted axes of a matrix change places",
        "deeprnn_jax/recurrence/products.py",
        "order = sorted(range(len(of_rows.contract)), key=of_rows.contract.__getitem__)",
        "order = list(range(len(of_rows.contract)))",
        STEPS,
        "contracted",
    ),
    Fault(
        "gradient: hoisted operations are pulled back in their own order",
        "deeprnn_jax/recurrence/cotangents.py",
        "for eqn in reversed(ops.hoisted):",
        "for eqn in ops.hoisted:",
        STEPS,
        "chain",
    ),
    Fault(
        "second derivative: outputs that no loop makes are left out",
        "deeprnn_jax/recurrence/cotangents.py",
        "for index, var in plan.direct.items():",
        "for index, var in list(plan.direct.items())[1:]:",
        STEPS,
        "constant or parameter",
    ),
    Fault(
        "second derivative: what is not of a loop is not summed over time",
        "deeprnn_jax/recurrence/cotangents.py",
        "jnp.sum(d_ys[index], 0) if is_const else d_ys[index]",
        "d_ys[index][0] if is_const else d_ys[index]",
        STEPS,
        "constant or parameter",
    ),
    Fault(
        "chunks: the one left over begins a step too early",
        "deeprnn_jax/recurrence/chunks.py",
        "leaf[:begin] if reverse else leaf[end:]",
        "leaf[:begin] if reverse else leaf[end - 1 : -1]",
        "schedules/test_checkpoints.py",
    ),
    Fault(
        "chunks: of a scan backwards, the one left over comes last in time",
        "deeprnn_jax/recurrence/chunks.py",
        "parts = (last, ys) if reverse else (ys, last)",
        "parts = (ys, last)",
        STEPS,
        "backwards",
    ),
    Fault(
        "chunks: as many steps as there are count as a chunk",
        "deeprnn_jax/recurrence/chunks.py",
        "every >= length",
        "every > length",
        "schedules/test_checkpoints.py",
        "equal",
    ),
    # loops in parts, linear recurrences, all steps at once
    Fault(
        "parts: what is only handed on is read after its step",
        "deeprnn_jax/recurrence/parts.py",
        "env[carry[one.handed]] = shift(first, end, reverse=reverse)",
        "env[carry[one.handed]] = end",
        "recurrence/test_parts.py",
    ),
    Fault(
        "parts: layers on diagonals are run in turn",
        "deeprnn_jax/schedules/diagonals.py",
        "_whole=True",
        "_whole=False",
        "schedules/test_way.py",
        "wavefront",
    ),
    Fault(
        "linear scan: a reset multiplies the old state by zero",
        "deeprnn_jax/recurrence/linear_primitive.py",
        "return jnp.where(cut, b, total)",
        "return total",
        "recurrence/test_linear.py",
    ),
    Fault(
        "linear scan: a reset begins with zeros, not with h0",
        "deeprnn_jax/recurrence/linear.py",
        "[jnp.where(flags, new, one) for new, one in zip(fresh, b, strict=True)]",
        "[jnp.where(flags, one, one) for new, one in zip(fresh, b, strict=True)]",
        "recurrence/test_linear.py",
    ),
    Fault(
        "linear scan: the gradient of h0 is that of the first state",
        "deeprnn_jax/recurrence/linear_primitive.py",
        "    if not late:\n        # by the operation itself",
        "    if late:\n        # by the operation itself",
        "recurrence/test_linear.py",
    ),
    Fault(
        "linear scan: two fields' matrix is not transposed for the gradient",
        "deeprnn_jax/recurrence/linear_primitive.py",
        "columns = [list(column) for column in zip(*rows, strict=True)]\n    first",
        "columns = rows\n    first",
        "recurrence/test_linear.py",
    ),
    Fault(
        "linear scan: the slope by a reads the state after the step",
        "deeprnn_jax/recurrence/linear_primitive.py",
        "terms = [d_a * h for d_a, h in pairs if",
        "terms = [d_a * found[i] for d_a, h in pairs if",
        "recurrence/test_linear.py",
    ),
    Fault(
        "parallel: a step that mixes units is taken for one that does not",
        "deeprnn_jax/recurrence/units.py",
        "        if not in_place or any(",
        "        if any(",
        "schedules/test_parallel.py",
    ),
    Fault(
        "parallel: Newton's method stops after its passes, solved or not",
        "deeprnn_jax/recurrence/parallel.py",
        "lambda: after, lambda: problem.loop(consts, init, reads)",
        "lambda: after, lambda: after",
        "schedules/test_parallel.py",
    ),
    Fault(
        "parallel: the derivative is taken at the states after the steps",
        "deeprnn_jax/recurrence/parallel.py",
        "        before = begun(init, after)\n",
        "        before = after\n",
        "schedules/test_parallel.py",
    ),
    Fault(
        "causal convolution: the window runs the wrong way",
        "deeprnn_jax/modifiers/causal_conv.py",
        "return CausalConvState(inputs[:-1], after), y",
        "return CausalConvState(inputs[1:], after), y",
        "test_blocks.py",
    ),
    Fault(
        "gated delta: the old value is read before it is forgotten",
        "deeprnn_jax/cells/gated_delta.py",
        "(v - read(s, k))",
        "(v - read(state.s, k))",
        "cells/test_heads.py",
    ),
    # meshes, partitions, other formats
    Fault(
        "partition: in two directions the state's batch is its layers'",
        "deeprnn_jax/partition.py",
        "states.append(_specs_of(state, [*first, *([None] if both else []), batch], hidden))",
        "states.append(_specs_of(state, [*first, batch], hidden))",
        "test_partition.py",
    ),
    # decoding and other libraries
    Fault(
        "ctc: the last of the parts, which is not full, is left out",
        "deeprnn_jax/decoding/ctc.py",
        "num_parts = -(-num_steps // part)",
        "num_parts = num_steps // part",
        "decoding/test_export.py",
        "prefix",
    ),
    Fault(
        "haiku: layers in the order of their names",
        "deeprnn_jax/interop/haiku.py",
        "for number in sorted(stack)]",
        "for number in sorted(stack, key=str)]",
        "interop/test_haiku.py",
        "order_of",
    ),
    Fault(
        "states: h and c change places",
        "deeprnn_jax/interop/state_layers.py",
        "for name in fields.split() if",
        "for name in fields.split()[::-1] if",
        "interop/test_haiku.py",
    ),
    Fault(
        "onnx: coupled gates keep the sign of their output peephole's place",
        "deeprnn_jax/interop/onnx/cells.py",
        "Peepholes(None, -i, o)",
        "Peepholes(None, i, o)",
        "interop/test_onnx_export.py",
        "back_again",
    ),
    Fault(
        "onnx: a row without steps ends in zeros",
        "deeprnn_jax/interop/onnx/writing.py",
        "if starts:  # onnxruntime",
        "if False:  # onnxruntime",
        "interop/test_onnx_export.py",
        "onnxruntime_computes_the_same",
    ),
    Fault(
        "flax: a reverse run always keeps the order of its inputs",
        "deeprnn_jax/interop/flax_call.py",
        "if reverse and keep_order:",
        "if reverse:",
        "interop/test_flax_modules.py",
        "swapped",
    ),
    Fault(
        "flax: a forward run that keeps the order is turned",
        "deeprnn_jax/interop/flax_call.py",
        "if reverse and keep_order:",
        "if keep_order:",
        "interop/test_flax_modules.py",
        "swapped",
    ),
    Fault(
        "linen: only the call says whether the order is kept",
        "deeprnn_jax/interop/linen.py",
        "keep_order=self.keep_order if keep_order is None else keep_order,",
        "keep_order=bool(keep_order),",
        "interop/test_flax_modules.py",
        "swapped",
    ),
    Fault(
        "nnx: only the call says whether to go backwards",
        "deeprnn_jax/interop/nnx.py",
        "reverse=self.reverse if reverse is None else reverse,",
        "reverse=bool(reverse),",
        "interop/test_flax_modules.py",
        "swapped",
    ),
    Fault(
        "linen: what a cell sets is lost after the loop",
        "deeprnn_jax/interop/linen.py",
        "return function(inner), variables_of(inner)",
        "return function(inner), variables_of(scopes_of(variables, keys))",
        "interop/test_flax_any_cell.py",
        "variables",
    ),
    Fault(
        "nnx: what the call is told does not reach Flax",
        "deeprnn_jax/interop/nnx.py",
        "nnx.RNN.__call__(module, inputs, rngs=rngs, **call)",
        "nnx.RNN.__call__(module, inputs, rngs=rngs)",
        "interop/test_flax_any_cell.py",
        "options",
    ),
    Fault(
        "beam search: of equal scores the later end first",
        "deeprnn_jax/decoding/hypotheses.py",
        "jnp.concatenate([a, b], axis=-1), pool, new)",
        "jnp.concatenate([b, a], axis=-1), pool, new)",
        "decoding/test_beam.py",
        "order",
    ),
    Fault(
        "beam search: the bound takes this step's penalty, not the largest",
        "deeprnn_jax/decoding/beam.py",
        "smallest[search.step]",
        "factors[search.step]",
        "decoding/test_beam.py",
        "stop",
    ),
    Fault(
        "ctc: a blank does not part two equal labels",
        "deeprnn_jax/decoding/ctc.py",
        "is_label = (path != blank) & (path != before)",
        "is_label = (path != blank) & (path != before) & (before == blank)",
        "decoding/test_ctc.py",
    ),
    Fault(
        "sampling: top-p leaves out the one that reaches it",
        "deeprnn_jax/decoding/sampling.py",
        "before = jnp.cumsum(p, axis=-1) - p ",
        "before = jnp.cumsum(p, axis=-1) ",
        "decoding/test_sampling.py",
    ),
    Fault(
        "torch: gates in another order",
        "deeprnn_jax/interop/torch.py",
        'w_x, w_h = weight("weight_ih").T, ',
        'w_x, w_h = np.roll(weight("weight_ih").T, weight("weight_hh").shape[1], 1), ',
        "interop/test_torch.py",
    ),
    Fault(
        "torch: the candidate's second bias in both places",
        "deeprnn_jax/interop/torch.py",
        "b_hh[2 * size :] = 0",
        "pass",
        "interop/test_torch.py",
    ),
    # experiments: the loop that all share, and each loss
    Fault(
        "run: goes on a step before its checkpoint",
        "experiments/common/run_folder.py",
        "Standing(restored.step, best,",
        "Standing(restored.step - 1, best,",
        TRAINING,
    ),
    Fault(
        "run: the worst evaluation is best",
        "experiments/common/fit.py",
        "value < best.value",
        "not value < best.value",
        TRAINING,
    ),
    Fault(
        "run: other data go unnoticed",
        "experiments/common/run_folder.py",
        'stored.get("data_sha256") != data_sha256 or',
        "",
        TRAINING,
    ),
    Fault(
        "run: the mean of the parameters is not what is used",
        "experiments/common/updates.py",
        "return optax.tree.bias_correction(state.ema.ema, ema_decay, state.ema.count)",
        "return state.params",
        "experiments/test_updates.py",
    ),
    Fault(
        "step: all steps draw with one key",
        "experiments/common/updates.py",
        "jax.random.fold_in(state.key, state.step)",
        "state.key",
        "experiments/test_updates.py",
    ),
    Fault(
        "step: a batch is handed what the first one was",
        "experiments/common/updates.py",
        "opt_state, averages, carry, state.key)",
        "opt_state, averages, state.carry, state.key)",
        "experiments/test_updates.py",
    ),
    Fault(
        "step: biases decay too",
        "experiments/common/optimizers.py",
        "in MATRICES",
        "is not None",
        "experiments/test_updates.py",
    ),
    Fault(
        "side by side: all have the state that was best for the first",
        "experiments/common/run_folder.py",
        "leaf[m] for m, leaf in enumerate(leaves)",
        "leaves[0][m] for m, leaf in enumerate(leaves)",
        TRAINING,
    ),
    Fault(
        "text: a stream that begins anew keeps its state",
        "experiments/text_generation/problem.py",
        "jnp.where(batch.fresh, new, old)",
        "old",
        "experiments/test_text_model.py",
    ),
    Fault(
        "music: a padded frame is learned",
        "experiments/music_generation/problem.py",
        "[:, None] < lengths[None]",
        "[:, None] <= lengths[None]",
        "experiments/test_music_model.py",
    ),
    Fault(
        "speech: padded steps may give labels",
        "experiments/speech_recognition/problem.py",
        "(steps >= lengths[:, None])",
        "(steps >= lengths.max())",
        "experiments/test_speech_model.py",
    ),
    Fault(
        "translation: padded pieces are learned",
        "experiments/machine_translation/problem.py",
        "jnp.where(batch.is_real, nats, 0.0).sum()",
        "nats.sum()",
        "experiments/test_translation_model.py",
    ),
    Fault(
        "shares: days that did not move are learned",
        "experiments/stock_prediction/daily/problem.py",
        "(nats * batch.moved).sum()",
        "(nats * batch.asked).sum()",
        "experiments/test_stock_train.py",
    ),
    Fault(
        "hours: standardised by all months",
        "experiments/stock_prediction/hourly/data.py",
        "hours.values[BORDERS[0] : BORDERS[1]]",
        "hours.values",
        "experiments/test_stock_train.py",
    ),
)


def copy_of(tree: Path, folder: Path) -> Path:
    """Copy a tree without what git and runs leave in it."""
    ignored = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "*.egg-info", "dist")
    return Path(shutil.copytree(tree, folder / "copy", ignore=ignored))


def first_failure(tree: Path, fault: Fault) -> str | None:
    """Run a fault's tests; give the first one that fails, or None."""
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "-n", "0"]
    arguments += ["-k", fault.only] if fault.only else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, f"tests/{fault.tests}"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^FAILED tests/(.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) or bool(found) != bool(done.returncode):
        raise RuntimeError(f"pytest ended with {done.returncode}\n{done.stdout[-3000:]}")
    return found[1] if found else None


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults with one of them in their name")
    parser.add_argument("--tree", type=Path, default=ROOT, help="what is copied (default: this)")
    options = parser.parse_args()
    words = options.words or [""]
    chosen = [one for one in FAULTS if any(word in one.name for word in words)]
    missed = 0
    compile_sooner()  # once for all runs
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_of(options.tree, Path(folder))
        texts = {one.file: (tree / one.file).read_text() for one in chosen}
        for one in chosen:
            count = texts[one.file].count(one.old)
            if count != 1:
                raise SystemExit(f"{one.name}: {one.file} has its old text {count} times")
        print("| fault | first test that fails | s |\n| --- | --- | --- |", flush=True)
        for one in chosen:
            path, text = tree / one.file, texts[one.file]
            path.write_text(text.replace(one.old, one.new))
            begin = time.monotonic()
            found = first_failure(tree, one)
            path.write_text(text)
            missed += found is None
            shown = "NONE" if found is None else f"`{found}`"
            print(f"| {one.name} | {shown} | {time.monotonic() - begin:.0f} |", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
