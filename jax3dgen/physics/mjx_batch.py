"""Batched drop tests in MJX: MuJoCo's contacts and solver for many bodies and tilts in one call.

Bodies differ only in fields of one template model, which are replaced inside the compiled function:
one compilation serves every sweep of a bucket with as many bodies and tilts. MJX takes contacts
within 1 mm of the lowest vertex and at most four of them: lengths are absolute, hence `body.SIZES`.

`rollout` takes the same step with a fixed number of unrolled solver iterations, which has
reverse-mode gradients, unlike the solver loop of `mjx.step`.

States (qpos, qvel) are those of `worlds`.
"""

import contextlib
import functools
import io

import chex
import jax
import jax.numpy as jnp
from jax.scipy.spatial.transform import Rotation
import mujoco
import numpy as np

from jax3dgen.core import parallel
from jax3dgen.physics import native, worlds
from jax3dgen.physics.body import Body

with contextlib.redirect_stdout(io.StringIO()):  # prints twice that its CUDA backend is missing
  from mujoco import mjx


def simulate(packed, tilts, seconds=10.0, timestep=4e-3, friction=1.0, iterations=4,
             ls_iterations=8):
  """The Outcome (NumPy, [B, P]) of `body.Packed` bodies released upright, turned by tilts [P, 3].

  Tilts are axis times angle in radians; positions are in the bodies' own (scaled) units. The bodies
  are split over the local devices. A world diverges by `native.sound`, independently of the others;
  in float32, all do at a friction of 0.001. `iterations` are those of the Newton solver,
  `ls_iterations` those of its line search.
  """
  chex.assert_shape(packed.hull, (None, None, 3))
  count = len(packed.hull)
  devices = min(jax.local_device_count(), count)
  shape = devices, -(-count // devices)
  split = lambda x: jnp.asarray(
      np.resize(x, (shape[0] * shape[1], *x.shape[1:])).reshape(*shape, *x.shape[1:]), float)
  run = _compiled(shape, packed.hull.shape[1], len(tilts), iterations, ls_iterations,
                  jax.config.jax_enable_x64)
  with _gspmd():
    _, outcome = run(jax.tree.map(split, packed), jnp.asarray(tilts, float),
                     jnp.array([timestep, friction], float), worlds.steps(seconds, timestep))
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], jax.device_get(outcome))


@contextlib.contextmanager
def _gspmd():
  """XLA's older partitioner: jaxlib 0.11's new one crashes on MJX's solver on several devices."""
  name = 'jax_use_shardy_partitioner'
  before = getattr(jax.config, name)
  jax.config.update(name, False)
  try:
    yield
  finally:
    jax.config.update(name, before)


def rollout(body, tilt=(0.0, 0.0, 0.0), seconds=0.3, timestep=4e-3, friction=1.0, solves=4,
            ls_iterations=8):
  """(quaternion [4], position [3] of the centre of mass) of one body after `seconds`.

  `body` is a `body.Packed` without its leading axis. Differentiable (reverse mode, too) with
  respect to its hull, which is relative to the centre of mass, and thereby to that; mass and
  inertia count as constants. Gradients are of little use beyond 0.5 s (impacts are chaotic), and 0
  where they are not finite, as they are now and then in float32.
  """
  hull = worlds.finite_gradients(jnp.asarray(body.hull, float))
  mass, inertia = (jax.lax.stop_gradient(jnp.asarray(x, float)) for x in (body.mass, body.inertia))
  with jax.numpy_rank_promotion('allow'):  # MJX needs it
    model, data = _model(hull, mass, inertia, timestep, friction, 1, ls_iterations)
    step = jax.checkpoint(functools.partial(_solved_step, model, data, solves), prevent_cse=False)
    state = (*worlds.release(hull, jnp.asarray(tilt, float)), jnp.zeros_like(hull, shape=6))
    qpos, _, _ = jax.lax.scan(lambda state, _: (step(state), None), state, None,
                              length=max(round(seconds / timestep), 1))[0]
  return worlds.end(qpos, body.center)


@functools.lru_cache
def _compiled(shape, vertices, tilts, iterations, ls_iterations, x64):
  """The simulation mapped over devices, one per shape, because `parallel.map` compiles once."""
  def sweep(packed, tilts, constants, steps):
    world = lambda item, tilt: _world(item, tilt, *constants, *steps, iterations, ls_iterations)
    with jax.numpy_rank_promotion('allow'):
      outcome = jax.vmap(lambda item: jax.vmap(lambda tilt: world(item, tilt))(tilts))(packed)
    return packed, outcome  # the bodies as well: `parallel.map` donates their memory
  return parallel.map(sweep, n_fixed=3)


def _world(item, tilt, timestep, friction, total, stride, iterations, ls_iterations):
  """The Outcome of one body and tilt."""
  model, data = _model(item.hull, item.mass, item.inertia, timestep, friction, iterations,
                       ls_iterations)
  state = (*worlds.release(item.hull, tilt), jnp.zeros_like(item.hull, shape=6))
  return worlds.integrate(functools.partial(_step, model, data), state, lambda state: state[:2],
                          item, total, stride)


def _step(model, data, state):
  data = mjx.step(model, _with(data, state))
  return data.qpos, data.qvel, data.qacc_warmstart


def _solved_step(model, data, solves, state):
  """`mjx.step` with its loop of solver iterations replaced by `solves` unrolled ones."""
  data = _with(data, state)
  for stage in (mjx.fwd_position, mjx.fwd_velocity, mjx.fwd_actuation, mjx.fwd_acceleration):
    data = stage(model, data)
  for _ in range(solves):
    data = mjx.solve(model, data)
    data = data.replace(qacc_warmstart=data.qacc)
  data = mjx.euler(model, data)
  return data.qpos, data.qvel, data.qacc_warmstart


def _with(data, state):
  return data.replace(qpos=state[0], qvel=state[1], qacc_warmstart=state[2])


def _model(hull, mass, inertia, timestep, friction, iterations, ls_iterations):
  """(mjx.Model, mjx.Data) of a body with hull [V, 3] and inertia [3, 3] about its centre of mass.

  Sets the fields that MJX reads for a free body on a plane; others stay as in the template.
  """
  model, data = jax.tree.map(jnp.asarray, _template(iterations, ls_iterations,
                                                    jax.config.jax_enable_x64))
  moments, axes = principal(inertia)
  return with_hull(model, hull).tree_replace({
      'opt.timestep': timestep,
      'geom_friction': model.geom_friction.at[:, 0].set(friction),
      'body_mass': model.body_mass.at[1].set(mass),
      'body_subtreemass': jnp.stack([mass, mass]),
      'body_inertia': model.body_inertia.at[1].set(moments),
      'body_iquat': model.body_iquat.at[1].set(axes),
      'body_invweight0': model.body_invweight0.at[1, 0].set(1 / mass)}), data


def principal(inertia):
  """(moments [3], quaternion [4] from the principal axes to those of `inertia` [3, 3])."""
  moments, axes = jnp.linalg.eigh(inertia)
  axes = axes * jnp.linalg.det(axes)  # a rotation, not a reflection
  return moments, jnp.roll(Rotation.from_matrix(axes).as_quat(), 1)


def with_hull(model, hull):
  """The model with the vertices [V, 3] of its mesh replaced, in a private field of MJX.

  Contacts with a plane read nothing but the vertices: faces, normals and edges stay as they are.
  """
  [mesh] = model._impl.mesh_convex
  return model.tree_replace({
      '_impl.mesh_convex': (mesh.replace(vert=hull),),
      'geom_pos': jnp.zeros_like(model.geom_pos),
      'geom_quat': jnp.zeros_like(model.geom_quat).at[:, 0].set(1.0)})


@functools.lru_cache
def _template(iterations, ls_iterations, x64):
  """A template (mjx.Model, mjx.Data) with NumPy leaves."""
  model = template_model()
  model.opt.iterations, model.opt.ls_iterations = iterations, ls_iterations
  model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_EULERDAMP  # nothing is damped
  with jax.ensure_compile_time_eval():
    model = mjx.put_model(model)
    return jax.tree.map(np.asarray, (model, mjx.make_data(model)))


def template_model():
  """The template mujoco.MjModel: a tetrahedron.

  Its inertia is not diagonal, because for a diagonal one MuJoCo drops the off-diagonal moments.
  """
  hull = np.array([(1.0, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
  return native.compile_model(Body(hull, 1.0, np.zeros(3), np.eye(3) + 0.1))
