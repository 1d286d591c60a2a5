"""Runs in one program against the same runs, step by step."""

import jax
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs import compare_janus
from jax3dgen.recipes.compare import run as compare
from jax3dgen.recipes.distill import batched, outputs
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill

PROMPTS = ('a red bear', 'a blue penguin')


def configs(method):
  """Complete configs of three short runs: two prompts, three seeds."""
  config = compare_janus.get_config('tiny')
  config.prior.name = 'tests.fakes.blue_prior'
  config.train.steps = 3
  config.log.update({'every': 2, 'preview_every': 2, 'preview_size': 8})
  config.timestep.min = 0.1
  with config.distill.unlocked():
    config.distill.camera_layer = ''
  if method == 'sds':
    del config.distill.camera_layer
  return [compare.run_config(config, method, prompt, seed)
          for prompt, seed in ((PROMPTS[0], 0), (PROMPTS[1], 1), (PROMPTS[0], 2))]


def by_hand(configs):
  """The last strip of each run, a jitted step at a time on one device."""
  first = distill_parts.build(configs[0])
  step = jax.jit(distill_parts.field_step(first, None, count=1))
  draw = outputs.renderer(first, configs[0].log.preview_size)
  for config in configs:
    parts = distill_parts.build(config)
    state = parts.state
    for _ in range(config.train.steps):
      state, _ = step(state, parts.params, parts.prompt, jax.random.key(config.seed))
    yield outputs.strip(draw, parts.cfg, state.field,
                        outputs.ring(parts.cfg, outputs.PREVIEW_VIEWS))


@pytest.mark.parametrize('method, width', [
    ('sds', 2), pytest.param('vsd', 1, marks=pytest.mark.slow)])
def test_runs_end_where_they_would_end_alone(method, width):
  runs = configs(method)
  outcomes = list(batched.run(runs, width))
  assert len(outcomes) == 3 and not any(outcome.failed for outcome in outcomes)
  for outcome, strip in zip(outcomes, by_hand(runs), strict=True):
    assert [step for step, _ in outcome.strips] == [2, 3]
    np.testing.assert_allclose(outcome.strips[-1][1], strip, atol=1e-4)
    assert outcome.figures['steps'] == 3 and outcome.figures['batched'] == width
    assert {'face_count', 'view_kl', 'kind_correct', 'seconds', 'metrics'} <= set(outcome.figures)
  assert np.abs(outcomes[0].strips[-1][1] - outcomes[2].strips[-1][1]).max() > 1e-4  # seeds count


def test_what_runs_share_is_not_copied():
  trees = [{'w': np.ones(3), 'b': np.float32(i)} for i in range(2)]
  joined, axes = batched.stack(trees)
  assert axes == {'w': None, 'b': 0} and joined['w'] is trees[0]['w']
  np.testing.assert_array_equal(joined['b'], [0, 1])
  batch = batched.build(configs('sds'))
  _, params, prompts, keys = batch.arguments
  assert jax.tree.leaves(batch.axes[1], is_leaf=lambda x: x is None) == [None] * 3
  assert params['mean'] == 0.5
  np.testing.assert_allclose(prompts.main, [0, 0.3, 0])  # the second prompt says blue
  np.testing.assert_array_equal(jax.random.key_data(keys), [
      jax.random.key_data(jax.random.key(seed)) for seed in range(3)])
  row = batched.select([1], batch.axes[2], prompts)
  np.testing.assert_allclose(row.main, [0.3])
  assert row.null is prompts.null


def test_failed_runs_are_named_and_do_not_stop_the_others():
  cfg = FrozenConfigDict(configs('sds')[0])
  failed, watchdogs = [''] * 3, [distill.watchdog(cfg) for _ in range(3)]
  figures = [{'skipped': 0.0, 'opacity': 0.5}, {'skipped': 20.0, 'opacity': 0.5},
             {'skipped': 0.0, 'opacity': 0.001}]
  batched.note_failures(200, figures, watchdogs, 20, failed)
  assert failed[0] == '' and 'not finite' in failed[1] and 'empty' in failed[2]
  before = list(failed)
  batched.note_failures(220, figures[::-1], watchdogs, 20, failed)
  assert failed[1:] == before[1:] and 'empty' in failed[0]  # the first reason stays


@pytest.mark.slow
def test_all_particles_are_evaluated():
  config = configs('sds')[0]
  with config.unlocked():
    config.train.particles, config.train.steps = 2, 2
  (outcome,) = batched.run([config], 1)
  (expected,) = by_hand([config])
  assert expected.shape == (16, 64, 3)
  np.testing.assert_allclose(outcome.strips[-1][1], expected, atol=1e-4)
  assert np.abs(expected[:8] - expected[8:]).max() > 1e-4
  (other,) = outcome.figures['particles']
  assert other['face_count'] is not None and other['view_kl'] != outcome.figures['view_kl']
