"""Checkpoints come back bit for bit, or are known to be damaged."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import checkpoints
from experiments.common.errors import InputError


class State(NamedTuple):
    step: jax.Array
    params: dict
    key: jax.Array


def make_state(seed: int) -> State:
    key = jax.random.key(seed)
    params = {
        "w": jax.random.normal(key, (40, 30)),
        "half": jnp.array([1.5, seed], jnp.bfloat16),
        "nothing": None,
    }
    return State(jnp.int32(seed), params, key)


def bits(state: State) -> list[bytes]:
    state = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints, of steps 10, 20 and 30."""
    for step in (10, 20, 30):
        meta = {"loss": abs(20 - step) / 10}
        checkpoints.save(tmp_path / "checkpoints", step, make_state(step), meta)
    return tmp_path / "checkpoints"


def newest(folder, warnings=None):
    return checkpoints.restore_first(
        folder,
        checkpoints.steps(folder)[::-1],
        make_state(0),
        (warnings if warnings is not None else []).append,
    )


def test_restores_what_was_saved(folder):
    restored = checkpoints.restore(folder, 20, make_state(0))
    assert restored.step == 20
    assert restored.meta == {"step": 20, "loss": 0.0}
    assert bits(restored.state) == bits(make_state(20))
    assert jax.tree.structure(restored.state) == jax.tree.structure(make_state(0))
    assert restored.state.key.dtype == make_state(0).key.dtype


def test_restores_into_shapes_alone(folder):
    restored = checkpoints.restore(folder, 10, jax.eval_shape(lambda: make_state(0)))
    assert bits(restored.state) == bits(make_state(10))


def test_what_is_compiled_for_a_new_state_serves_for_a_restored_one(folder):
    traces = []

    @jax.jit
    def step(state):
        traces.append(1)
        return state

    made = make_state(10)._replace(step=jnp.asarray(np.int32(10)))
    for state in (made, checkpoints.restore(folder, 10, made).state):
        step(state)
        assert [leaf.committed for leaf in jax.tree.leaves(state)] == [False] * 4
    assert len(traces) == step._cache_size() == 1


def test_a_folder_can_be_moved(folder, tmp_path):
    moved = folder.rename(tmp_path / "elsewhere")
    assert bits(newest(moved).state) == bits(make_state(30))


def all_files(folder, step):
    files = [path for path in (folder / f"{step:08d}").rglob("*") if path.is_file()]
    return sorted(files)


def test_any_damage_to_any_file_is_found(folder):
    """Flip a byte in the middle, cut off half, remove: file by file."""
    files = all_files(folder, 30)
    assert len(files) > 5
    for file in files:
        content = file.read_bytes()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for damaged in (flipped, content[:middle], None):
            file.unlink()
            if damaged is not None:
                file.write_bytes(damaged)
            with pytest.raises(checkpoints.DamagedCheckpointError):
                checkpoints.verify(folder, 30)
            file.write_bytes(content)
    assert checkpoints.verify(folder, 30)["step"] == 30


def test_the_last_good_one_is_used_and_the_damage_told(folder):
    largest = max(all_files(folder, 30), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-7])
    warnings = []
    restored = newest(folder, warnings)
    assert restored.step == 20
    assert bits(restored.state) == bits(make_state(20))
    assert len(warnings) == 1
    assert "step 30 is damaged" in warnings[0]
    assert largest.name in warnings[0]


def test_all_damaged_is_an_error(folder):
    for step in (10, 20, 30):
        (folder / f"{step:08d}" / "meta.json").write_text("{}")
    with pytest.raises(InputError, match=r"every checkpoint .* is damaged"):
        newest(folder)


def test_none_at_all_is_none(tmp_path):
    assert newest(tmp_path) is None


def test_what_a_kill_leaves_behind_is_no_checkpoint(folder):
    unfinished = folder / "unfinished-00000040"
    (unfinished / "arrays").mkdir(parents=True)
    assert checkpoints.steps(folder) == [10, 20, 30]
    checkpoints.save(folder, 50, make_state(50), {})
    assert not unfinished.exists()
    assert newest(folder).step == 50


def test_saving_replaces_a_damaged_one(folder):
    (folder / "00000030" / "manifest.json").unlink()
    checkpoints.save(folder, 30, make_state(31), {})
    assert bits(newest(folder).state) == bits(make_state(31))


def test_keeps_the_newest_and_those_asked_for(folder):
    checkpoints.keep_only(folder, newest=1, also=(10,))
    assert checkpoints.steps(folder) == [10, 30]


def test_drops_the_later_ones(folder):
    checkpoints.drop_later(folder, 10)
    assert checkpoints.steps(folder) == [10]


def test_orders_by_a_number_of_the_meta_data(folder):
    checkpoints.save(folder, 40, make_state(40), {"loss": None})
    checkpoints.save(folder, 50, make_state(50), {"loss": 0.0})  # as step 20
    (folder / "00000030" / "meta.json").unlink()
    assert checkpoints.best_first(folder, "loss") == [20, 50, 10, 40, 30]


def test_a_missing_step_is_named(folder):
    with pytest.raises(InputError, match=r"no checkpoint of step 15 .*\[10, 20, 30\]"):
        checkpoints.restore(folder, 15, make_state(0))


@pytest.mark.parametrize(
    "params", [{"w": jnp.zeros((1, 40, 30))}, {"w": jnp.zeros((40, 30)), "more": jnp.zeros(2)}]
)
def test_parameters_of_another_form_are_not_read(folder, params):
    target = make_state(0)
    target = target._replace(params=target.params | params)
    with pytest.raises(InputError, match="written by another version"):
        checkpoints.restore(folder, 20, target)
