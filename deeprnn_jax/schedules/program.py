"""A step of a recurrence taken apart, so that a schedule knows what belongs in the loop.

A step is traced once, to a list of operations, and every one of them is sorted by what
it depends on:

    fixed       parameters alone                 once, before the loop
    hoisted     products of the step's input,    for all steps at once, before the loop
                and what comes with them
    varying     the carry too                    in the loop

Where a fixed and a varying value meet is where a parameter gets its gradient.

The meetings that are products, h W, are the dear ones. Their results are kept for the
backward pass, which never multiplies again: it computes the elementwise rest of the step
anew. In the backward loop a product costs one product, with W transposed beforehand;
its weight's gradient needs that product's left operands and the cotangents of its
results, stacked over time, and is one product after the loop. Nothing here knows a cell.

What is kept is pushed on through operations whose derivatives do not need their operands,
as long as it gets no larger: of an LSTM the four gates are kept, of a GRU r, z, n and the
recurrent part of n. A cotangent that is the same for
two places, as both terms' then is, is one array.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jax.extend.core.primitives import dot_general_p

from deeprnn_jax.types import Array

# linear in all operands together: their derivatives need no values
_LINEAR = frozenset(
    "add sub neg split slice concatenate reshape squeeze expand_dims transpose "
    "broadcast_in_dim convert_element_type".split()
)
# what a result's cotangent is multiplied by, from the result alone
_FROM_RESULT = {
    "tanh": lambda y: 1 - y * y,
    "logistic": lambda y: y * (1 - y),
    "exp": lambda y: y,
}
_EMPTY = jax.make_jaxpr(lambda: ())().jaxpr
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})


class Product(NamedTuple):
    """A product of something varying with a fixed matrix."""

    eqn: JaxprEqn
    fixed: int  # which operand is the matrix, 0 or 1
    matrix: Var  # the matrix, before it was cast down for the product


class Merge(NamedTuple):
    """Two products that are only added: [x, h] [W_x; W_h] in place of x W_x + h W_h."""

    hoisted: int  # the index of the one among the hoisted products
    product: int  # the index of the other
    bias: JaxprEqn | None  # an addition of a fixed value to the first
    total: JaxprEqn  # the addition of the two


class Program(NamedTuple):
    """A step `(parameters, carry, inputs) -> outputs` over flat lists of arrays."""

    jaxpr: Jaxpr
    consts: tuple[Any, ...]
    num_params: int
    num_carry: int
    fixed_eqns: tuple[JaxprEqn, ...]
    hoisted_eqns: tuple[JaxprEqn, ...]
    varying_eqns: tuple[JaxprEqn, ...]
    reads: tuple[Var, ...]  # what the loop reads at each step: hoisted results and inputs
    hoisted_shared: tuple[Var, ...]  # fixed values that hoisted operations use
    hoisted_products: tuple[Product, ...]
    shared: tuple[Var, ...]  # fixed values that the loop uses, but for products' matrices
    has_gradient: tuple[bool, ...]  # of `shared`: whether a gradient is summed in the loop
    products: tuple[Product, ...]
    additions: tuple[tuple[JaxprEqn, Var], ...]  # encounters that only add a fixed value
    kept: tuple[Var, ...]  # what the backward pass needs beside the carry
    merges: tuple[Merge, ...]

    @property
    def made(self) -> Sequence[Var]:
        """Those of `kept` that the step makes, and that are not its inputs."""
        return [var for var in self.kept if var not in self.varying]

    @property
    def params(self) -> Sequence[Var]:
        """The parameters."""
        return self.jaxpr.invars[: self.num_params]

    @property
    def carry(self) -> Sequence[Var]:
        """What one step hands to the next."""
        return self.jaxpr.invars[self.num_params : self.num_params + self.num_carry]

    @property
    def inputs(self) -> Sequence[Var]:
        """What a step is given of its own."""
        return self.jaxpr.invars[self.num_params + self.num_carry :]

    @property
    def varying(self) -> Sequence[Var]:
        """The carry and what the loop reads."""
        return [*self.carry, *self.reads]


class Fixed(NamedTuple):
    """What is computed once, before the loop."""

    shared: list[Array]
    matrices: list[Array]  # of the products, as wide as the parameters
    addends: list[Array]  # of the additions
    hoisted_shared: list[Array]
    hoisted_matrices: list[Array]


class Pulled(NamedTuple):
    """The cotangents that one step of the backward pass gives."""

    varying: list[Array]  # of the carry and of what was read, where floating
    shared: list[Array]  # of those of `Fixed.shared` that have a gradient
    products: list[Array]  # of the products' results
    sums: list[Array]  # of the additions' results


def trace(
    step: Callable[..., Sequence[Array]],
    params: Sequence[Array],
    carry: Sequence[Array],
    inputs: Sequence[Array],
) -> Program:
    """Take a step apart.

    Args:
      step: `(*params, *carry, *inputs) -> outputs`, all flat.
      params: arrays (or their shapes) that are the same at every step.
      carry: what one step hands to the next.
      inputs: what a step reads of its own.
    """
    jaxpr, consts = _inline(step, [*params, *carry, *inputs])
    num_params = len(params)
    roots = set(jaxpr.invars[:num_params])  # what depends on a parameter and has a gradient
    fixed = roots | set(jaxpr.constvars)
    fixed_eqns, varying_eqns = [], []
    for eqn in jaxpr.eqns:
        operands = _variables(eqn.invars)
        if all(var in fixed for var in operands):
            fixed_eqns.append(eqn)
            fixed.update(eqn.outvars)
            if any(var in roots for var in operands):
                roots.update(eqn.outvars)
        else:
            varying_eqns.append(eqn)
    roots = {var for var in roots if _is_floating(var)}
    inputs = jaxpr.invars[num_params + len(carry) :]
    hoisted_eqns = _choose_hoisted(varying_eqns, fixed, fixed_eqns, inputs)
    hoisted_products = [
        product
        for product in (_as_product(eqn, fixed, fixed_eqns) for eqn in hoisted_eqns)
        if product is not None
    ]
    hoisted = {id(eqn) for eqn in hoisted_eqns}
    varying_eqns = [eqn for eqn in varying_eqns if id(eqn) not in hoisted]
    made_before = {var for eqn in hoisted_eqns for var in eqn.outvars} | set(inputs)
    read = (*(eqn.invars for eqn in varying_eqns), jaxpr.outvars)
    reads = dict.fromkeys(
        var for operands in read for var in _variables(operands) if var in made_before
    )

    products, additions, shared = [], [], {}
    for eqn in varying_eqns:
        product = _as_product(eqn, fixed, fixed_eqns)
        if product is not None:
            products.append(product)
            continue
        addend = [var for var in _variables(eqn.invars) if var in roots]
        if eqn.primitive.name == "add" and len(addend) == 1:
            additions.append((eqn, addend[0]))
            continue
        shared.update(dict.fromkeys(var for var in _variables(eqn.invars) if var in fixed))
    shared.update(dict.fromkeys(var for var in _variables(jaxpr.outvars) if var in fixed))
    matrices = {id(product.eqn) for product in hoisted_products}
    hoisted_shared = dict.fromkeys(
        var
        for eqn in hoisted_eqns
        if id(eqn) not in matrices
        for var in _variables(eqn.invars)
        if var in fixed
    )
    return Program(
        jaxpr=jaxpr,
        consts=tuple(consts),
        num_params=num_params,
        num_carry=len(carry),
        fixed_eqns=tuple(fixed_eqns),
        hoisted_eqns=tuple(hoisted_eqns),
        varying_eqns=tuple(varying_eqns),
        reads=tuple(reads),
        hoisted_shared=tuple(hoisted_shared),
        hoisted_products=tuple(hoisted_products),
        shared=tuple(shared),
        has_gradient=tuple(var in roots for var in shared),
        products=tuple(products),
        additions=tuple(additions),
        kept=_choose_kept(jaxpr, varying_eqns, products, tuple(reads)),
        merges=_find_merges(jaxpr, varying_eqns, hoisted_products, products, additions),
    )


def compute_fixed(program: Program, params: Sequence[Array]) -> Fixed:
    """Compute all that depends on the parameters alone."""
    env = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    env.update(zip(program.params, params, strict=True))
    for eqn in program.fixed_eqns:
        env.update(zip(eqn.outvars, _bind(eqn, env), strict=True))
    return Fixed(
        shared=[env[var] for var in program.shared],
        matrices=[env[product.matrix] for product in program.products],
        addends=[env[var] for _, var in program.additions],
        hoisted_shared=[env[var] for var in program.hoisted_shared],
        hoisted_matrices=[env[product.matrix] for product in program.hoisted_products],
    )


def hoist(
    program: Program, fixed: Fixed, inputs: Sequence[Array], *, for_vjp: bool = False
) -> list[Array]:
    """Compute what does not need the carry, for all steps at once.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      inputs: stacked `[T, ...]`.
      for_vjp: whether this is called inside `jax.vjp`; the products then have a reverse
        derivative of their own, and no forward one.

    Returns:
      The values of `program.reads`, stacked `[T, ...]`.
    """
    env = dict(zip(program.inputs, inputs, strict=True))
    shared = dict(zip(program.hoisted_shared, fixed.hoisted_shared, strict=True))
    indices = {id(product.eqn): index for index, product in enumerate(program.hoisted_products)}
    for eqn in program.hoisted_eqns:
        if id(eqn) in indices:
            index = indices[id(eqn)]
            product = program.hoisted_products[index]
            left = env[_varying_operand(product)]
            multiply = _multiply_stacked_for_vjp if for_vjp else _multiply_stacked
            found = [multiply(product, left, fixed.hoisted_matrices[index])]
        else:
            stacked = [var for var in _operands(eqn) if var in env]

            def one(*values: Array, eqn: JaxprEqn = eqn, stacked: list[Var] = stacked) -> list:
                return _bind(eqn, {**shared, **dict(zip(stacked, values, strict=True))})

            found = jax.vmap(one)(*_read(env, stacked))
        env.update(zip(eqn.outvars, found, strict=True))
    return _read(env, program.reads)


def run_step(
    program: Program, fixed: Fixed, varying: Sequence[Array]
) -> tuple[list[Array], Callable[[Sequence[Any]], list[Array]]]:
    """Run the step; give its outputs, and a function that reads any variable's value."""
    env = _start(program, fixed, varying)
    products = {id(product.eqn): index for index, product in enumerate(program.products)}
    sums = {id(eqn): index for index, (eqn, _) in enumerate(program.additions)}
    for eqn in program.varying_eqns:
        if id(eqn) in products:
            index = products[id(eqn)]
            found = [_multiply(env, program.products[index], fixed.matrices[index])]
        elif id(eqn) in sums:
            addition = program.additions[sums[id(eqn)]]
            found = [_add(env, addition, fixed.addends[sums[id(eqn)]])]
        else:
            found = _bind(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return _read(env, program.jaxpr.outvars), partial(_read, env)


def run_whole_step(program: Program, fixed: Fixed, varying: Sequence[Array]) -> list[Array]:
    """Run the step with nothing computed before it but what is fixed; give its outputs.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      varying: the carry, and the step's inputs.
    """
    env = dict(zip(program.shared, fixed.shared, strict=True))
    env.update(zip(program.hoisted_shared, fixed.hoisted_shared, strict=True))
    env.update(zip([*program.carry, *program.inputs], varying, strict=True))
    matrices = {
        id(product.eqn): (product, matrix)
        for product, matrix in (
            *zip(program.hoisted_products, fixed.hoisted_matrices, strict=True),
            *zip(program.products, fixed.matrices, strict=True),
        )
    }
    addends = {
        id(eqn): addend for (eqn, _), addend in zip(program.additions, fixed.addends, strict=True)
    }
    variables = {id(eqn): var for eqn, var in program.additions}
    skipped, totals = set(), {}
    for merge in program.merges:
        skipped.add(id(program.hoisted_products[merge.hoisted].eqn))
        skipped.add(id(program.products[merge.product].eqn))
        if merge.bias is not None:
            skipped.add(id(merge.bias))
        totals[id(merge.total)] = merge
    for eqn in (*program.hoisted_eqns, *program.varying_eqns):
        if id(eqn) in skipped:
            continue
        if id(eqn) in totals:
            merge = totals[id(eqn)]
            x_product = program.hoisted_products[merge.hoisted]
            h_product = program.products[merge.product]
            lefts = _read(env, [_varying_operand(x_product), _varying_operand(h_product)])
            rights = [
                _cast_down(x_product, fixed.hoisted_matrices[merge.hoisted]),
                _cast_down(h_product, fixed.matrices[merge.product]),
            ]
            found = lax.dot_general(
                jnp.concatenate(lefts, axis=-1),
                jnp.concatenate(rights, axis=0),  # does not change: XLA takes it out of the loop
                (((1,), (0,)), ((), ())),
                preferred_element_type=h_product.eqn.outvars[0].aval.dtype,
            )
            found = [found if merge.bias is None else found + addends[id(merge.bias)]]
        elif id(eqn) in matrices:
            found = [_multiply(env, *matrices[id(eqn)])]
        elif id(eqn) in addends:
            found = _bind(eqn, {**env, variables[id(eqn)]: addends[id(eqn)]})
        else:
            found = _bind(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return _read(env, program.jaxpr.outvars)


def pull_step(
    program: Program,
    fixed: Fixed,
    transposed: Sequence[Array],
    varying: Sequence[Array],
    made: Sequence[Array],
    cotangents: Sequence[Array],
) -> Pulled:
    """Pull the outputs' cotangents back through one step.

    Args:
      program: the step.
      fixed: from `compute_fixed`.
      transposed: from `transpose_matrices`.
      varying: carry and inputs; an input that is not in `program.kept` may hold anything.
      made: the values of `program.made` at this step.
      cotangents: of the step's outputs.
    """
    gradients = [
        value for value, has in zip(fixed.shared, program.has_gradient, strict=True) if has
    ]

    def rerun(varying, gradients, products, sums):
        shared, rest = [], iter(gradients)
        for value, has in zip(fixed.shared, program.has_gradient, strict=True):
            shared.append(next(rest) if has else value)
        again = _rerun(
            program, fixed._replace(shared=shared), transposed, varying, made, products, sums
        )
        return again[0]

    floating = [_is_floating(var) for var in program.varying]

    def rerun_floating(wanted, gradients, products, sums):
        rest = iter(wanted)
        values = [
            next(rest) if is_floating else value
            for is_floating, value in zip(floating, varying, strict=True)
        ]
        return rerun(values, gradients, products, sums)

    wanted = [value for value, is_floating in zip(varying, floating, strict=True) if is_floating]
    products = [_zeros(product.eqn.outvars[0]) for product in program.products]
    sums = [_zeros(eqn.outvars[0]) for eqn, _ in program.additions]
    _, pull = jax.vjp(rerun_floating, wanted, gradients, products, sums)
    return Pulled(*pull(list(cotangents)))


def left_operands(
    program: Program, fixed: Fixed, varying: Sequence[Array], made: Sequence[Array]
) -> list[Array]:
    """Give the varying operand of every product, from what the backward pass has."""
    given = dict(zip(program.made, made, strict=True))
    env = _start(program, fixed, varying)
    addends = {
        id(eqn): {var: addend}
        for (eqn, var), addend in zip(program.additions, fixed.addends, strict=True)
    }
    products = {id(product.eqn) for product in program.products}
    for eqn in program.varying_eqns:
        if id(eqn) in products or any(var in given for var in eqn.outvars):
            # what is not kept here, nobody reads
            found = [given[var] if var in given else _zeros(var) for var in eqn.outvars]
        else:
            found = _bind(eqn, {**env, **addends.get(id(eqn), {})})
        env.update(zip(eqn.outvars, found, strict=True))
    return _read(env, [_varying_operand(product) for product in program.products])


def transpose_matrices(program: Program, fixed: Fixed) -> list[Array]:
    """Give the products' matrices as the backward loop multiplies by them.

    XLA on CPU multiplies by Wᵀ up to twice as fast where it lies there transposed:
    47 GF/s against 26 at (B, H) = (4, 64), 169 against 147 at (64, 512).
    """
    pairs = zip(program.products, fixed.matrices, strict=True)
    return [_transpose(product, matrix) for product, matrix in pairs]


def _transpose(product: Product, matrix: Array) -> Array:
    batch, contract, free = _axes_of_matrix(product)
    return jnp.transpose(_cast_down(product, matrix), (*batch, *free, *contract))


def matrix_gradient(product: Product, lefts: Array, cotangents: Array) -> Array:
    """Give a matrix's gradient as one product over all steps.

    Args:
      product: the product.
      lefts: its varying operands, stacked `[T, ...]`.
      cotangents: of its results, stacked `[T, ...]`.
    """
    batch, contract, free = _axes_of_matrix(product)
    batch_left, contract_left, free_left = _axes_of_left(product)
    num_batch, num_left = len(batch), len(free_left)
    cotangents = jnp.transpose(cotangents, (0, *(1 + a for a in _result_axes(product))))
    # The operand goes first: XLA on CPU is two to five times slower the other way round,
    # which is what the derivative of a product would give.
    found = lax.dot_general(
        lefts,
        cotangents.astype(lefts.dtype),
        (
            (
                (0, *(1 + a for a in free_left)),
                (0, *range(1 + num_batch, 1 + num_batch + num_left)),
            ),
            (tuple(1 + a for a in batch_left), tuple(range(1, 1 + num_batch))),
        ),
        preferred_element_type=product.matrix.aval.dtype,
    )
    # found: batch, contracted in the operand's order, free
    order = sorted(range(len(contract)), key=lambda position: contract_left[position])
    axes = [*batch, *(contract[position] for position in order), *free]
    return jnp.transpose(found, sorted(range(len(axes)), key=axes.__getitem__))


def addend_gradient(addend: Var, cotangents: Array) -> Array:
    """Give the gradient of a fixed value that was added at every step."""
    summed = cotangents.sum(axis=0)
    shape = addend.aval.shape
    summed = summed.sum(axis=tuple(range(summed.ndim - len(shape))))
    ones = tuple(a for a, size in enumerate(shape) if size == 1 and summed.shape[a] != 1)
    return summed.sum(axis=ones, keepdims=True).astype(addend.aval.dtype)


def _choose_hoisted(
    eqns: Sequence[JaxprEqn],
    fixed: set[Var],
    fixed_eqns: Sequence[JaxprEqn],
    inputs: Sequence[Var],
) -> list[JaxprEqn]:
    """Choose what is computed for all steps at once: the products of inputs.

    With them goes all that they need, and what is made of them without the carry. A
    fixed value added at the end, a bias, is left to the loop, where it costs nothing;
    over all steps it would be one more pass through memory.
    """
    given, candidates = set(inputs), []
    for eqn in eqns:
        if all(var in given or var in fixed for var in _variables(eqn.invars)):
            candidates.append(eqn)
            given.update(eqn.outvars)
    made: set[Var] = set()  # of products, or of what is made of them
    chosen = set()
    for eqn in candidates:
        is_product = _as_product(eqn, fixed, fixed_eqns) is not None
        if is_product or any(var in made for var in _variables(eqn.invars)):
            made.update(eqn.outvars)
            chosen.add(id(eqn))
    needed: set[Var] = set()
    for eqn in reversed(candidates):
        users = [one for one in candidates if id(one) in chosen]
        read = {var for one in users for var in _variables(one.invars)}
        addends = [var for var in _variables(eqn.invars) if var in fixed]
        if id(eqn) in chosen and eqn.primitive.name == "add" and addends:
            if not read & set(eqn.outvars):
                chosen.discard(id(eqn))
        elif any(var in needed for var in eqn.outvars):
            chosen.add(id(eqn))
        if id(eqn) in chosen:
            needed.update(_variables(eqn.invars))
    return [eqn for eqn in candidates if id(eqn) in chosen]


def _find_merges(
    jaxpr: Jaxpr,
    eqns: Sequence[JaxprEqn],
    hoisted_products: Sequence[Product],
    products: Sequence[Product],
    additions: Sequence[tuple[JaxprEqn, Var]],
) -> tuple[Merge, ...]:
    """Find products x W_x and h W_h whose results are only added to each other."""
    uses = _count_uses([*eqns], jaxpr.outvars)
    made_by: dict[Var, tuple[int, JaxprEqn | None]] = {}
    for index, product in enumerate(hoisted_products):
        if _is_plain(product):
            made_by[product.eqn.outvars[0]] = (index, None)
    recurrent = {
        product.eqn.outvars[0]: index
        for index, product in enumerate(products)
        if _is_plain(product)
    }
    biases = {id(eqn) for eqn, _ in additions}
    merges = []
    for eqn in eqns:
        if eqn.primitive.name != "add":
            continue
        operands = _operands(eqn)
        if id(eqn) in biases:
            for var in operands:
                if var in made_by and uses.get(var) == 1 and made_by[var][1] is None:
                    made_by[eqn.outvars[0]] = (made_by[var][0], eqn)
            continue
        first = [var for var in operands if var in made_by and uses.get(var) == 1]
        second = [var for var in operands if var in recurrent and uses.get(var) == 1]
        if len(first) == len(second) == 1:
            index, bias = made_by[first[0]]
            dtypes = {
                product.eqn.invars[side].aval.dtype
                for product in (hoisted_products[index], products[recurrent[second[0]]])
                for side in (0, 1)
            }
            if len(dtypes) == 1:
                merges.append(Merge(index, recurrent[second[0]], bias, eqn))
    return tuple(merges)


def _is_plain(product: Product) -> bool:
    """Tell whether this is rows `[B, K]` times a matrix `[K, N]`."""
    return product.fixed == 1 and product.eqn.params["dimension_numbers"] == (
        ((1,), (0,)),
        ((), ()),
    )


def _count_uses(eqns: Sequence[JaxprEqn], outvars: Sequence[Any]) -> dict[Var, int]:
    uses: dict[Var, int] = {}
    for operands in (*(eqn.invars for eqn in eqns), outvars):
        for var in _variables(operands):
            uses[var] = uses.get(var, 0) + 1
    return uses


def _choose_kept(
    jaxpr: Jaxpr,
    eqns: Sequence[JaxprEqn],
    products: Sequence[Product],
    reads: Sequence[Var],
) -> tuple[Var, ...]:
    """Choose what the backward pass needs beside the carry.

    To begin with that is what the loop reads and the products' results. An operation that is
    linear, or whose derivative is known from its result, then replaces operands that
    nothing else reads by its result, if that is no larger.
    """
    uses = _count_uses(eqns, jaxpr.outvars)
    floating = [var for var in reads if _is_floating(var)]
    kept = dict.fromkeys([*floating, *(product.eqn.outvars[0] for product in products)])
    dear = {id(product.eqn) for product in products}
    for eqn in eqns:
        name = eqn.primitive.name
        if id(eqn) in dear or not (name in _LINEAR or name in _FROM_RESULT):
            continue
        freed = [var for var in _operands(eqn) if var in kept and uses[var] == 1]
        if (
            freed
            and all(_is_floating(var) for var in eqn.outvars)
            and sum(map(_num_bytes, eqn.outvars)) <= sum(map(_num_bytes, freed))
        ):
            for var in freed:
                del kept[var]
            kept.update(dict.fromkeys(eqn.outvars))
    return tuple(kept)


def _rerun(
    program: Program,
    fixed: Fixed,
    transposed: Sequence[Array],
    varying: Sequence[Array],
    made: Sequence[Array],
    products: Sequence[Array],
    sums: Sequence[Array],
) -> tuple[list[Array], dict[Var, Array]]:
    """Run the step from what was kept.

    `products` and `sums` are zeros: what is pulled back to them is the cotangent of a
    product's, or an addition's, result.
    """
    given = dict(zip(program.made, made, strict=True))
    env = _start(program, fixed, varying)
    indices = {id(product.eqn): index for index, product in enumerate(program.products)}
    additions = {id(eqn): index for index, (eqn, _) in enumerate(program.additions)}
    for eqn in program.varying_eqns:
        values = [given.get(var) for var in eqn.outvars]
        if id(eqn) in indices:
            index = indices[id(eqn)]
            product = program.products[index]
            left = _read(env, [_varying_operand(product)])[0]
            # not kept: then something further on is, and nobody reads this
            known = _zeros(eqn.outvars[0]) if values[0] is None else values[0]
            found = [_multiplied(product, left, products[index], known, transposed[index])]
        elif id(eqn) in additions:
            index = additions[id(eqn)]
            total = _add(env, program.additions[index], fixed.addends[index])
            known = lax.stop_gradient(total) if values[0] is None else values[0]
            found = [_added(total, sums[index], known)]
        elif any(value is not None for value in values):
            known = [
                _zeros(var) if value is None else value
                for var, value in zip(eqn.outvars, values, strict=True)
            ]
            found = _replaced(eqn, _read(env, _operands(eqn)), known)
        else:
            found = _bind(eqn, env)
        env.update(zip(eqn.outvars, found, strict=True))
    return _read(env, program.jaxpr.outvars), env


def _multiplied(
    product: Product, left: Array, probe: Array, known: Array, transposed: Array
) -> Array:
    """Give a product's known result, with the derivative of the product."""

    @jax.custom_vjp
    def multiply(left: Array, probe: Array, known: Array, transposed: Array) -> Array:
        return known

    def backward(residuals: tuple, cotangent: Array) -> tuple:
        left, transposed = residuals
        return _pull_left(product, transposed, cotangent, left), cotangent, None, None

    multiply.defvjp(lambda left, probe, known, transposed: (known, (left, transposed)), backward)
    return multiply(left, probe, known, transposed)


@jax.custom_vjp
def _added(total: Array, probe: Array, known: Array) -> Array:
    """Give a known sum, whose cotangent goes to its varying term and to the probe."""
    return known


_added.defvjp(
    lambda total, probe, known: (known, None),
    lambda _, cotangent: (cotangent, cotangent, None),
)


def _replaced(eqn: JaxprEqn, operands: Sequence[Any], known: Sequence[Array]) -> list[Array]:
    """Give an operation's known results, with the operation's derivative."""

    @jax.custom_vjp
    def operation(operands: list[Array], known: list[Array]) -> list[Array]:
        return known

    def backward(residuals: tuple, cotangents: list[Array]) -> tuple:
        operands, known = residuals
        if eqn.primitive.name in _FROM_RESULT:
            return [cotangents[0] * _FROM_RESULT[eqn.primitive.name](known[0])], None
        _, pull = jax.vjp(_as_function(eqn), *operands)
        return list(pull(cotangents)), None

    operation.defvjp(lambda operands, known: (known, (operands, known)), backward)
    return operation(list(operands), list(known))


def _multiply(env: dict, product: Product, matrix: Array) -> Array:
    matrix_var = product.eqn.invars[product.fixed]
    return _bind(product.eqn, {**env, matrix_var: _cast_down(product, matrix)})[0]


def _add(env: dict, addition: tuple[JaxprEqn, Var], addend: Array) -> Array:
    eqn, var = addition
    return _bind(eqn, {**env, var: addend})[0]


def _multiply_stacked(product: Product, lefts: Array, matrix: Array) -> Array:
    """Multiply for all steps at once."""
    cast = _cast_down(product, matrix)
    (contract_left, contract), (batch, _) = product.eqn.params["dimension_numbers"]
    if batch or product.fixed == 0:
        env = {product.eqn.invars[product.fixed]: cast}
        var = _varying_operand(product)
        return jax.vmap(lambda left: _bind(product.eqn, {**env, var: left})[0])(lefts)
    return lax.dot_general(
        lefts,
        cast,
        ((tuple(1 + a for a in contract_left), contract), ((), ())),
        preferred_element_type=product.eqn.outvars[0].aval.dtype,
    )


def _multiply_stacked_for_vjp(product: Product, lefts: Array, matrix: Array) -> Array:
    """Do the same, with a derivative whose products lie well."""

    @jax.custom_vjp
    def multiply(lefts: Array, matrix: Array) -> Array:
        return _multiply_stacked(product, lefts, matrix)

    def forward(lefts: Array, matrix: Array) -> tuple[Array, tuple]:
        return _multiply_stacked(product, lefts, matrix), (lefts, matrix)

    def backward(residuals: tuple, cotangents: Array) -> tuple[Array, Array]:
        lefts, matrix = residuals
        transposed = _transpose(product, matrix)
        rows = jax.vmap(lambda left, ct: _pull_left(product, transposed, ct, left))
        return rows(lefts, cotangents), matrix_gradient(product, lefts, cotangents)

    multiply.defvjp(forward, backward)
    return multiply(lefts, matrix)


def _pull_left(product: Product, transposed: Array, cotangent: Array, left: Array) -> Array:
    """Pull a result's cotangent back to the varying operand: one product."""
    batch, _, free = _axes_of_matrix(product)
    batch_left, contract_left, free_left = _axes_of_left(product)
    cotangent = jnp.transpose(cotangent, _result_axes(product))
    num_batch, num_left = len(batch), len(free_left)
    found = lax.dot_general(
        cotangent.astype(transposed.dtype),
        transposed,
        (
            (
                tuple(range(num_batch + num_left, cotangent.ndim)),
                tuple(range(num_batch, num_batch + len(free))),
            ),
            (tuple(range(num_batch)), tuple(range(num_batch))),
        ),
        preferred_element_type=product.eqn.outvars[0].aval.dtype,
    )
    # found: batch, free axes of the operand, contracted axes in the matrix's order
    contract = _axes_of_matrix(product)[1]
    in_matrix_order = [
        contract_left[position]
        for position in sorted(range(len(contract)), key=lambda position: contract[position])
    ]
    axes = [*batch_left, *free_left, *in_matrix_order]
    return jnp.transpose(found, sorted(range(len(axes)), key=axes.__getitem__)).astype(left.dtype)


def _axes_of_matrix(product: Product) -> tuple[tuple[int, ...], ...]:
    """Give the matrix's batch, contracted and free axes; contracted ones as paired."""
    return _axes(product, product.fixed)


def _axes_of_left(product: Product) -> tuple[tuple[int, ...], ...]:
    """Give the same of the varying operand."""
    return _axes(product, 1 - product.fixed)


def _axes(product: Product, side: int) -> tuple[tuple[int, ...], ...]:
    contract, batch = product.eqn.params["dimension_numbers"]
    ndim = len(product.eqn.invars[side].aval.shape)
    taken = {*contract[side], *batch[side]}
    free = tuple(axis for axis in range(ndim) if axis not in taken)
    return tuple(batch[side]), tuple(contract[side]), free


def _result_axes(product: Product) -> tuple[int, ...]:
    """Give the order of the result's axes as batch, the operand's, the matrix's."""
    num_batch = len(_axes_of_matrix(product)[0])
    ndim = len(product.eqn.outvars[0].aval.shape)
    if product.fixed == 1:
        return tuple(range(ndim))
    num_free = len(_axes_of_matrix(product)[2])
    return (
        *range(num_batch),
        *range(num_batch + num_free, ndim),
        *range(num_batch, num_batch + num_free),
    )


def _as_product(eqn: JaxprEqn, fixed: set[Var], eqns: Sequence[JaxprEqn]) -> Product | None:
    """Give a product with a fixed matrix, or None if this is none."""
    if eqn.primitive is not dot_general_p:
        return None
    sides = [side for side, var in enumerate(eqn.invars) if var in fixed]
    if len(sides) != 1:
        return None
    matrix = eqn.invars[sides[0]]
    for maker in reversed(eqns):
        (operand,) = maker.invars if len(maker.invars) == 1 else (None,)
        if maker.primitive.name == "convert_element_type" and maker.outvars[0] is matrix:
            # its gradient is summed and kept as wide as the matrix itself
            if isinstance(operand, Var) and _is_floating(operand):
                matrix = operand
            break
    return Product(eqn, sides[0], matrix)


def _varying_operand(product: Product) -> Any:
    return product.eqn.invars[1 - product.fixed]


def _cast_down(product: Product, matrix: Array) -> Array:
    return matrix.astype(product.eqn.invars[product.fixed].aval.dtype)


def _start(program: Program, fixed: Fixed, varying: Sequence[Array]) -> dict[Var, Array]:
    env = dict(zip(program.shared, fixed.shared, strict=True))
    env.update(zip(program.varying, varying, strict=True))
    return env


def _inline(fun: Callable, args: Sequence[Any]) -> tuple[Jaxpr, Sequence[Any]]:
    """Trace a function with the calls inside it opened, for what is in them counts too."""

    def evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Array]:
        env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in _CALLS:
                inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
                found = evaluate(inner.jaxpr, inner.consts, _read(env, eqn.invars))
            else:
                found = _bind(eqn, env)
            env.update(zip(eqn.outvars, found, strict=True))
        return _read(env, jaxpr.outvars)

    shapes = [jax.ShapeDtypeStruct(jnp.shape(arg), arg.dtype) for arg in args]
    closed = jax.make_jaxpr(fun)(*shapes)
    opened = jax.make_jaxpr(lambda *args: evaluate(closed.jaxpr, closed.consts, args))(*shapes)
    return opened.jaxpr, opened.consts


def _operands(eqn: JaxprEqn) -> list[Var]:
    """Give the variables that an operation reads, each once."""
    return list(dict.fromkeys(_variables(eqn.invars)))


def _bind(eqn: JaxprEqn, env: dict) -> list[Array]:
    """Do one operation on the values of its variables."""
    return _as_function(eqn)(*_read(env, _operands(eqn)))


def _as_function(eqn: JaxprEqn) -> Callable[..., list[Array]]:
    """Give an operation as a function of its variables."""
    jaxpr = _EMPTY.replace(
        invars=_operands(eqn), outvars=list(eqn.outvars), eqns=[eqn], effects=eqn.effects
    )
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, []))


def _read(env: dict, operands: Sequence[Any]) -> list[Any]:
    return [var.val if isinstance(var, Literal) else env[var] for var in operands]


def _variables(operands: Sequence[Any]) -> list[Var]:
    return [var for var in operands if not isinstance(var, Literal)]


def _is_floating(var: Any) -> bool:
    return jnp.issubdtype(var.aval.dtype, jnp.floating)


def _num_bytes(var: Any) -> int:
    return var.aval.size * var.aval.dtype.itemsize


def _zeros(var: Any) -> Array:
    return jnp.zeros(var.aval.shape, var.aval.dtype)
