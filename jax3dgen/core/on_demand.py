"""Sharded parameters gathered just before their use, as in fully sharded data parallelism.

Gathering all parameters at the start of a program keeps all of them in memory at once. Here the
program is traced for whole arrays and its jaxpr is evaluated equation by equation: a parameter is
gathered for the equation that reads it, after the other operands of that equation exist. Memory
then holds the weights of one layer at a time (of one block where blocks are rematerialised, of all
that a loop reads within the loop), in the forward pass and, by gathering again, in the backward
pass.
"""

import functools

import jax
from jax.extend import core
import jax.numpy as jnp

# Unary operations that are deferred together with their operand, to its use.
UNARY = {'convert_element_type', 'reshape', 'transpose', 'squeeze', 'slice', 'broadcast_in_dim'}


def run(function, shards, fetch, *arguments):
  """function(whole, *arguments), with the leaves of `whole` gathered from `shards` on demand.

  `fetch` is a tree like `shards`: functions shard -> whole leaf, None for a leaf that is whole.
  `function` is traced, as by `jax.jit`.
  """
  leaves, structure = jax.tree.flatten(shards)
  gathers = structure.flatten_up_to(fetch)
  shapes = [jax.eval_shape(gather, leaf) if gather else leaf
            for gather, leaf in zip(gathers, leaves, strict=True)]
  program, out = jax.make_jaxpr(function, return_shape=True)(
      jax.tree.unflatten(structure, shapes), *arguments)
  inputs = [*leaves, *jax.tree.leaves(arguments)]
  # {deferred variable: (others) -> its value, computed after the arrays `others`}
  late = {var: _after(gather, leaf)
          for var, gather, leaf in zip(program.jaxpr.invars, gathers, leaves) if gather}
  values = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
  values |= {var: x for var, x in zip(program.jaxpr.invars, inputs, strict=True) if var not in late}

  def read(var, others):
    return late[var](others) if var in late else values[var]

  for equation in program.jaxpr.eqns:
    operands, apply = _operands(equation), _operation(program.jaxpr, equation)
    if equation.primitive.name in UNARY and len(operands) == 1 and operands[0] in late:
      late[equation.outvars[0]] = lambda others, value=late[operands[0]], apply=apply: apply(
          value(others))[0]
    else:
      others = [values[var] for var in operands if var not in late]
      outputs = apply(*(read(var, others) for var in operands))
      values |= zip(equation.outvars, outputs, strict=True)
  results = [var.val if isinstance(var, core.Literal) else read(var, [])
             for var in program.jaxpr.outvars]
  return jax.tree.unflatten(jax.tree.structure(out), results)


def _after(gather, leaf):
  """(others) -> gather(leaf), ordered after the computation of the arrays `others`."""
  def gather_after(others):
    signs = [x.reshape(-1)[0] > jnp.inf for x in others
             if jnp.issubdtype(x.dtype, jnp.floating) and x.size]
    # Never true, but the compiler cannot know that, so it keeps the order. An optimisation barrier
    # would be plainer, but on CPUs it is removed before operations are scheduled.
    never = functools.reduce(jnp.logical_or, signs, jnp.zeros((), bool))
    return gather(jax.lax.select(never, -leaf, leaf))
  return gather_after


def _operands(equation):
  """The variables that an equation reads, each once."""
  return list(dict.fromkeys(x for x in equation.invars if not isinstance(x, core.Literal)))


def _operation(program, equation):
  """An equation as a function (operands) -> list of its outputs."""
  alone = program.replace(constvars=[], invars=_operands(equation), outvars=equation.outvars,
                          eqns=[equation], effects=equation.effects)
  return core.jaxpr_as_fun(core.ClosedJaxpr(alone, []))
