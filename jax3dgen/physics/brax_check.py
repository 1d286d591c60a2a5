"""Drop tests in Brax's positional and spring pipelines, for comparison with MuJoCo.

Positional corrects penetration by displacements and derives velocities from them, spring applies
impulses; both use the contact detection of MJX. A label on which they and MuJoCo agree does not
depend on the contact model; final angles of bodies that fall are not comparable. Brax is an extra.

Quaternions are (w, x, y, z).
"""

import functools
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import modules
from jax3dgen.core.errors import ConfigError
from jax3dgen.physics import mjx_batch, worlds

ENGINES = ('positional', 'spring')
SHARE = 0.25  # weight of each of four contacts in the positional correction; more adds energy


def simulate(packed, tilts, engine='positional', seconds=10.0, timestep=1e-3, friction=1.0):
  """The Outcome (NumPy, [B, P]) of `body.Packed` bodies released upright, turned by tilts [P, 3].

  Tilts are axis times angle in radians; positions are in the bodies' own (scaled) units. A world
  diverges by `native.sound`, independently of the others. Raises ConfigError without brax.
  """
  if engine not in ENGINES:
    raise ConfigError(f'The engines of brax are {" and ".join(ENGINES)}, not {engine!r}.')
  chex.assert_shape(packed.hull, (None, None, 3))
  packed = jax.tree.map(lambda x: jnp.asarray(x, float), packed)
  return jax.device_get(_sweep(engine)(
      packed, jnp.asarray(tilts, float), jnp.array([timestep, friction], float),
      worlds.steps(seconds, timestep)))


@functools.lru_cache
def _sweep(engine):
  pipeline = _brax(f'{engine}.pipeline')

  def world(item, tilt, constants, steps):
    system = _system(item, *constants)
    state = pipeline.init(system, *worlds.release(item.hull, tilt))
    step = lambda state: pipeline.step(system, state, jnp.zeros(0))
    return worlds.integrate(step, state, lambda state: (state.q, state.qd), item, *steps)

  @jax.jit
  def sweep(packed, tilts, *settings):
    with jax.numpy_rank_promotion('allow'):  # brax needs it
      return jax.vmap(lambda item: jax.vmap(lambda tilt: world(item, tilt, *settings))(tilts))(
          packed)
  return sweep


def _system(item, timestep, friction):
  """The brax.base.System of a `body.Packed` without its leading axis."""
  system = jax.tree.map(jnp.asarray, _template(jax.config.jax_enable_x64))
  moments, axes = mjx_batch.principal(item.inertia)
  return mjx_batch.with_hull(system, item.hull).tree_replace({
      'opt.timestep': timestep,
      'geom_friction': system.geom_friction.at[:, 0].set(friction),
      'collide_scale': jnp.asarray(SHARE, float),
      'link.inertia.mass': item.mass[None],
      'link.inertia.i': jnp.diag(moments)[None],
      'link.inertia.transform.rot': axes[None]})


@functools.lru_cache
def _template(x64):
  """A template brax.base.System with NumPy leaves."""
  with warnings.catch_warnings(), jax.ensure_compile_time_eval():
    warnings.simplefilter('ignore')  # that brax is no longer developed
    return jax.tree.map(np.asarray, _brax('io.mjcf').load_model(mjx_batch.template_model()))


def _brax(module):
  return modules.extra(f'brax.{module}', 'brax', 'This engine')
