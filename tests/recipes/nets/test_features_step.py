"""Training the features: its loss by hand, its crops, its step on several devices, its call."""

import functools
import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import optax
import pytest

from configs import features as configs
from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views
from jax3dgen.formats import features as perception
from jax3dgen.perception import augment
from jax3dgen.recipes.nets import features, features_step, small_nets

CFG = FrozenConfigDict(configs.get_config('tiny'))


@functools.cache
def made():
  net, tx = features_step.network(CFG), features_step.optimiser(CFG)
  return net, tx, features_step.init_state(jax.random.key(0), net, tx)


def test_info_nce_is_its_formula():
  rng = np.random.default_rng(0)
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  a, b = (unit(rng.normal(size=(n, 5))) for n in (4, 7))
  weight = np.array([1, 0, 1, 1])
  loss, hit = features_step.info_nce(*map(jnp.float32, (a, b)), 2, 0.3, jnp.float32(weight))
  terms, hits = [], []
  for i in (0, 2, 3):
    e = [np.exp(np.dot(a[i], b[j]) / 0.3) for j in range(7)]
    terms.append(-np.log(e[2 + i] / sum(e)))
    hits.append(np.argmax(e) == 2 + i)
  assert float(loss) == pytest.approx(np.mean(terms), rel=1e-5)
  assert float(hit) == pytest.approx(np.mean(hits), rel=1e-6)


def test_patches_are_looked_up_between_their_centres():
  patches = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), jnp.float32)
  centre = augment.places(8)
  x, y = jnp.array([[centre[2], 0.5 * (centre[3] + centre[4]), -1.0]]), jnp.array(
      [[centre[5], centre[6], 1.0]])
  got = features_step.looked_up(patches, x, y)[0]
  want = patches[0, 5, 2], 0.5 * (patches[0, 6, 3] + patches[0, 6, 4]), patches[0, 7, 0]
  np.testing.assert_allclose(got, np.stack(want), atol=1e-5)


def test_compared_patches_show_something_and_lie_in_their_crop():
  images = np.ones((2, 32, 32, 3), np.float32)
  images[:, 8:24, 12:20] = 0.2  # rows 2 to 5, columns 3 and 4 of the patches
  crop = whole(None, images, None)[1]
  x, y = features_step.chosen(jax.random.key(0), jnp.asarray(images), crop, 8, 8)
  for i in range(2):
    found = {(round(float(4 * b + 3.5)), round(float(4 * a + 3.5))) for a, b in zip(x[i], y[i])}
    assert found == {(r, c) for r in range(2, 6) for c in (3, 4)}


def test_pictures_are_of_few_figurines_from_many_sides():
  images, figurine, camera = figurine_views.pictures(jax.random.key(0), 24, 4, CFG.views)
  assert images.shape == (24, 32, 32, 3)
  for leaf in jax.tree.leaves(figurine):
    np.testing.assert_array_equal(leaf.reshape(6, 4), np.tile(leaf[:4], (6, 1)))
  assert (figurine.kind[::2] != figurine.kind[1::2]).all()
  assert len(np.unique(camera.azimuth)) == 24


def noise(key, batch, count, cfg):
  """Pictures of nothing: compiles in no time, for tests of the step alone."""
  return jax.random.uniform(key, (batch, 32, 32, 3)), None, None


def test_crops_are_pictures_and_differ():
  images = noise(jax.random.key(0), 4, 4, None)[0]
  one, crop = jax.jit(lambda k: features_step.crops(k, images, CFG.augment))(jax.random.key(1))
  assert one.shape == images.shape and float(one.min()) >= 0 and float(one.max()) <= 1
  assert np.abs(crop.shift).max() <= CFG.augment.shift
  low, high = CFG.augment.scale
  assert float(crop.scale.min()) >= low and float(crop.scale.max()) <= high
  assert float(jnp.abs(one - images).mean()) > 0.01


def whole(key, images, cfg):
  """Crops that are the pictures: compiles in no time."""
  count = len(images)
  return images, augment.Crop(jnp.zeros((count, 2)), jnp.ones((count, 2)), jnp.zeros(count))


@pytest.mark.slow
def test_pmap_equals_vmap_and_compiles_once(monkeypatch):
  """With plain descent: Adam would blow up the rounding of the biases of keys, whose gradient is 0
  (they move all scores of a softmax alike)."""
  monkeypatch.setattr(figurine_views, 'pictures', noise)
  monkeypatch.setattr(features_step, 'crops', whole)
  net, tx = features_step.network(CFG), optax.sgd(0.1)
  state = features_step.init_state(jax.random.key(0), net, tx)
  count, traces = parallel.device_count(), []
  step = features_step.make_step(net, tx, CFG, count, parallel.AXIS)

  def counted(state):
    traces.append(1)
    return step(state)
  mapped = parallel.map(counted, 0)
  plain = jax.jit(jax.vmap(step, axis_name=parallel.AXIS))
  a = parallel.replicate(state)
  b = jax.tree.map(lambda x: jnp.broadcast_to(x, (count,) + x.shape), state)
  for _ in range(3):
    a, metrics = mapped(a)
    b, _ = plain(b)
  for x, y in zip(jax.tree.leaves(parallel.unreplicate(a)), jax.tree.leaves(b)):
    np.testing.assert_allclose(x, y[0], atol=2e-5)
  assert len(traces) == 1
  assert float(parallel.unreplicate(metrics)['nonfinite']) == 0


@pytest.mark.slow
def test_all_devices_together_are_one_batch(monkeypatch):
  """Each device's pictures are negatives of all others': the mean loss is that of one batch."""
  net, _, state = made()
  count = 2
  images = noise(jax.random.key(0), 4 * count, 4, None)[0]
  monkeypatch.setattr(features_step, 'crops', whole)
  loss = lambda images, axis: features_step.objective(
      net, state.params, jax.random.key(1), images, CFG, axis)[1]['token']
  apart = jax.vmap(lambda x: loss(x, parallel.AXIS), axis_name=parallel.AXIS)(
      images.reshape(count, 4, 32, 32, 3))
  assert float(apart.mean()) == pytest.approx(float(loss(images, None)), rel=1e-5)


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(monkeypatch):
  broken = lambda *a: (jnp.full_like(noise(*a)[0], jnp.nan), None, None)
  monkeypatch.setattr(figurine_views, 'pictures', broken)
  monkeypatch.setattr(features_step, 'crops', whole)
  net, tx, state = made()
  new, metrics = jax.jit(features_step.make_step(net, tx, CFG, 1))(state)
  assert float(metrics['nonfinite']) == 1 and int(new.skipped) == 1 and int(new.step) == 1
  for x, y in zip(jax.tree.leaves(state.params), jax.tree.leaves(new.params)):
    np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_run_resumes_bit_for_bit_and_writes_a_folder_that_loads(tmp_path, monkeypatch):
  monkeypatch.setattr(figurine_views, 'pictures', noise)
  figures = {name: {'kind': 0.5, 'side': 0.25, 'gap_deg': 30.0} for name in ('clean', 'spoilt')}
  monkeypatch.setattr(features, 'measure', lambda *_: figures)
  config = configs.get_config('tiny')
  unbroken = features.run(config, tmp_path / 'whole')
  stopped = small_nets.loop.run

  class Killed(Exception):
    pass

  def half(step, state, **options):
    stopped(step, state, **options | {'steps': 3})
    raise Killed
  monkeypatch.setattr(small_nets.loop, 'run', half)
  with pytest.raises(Killed):
    features.run(config, tmp_path / 'parts')
  monkeypatch.setattr(small_nets.loop, 'run', stopped)
  parts = features.run(config, tmp_path / 'parts')
  assert (unbroken / 'sha256').read_text() == (parts / 'sha256').read_text()
  apply, params = perception.load(parts)
  token, patches = apply(params, jnp.ones((1, 32, 32, 3)))
  assert token.shape == (1, CFG.net.width) and patches.shape == (1, 8, 8, CFG.net.width)
  assert json.loads((parts / 'config.json').read_text())['measured'] == figures
  assert '50.0 % | 25.0 % | 30.0 deg' in (parts / 'card.md').read_text().replace('%', ' %')


def test_neighbours_by_hand():
  token = np.float32([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
  found = features.neighbours(token, np.array([0, 0, 1, 0]), np.deg2rad([350.0, 20.0, 0.0, 90.0]))
  assert found == {'kind': 0.5, 'side': 0.5, 'gap_deg': pytest.approx(30.0, abs=1e-3)}


@pytest.mark.parametrize('field, value, word', [
    ('train.figurines', 2, 'figurines'), ('train.batch', 36, 'batch'), ('net.patch', 5, 'patch'),
    ('net.heads', 3, 'heads')])
def test_sizes_that_do_not_fit_are_refused(tmp_path, field, value, word):
  config = configs.get_config('tiny')
  with config.unlocked():
    config[field.split('.')[0]][field.split('.')[1]] = value
  with pytest.raises(ConfigError, match=word):
    features.run(config, tmp_path)
