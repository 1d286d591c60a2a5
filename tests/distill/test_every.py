"""What holds for every objective of jax3dgen/distill, the ones yet to come included."""

import contextlib
import functools
import importlib

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from experiments import _config
from jax3dgen.core import parallel
from jax3dgen.core.types import Prompt
from jax3dgen.distill import base
from jax3dgen.recipes.distill import run as distill
from jax3dgen.train import checkpoint
from tests.fakes import channel_classifier
from tests.recipes.distill.test_step import COUNT, Setup, difference, small_config

NAMES = base.objectives()


def setup(name):
  config = small_config()
  config.distill.unlock()
  config.distill = {'name': name}
  objective, defaults = base.load(name)
  classified = 'classifier' in defaults
  if classified:
    config.distill.classifier = 'tests.fakes.channel_classifier'
  result = Setup(distill.complete(config), objective)
  if classified:
    arrays = channel_classifier.load('', result.cfg.distill)
    result.params = dict(result.params) | {'classifier': arrays}
  # Guidance and flaws must have something to say, or the direction is rounding alone.
  row = lambda value: jnp.full((), value)
  result.prompt = Prompt(*[row(0.2)] * 5, null=row(0.0), negative=row(-0.2),
                         source=(row(-0.1),) * 4)
  result.fixed = (result.params, result.prompt, result.fixed[2])
  return result


@functools.cache
def traced(name):
  """(setup, shapes in and out of the direction, how often it called view.guide) of one step."""
  s, shapes, calls = setup(name), {}, []
  inner = s.distillation.direction

  def guide(*args):
    calls.append(args)
    return base.classifier_free(*args)

  def direction(key, view, *rest):
    g, state, metrics = inner(key, view.replace(guide=guide), *rest)
    wanted = base.Gradients(view.x0, view.image) if s.distillation.pixels else view.x0
    shapes.update(g=jax.tree.map(jnp.shape, g), wanted=jax.tree.map(jnp.shape, wanted),
                  metrics={k: v.shape for k, v in metrics.items()},
                  state=jax.tree.map(jnp.shape, (rest[2].buffers, rest[2].trainable)),
                  after=jax.tree.map(jnp.shape, (state.buffers, state.trainable)))
    return g, state, metrics
  s.distillation = s.distillation._replace(direction=direction)
  jax.eval_shape(s.step(1), s.state, *s.fixed)
  return s, shapes, len(calls)


@pytest.mark.parametrize('name', NAMES)
def test_direction_has_the_shape_of_the_views_and_keeps_its_state_s(name):
  _, shapes, _ = traced(name)
  assert shapes['g'] == shapes['wanted'] and set(shapes['metrics'].values()) == {()}
  assert shapes['state'] == shapes['after']


@pytest.mark.parametrize('name', NAMES)
def test_record_says_whether_the_direction_uses_guidance(name):
  s, _, calls = traced(name)
  assert bool(calls) == s.distillation.guided


# usd is vsd and the rectifier; sds is in tests/recipes/distill/test_step.py, the others go the way
# of these two.
MAPPED = ('usd',)


@pytest.mark.parametrize('name', [
    name if name in MAPPED else pytest.param(name, marks=pytest.mark.slow)
    for name in NAMES])
def test_devices_agree_and_the_step_compiles_once(name):
  s = setup(name)
  mapped = parallel.map(s.step(axis_name=parallel.AXIS), 3)  # refuses to compile again
  fixed, replicated = parallel.broadcast(s.fixed), parallel.replicate(s.state)
  reference = jax.jit(jax.vmap(s.step(axis_name='v'), axis_name='v', in_axes=(0, None, None, None)))
  stacked = jax.tree.map(lambda x: jnp.broadcast_to(x, (COUNT,) + x.shape), s.state)
  for _ in range(3):
    replicated, _ = mapped(replicated, *fixed)
    stacked, metrics = reference(stacked, *s.fixed)
    assert not metrics['nonfinite'].any() and (metrics['grad_norm'] > 0).all()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(replicated.field))
  assert max(float(jnp.abs(x - x[:1]).max()) for x in jax.tree.leaves(replicated.field)) == 0
  assert difference((replicated.field, replicated.distill), (stacked.field, stacked.distill)) < 1e-6


@pytest.mark.parametrize('name', ['cfd', 'sds_bridge', 'usd'])
def test_a_resumed_run_repeats_an_unbroken_one(name, tmp_path):
  """Also across the switch of stages, and with averages, a critic and its optimiser."""
  s = setup(name)
  if name == 'sds_bridge':
    s.cfg = FrozenConfigDict(s.cfg.to_dict() | {'distill': s.cfg.distill.to_dict() | {'switch': 3}})
  step, state = jax.jit(s.step(1)), s.state
  with contextlib.closing(checkpoint.Checkpoints(tmp_path, 1, '{}')) as checkpoints:
    for i in range(4):
      state, _ = step(state, *s.fixed)
      if i == 1:
        checkpoints.save(2, jax.device_get(state))
    checkpoints.wait()
    done, again = checkpoints.restore(s.state)
  assert done == 2
  for _ in range(2):
    again, metrics = step(again, *s.fixed)
  assert difference(state, again) == 0
  assert name != 'sds_bridge' or metrics['stage'] == 2


@pytest.mark.parametrize('name', NAMES)
def test_every_setting_is_explained(name):
  module = importlib.import_module(f'jax3dgen.distill.{name}')
  config = traced(name)[0].cfg
  settings = {f'distill.{field}' for field in getattr(module, 'DEFAULTS', {})}
  files = _config.objective_files(config)
  assert settings <= set().union(*(_config.comments(p.read_text('utf-8')) for p in files))
