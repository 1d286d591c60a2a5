"""Images as particles: on a Gaussian prior, whose mean they must reach, and their page."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _command
from experiments import particles as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.distill import base, rectifier, sds
from jax3dgen.recipes.particles import page as particles_page
from jax3dgen.recipes.particles import run as particles
from tests import commands
from tests.fakes import gaussian, text_prior

PRIOR, OBJECTIVE = 'tests.fakes.text_prior', 'tests.fakes.corner_objective'
FILES = ('particles.md', 'particles.png', 'poses.png', 'result.json', 'metrics.csv')


def call(workdir, *args):
  config = commands.ROOT / 'configs' / 'particles.py:tiny'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(
        command.run, command.__doc__, config='configs/particles.py', complete=command.complete,
        argv=[f'--config={config}', f'--workdir={workdir}', f'--config.prior.name={PRIOR}',
              '--config.distill.guidance=1', *args])


def test_particles_reach_the_mean_and_a_resumed_run_is_the_same(tmp_path, capsys):
  more = ('--config.train.steps=60', '--config.optim.rates=(("", 0.05),)',
          '--config.timestep.max=(0, 0.96, 0.6, 60)', '--config.timestep.min=(5, 0.6, 0.06, 45)',
          '--config.log.preview_every=30', '--config.checkpoint.every=30',
          '--config.particles.size=8')
  assert call(tmp_path / 'whole', *more) == 0
  assert all((tmp_path / 'whole' / name).exists() for name in FILES)
  figures = json.loads((tmp_path / 'whole' / 'result.json').read_text())
  assert sum(figures['poses'].values()) == pytest.approx(1) and figures['averages'] is None
  assert call(tmp_path / 'whole', *more) == 0 and 'is finished' in capsys.readouterr().out
  assert call(tmp_path / 'half', *more, '--config.train.steps=30') == 0
  assert call(tmp_path / 'half', *more) == 0
  last = lambda name: (tmp_path / name / 'metrics.csv').read_text().splitlines()[-1]
  assert last('half') == last('whole')
  same = [(tmp_path / name / 'previews' / '000060.png').read_bytes() for name in ('half', 'whole')]
  assert same[0] == same[1]


@pytest.fixture(scope='module')
def parts():
  config = particles.default_config()
  config.update_from_flattened_dict({
      'prior.name': PRIOR, 'distill.guidance': 1.0, 'particles.count': 4, 'particles.size': 6,
      'optim.rates': (('', 0.05),), 'optim.eps': 1e-12, 'train.steps': 200})
  return particles.build(particles.complete(config))


def test_shares_of_two_devices_make_the_step_of_one(parts):
  fixed = (parts.params, parts.prompt, jax.random.key(0))
  two = jax.jit(jax.vmap(particles.image_step(parts, 'v', 2), axis_name='v',
                         in_axes=(0, *[None] * 3)))
  stacked = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *jnp.shape(x))), parts.state)
  after, metrics = two(stacked, *fixed)
  moved = np.asarray(after.field['x0'] - parts.state.field['x0'][None])
  assert (moved[0] == moved[1]).all() and (np.abs(moved[0]).reshape(4, -1).min(1) > 0).all()
  assert np.isfinite(metrics['residual']).all()


def test_each_particle_has_a_camera_and_moves_to_the_mean(parts):
  step = jax.jit(particles.image_step(parts, None, 1))
  state = parts.state
  for _ in range(200):
    state, _ = step(state, parts.params, parts.prompt, jax.random.key(0))
  # SDS leads to the mode: the mean of the prior under the prompt.
  np.testing.assert_allclose(np.mean(state.field['x0'], (1, 2, 3)),
                             text_prior.MEAN + text_prior.SHIFT, atol=0.05)
  np.testing.assert_allclose(parts.camera.azimuth, np.pi / 2 * np.arange(4), atol=1e-6)


def test_averages_are_those_of_the_rectifier(tmp_path):
  table = np.tile([0.4, 0.3, 0.2, 0.1], (10, 1))
  config = particles.default_config()
  with config.unlocked():
    config.distill.update(sds.DEFAULTS | rectifier.DEFAULTS)
  shares, cfg = np.float32([0.4, 0.3, 0.2, 0.1]), config.distill
  objective = rectifier.rectified(sds.DISTILLATION, lambda params, image, t, cfg: jnp.tile(
      shares, (len(image), 1)))
  prior, params = gaussian.prior(0.4, 0.3)
  view = gaussian.view(jnp.zeros((3, 4, 4, 3)), 0.35, base.classifier_free)
  state = objective.init(jax.random.key(0), params, cfg)
  _, state, _ = jax.jit(lambda view: objective.direction(
      jax.random.key(1), view, prior, params, state, cfg))(view)
  state = base.folded(objective, state, cfg)
  expected = np.full((cfg.intervals, 4), 0.25)  # the start, and after three views of one level
  expected[int(0.35 * cfg.intervals)] = shares + (1 - rectifier.decay(cfg.n_ema))**3 * (
      0.25 - shares)
  np.testing.assert_allclose(particles.averages(state.buffers), expected, rtol=1e-5)
  assert particles.averages({}) is None and particles.averages(jnp.zeros(2)) is None
  even = dict.fromkeys(('front', 'back', 'left', 'right'), 0.25)
  judgement = {'poses': even, 'rejected': 0.0, 'mean_poses': even, 'pose_entropy': np.log(4),
               'right_pose': 1.0, 'face': 0.5}
  figures = judgement | {
      'prompt': 'a red bear', 'objective': 'usd', 'steps': 3, 'seed': 0, 'particles': 8,
      'control': True, 'averages': table.tolist(), 'seconds': 1.0}
  particles_page.write_page(tmp_path, figures, [(1, judgement), (3, judgement)], 'command')
  page = (tmp_path / 'particles.md').read_text()
  assert 'asked for the pose' in page and '| left | 2 | 25% | 7% to 59% | 0.25 |' in page
  assert (tmp_path / 'averages.png').exists() and (tmp_path / 'poses.png').exists()


def test_an_objective_with_buffers_and_a_pose_per_view(tmp_path):
  assert call(tmp_path, f'--config.distill.name={OBJECTIVE}', '--config.distill.control=true',
              '--config.particles.size=8') == 0
  figures = json.loads((tmp_path / 'result.json').read_text())
  np.testing.assert_allclose(np.sum(figures['averages'], 1), 1, rtol=1e-5)
  assert figures['control'] and np.ptp(figures['averages']) > 0
  assert 'averages.png' in (tmp_path / 'particles.md').read_text()
  assert (tmp_path / 'averages.png').exists()


def test_a_strip_is_cut_into_its_particles():
  images = np.random.default_rng(0).uniform(size=(5, 4, 4, 3)).astype(np.float32)
  strip = np.concatenate(images, 1)
  np.testing.assert_array_equal(particles.cells(strip, 5), images)


@pytest.mark.parametrize('name, value', [
    ('particles.count', 0), ('particles.count', 6), ('particles.spread', -1.0),
    ('timestep.rule', 'x'), ('train.steps', 0)])
def test_invalid_settings_are_refused(name, value):
  config = particles.default_config()
  config.update_from_flattened_dict({name: value})
  with pytest.raises(ConfigError, match=name):
    particles.check(config)


def test_unknown_objectives_are_refused(tmp_path, capsys):
  assert call(tmp_path / 'x', '--config.distill.name=usdd') == 2
  assert 'There is no objective' in capsys.readouterr().err
