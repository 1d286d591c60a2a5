"""The shipped image-to-3D generator: its parts, its condition, and folders that do not fit."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import weights
from jax3dgen.core.errors import WeightError
from jax3dgen.core.types import Cond
from jax3dgen.data import object_splits, objects
from jax3dgen.formats import features
from jax3dgen.generator import embedded, flow

MEGABYTES = 9  # of both folders of weights


@pytest.fixture(scope='module')
def shipped():
  return embedded.load()


@pytest.fixture(scope='module')
def drawn():
  return objects.draw(object_splits.seeds('test', 8))


def test_sizes(shipped):
  generator, params = shipped
  assert generator.shape == (8, 8, 8, 8) and set(params) == {'flow', 'decoder', 'encoder', 'image'}
  files = [file for name in ('occupancy', 'generator') for file in embedded.shipped(name).iterdir()]
  assert sum(file.stat().st_size for file in files) < MEGABYTES * 2**20


def test_condition_is_features_beside_pixels(shipped, drawn):
  generator, params = shipped
  rgb, opacity = objects.picture(drawn)
  tokens = np.asarray(jax.jit(generator.embed)(params, rgb).tokens)
  assert tokens.shape == (8, 65, 144)
  apply, weights_of = features.load()
  cls, patches = jax.jit(apply)(weights_of, rgb)
  plain = np.concatenate([cls[:, None], patches.reshape(8, 64, 96)], 1).astype(np.float64)
  plain = (plain - plain.mean(-1, keepdims=True)) / np.sqrt(plain.var(-1, keepdims=True) + 1e-5)
  np.testing.assert_allclose(tokens[..., :96], plain, atol=2e-3)
  rows = np.asarray(rgb)[3, 8:12, 20:24].ravel()  # the patch in row 2 and column 5
  np.testing.assert_allclose(tokens[3, 1 + 2 * 8 + 5, 96:], (rows - 0.8) / 0.35, atol=1e-5)
  # With alpha the picture lies on white, whatever colour its clear pixels have.
  alpha = opacity[..., None]
  straight = jnp.where(alpha > 0, (rgb - (1 - alpha)) / jnp.maximum(alpha, 1e-6), 0.3)
  again = jax.jit(generator.embed)(params, jnp.concatenate([straight, alpha], -1)).tokens
  np.testing.assert_allclose(again, tokens, atol=5e-3)


def test_autoencoder_keeps_the_surface(shipped, drawn):
  """Within a fifth of a voxel, and with it the volume."""
  generator, params = shipped
  true = np.asarray(objects.logits(drawn))
  x0 = jax.jit(generator.encode)(params, objects.occupancy(drawn))
  decoded = np.asarray(jax.jit(generator.decode)(params, x0))
  near = np.abs(true) < 1 / objects.SOFTNESS
  assert objects.SOFTNESS * np.abs(decoded - true)[near].mean() < 0.2
  occupied = (true > 0).sum((1, 2, 3))
  np.testing.assert_allclose((decoded > 0).sum((1, 2, 3)), occupied, rtol=0.1)
  assert np.abs(np.asarray(x0).mean()) < 0.3 and 0.6 < np.asarray(x0).std() < 1.5


def test_samples_follow_their_pictures(shipped, drawn):
  """Samples overlap the object in their picture much more than the other objects of the batch."""
  generator, params = shipped
  fast = generator._replace(velocity=jax.jit(generator.velocity))
  cond = jax.jit(generator.embed)(params, objects.picture(drawn)[0])
  null = Cond(jnp.zeros_like(cond.tokens))
  x0 = flow.sample(jax.random.key(0), fast, params, cond, null, **embedded.SAMPLER)
  sampled = np.asarray(jax.jit(generator.decode)(params, x0)) > 0
  true = np.asarray(objects.logits(drawn)) > 0
  overlap = np.array([[(a & b).sum() / (a | b).sum() for b in true] for a in sampled])
  same, others = np.diag(overlap).mean(), overlap[~np.eye(8, dtype=bool)].mean()
  assert same > 0.35 and same > 1.6 * others


@pytest.mark.parametrize(('change', 'sentence'), [
    (lambda folder: (folder / 'weights.safetensors').unlink(), 'is missing'),
    (lambda folder: (folder / 'config.json').write_text('{"net": {"width": 8}}'), 'sha256'),
    (lambda folder: reseal(folder, {'net': {'width': 8}}), 'no sizes'),
    (lambda folder: reseal(folder, {'net': {'width': 64, 'depth': 5, 'heads': 4, 'patch': 2}}),
     'misshaped')])
def test_other_folders_are_refused(tmp_path, change, sentence):
  folder = tmp_path / 'generator'
  shutil.copytree(embedded.shipped('generator'), folder)
  change(folder)
  with pytest.raises(WeightError, match=sentence):
    embedded.load(folder)


def reseal(folder, record):
  (folder / 'config.json').write_text(json.dumps(record))
  weights.seal(folder, ('weights.safetensors', 'config.json'))
