"""The step on a Gaussian prior: one result under jit, vmap and pmap; resume; bad gradients."""

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import optax
import pytest

from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Prompt
from jax3dgen.distill import base, csd, nfsd, rectifier, sds, sds_bridge
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.recipes.distill import train_state
from jax3dgen.scene import render, shading
from jax3dgen.train import optim
from tests.fakes import gaussian

COUNT = 4


def small_config(config=None, latent_steps=0, **train):
  config = distill.complete(config or distill.default_config())
  config.render.latent_steps = latent_steps
  config.field.update({'levels': 2, 'table_log2': 8, 'base': 4, 'finest': 8, 'hidden': 8})
  config.render.update({'size': 8, 'n_samples': 8, 'background': (0.3, 0.3, 0.3)})
  config.train.update({'batch': COUNT} | train)
  return config


class Setup:
  """Everything that a step needs, on a prior that wants every pixel to be 0.3."""

  def __init__(self, config, distillation=sds.DISTILLATION):
    self.cfg = FrozenConfigDict(config)
    self.prior, self.params = gaussian.prior(0.3, 0.02)
    zero = jnp.float32(0)
    self.prompt = Prompt(*[zero] * 8)
    self.field = distill_parts.build_field(self.cfg)
    self.distillation = distillation
    shapes = jax.eval_shape(self.field.init, jax.random.key(0))
    self.tx = optim.adam(self.cfg.optim.rates, shapes, accumulate=self.cfg.train.accumulate)
    self.fit_tx = optax.adam(1e-3)
    key = jax.random.key(0)
    self.state = train_state.init(key, key, self.field, self.params, distillation, self.tx,
                                  self.fit_tx, self.cfg.distill, self.cfg.train.particles)
    self.fixed = (self.params, self.prompt, jax.random.key(self.cfg.seed))

  def step(self, count=COUNT, axis_name=None, stage=None):
    observe = scene_step.field_views(self.field, self.prior, self.cfg, count, stage)
    return scene_step.make_step(observe, self.prior, self.distillation, self.tx, self.fit_tx,
                                self.cfg, count, axis_name)


def difference(a, b):
  return max(float(jnp.abs(jnp.asarray(x) - jnp.asarray(y)).max())
             for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_pmap_equals_the_vmap_reference_and_replicas_are_equal():
  setup = Setup(small_config())
  mapped = parallel.map(setup.step(axis_name=parallel.AXIS), 3)
  fixed = parallel.broadcast(setup.fixed)
  replicated = parallel.replicate(setup.state)
  reference = jax.jit(jax.vmap(setup.step(axis_name='v'), axis_name='v', in_axes=(0, None, None,
                                                                                 None)))
  stacked = jax.tree.map(lambda x: jnp.broadcast_to(x, (COUNT,) + x.shape), setup.state)
  for _ in range(10):
    replicated, _ = mapped(replicated, *fixed)
    stacked, _ = reference(stacked, *setup.fixed)
  assert max(float(jnp.abs(x - x[:1]).max()) for x in jax.tree.leaves(replicated.field)) == 0
  assert difference(replicated.field, stacked.field) < 1e-6


def test_a_step_moves_one_of_several_particles():
  config = small_config()
  config.train.particles = 3
  setup = Setup(config)
  step = jax.jit(setup.step(1))
  before, moved = setup.state, set()
  for _ in range(6):
    after, _ = step(before, *setup.fixed)
    change = jax.tree.map(lambda a, b: np.abs(np.asarray(a - b)).reshape(3, -1).max(1),
                          after.field, before.field)
    which = np.flatnonzero(sum(jax.tree.leaves(change)))
    assert len(which) == 1
    count = after.field_opt.inner_states['0'].inner_state[0].count
    moved |= {*which}
    before = after
  assert len(moved) > 1 and int(np.sum(count)) == 6


def test_averages_count_the_views_of_all_devices():
  # 28 equal views take the average of their interval from u to p + (1 - a)^28 (u - p).
  count = 2
  config = distill.default_config()
  config.distill.name = 'sds_rectified'
  config.distill.unlock()
  config.timestep.update({'min': 0.35, 'max': 0.35})
  config = small_config(config)
  share = jnp.float32([1.0, 0.0, 0.0, 0.0])
  setup = Setup(config, rectifier.rectified(
      sds.DISTILLATION, lambda params, image, t, cfg: jnp.tile(share, (len(image), 1))))
  step = jax.jit(jax.vmap(setup.step(count, 'v'), in_axes=(0, None, None, None), axis_name='v'))
  state = jax.tree.map(lambda x: jnp.broadcast_to(x, (count,) + x.shape), setup.state)
  for _ in range(7):
    state, _ = step(state, *setup.fixed)
  table = np.array(state.distill.buffers['poses'])
  expected = share + (1 - rectifier.decay(config.distill.n_ema))**28 * (0.25 - share)
  np.testing.assert_allclose(table[:, 3], np.tile(expected, (count, 1)), rtol=1e-4)
  np.testing.assert_array_equal(np.delete(table, 3, 1), np.full((count, 9, 4), 0.25))


def test_views_are_folded_in_the_order_of_their_global_indices():
  def direction(key, view, prior, params, state, cfg):
    g, state, metrics = sds.direction(key, view, prior, params, state, cfg)
    place = COUNT // 2 * jax.lax.axis_index('v') + jnp.arange(COUNT // 2)
    return g, state.replace(observed=place.astype(jnp.float32)), metrics
  start = jnp.zeros(COUNT, jnp.float32)
  setup = Setup(small_config(), base.Distillation(
      lambda key, params, cfg: base.DistillState(start, {}), direction,
      fold=lambda buffers, observed, cfg: observed))
  step = jax.vmap(setup.step(2, 'v'), in_axes=(0, None, None, None), axis_name='v')
  state = jax.tree.map(lambda x: jnp.broadcast_to(x, (2,) + x.shape), setup.state)
  state, _ = jax.jit(step)(state, *setup.fixed)
  np.testing.assert_array_equal(state.distill.buffers, [range(COUNT)] * 2)


@pytest.mark.parametrize('module', [csd, nfsd, sds_bridge])
@pytest.mark.parametrize('guide', [{'name': 'perp_neg'}, {'rescale': 0.5}])
def test_guidance_that_an_objective_does_not_use_is_refused(module, guide):
  config = distill.default_config()
  config.distill.name = module.__name__.rpartition('.')[2]
  config.guide.update(guide)
  config.distill.unlock()
  setup = Setup(small_config(config=config), module.DISTILLATION)
  with pytest.raises(ConfigError, match=f'objective .{config.distill.name}. weighs'):
    jax.eval_shape(setup.step(1), setup.state, *setup.fixed)


@pytest.mark.parametrize('tweedie, rows', [('guided', [2 * COUNT]), ('conditional', 2 * [COUNT])])
def test_objective_and_rectifier_share_predictions_in_a_step(tweedie, rows):
  config = distill.default_config()
  config.distill.name = 'sds_rectified'
  config.distill.unlock()
  config = small_config(config)
  config.distill.tweedie = tweedie
  setup, counts = Setup(config, rectifier.rectified(
      sds.DISTILLATION, lambda params, image, t, cfg: jax.nn.softmax(image[:, 0, :4, 0]))), []

  def counting(params, x_t, t, cond):
    counts.append(len(x_t))
    return gaussian.prior(0.3, 0.02)[0].predict(params, x_t, t, cond)
  setup.prior = setup.prior._replace(predict=counting)
  jax.eval_shape(setup.step(1), setup.state, *setup.fixed)
  assert counts == rows


def test_the_linear_stage_is_the_other_one_where_the_encoder_is_linear():
  setup = Setup(small_config(latent_steps=3))
  stages = [scene_step.stage_at(setup.cfg, i) for i in range(5)]
  assert stages == [(8, True)] * 3 + [(8, False)] * 2
  params = setup.params | {'linear': {'kernel': jnp.eye(3), 'bias': jnp.zeros(3)}}
  ends = []
  for stage in (stages[0], stages[-1]):
    step = setup.step(count=1, stage=stage)
    ends.append(jax.jit(step)(setup.state, params, *setup.fixed[1:])[0].field)
  assert difference(*ends) < 1e-6 < difference(ends[0], setup.state.field)


def test_steps_compile_once():
  setup = Setup(small_config())
  mapped = parallel.map(setup.step(axis_name=parallel.AXIS), 3)
  fixed = parallel.broadcast(setup.fixed)
  replicated = parallel.replicate(setup.state)
  replicated, _ = mapped(replicated, *fixed)
  with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
    compiled = []
    patch.setattr(jax._src.compiler, 'compile_or_get_cached',
                  lambda *args, **kwargs: compiled.append(args) or pytest.fail('compiled again'))
    for _ in range(3):
      replicated, _ = mapped(replicated, *fixed)
  assert not compiled


def test_a_resumed_run_ends_bit_for_bit_where_an_unbroken_one_does():
  setup = Setup(small_config())
  step = jax.jit(setup.step(count=1))
  unbroken = setup.state
  for _ in range(6):
    unbroken, _ = step(unbroken, *setup.fixed)
  half = setup.state
  for _ in range(3):
    half, _ = step(half, *setup.fixed)
  resumed = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), half)
  for _ in range(3):
    resumed, _ = step(resumed, *setup.fixed)
  assert difference(unbroken, resumed) == 0


def test_the_step_moves_the_render_towards_the_prior():
  setup = Setup(small_config())
  step = jax.jit(setup.step(count=1))
  camera = scene_step.cameras_of(setup.cfg, jax.random.key(1), jax.random.key(2), 4, 0, 1)
  draw = jax.jit(lambda p: render.render_image(
      setup.field.query, p, camera, 8, scene_step.render_options(setup.cfg),
      shading.constant(setup.cfg.render.background)))
  inside = lambda p: float(jnp.abs(draw(p)[:, 3:5, 3:5] - 0.3).mean())
  before, current = inside(setup.state.field), setup.state
  for _ in range(60):
    current, metrics = step(current, *setup.fixed)
  assert inside(current.field) < 0.5 * before
  assert metrics['nonfinite'] == 0


def poisoned(key, view, prior, params, state, cfg):
  g, state, metrics = sds.direction(key, view, prior, params, state, cfg)
  return jnp.where(view.step == 2, jnp.nan, g), state.replace(
      buffers={'seen': jnp.where(view.step == 2, jnp.nan, state.buffers['seen'] + 1.0)}), metrics


def test_a_bad_gradient_is_skipped_and_counted():
  start = {'seen': jnp.zeros((), jnp.float32)}
  distillation = base.Distillation(lambda key, params, cfg: base.DistillState(start, {}), poisoned)
  setup = Setup(small_config(), distillation)
  step, states = jax.jit(setup.step(count=1)), [setup.state]
  for _ in range(4):
    states.append(step(states[-1], *setup.fixed)[0])
  assert difference(states[3].field, states[2].field) == 0
  assert difference(states[3].distill, states[2].distill) == 0
  assert [int(s.skipped) for s in states] == [0, 0, 0, 1, 0]
  assert int(states[-1].skipped_total) == 1 and int(states[-1].step) == 4
  assert np.isfinite(difference(states[4].field, states[3].field))


def test_accumulation_updates_every_second_step():
  setup = Setup(small_config(accumulate=2))
  step, states = jax.jit(setup.step(count=1)), [setup.state]
  for _ in range(4):
    states.append(step(states[-1], *setup.fixed)[0])
  moved = [difference(a.field, b.field) > 0 for a, b in zip(states, states[1:], strict=False)]
  assert moved == [False, True, False, True]


def test_views_of_all_devices_share_the_circle():
  cfg = FrozenConfigDict(small_config())
  azimuths = np.concatenate([
      scene_step.cameras_of(cfg, jax.random.key(1), jax.random.fold_in(jax.random.key(2), i), 2, i,
                            COUNT).azimuth for i in range(COUNT)])
  turn = float(jax.random.uniform(jax.random.key(1)))
  strata = np.floor(np.mod(azimuths / (2 * np.pi) - turn, 1.0) * 8).astype(int)
  assert sorted(strata) == list(range(8))
