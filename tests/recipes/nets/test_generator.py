"""The flow of the embedded generator: its loss by hand, its examples, its samples, a run."""

import json
import types

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs.nets import generator as configs
from configs.nets import occupancy as occupancy_configs
from jax3dgen.core import rng, weights
from jax3dgen.core.types import Cond
from jax3dgen.data import object_splits, objects
from jax3dgen.generator import base, embedded
from jax3dgen.recipes.nets import generator, ship


@pytest.fixture(scope='module')
def autoencoder(tmp_path_factory):
  """A folder of weights of a tiny autoencoder that was not trained."""
  folder = tmp_path_factory.mktemp('occupancy')
  net = occupancy_configs.get_config('tiny').net
  params = jax.jit(lambda key: embedded.init_autoencoder(*embedded.autoencoder(net), key))(
      jax.random.key(0))
  weights.save(folder / 'weights.safetensors', params)
  (folder / 'config.json').write_text(json.dumps({'net': net.to_dict()}))
  weights.seal(folder, ('weights.safetensors', 'config.json'))
  return folder


@pytest.fixture(scope='module')
def cfg(autoencoder):
  config = configs.get_config('tiny')
  config.data.autoencoder = str(autoencoder)
  return FrozenConfigDict(config)


def test_loss_by_hand():
  """A net that says x_t + t / 1000 + the mean of the tokens; half of the examples have none."""
  net = types.SimpleNamespace(apply=lambda variables, x, t, tokens: (
      x + (t / 1000 + tokens.mean((1, 2))).reshape(-1, 1, 1, 1, 1)))
  random = np.random.default_rng(0)
  latent = random.normal(size=(8, 2, 2, 2, 3)).astype(np.float16)
  tokens = random.normal(1, 1, (8, 4, 5)).astype(np.float16)
  params = {'flow': None, 'mean': jnp.array([1.0, 0, -1]), 'spread': jnp.array([1.0, 2, 3])}
  key = jax.random.key(5)
  value, _ = jax.jit(lambda *x: generator.objective(net, params, key, *x, 0.5))(latent, tokens)
  t = 1 / (1 + np.exp(-1 - np.asarray(jax.random.normal(rng.stream(key, 'level'), (8,)))))
  eps = np.asarray(jax.random.normal(rng.stream(key, 'noise'), latent.shape))
  kept = np.asarray(jax.random.uniform(rng.stream(key, 'dropout'), (8,))) >= 0.5
  assert 0 < kept.sum() < 8
  errors = []
  for i in range(8):
    x0 = (latent[i].astype(np.float64) - [1, 0, -1]) / [1, 2, 3]
    v = (1 - t[i]) * x0 + t[i] * eps[i] + t[i] + kept[i] * tokens[i].astype(np.float64).mean()
    errors.append(np.mean((v - (eps[i] - x0)) ** 2))
  assert float(value) == pytest.approx(np.mean(errors), rel=1e-4)


def test_examples_are_computed_once_and_kept(cfg, tmp_path, monkeypatch):
  first = generator.data(cfg, tmp_path)
  monkeypatch.setattr(generator, 'examples', lambda *args: pytest.fail('computed again'))
  again = generator.data(cfg, tmp_path)
  jax.tree.map(np.testing.assert_array_equal, first, again)
  assert first['latent'].shape == (12, 8, 8, 8, 2) and first['tokens'].shape == (12, 65, 144)
  with pytest.raises(pytest.fail.Exception, match='computed again'):
    generator.data(FrozenConfigDict(cfg.to_dict() | {'data': cfg.data.to_dict() | {'count': 13}}),
                   tmp_path)
  # Against each object alone.
  _, encoder, _, image, fixed = generator.parts(cfg)
  drawn = objects.draw(object_splits.seeds('train', 1, 7))
  latent = encoder.apply({'params': fixed['encoder']}, objects.occupancy(drawn))[..., :2]
  np.testing.assert_allclose(first['latent'][7], latent[0], rtol=2e-3, atol=2e-3)
  rgb = np.round(np.asarray(objects.picture(drawn)[0]) * 255) / 255
  np.testing.assert_allclose(first['tokens'][7, 1:, 96:], (rgb.reshape(8, 4, 8, 4, 3).transpose(
      0, 2, 1, 3, 4).reshape(64, 48) - 0.8) / 0.35, atol=2e-3)
  assert (first['tokens'][7, 0, 96:] == 0).all()
  features = first['tokens'][7, :, :96].astype(np.float64)
  np.testing.assert_allclose(features.mean(-1), 0, atol=1e-3)
  np.testing.assert_allclose(features.std(-1), 1, atol=2e-3)


def test_latents_are_normalised_by_the_weights(cfg):
  params = generator.init(cfg)
  _, encoder, _, image, fixed = generator.parts(cfg)
  latent = generator.examples(object_splits.seeds('train', cfg.data.statistics), encoder, image,
                              fixed, tokens=False)['latent'].astype(np.float64)
  np.testing.assert_allclose(params['mean'], latent.mean((0, 1, 2, 3)), rtol=1e-2, atol=1e-3)
  np.testing.assert_allclose(params['spread'], latent.std((0, 1, 2, 3)), rtol=1e-2)
  # The mean and the spread are no weights: their gradient is 0.
  net = generator.parts(cfg)[0]
  tokens = np.ones((2, 65, 144), np.float32)
  grads = jax.jit(jax.grad(lambda p: generator.objective(
      net, p, jax.random.key(0), latent[:2].astype(np.float32), tokens, 0.0)[0]))(params)
  assert (grads['mean'] == 0).all() and (grads['spread'] == 0).all()
  assert np.abs(grads['flow']['out_layer']['kernel']).max() > 0


def test_samples_of_a_flow_that_knows_the_objects():
  """The velocity leads to the true logits, which are the latent: all figures are known."""
  seeds = object_splits.seeds('test', 6)
  true = objects.logits(objects.draw(seeds))

  def velocity(params, x, t, cond):
    return (x - params['true'][cond.tokens[:, 0, 0].astype(int)][..., None]) / t.reshape(
        -1, 1, 1, 1, 1)
  known = base.Generator(
      init=None, embed=lambda params, images: Cond(params['row'][:len(images)]), velocity=velocity,
      encode=lambda params, occupancy: (occupancy - 0.5)[..., None],
      decode=lambda params, x: x[..., 0], shape=(32, 32, 32, 1))
  params = {'true': true, 'row': jnp.arange(6.0).reshape(6, 1, 1)}
  sampler = {'steps': 3, 'rescale_t': 1.0, 'guidance': 0.0, 'interval': (0.0, 1.0)}
  figures = generator.sample(known, params, jax.random.key(0), seeds, 2, sampler)
  stands = object_splits.stands(true)
  assert figures['stands'] == pytest.approx(stands.mean())
  assert figures['iou'] > 0.999 and figures['iou_autoencoder'] == 1 and figures['parts'] == 1
  assert figures['empty'] == 0 and list(figures['kinds']) == list(objects.KINDS[:6])
  assert figures['kinds']['table'] == {
      'samples': 2, 'stands': float(stands[2]), 'iou': pytest.approx(1.0, abs=1e-3)}


@pytest.mark.slow
def test_run_writes_a_folder_that_loads(cfg, tmp_path, autoencoder):
  config = configs.get_config('tiny')
  config.data.autoencoder = str(autoencoder)
  folder = ship.run(generator.NET, config, tmp_path)
  network, params = embedded.load(folder, autoencoder)
  record = json.loads((folder / 'config.json').read_text())
  seeds = object_splits.standing('test', 2)
  again = generator.sample(network, params, rng.stream(jax.random.key(ship.HELD_OUT), 'samples'),
                           seeds, 1, cfg.sample)
  assert again['iou'] == pytest.approx(record['measured']['iou'], abs=1e-3)
  assert 'Held-out objects' in (folder / 'card.md').read_text()
