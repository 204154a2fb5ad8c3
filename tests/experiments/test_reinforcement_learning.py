"""Environments against plain Python, PPO's parts against loops, trainings that learn, the page."""

import dataclasses
import sys
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deeprnn_jax as drnn
from experiments.common import sweep
from experiments.common.errors import InputError
from experiments.common.records import read_json, write_json
from experiments.reinforcement_learning import compare, speed, table
from experiments.reinforcement_learning.agent import frames
from experiments.reinforcement_learning.config import FRAMES, PRESETS, Config
from experiments.reinforcement_learning.environments import (
    Environment,
    begin_anew,
    make_environment,
)
from experiments.reinforcement_learning.ppo import Learner, Steps, advantages_of, train, update
from experiments.reinforcement_learning.training import (
    check_ratio,
    checked_rollout,
    figures_of,
    first_of_all,
    make_parts,
)

pytestmark = pytest.mark.xdist_group("reinforcement_learning")

TINY = Config(
    memory="elman",
    delay=3,
    hidden_size=8,
    num_seeds=2,
    num_envs=8,
    rollout=6,
    steps=150,
    num_minibatches=2,
)


def played(env, actions, seed=0):
    """Return the first state and x, and those after each action with its reward and done."""
    keys = jax.random.split(jax.random.key(seed), len(actions) + 1)

    def step(state, inputs):
        key, action = inputs
        state, x, reward, done = begin_anew(env, key, state, action)
        return state, (state, x, reward, done)

    def play():
        first = env.begin(keys[0])
        return first, jax.lax.scan(step, first[0], (keys[1:], jnp.asarray(actions)))[1]

    return jax.device_get(jax.jit(play)())


def test_the_maze_is_bakkers():
    delay = 4
    actions = np.random.default_rng(0).choice(4, size=2000, p=[0.05, 0.7, 0.05, 0.2])
    (_, x), (_, xs, rewards, dones) = played(make_environment("tmaze", delay), actions)
    started, episodes, turns = {(0, 1, 1): 0, (1, 1, 0): 2}, 0, set()
    place, age, told = 0, 0, started[tuple(x)]
    for action, x, reward, done in zip(actions, xs, rewards, dones, strict=True):
        age, before, over = age + 1, place, False
        expected = 0.0
        if action == 1:
            place = min(place + 1, delay)
        elif action == 3:
            place = max(place - 1, 0)
        elif place == delay:
            over = True
            turns.add((told, action))
        if place == before:
            expected = 4.0 if over and action == told else -0.1
        over = over or age == 3 * delay
        assert (reward, done) == (np.float32(expected), over)
        if over:
            place, age, told = 0, 0, started[tuple(x)]
            episodes += 1
        elif place == delay:
            assert tuple(x) == (0, 1, 0)
        elif place == 0:
            assert started[tuple(x)] == told
        else:
            assert tuple(x) == (1, 0, 1)
    assert episodes > 100
    assert len(turns) == 4  # each way, told each way


def test_cards_are_asked_for_that_were_shown_before():
    delay, number = 2, 26
    actions = np.random.default_rng(0).integers(4, size=500)
    env = make_environment("repeat_previous", delay)
    (_, x), (_, xs, rewards, dones) = played(env, actions)
    shown, total, totals, seen = [x.argmax()], 0.0, [], []
    for action, x, reward, done in zip(actions, xs, rewards, dones, strict=True):
        expected = 0.0
        if len(shown) > delay:
            expected = (1 if action == shown[-1 - delay] else -1) / (number - delay)
        assert reward == pytest.approx(expected)
        assert done == (len(shown) == number)
        assert sorted(x) == [0, 0, 0, 1]
        total += expected
        seen.append(x.argmax())
        shown = [x.argmax()] if done else [*shown, x.argmax()]
        if done:
            totals.append(total)
            total = 0.0
    assert len(totals) == 500 // number
    assert -1 < min(totals) < max(totals) < 1
    assert np.bincount(seen).min() > 90  # of 125


def test_the_pole_falls_as_by_the_published_equations():
    actions = np.random.default_rng(0).integers(2, size=400)
    (state, _), (states, xs, rewards, dones) = played(make_environment("cart_pole", 1), actions)
    place, speed_, angle, turn = np.float64(state.x)
    fallen = 0
    for i, action in enumerate(actions):
        # Florian 2007, "Correct equations for the dynamics of the cart-pole system", eq. 23, 24,
        # without friction; the pole of 0.1 kg and 1 m, the cart of 1 kg.
        force, mass, pole, half, g = (10.0 if action else -10.0), 1.1, 0.1, 0.5, 9.8
        inner = (-force - pole * half * turn**2 * np.sin(angle)) / mass
        d_turn = (g * np.sin(angle) + np.cos(angle) * inner) / (
            half * (4 / 3 - pole * np.cos(angle) ** 2 / mass)
        )
        d_speed = (force + pole * half * (turn**2 * np.sin(angle) - d_turn * np.cos(angle))) / mass
        place, speed_ = place + 0.02 * speed_, speed_ + 0.02 * d_speed
        angle, turn = angle + 0.02 * turn, turn + 0.02 * d_turn
        over = abs(place) > 2.4 or abs(angle) > np.radians(12)
        assert (rewards[i], dones[i]) == (1.0, over)
        if over:
            fallen += 1
            place, speed_, angle, turn = np.float64(states.x[i])
            assert abs(states.x[i]).max() < 0.05
            assert states.age[i] == 0
        np.testing.assert_allclose(states.x[i], (place, speed_, angle, turn), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(xs[i], states.x[i][::2] / [2.4, np.radians(12)], rtol=1e-5)
    assert fallen > 5


def test_a_pole_that_stands_ends_after_500_steps():
    env = make_environment("cart_pole", 1)
    state, _ = env.begin(jax.random.key(0))
    for age, over in ((498, False), (499, True)):
        after, _, _, done = env.move(jax.random.key(1), state._replace(age=age), jnp.int32(1))
        assert (int(after.age), bool(done)) == (age + 1, over)


def counter(longest):
    """Return an environment that counts its steps, from a number that is drawn."""

    def begin(key):
        state = jax.random.randint(key, (), 10, 1000), jnp.int32(0)
        return state, state[0][None] * 1.0

    def move(key, state, action):
        drawn, age = state
        state = drawn, age + 1
        return state, (drawn + age + 1)[None] * 1.0, action * 1.0, age + 1 >= longest

    return Environment(begin, move, 1, 2, longest)


def test_an_episode_that_ends_begins_anew_with_its_done():
    actions = np.arange(7) % 2
    (first, x), ((drawn, ages), xs, rewards, dones) = played(counter(3), actions)
    assert ages.tolist() == [1, 2, 0, 1, 2, 0, 1]
    assert dones.tolist() == [age == 0 for age in ages]
    assert rewards.tolist() == actions.tolist()  # of the step that ended it, too
    assert len({int(first[0]), int(drawn[2]), int(drawn[5])}) == 3
    np.testing.assert_array_equal(xs[:, 0], drawn + ages)  # the new one's first, where one ends
    assert x[0] == first[0]


def test_frames_are_the_last_inputs_of_the_episode():
    rnn = drnn.deep_rnn(frames(3, 2))
    params = rnn.init(jax.random.key(0), 2)
    rng = np.random.default_rng(0)
    x, resets = rng.normal(size=(9, 4, 2)).astype(np.float32), rng.random((9, 4)) < 0.3
    _, y = rnn.apply(params, jnp.asarray(x), resets=jnp.asarray(resets))
    assert not jax.tree.leaves(params)
    for row in range(4):
        seen = [np.zeros(2)] * 3
        for t in range(9):
            seen = [x[t, row], *([np.zeros(2)] * 2 if resets[t, row] else seen[:2])]
            np.testing.assert_array_equal(y[t, row], np.concatenate(seen))


def test_advantages_are_the_sums_of_the_paper():
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=(2, 12, 5)).astype(np.float32)
    done, last = rng.random((12, 5)) < 0.25, rng.normal(size=5).astype(np.float32)
    steps = Steps(None, None, None, None, value, reward, done, None)
    found = advantages_of(steps, last, 0.9, 0.8)
    values = np.vstack([value, last])
    for row in range(5):
        for t in range(12):
            expected, weight = 0.0, 1.0
            for i in range(t, 12):  # sum of (γ λ)^i δ, up to the episode's end
                bootstrap = 0.0 if done[i, row] else 0.9 * values[i + 1, row]
                expected += weight * (reward[i, row] + bootstrap - values[i, row])
                weight *= 0.9 * 0.8
                if done[i, row]:
                    break
            assert found[t, row] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "memory",
    [{"memory": "lstm", "num_layers": 2}, {"memory": FRAMES, "num_frames": 3}],
    ids=str,
)
def test_the_ratio_is_1_and_is_not_with_another_reset_or_memory(memory):
    env, agent = make_parts(dataclasses.replace(TINY, **memory))
    params = agent.init(jax.random.key(0))
    before, steps = checked_rollout(agent, env, params, jax.random.key(1))
    assert steps.done.any(axis=0).all()
    assert not steps.reset[0].all()  # a memory that is handed on
    check_ratio(agent, params, before, steps)
    with pytest.raises(ValueError, match=r"check_ratio: .* got ratios off by .*; give the done"):
        check_ratio(agent, params, before, steps._replace(reset=steps.done))
    with pytest.raises(ValueError, match="the memory that the rollout began with"):
        check_ratio(agent, params, agent.initial_state(params, 8), steps)
    nothing = steps._replace(value=jnp.full_like(steps.value, jnp.nan))
    with pytest.raises(ValueError, match="values by nan"):
        check_ratio(agent, params, before, nothing)


def trainings(config, number):
    """Return what trainings with the same settings come to, one after the other."""
    env, agent = make_parts(config)
    learners, keys = first_of_all(agent, env, config)
    program = jax.jit(jax.vmap(partial(train, agent, env, config)))
    return [jax.device_get(program(learners, keys)) for _ in range(number)]


def test_a_seed_is_the_same_beside_others_alone_and_again():
    both, again = trainings(TINY, 2)
    jax.tree.map(np.testing.assert_array_equal, both, again)
    (alone,) = trainings(dataclasses.replace(TINY, seed=TINY.seed + 1, num_seeds=1), 1)
    for one, other in zip(jax.tree.leaves(both), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one[1], other[0], rtol=1e-3, atol=1e-4)
    for leaf in jax.tree.leaves(both.params):
        assert abs(leaf[0] - leaf[1]).max() > 1e-3
    assert both.ended.shape == (2, TINY.num_updates) == (2, 3)


def test_an_update_hands_on_where_the_episodes_stand():
    """Two rollouts are one of twice the length, where nothing is learned."""
    config = dataclasses.replace(TINY, learning_rate=1e-30, memory=FRAMES, num_seeds=1)
    env, agent = make_parts(config)
    learners, _ = first_of_all(agent, env, config)
    learner = jax.tree.map(lambda leaf: leaf[0], learners)
    step = jax.jit(partial(update, agent, env, config))
    parts = []
    for key in jax.random.split(jax.random.key(0), 5):
        before: Learner = learner
        learner, steps = step(learner, key)
        np.testing.assert_array_equal(steps.reset[0], before.playing.reset)
        np.testing.assert_array_equal(steps.x[0], before.playing.x)
        np.testing.assert_array_equal(steps.reset[1:], steps.done[:-1])
        np.testing.assert_array_equal(learner.playing.reset, steps.done[-1])
        parts.append(steps)
    reward, done, total = (
        np.concatenate([getattr(steps, name) for steps in parts])
        for name in ("reward", "done", "total")
    )
    so_far = np.zeros(config.num_envs)
    for t in range(len(reward)):
        so_far += reward[t]
        np.testing.assert_allclose(total[t], so_far, atol=1e-5)
        so_far[done[t]] = 0.0
    assert done.sum() > 10


WORDS = (
    "--cells elman --frames 1 --delay 1 --hidden-size 8 --num-seeds 2 --steps 8000 "
    "--num-envs 16 --rollout 16 --learning-rate 0.01"
)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    with jax.numpy_dtype_promotion("standard"):
        compare.main([*WORDS.split(), "--workdir", str(folder)])
    return folder


def test_who_remembers_learns_and_who_does_not_stays_at_chance(comparison):
    elman, plain = read_json(comparison / compare.RECORD)["rows"]
    assert min(elman["return"]["each"]) > 3.0
    assert max(plain["return"]["each"]) < 2.5
    first = np.array(elman["curve"]["each"])[:, 0]
    assert (first < 1.5).all()
    assert elman["curve"]["step"][-1] == 16 * 16 * (8000 // 256)
    assert elman["return"]["mean"] == pytest.approx(np.mean(elman["return"]["each"]))
    assert elman["levels"] == {"best": 4.0, "without memory": 1.95}


def test_what_is_done_is_not_done_again(comparison, capsys):
    before = {file: file.read_bytes() for file in comparison.glob("*/result.json")}
    assert len(before) == 2
    compare.main([*WORDS.split(), "--workdir", str(comparison)])
    assert before == {file: file.read_bytes() for file in comparison.glob("*/result.json")}
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| feed-forward |") for line in lines)
    assert (comparison / compare.PICTURE).stat().st_size > 10_000
    assert "| seeds that solve it |" in (comparison / compare.TABLE).read_text()
    assert (comparison / compare.TABLE).read_text().strip() in "\n".join(lines)


def test_resume_means_the_newest_comparison_of_the_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no comparison of tmaze in runs"):
        compare.main(["--preset", "tmaze", "--resume"])
    for name in ("20250101-000000-tmaze", "20260101-000000-tmaze", "20270101-000000-default"):
        (compare.RUNS / name).mkdir(parents=True)
    assert sweep.newest(compare.RUNS, "tmaze", compare.WHAT).name == "20260101-000000-tmaze"


def test_rows_of_a_comparison():
    given = compare.Comparison(
        cells=("gru", "lru"), depths=(1, 3), frames=(1, 4), delay=5, environment="cart_pole"
    )
    configs = compare.configs_of(given)
    assert list(configs) == ["gru-1", "gru-3", "lru-1", "lru-3", "frames-1", "frames-4"]
    assert {(c.delay, c.environment) for c in configs.values()} == {(5, "cart_pole")}
    names = [compare.label(vars(config)) for config in configs.values()]
    assert names[1] == "gru, 3 layers"
    assert names[-2:] == ["feed-forward", "4 frames, feed-forward"]
    for name in PRESETS:
        assert compare.configs_of(compare.Comparison(preset=name))


def test_seeds_are_counted_that_solve_a_task():
    levels = {"best": 4.0, "without memory": 1.95}
    row = {"levels": levels, "return": {"each": [4.0, 3.9, 3.89, 1.85]}}
    assert compare.solved(row) == [True, True, False, False]
    assert compare.solved({"levels": {"best": 500.0}, "return": {"each": [476.0, 470.0]}}) == [
        True,
        False,
    ]
    figure = {"mean": 2.0, "deviation": None, "each": [2.0]}
    row = {"levels": {}, "return": figure, "parameters": 5, "config": vars(TINY)}
    assert compare.table([row]).splitlines()[::2] == [
        "| memory | parameters | return |",
        "| elman | 5 | 2.00 |",
    ]


def test_the_published_page_is_made_of_the_published_records():
    assert table.page(table.RESULTS) in table.README.read_text()
    folder = table.RESULTS / "tmaze"
    rows = read_json(folder / compare.RECORD)["rows"]
    assert compare.table(rows) + "\n" == (folder / compare.TABLE).read_text()


def test_a_stretch_in_which_no_episode_ended_has_no_point():
    config = dataclasses.replace(TINY, num_envs=2, rollout=5, steps=40)
    ended = np.array([[0, 2, 1, 4], [3, 2, 0, 1]])
    returns = ended * np.array([[0, 3, 5, 7], [1, 3, 0, 9]])
    found = figures_of(config, types.SimpleNamespace(ended=ended, returns=returns))
    assert found["curve"] == {"step": [20, 40], "each": [[3.0, 7.0], [3.0, 9.0]]}
    assert found["return"]["each"] == [7.0, 9.0]


def test_the_page_shows_what_was_trained_and_timed(comparison, tmp_path):
    folder, readme = tmp_path / "reinforcement_learning", tmp_path / "README.md"
    (folder / "maze").mkdir(parents=True)
    readme.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    arguments = ["--folder", str(folder), "--readme", str(readme)]
    with pytest.raises(SystemExit, match="train a preset first"):
        table.main(arguments)
    for name in (compare.RECORD, compare.PICTURE):
        (folder / "maze" / name).write_bytes((comparison / name).read_bytes())
    machine = {"processor": "some", "cores": 2, "packages": {"jax": "1"}}
    row = {"num_envs": 4, "rollout": 8, "hidden_size": 16, "ratio": 0.5}
    row |= {"ratio_quartiles": [0.4, 0.6], "ours_steps_per_second": 2e3}
    row |= {"flax_steps_per_second": 1e3}
    write_json(folder / table.SPEED, {"rounds": 9, "rows": [row], "machine": machine})
    table.main(arguments)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->\n### `tmaze` 1: 2 seeds, 8,000 steps each")
    assert (comparison / compare.TABLE).read_text().strip() in text
    assert "(../results/reinforcement_learning/maze/learning_curve.png)" in text
    assert "| 4 | 8 | 16 | 2,000 | 1,000 | 0.50 (0.40 to 0.60) |" in text
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in text


def test_flaxs_gru_in_the_same_code_gives_the_same_numbers(monkeypatch):
    _, learners = speed.both(TINY)
    assert set(learners) == {"ours", "flax"}
    zeros = partial(jax.tree.map, jnp.zeros_like)
    other = zeros(learners["flax"][1].params.memory["params"]["cell"])
    monkeypatch.setattr(speed.interop, "to_linen", lambda rnn, params: (None, [other]))
    with pytest.raises(RuntimeError, match="other numbers with the same weights"):
        speed.both(TINY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "transformer"}, "--memory must be one of elman, .* or frames, got transformer"),
        ({"memory": "slstm", "hidden_size": 15}, "--hidden-size must be a multiple of 2"),
        ({"num_minibatches": 5}, "--num-minibatches must be a divisor of num_envs=64, got 5"),
        ({"steps": 2047}, "--steps must be >= 2048"),
        ({"delay": 0}, "--delay must be >= 1, got 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be > 0"),
        ({"discount": 1.1}, r"--discount must be in \[0, 1\]"),
        ({"entropy_weight": -1.0}, "--entropy-weight must be >= 0"),
        ({"seed": -1}, "--seed must be in"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        Config(**options)


def test_environments_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(SystemExit, match="error: make_environment: name must be one of tmaze"):
        compare.main(["--environment", "maze"])
    with pytest.raises(SystemExit, match=r"error: gymnax: the package must be there .*pip install"):
        compare.main(["--environment", "gymnax:CartPole-v1"])
    assert not list(tmp_path.iterdir())


class Inner:
    """As gymnax 1 has them: it says whether the time is over apart from its done."""

    def reset_env(self, key, params):
        return jnp.zeros((2, 3), jnp.int32), {"time": jnp.int32(0)}

    def step_env(self, key, state, action, params):
        time = state["time"] + 1
        return jnp.full((2, 3), time), {"time": time}, 2 * action, action == 7, {}

    def is_truncated(self, state, params):
        return state["time"] >= params.max_steps_in_episode

    def action_space(self, params):
        return types.SimpleNamespace(n=8) if params.max_steps_in_episode else object()

    def observation_space(self, params):
        return types.SimpleNamespace(shape=(2, 3))


def make_inner(name):
    if name not in ("here", "continuous"):
        raise ValueError("not registered")
    return Inner(), types.SimpleNamespace(max_steps_in_episode=3 if name == "here" else 0)


def test_gymnaxs_environments(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnax", types.SimpleNamespace(make=make_inner))
    env = make_environment("gymnax:here", 1)
    assert env[2:] == (6, 8, 3, {})
    _, (_, xs, rewards, dones) = played(env, np.array([1, 0, 2, 7, 3, 3, 3]))
    assert dones.tolist() == [False, False, True, True, False, False, True]
    assert xs[:, 0].tolist() == [1, 2, 0, 0, 1, 2, 0]
    assert xs.dtype == rewards.dtype == np.float32
    assert rewards.tolist() == [2, 0, 4, 14, 6, 6, 6]
    with pytest.raises(InputError, match="NAME must be one of its own, got there: not registered"):
        make_environment("gymnax:there", 1)
    with pytest.raises(InputError, match="the actions must be a few, got those of continuous"):
        make_environment("gymnax:continuous", 1)
