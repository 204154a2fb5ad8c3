"""The engine: a recurrence in the place of `lax.scan`, for any step. See `scan`.

What it does
  A step is traced to a list of operations, its products are written rows first
  (`orientation`), and each operation is sorted by what it depends on (`analysis`): on what the
  step closes over (fixed), on x_t (hoisted), on the carry (loop). Where a product leads from
  one part of the carry to another, or out of it, and not back, the loop is cut: the parts run
  one after the other, and the product between them is done for all steps at once (`parts`).
  JAX linearises the step; of its values as few bytes are kept as no product need be repeated
  for (`residuals`), and the rest is computed again. The tangent is a recurrence too
  (`linearize`). Its terms that need no tangent of the carry are hoisted, and so, transposed,
  come after the backward loop: the gradient of every matrix is one product over time
  (`backward`, `cotangents`). The recurrence is an operation of JAX's own with a rule for each
  transformation (`primitive`), and all that the rules give is made of recurrences again: so
  derivatives of any order, forward and reverse, and batches of them need nothing more.

  Where each unit of the carry sees its own past alone (`units`), there need be no loop: all
  steps are found at once (`parallel`), by one linear recurrence or several (`linear`, which has
  `linear_scan`). `scan` never does so by itself; a network's schedule "parallel" does.

What always holds
  - The numbers are those of `lax.scan`, but for rounding.
  - Every value that a derivative reads is the value: nothing is stopped, or taken as zero.
  - No rule asks what a step means. It sees operations, shapes and dtypes.
  - No product of the forward pass is in the backward pass, except under `jax.checkpoint`,
    `checkpoint_every`, or inside an operation that has a body of its own (a scan, a cond).
  - Nothing is computed again for all steps at once that is larger than all that is kept of
    a step; and without a derivative no more is hoisted, or stacked between parts, than
    `Rules.large_stacks`. A part that has no loop is done at once whatever its size.
  - An array that is overwritten is read by nobody else; were that wrong, XLA would copy it.
  - What cannot be taken apart, a step with effects or a named axis, or arrays on a mesh with
    explicit axes, is run by `lax.scan`; so are one step, and a loop that is unrolled whole.

What it looks like
  A GRU, whose reset gate works on the product with h:

  >>> import jax, jax.numpy as jnp, deeprnn_jax as drnn
  >>> w_x, w_h, b_x, b_h = jnp.ones((64, 768)), jnp.ones((256, 768)), jnp.ones(768), jnp.ones(768)
  >>> def gru(h, x):
  ...     r_x, z_x, n_x = jnp.split(x @ w_x + b_x, 3, axis=-1)
  ...     r_h, z_h, n_h = jnp.split(h @ w_h + b_h, 3, axis=-1)
  ...     r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
  ...     h = (1 - z) * jnp.tanh(n_x + r * n_h) + z * h
  ...     return h, h
  >>> print(drnn.explain(gru, jnp.ones((32, 256)), jnp.ones((128, 32, 64))))
  128 steps, carry float32[32,256]
    once, before the loop
      2 broadcast_in_dim
    for all steps at once
      [32,64] · [64,768]
    each step
      [32,256] · [256,768]
      6 add, 2 logistic, 3 mul, 2 split, sub, tanh
    kept for the gradient: 131,072 bytes a step
      3 float32[32,256] side by side, in the place of a hoisted product
      float32[32,256]
      there anyway: float32[32,64], inputs
      there anyway: float32[32,256], carry, from the outputs that end it
    backward, each step
      [32,768] · [256,768]
      4 add_any, 2 concatenate, 12 mul, neg, 3 slice, 4 sub
    after the backward loop, for all steps at once
      cotangents [32,64]: [32,64] · [64,768]
      gradient [64,768]: [32,64] · [64,768]
      gradient [256,768]: [32,256] · [256,768]
      sum float32[1,768]
      sum float32[1,768]

  A decoder that attends to a memory, which gets a gradient too. Nothing can be hoisted, for
  x_t is read beside the context; yet each of the matrices, the memory among them, gets its
  gradient after the loop, and of the attention only scores and their maximum are kept:

  >>> memory, w_q, w = jnp.ones((32, 40, 256)), jnp.ones((256, 256)), jnp.ones((576, 1024))
  >>> def decoder(carry, x):
  ...     (h, c), context = carry
  ...     z = jnp.concatenate([x, context, h], axis=-1) @ w
  ...     i, f, g, o = jnp.split(z, 4, axis=-1)
  ...     c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
  ...     h = jax.nn.sigmoid(o) * jnp.tanh(c)
  ...     weights = jax.nn.softmax(jnp.einsum("bh,bsh->bs", h @ w_q, memory))
  ...     context = jnp.einsum("bs,bsh->bh", weights, memory)
  ...     return ((h, c), context), (h, context)
  >>> state = (jnp.ones((32, 256)), jnp.ones((32, 256)))
  >>> print(drnn.explain(decoder, (state, jnp.ones((32, 256))), jnp.ones((128, 32, 64))))
  128 steps, carry 3 float32[32,256]
    each step
      [32,576] · [576,1024]
      [32,256] · [256,256]
      [32,256] · [32,40,256]
      [32,40] · [32,40,256]
      add, 2 broadcast_in_dim, concatenate, div, exp, 3 logistic, max, 3 mul,
      reduce_max, reduce_sum, split, stop_gradient, sub, 2 tanh
    kept for the gradient: 201,856 bytes a step
      6 float32[32,256], float32[32,40], float32[32,1]
      there anyway: float32[32,64], inputs
      there anyway: float32[32,256], outputs
      there anyway: 2 float32[32,256], carry, from the outputs that end it
    backward, each step
      [32,256] · [32,40,256]
      [32,40] · [32,40,256]
      [32,256] · [256,256]
      [32,1024] · [576,1024]
      add, 7 add_any, broadcast_in_dim, concatenate, div, integer_pow, 21 mul, neg, 2
      reduce_sum, reshape, split, 5 sub, tanh
    after the backward loop, for all steps at once
      gradient [576,1024]: [32,576] · [576,1024]
      gradient [256,256]: [32,256] · [256,256]
      gradient [32,40,256]: [32,256] · [32,40,256]
      gradient [32,40,256]: [32,40] · [32,40,256]

  A window of one earlier input, a linear recurrence and a read-out: four parts, of which one is
  a loop. The window holds what is known already, and its product with x is done at once, as
  is the read-out:

  >>> w_c, w_x, w_y, a = jnp.ones((2, 64)), jnp.ones((64, 256)), jnp.ones((256, 64)), jnp.ones(256)
  >>> def windowed(carry, x):
  ...     before, h = carry
  ...     u = jnp.tanh(w_c[0] * x + w_c[1] * before)
  ...     h = a * h + u @ w_x
  ...     return (x, h), h @ w_y
  >>> carry = (jnp.ones((32, 64)), jnp.ones((32, 256)))
  >>> print(drnn.explain(windowed, carry, jnp.ones((128, 32, 64))))
  128 steps, carry float32[32,64], float32[32,256], in 4 parts
    once, before all parts
      3 broadcast_in_dim, 2 slice, 2 squeeze
    stacked for other parts: 40,960 bytes a step
    part 1, carry float32[32,64], only handed on
    part 2, no carry
      for all steps at once
        add, 2 mul, tanh
      kept for the gradient: 0 bytes a step
        there anyway: 2 float32[32,64], inputs
        there anyway: float32[32,64], outputs
    part 3, carry float32[32,256]
      for all steps at once
        [32,64] · [64,256]
      each step
        add, mul
      kept for the gradient: 0 bytes a step
        there anyway: float32[32,64], inputs
        there anyway: float32[32,256], carry, from the outputs that end it
      backward, each step
        add, add_any, 2 mul
        summed: float32[32,256]
      after the backward loop, for all steps at once
        cotangents [32,64]: [32,64] · [64,256]
        gradient [64,256]: [32,64] · [64,256]
    part 4, no carry
      for all steps at once
        [32,256] · [256,64]
      kept for the gradient: 0 bytes a step
        there anyway: float32[32,256], inputs
      backward, for all steps at once
        cotangents [32,256]: [32,256] · [256,64]
        gradient [256,64]: [32,256] · [256,64]
"""

from deeprnn_jax.recurrence.explain import explain
from deeprnn_jax.recurrence.linear import linear_scan
from deeprnn_jax.recurrence.scan import scan

__all__ = ["explain", "linear_scan", "scan"]
