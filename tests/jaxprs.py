"""What a jaxpr has in it."""

from deeprnn_jax.internals import ClosedJaxpr, Jaxpr, opened


def jaxprs_in(value):
    if isinstance(value, ClosedJaxpr | Jaxpr):
        yield opened(value)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from jaxprs_in(one)


def eqns_of(jaxpr):
    """Give every operation, those inside others with them."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jaxprs_in(list(eqn.params.values())):
            yield from eqns_of(inner)
