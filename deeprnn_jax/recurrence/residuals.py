"""What is kept of a step for its derivative: as few bytes as no product is repeated for.

The derivative of a step needs some of its values. Each can be kept, or computed again from
others that are, by operations that are cheap. Which to keep is a minimum cut: between what
can't be computed again (the carry, x_t, results of products) and what is needed, through
values that weigh as much as they take memory. What is stacked anyway weighs nothing. Of
equal cuts the one nearest to what is needed is taken, for which the least is computed again.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from deeprnn_jax.internals import JaxprEqn, Var
from deeprnn_jax.recurrence.jaxprs import is_number, live, num_bytes, operands_of

# Elementwise, or a change of layout. Not reductions, whose results are small beside what
# they are made of; not products, loops, gathers, random bits, sorts.
CHEAP = frozenset(
    {
        *("abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2"),
        *("atanh", "broadcast_in_dim", "cbrt", "ceil", "clamp", "complex", "concatenate", "conj"),
        *("convert_element_type", "copy", "copy_p", "cos", "cosh", "div", "eq", "erf", "erf_inv"),
        *("erfc", "exp", "exp2", "expand_dims", "expm1", "floor", "ge", "gt", "imag"),
        *("integer_pow", "iota", "is_finite", "le", "log", "log1p", "logistic", "lt", "max"),
        *("min", "mul", "name", "ne", "neg", "nextafter", "not", "one_minus_square", "or", "pad"),
        *(
            "pow",
            "real",
            "rem",
            "reshape",
            "rev",
            "round",
            "rsqrt",
            "select_n",
            "sign",
            "sin",
            "sinh",
            "slice",
        ),
        *("split", "sqrt", "square", "squeeze", "stop_gradient", "sub", "tan", "tanh"),
        *("transpose", "xor"),
    }
)
_NO_BOUND = 1 << 60


def choose_residuals(
    eqns: Sequence[JaxprEqn], needed: Iterable[Var], varying: set[Var], free: set[Var]
) -> list[Var]:
    """Choose which values of a step to keep.

    Args:
      eqns: the step's operations, but for those on its consts alone.
      needed: the variables that its derivative needs.
      varying: all variables that are not the same at every step.
      free: those that are there anyway, x_t and outputs.

    Returns:
      The variables to keep, from which `eqns` give all that is needed at little cost.
    """
    eqns = live(eqns, needed)
    made_by = {var: eqn for eqn in eqns for var in eqn.outvars}
    numbers: dict[Var, int] = {}

    def number(var: Var) -> int:
        return numbers.setdefault(var, len(numbers))

    # Each variable is two nodes, 2n and 2n + 1, and what it weighs lies between them.
    source, sink = -1, -2
    edges: dict[int, dict[int, int]] = {source: {}, sink: {}}

    def connect(a: int, b: int, weight: int) -> None:
        edges.setdefault(a, {})[b] = weight
        edges.setdefault(b, {}).setdefault(a, 0)

    waiting = list(dict.fromkeys(needed))
    for var in waiting:
        connect(2 * number(var) + 1, sink, _NO_BOUND)
    seen = set(waiting)
    while waiting:
        var = waiting.pop()
        weight = 0 if var in free else num_bytes(var) if is_number(var) else _NO_BOUND
        connect(2 * number(var), 2 * number(var) + 1, weight)
        eqn = made_by.get(var)
        if eqn is None or eqn.primitive.name not in CHEAP:
            connect(source, 2 * number(var), _NO_BOUND)
            continue
        for operand in operands_of(eqn):
            if operand not in varying:
                continue
            connect(2 * number(operand) + 1, 2 * number(var), _NO_BOUND)
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    _saturate(edges, source, sink)
    near = _reaching(edges, sink)
    return [var for var, n in numbers.items() if 2 * n + 1 in near and 2 * n not in near]


def _saturate(edges: dict[int, dict[int, int]], source: int, sink: int) -> None:
    """Send as much from source to sink as can go (Edmonds and Karp 1972); leave the rest."""
    while True:
        came_from = {source: source}
        waiting = deque([source])
        while waiting and sink not in came_from:
            node = waiting.popleft()
            for other, rest in edges[node].items():
                if rest and other not in came_from:
                    came_from[other] = node
                    waiting.append(other)
        if sink not in came_from:
            return
        path, node = [], sink
        while node != source:
            path.append((came_from[node], node))
            node = came_from[node]
        most = min(edges[a][b] for a, b in path)
        for a, b in path:
            edges[a][b] -= most
            edges[b][a] += most


def _reaching(edges: dict[int, dict[int, int]], sink: int) -> set[int]:
    """Give the nodes from which something more could go to the sink."""
    into: dict[int, list[int]] = {}
    for a, out in edges.items():
        for b, rest in out.items():
            if rest:
                into.setdefault(b, []).append(a)
    found, waiting = {sink}, [sink]
    while waiting:
        for node in into.get(waiting.pop(), ()):
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found
