"""Products with an operand that no step changes, and their derivatives.

Every one of them is written so that the operands lie as the machine wants them. `rows` is
the operand that varies, `matrix` the one that does not; rows, results and cotangents are
those of one step, or stacked `[T, ...]` where `over_time` says so.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from deeprnn_jax.internals import JaxprEqn, Var, conv_general_dilated_p, dot_general_p
from deeprnn_jax.meshes import may_merge_axes
from deeprnn_jax.recurrence.jaxprs import dtype_of, is_var, shape_of
from deeprnn_jax.types import Array


class Axes(NamedTuple):
    """An array's axes by the part that they have in a product."""

    batch: tuple[int, ...]
    contract: tuple[int, ...]  # paired with the other operand's, as batch is; () of a result
    rows: tuple[int, ...]  # free axes that come of the rows
    matrix: tuple[int, ...]  # free axes that come of the matrix

    def over_time(self) -> "Axes":
        """Give the axes where a time axis stands in front, which counts as one of rows."""
        batch, contract, rows, matrix = (tuple(a + 1 for a in axes) for axes in self)
        return Axes(batch, contract, (0, *rows), matrix)


class Product(NamedTuple):
    """A `dot_general` of something varying with a matrix."""

    eqn: JaxprEqn
    side: int  # which operand is the matrix, 0 or 1
    of_rows: Axes
    of_matrix: Axes
    of_result: Axes
    precision: Any  # what the step's author asked for, rows first; the derivatives keep to it

    @property
    def rows_var(self) -> Any:
        """The operand that varies."""
        return self.eqn.invars[1 - self.side]

    @property
    def matrix_var(self) -> Any:
        """The operand that does not."""
        return self.eqn.invars[self.side]


def is_product(eqn: JaxprEqn, invariant: set[Var]) -> bool:
    """Tell whether this multiplies something varying with something that no step changes."""
    if eqn.primitive not in (dot_general_p, conv_general_dilated_p):
        return False
    return sum(is_var(var) and var in invariant for var in eqn.invars) == 1


def as_product(eqn: JaxprEqn, invariant: set[Var]) -> Product | None:
    """Take a `dot_general` of one dtype with a matrix apart; None for all else."""
    if eqn.primitive is not dot_general_p or not is_product(eqn, invariant):
        return None
    if not all(map(is_var, eqn.invars)) or len({dtype_of(var) for var in eqn.invars}) > 1:
        return None
    side = 0 if eqn.invars[0] in invariant else 1
    contract, batch = eqn.params["dimension_numbers"]
    precision = eqn.params["precision"]

    def free(operand: int) -> tuple[int, ...]:
        taken = {*contract[operand], *batch[operand]}
        ndim = len(shape_of(eqn.invars[operand]))
        return tuple(axis for axis in range(ndim) if axis not in taken)

    rows, matrix = free(1 - side), free(side)
    # a result's axes: batch, free ones of the first operand, of the second
    axes = iter(range(len(batch[0]) + len(rows) + len(matrix)))
    in_batch = tuple(next(axes) for _ in batch[0])
    first = tuple(next(axes) for _ in (rows if side == 1 else matrix))
    second = tuple(axes)
    in_rows, in_matrix = (first, second) if side == 1 else (second, first)
    return Product(
        eqn,
        side,
        Axes(tuple(batch[1 - side]), tuple(contract[1 - side]), rows, ()),
        Axes(tuple(batch[side]), tuple(contract[side]), (), matrix),
        Axes(in_batch, (), in_rows, in_matrix),
        precision[::-1] if isinstance(precision, tuple) and side == 0 else precision,
    )


def lay_out(product: Product, matrix: Array) -> Array:
    """Give the matrix as rows are multiplied by it: batch, contracted, free axes.

    XLA on CPU multiplies by a matrix up to twice as fast where it lies there so: 47 GF/s
    against 26 for Wᵀ at (B, H) = (4, 64), 169 against 147 at (64, 512).
    """
    axes = product.of_matrix
    return jnp.transpose(matrix, (*axes.batch, *axes.contract, *axes.matrix))


def multiply(product: Product, rows: Array, laid_out: Array, *, over_time: bool = False) -> Array:
    """Give the product's result, of a matrix as `lay_out` gives it."""
    of_rows, of_result = product.of_rows, product.of_result
    if over_time:
        of_rows, of_result = of_rows.over_time(), of_result.over_time()
    num_batch, num_contracted = len(of_rows.batch), len(of_rows.contract)
    found = lax.dot_general(
        rows,
        laid_out,
        (
            (of_rows.contract, tuple(range(num_batch, num_batch + num_contracted))),
            (of_rows.batch, tuple(range(num_batch))),
        ),
        precision=product.precision,
        preferred_element_type=dtype_of(product.eqn.outvars[0]),
    )
    return _in_order(found, (*of_result.batch, *of_result.rows, *of_result.matrix))


def pull_rows(product: Product, matrix: Array, cotangents: Array) -> Array:
    """Give the cotangents of rows over all steps, cotangent_t · matrixᵀ, as one product."""
    of_rows, of_result = product.of_rows.over_time(), product.of_result.over_time()
    of_matrix, num_batch = product.of_matrix, len(of_rows.batch)
    transposed = jnp.transpose(matrix, (*of_matrix.batch, *of_matrix.matrix, *of_matrix.contract))
    found = lax.dot_general(
        cotangents.astype(matrix.dtype),
        transposed,
        (
            (of_result.matrix, tuple(range(num_batch, num_batch + len(of_matrix.matrix)))),
            (of_result.batch, tuple(range(num_batch))),
        ),
        precision=product.precision,
        preferred_element_type=dtype_of(product.rows_var),
    )
    return _in_order(found, (*of_rows.batch, *of_rows.rows, *of_rows.contract))


def matrix_gradient(product: Product, rows: Array, cotangents: Array, dtype: Any) -> Array:
    """Give the matrix's cotangent over all steps, Σ_t rows_tᵀ · cotangent_t, as one product.

    Args:
      product: the product.
      rows: stacked `[T, ...]`.
      cotangents: of the results, stacked `[T, ...]`.
      dtype: of the sum.
    """
    of_rows, of_result = product.of_rows.over_time(), product.of_result.over_time()
    if may_merge_axes() and all(_are_neighbours(one.rows) for one in (of_rows, of_result)):
        rows, of_rows = _merge_rows(rows, of_rows)
        cotangents, of_result = _merge_rows(cotangents, of_result)
    # Rows go first: where several axes are summed over, XLA on CPU is two to five times slower
    # the other way round, which is what JAX's derivative of a product is.
    found = lax.dot_general(
        rows,
        cotangents.astype(rows.dtype),
        ((of_rows.rows, of_result.rows), (of_rows.batch, of_result.batch)),
        precision=product.precision,
        preferred_element_type=dtype,
    )
    # found: batch, contracted axes in the order that they have in rows, free ones
    of_matrix = product.of_matrix
    order = sorted(range(len(of_rows.contract)), key=of_rows.contract.__getitem__)
    contracted = (of_matrix.contract[position] for position in order)
    axes = (*of_matrix.batch, *contracted, *of_matrix.matrix)
    if axes != tuple(range(len(axes))):
        # XLA would take the transposition into the product, and turn that round again:
        # 18.9 ms in place of 15.4 for [256, 4096] · [4096, 768], 31.8 for 19.7 with 1024.
        found = lax.optimization_barrier(found)
    return _in_order(found, axes)


def _are_neighbours(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(axes[0], axes[0] + len(axes)))


def _merge_rows(array: Array, axes: Axes) -> tuple[Array, Axes]:
    """Make one axis of time and the rows' axes, which are neighbours.

    A sum over several axes XLA on CPU writes as one over the last, and turns rows over for
    that: over one, a network's gradient takes 0.74 to 1.0 of the time and of the memory.
    """
    first, size = axes.rows[0], len(axes.rows)

    def moved(some: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(axis if axis < first else axis - size + 1 for axis in some)

    merged = Axes(moved(axes.batch), moved(axes.contract), (first,), moved(axes.matrix))
    return lax.collapse(array, first, first + size), merged


def _in_order(array: Array, axes: Sequence[int]) -> Array:
    """Put each axis where it is said to belong."""
    return jnp.transpose(array, sorted(range(len(axes)), key=axes.__getitem__))
