"""Arrays that exist whole only around their uses.

A program that is handed parts of its arrays could make them whole at its start, but the compiler
then does just that, and holds all of them at once. Here the program is traced for whole arrays and
run again, operation by operation: what an operation needs is fetched for it alone, and not before
its other operands are there. A network so holds the weights of one layer at a time (of one block
where blocks are rematerialised, of everything that a loop uses within the loop), forward and, by
fetching them again, backward.
"""

import functools

import jax
from jax.extend import core
import jax.numpy as jnp

# Operations of one array that are no use of it by themselves: they wait with it for the use.
PASSED_ON = {'convert_element_type', 'reshape', 'transpose', 'squeeze', 'slice', 'broadcast_in_dim'}


def run(function, held, fetch, *arguments):
  """function(whole, *arguments), with the leaves of `whole` made of those of `held` on demand.

  `fetch` is a tree like `held`: functions held leaf -> whole leaf, None for a leaf that is whole.
  The function is traced, so it may be any of those that `jax.jit` takes.
  """
  leaves, structure = jax.tree.flatten(held)
  fetchers = structure.flatten_up_to(fetch)
  shapes = [jax.eval_shape(get, leaf) if get else leaf
            for get, leaf in zip(fetchers, leaves, strict=True)]
  program, out = jax.make_jaxpr(function, return_shape=True)(
      jax.tree.unflatten(structure, shapes), *arguments)
  inputs = [*leaves, *jax.tree.leaves(arguments)]
  # {variable: how to make its value once `others`, a list of arrays, are there}
  late = {var: _fetcher(get, leaf) for var, get, leaf in zip(program.jaxpr.invars, fetchers, leaves)
          if get}
  known = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
  known |= {var: x for var, x in zip(program.jaxpr.invars, inputs, strict=True) if var not in late}

  def read(var, others):
    return late[var](others) if var in late else known[var]

  for equation in program.jaxpr.eqns:
    operands, apply = _operands(equation), _operation(program.jaxpr, equation)
    if equation.primitive.name in PASSED_ON and len(operands) == 1 and operands[0] in late:
      late[equation.outvars[0]] = lambda others, get=late[operands[0]], apply=apply: apply(
          get(others))[0]
    else:
      others = [known[var] for var in operands if var not in late]
      values = apply(*(read(var, others) for var in operands))
      known |= zip(equation.outvars, values, strict=True)
  outputs = [var.val if isinstance(var, core.Literal) else read(var, [])
             for var in program.jaxpr.outvars]
  return jax.tree.unflatten(jax.tree.structure(out), outputs)


def _fetcher(get, leaf):
  """others -> get(leaf), which cannot begin before the arrays `others` are there."""
  def make(others):
    signs = [x.reshape(-1)[0] > jnp.inf for x in others
             if jnp.issubdtype(x.dtype, jnp.floating) and x.size]
    # Never true, which no compiler may know before it has put the operations into their order. An
    # optimisation barrier would say it more plainly, but on CPUs it is gone by then.
    never = functools.reduce(jnp.logical_or, signs, jnp.zeros((), bool))
    return get(jax.lax.select(never, -leaf, leaf))
  return make


def _operands(equation):
  """The variables that an operation of a traced program reads, each once."""
  return list(dict.fromkeys(x for x in equation.invars if not isinstance(x, core.Literal)))


def _operation(program, equation):
  """That operation as a function of its operands: a list of its outputs."""
  alone = program.replace(constvars=[], invars=_operands(equation), outvars=equation.outvars,
                          eqns=[equation], effects=equation.effects)
  return core.jaxpr_as_fun(core.ClosedJaxpr(alone, []))
