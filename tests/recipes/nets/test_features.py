"""Training of the features: the loss by hand, its crops, several devices, a whole run."""

import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest
from scipy import special

from configs.nets import features as configs
from jax3dgen.core import parallel, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views
from jax3dgen.formats import features as readers
from jax3dgen.perception import augment, contrastive
from jax3dgen.recipes.nets import features, ship

CFG = FrozenConfigDict(configs.get_config('tiny'))


def test_pictures_are_of_few_figurines_from_many_sides():
  pictures = jax.jit(figurine_views.pictures, static_argnums=(1, 2, 3))
  images, figurine, camera = jax.device_get(pictures(jax.random.key(0), 24, 4, CFG.views))
  assert images.shape == (24, 32, 32, 3)
  for leaf in jax.tree.leaves(figurine):
    np.testing.assert_array_equal(leaf.reshape(6, 4), np.tile(leaf[:4], (6, 1)))
  assert (figurine.kind[::2] != figurine.kind[1::2]).all()
  assert len(np.unique(camera.azimuth)) == 24


def noise(key, batch, count, cfg):
  """Pictures without figurines: they compile in no time."""
  return jax.random.uniform(key, (batch, 32, 32, 3)), None, None


def test_crops_are_pictures_and_differ():
  images = noise(jax.random.key(0), 4, 4, None)[0]
  result, crop = jax.jit(lambda k: features.crops(k, images, CFG.augment))(jax.random.key(1))
  assert result.shape == images.shape and float(result.min()) >= 0 and float(result.max()) <= 1
  assert np.abs(crop.shift).max() <= CFG.augment.shift
  low, high = CFG.augment.scale
  assert float(crop.scale.min()) >= low and float(crop.scale.max()) <= high
  assert float(jnp.abs(result - images).mean()) > 0.01


def whole(key, images, cfg):
  """Crops that are the pictures: compiles in no time."""
  count = len(images)
  return images, augment.Crop(jnp.zeros((count, 2)), jnp.ones((count, 2)), jnp.zeros(count))


def test_objective_is_info_nce_of_tokens_and_patches(monkeypatch):
  """In NumPy, for crops that are the whole pictures: both crops then have the same features."""
  monkeypatch.setattr(features, 'crops', whole)
  net, params, key = features.network(CFG), features.init(CFG), jax.random.key(1)
  images = noise(jax.random.key(0), 4, 4, None)[0]
  loss, terms = jax.jit(lambda x: features.objective(net, params, key, x, CFG))(images)
  token, patches = (np.asarray(x, np.float64) for x in jax.jit(readers.small(net))(params, images))
  x, y = contrastive.sample_patches(jax.random.split(key, 3)[2], images, CFG.loss.patches, 8)
  column, row = (np.rint(4 * np.asarray(v) + 3.5).astype(int) for v in (x, y))
  local = np.concatenate([patches[i][row[i], column[i]] for i in range(4)])

  def info_nce(rows, temperature):
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return -np.diag(special.log_softmax(rows @ rows.T / temperature, -1)).mean()
  want = info_nce(token, CFG.loss.temperature), info_nce(local, CFG.loss.patch_temperature)
  assert (float(terms['token']), float(terms['patch'])) == pytest.approx(want, rel=1e-4)
  assert float(loss) == pytest.approx(want[0] + CFG.loss.patch_weight * want[1], rel=1e-4)


def test_all_devices_together_are_one_batch(monkeypatch):
  """Each device's pictures are negatives of all others': the mean loss is that of one batch."""
  monkeypatch.setattr(features, 'crops', whole)
  net, params, count = features.network(CFG), features.init(CFG), 2
  images = noise(jax.random.key(0), 4 * count, 4, None)[0]
  loss = lambda images, axis: features.objective(
      net, params, jax.random.key(1), images, CFG, axis)[1]['token']
  apart = jax.jit(jax.vmap(lambda x: loss(x, parallel.AXIS), axis_name=parallel.AXIS))(
      images.reshape(count, 4, 32, 32, 3))
  together = jax.jit(lambda x: loss(x, None))(images)
  assert float(apart.mean()) == pytest.approx(float(together), rel=1e-5)


@pytest.mark.slow
def test_run_writes_a_folder_that_loads(tmp_path, monkeypatch):
  """A whole tiny run on pictures that compile in no time."""
  monkeypatch.setattr(figurine_views, 'pictures', noise)
  monkeypatch.setattr(features, 'crops', whole)
  figures = {name: {'kind': 0.5, 'side': 0.25, 'gap_deg': 30.0} for name in ('clean', 'spoilt')}
  net = features.NET._replace(measure=lambda params, cfg: figures)
  folder = ship.run(net, configs.get_config('tiny'), tmp_path)
  apply, params = readers.load(folder)
  token, patches = apply(params, jnp.ones((1, 32, 32, 3)))
  assert token.shape == (1, CFG.net.width) and patches.shape == (1, 8, 8, CFG.net.width)
  assert json.loads((folder / 'config.json').read_text())['measured'] == figures
  assert '| spoilt | 50.0% | 25.0% | 30.0 deg |' in (folder / 'card.md').read_text()
  losses = np.genfromtxt(tmp_path / 'metrics.csv', delimiter=',', names=True)
  assert list(losses['step']) == [1, 2, 4, 6] and (losses['nonfinite'] == 0).all()


@pytest.mark.slow
def test_figures_are_those_of_held_out_pictures(tmp_path):
  """A whole tiny run; its figures again from the folder, neighbour by neighbour."""
  folder = ship.run(features.NET, configs.get_config('tiny'), tmp_path)
  measured = json.loads((folder / 'config.json').read_text())['measured']['clean']
  apply, params = readers.load(folder)
  key = jax.random.split(rng.stream(jax.random.key(ship.HELD_OUT), 'clean'), 1)[0]
  images, figurine, camera = jax.jit(lambda k: figurine_views.pictures(
      jax.random.split(k, 3)[0], features.CHUNK, features.CHUNK, CFG.views))(key)
  token = np.asarray(apply(params, images).cls, np.float64)
  token /= np.linalg.norm(token, axis=-1, keepdims=True)
  kind, azimuth = np.asarray(figurine.kind), np.asarray(camera.azimuth)
  same = side = 0
  for i in range(len(token)):
    j = max((j for j in range(len(token)) if j != i), key=lambda j: token[i] @ token[j])
    gap = abs((azimuth[i] - azimuth[j] + np.pi) % (2 * np.pi) - np.pi)
    same += kind[i] == kind[j]
    side += kind[i] == kind[j] and gap <= np.pi / 4
  assert measured['kind'] == pytest.approx(same / len(token), abs=0.011)  # ties by rounding
  assert measured['side'] == pytest.approx(side / len(token), abs=0.011)


def test_neighbours_by_hand():
  token = np.float32([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
  figures = features.neighbours(token, np.array([0, 0, 1, 0]),
                                np.deg2rad([350.0, 20.0, 0.0, 90.0]))
  assert figures == {'kind': 0.5, 'side': 0.5, 'gap_deg': pytest.approx(30.0, abs=1e-3)}


@pytest.mark.parametrize('field, value, word', [
    ('train.figurines', 2, 'figurines'), ('train.batch', 36, 'batch'), ('net.patch', 5, 'patch'),
    ('net.heads', 3, 'heads')])
def test_sizes_that_do_not_fit_are_refused(tmp_path, field, value, word):
  config = configs.get_config('tiny')
  with config.unlocked():
    config[field.split('.')[0]][field.split('.')[1]] = value
  with pytest.raises(ConfigError, match=word):
    ship.run(features.NET, config, tmp_path)
