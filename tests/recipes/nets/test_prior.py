"""Training of the embedded prior: its loss by hand, its schedule, a whole run."""

import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs.nets import prior as configs
from jax3dgen.core import rng, tree, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.data import figurine_examples
from jax3dgen.export import curves
from jax3dgen.prior import base, embedded, schedule
from jax3dgen.recipes.nets import prior, prior_samples, ship
from jax3dgen.train import descent
from tests import nets

CFG = FrozenConfigDict(configs.get_config('tiny'))
MEAN = jnp.array([0.2, -0.6, 0.4])  # of every pixel of the toy images


def toy_draw(key, batch):
  """Images of one flat colour each, with captions of one word."""
  level = MEAN.reshape(1, 1, 1, 3) + 0.1 * jax.random.normal(key, (batch, 1, 1, 3))
  return 0.5 + 0.5 * jnp.broadcast_to(level, (batch, 4, 4, 3)), jnp.ones((batch, 2), jnp.int32)


def toy_embed(params, ids):
  return params['text'][ids].sum(1)


def toy_velocity(params, x_t, t, cond):
  """v is linear in x_t and a colour, with coefficients that depend on t."""
  basis = jnp.stack([jnp.ones_like(t), t, t**2], -1)
  scale, color = basis @ params['scale'], basis @ params['color'] + cond
  return scale[:, None, None, None] * x_t + color[:, None, None, :]


def toy_params():
  return {'scale': jnp.zeros(3), 'color': jnp.zeros((3, 3)), 'text': jnp.zeros((2, 3))}


def toy_loss(velocity=toy_velocity, cfg=CFG):
  """The loss, on one device, of a problem that compiles in no time."""
  return prior.velocity_loss(toy_embed, velocity, toy_draw, cfg, 1)


def test_noise_levels_are_stratified_over_all_devices():
  levels = [prior.noise_levels(jax.random.key(i), 3, i, 4) for i in range(4)]
  np.testing.assert_array_equal(np.floor(np.concatenate(levels) * 12), np.arange(12))


def test_learning_rate_warms_up_stays_and_falls_to_zero():
  cfg = configs.get_config()
  cfg.train.steps = 1000
  rate = prior.learning_rate(cfg)
  rates = [float(rate(s)) for s in (0, 100, 200, 400, 700, 1000)]
  np.testing.assert_allclose(rates, np.array([0, 0.5, 1, 1, 0.5, 0]) * cfg.optim.rate, atol=1e-9)


def test_captions_are_dropped_as_often_as_the_config_says():
  """With all captions dropped the words get no gradient; with none dropped they do."""
  params = toy_params()
  params['text'] = params['text'] + 1.0
  for share, moved in ((1.0, False), (0.0, True)):
    cfg = configs.get_config('tiny')
    cfg.loss.dropout = share
    grads = jax.jit(jax.grad(toy_loss(cfg=FrozenConfigDict(cfg)), has_aux=True))(
        params, jax.random.key(0))[0]
    assert bool(grads['text'][1].any()) == moved and bool(grads['text'][0].any()) != moved


def test_loss_is_the_weighted_velocity_error():
  """Against a loop over the batch, with a network that predicts 0."""
  @jax.jit
  def observed(params, key):
    inputs = {}

    def spy(params, x_t, t, cond):
      inputs.update(x_t=x_t, t=t)
      return jnp.zeros_like(x_t)
    return *toy_loss(spy)(params, key), inputs

  key = jax.random.key(CFG.seed)
  value, metrics, inputs = observed(toy_params(), key)
  x0 = 2 * toy_draw(rng.stream(key, 'draw'), CFG.train.batch)[0] - 1
  total = error = 0.0
  for i in range(CFG.train.batch):
    a, s = (float(f(inputs['t'][i])) for f in (schedule.COSINE.alpha, schedule.COSINE.sigma))
    eps = (np.asarray(inputs['x_t'][i]) - a * np.asarray(x0[i])) / s
    square = np.mean((a * eps - s * np.asarray(x0[i])) ** 2)
    total += (min(a**2 / s**2, CFG.loss.gamma) / (a**2 / s**2 + 1) + CFG.loss.floor) * square
    error += square
  np.testing.assert_allclose(value, total / CFG.train.batch, rtol=1e-3)
  np.testing.assert_allclose(metrics['v_mse'], error / CFG.train.batch, rtol=1e-3)


def test_loss_falls_and_the_ema_denoises():
  """After training, the clean estimate at high noise is the mean image."""
  cfg = configs.get_config('tiny')
  cfg.optim.rate, cfg.train.steps, cfg.train.batch = 0.05, 400, 32
  cfg = FrozenConfigDict(cfg)
  tx = prior.optimiser(cfg)
  step, state = (jax.jit(descent.build_step(toy_loss(cfg=cfg), tx, cfg.seed, cfg.optim.ema)),
                 descent.start(toy_params(), tx))
  losses = []
  for _ in range(400):
    state, metrics = step(state)
    losses.append(float(metrics['v_mse']))
  assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])
  t, x = jnp.full((1,), 0.9), jax.random.normal(jax.random.key(5), (1, 4, 4, 3))
  predict = base.as_eps(toy_velocity, schedule.COSINE, 'v')
  cond = toy_embed(state.ema, jnp.ones((1, 2), jnp.int32))
  x0 = base.x0_from_eps(schedule.COSINE, x, t, predict(state.ema, x, t, cond))
  np.testing.assert_allclose(x0.mean((0, 1, 2)), MEAN, atol=0.15)


@pytest.mark.slow
def test_a_run_writes_a_folder_that_loads(tmp_path):
  config = configs.get_config('tiny')
  folder = ship.run(prior.NET, config, tmp_path)
  loaded, params, tokenize = embedded.load(folder)
  ids = tokenize(prior_samples.captions())
  assert ids.shape == (60, 16) and (ids > 0).any(1).all()
  assert loaded.embed(params, ids).tokens.shape == (60, 16, config.text.width)
  assert json.loads((folder / 'training.json').read_text())['train']['steps'] == 20
  card = (folder / 'card.md').read_text()
  assert '20 steps of 8 images:' in card and '--config.train.steps=20' in card
  rows = (folder / 'curve.csv').read_text().splitlines()
  assert rows[0] == 'step,loss,v_mse' and rows[-1].startswith('20,')
  assert '<svg' in (folder / 'curve.svg').read_text()
  assert (tmp_path / 'metrics.csv').read_text().startswith(
      'step,grad_norm,loss,nonfinite,skipped,v_mse\n')
  assert sorted(p.name for p in (tmp_path / 'samples').iterdir()) == ['000010.png', '000020.png']
  # of a run that continues from these weights the card names both runs
  config.init, config.train.steps = str(folder), 30
  result = ship.Result(config, params, {'samples': 36, 'right': 0.5, 'guidance': 4.0, 'ddim': 24},
                       curves.read(folder / 'curve.csv'))
  training = json.loads(prior.files(result)['training.json'])
  assert training['init'] == str(folder) and training['earlier'][0]['train']['steps'] == 20
  card = prior.card(result)
  assert '50 steps of 8 images in 2 runs' in card
  assert card.index('--config.train.steps=20') < card.index(f'--config.init={folder}')


def test_a_run_can_start_from_finished_weights(tmp_path):
  cfg = configs.get_config('tiny')
  cfg.init = str(tmp_path)
  frozen = FrozenConfigDict(cfg)
  net = prior.net_config(frozen)
  weights.save(tmp_path / 'weights.safetensors',
               nets.random_parameters(embedded.network(net)[0], jax.random.key(0)))
  (tmp_path / 'config.json').write_text(json.dumps(net))
  (tmp_path / 'words.json').write_text(json.dumps(figurine_examples.words()))
  weights.seal(tmp_path, ('weights.safetensors', 'config.json', 'words.json'))
  params = prior.init(frozen)
  assert tree.digest(params) == tree.digest(embedded.load(tmp_path)[1])
  with cfg.unlocked():
    cfg.text.depth = 2
  frozen = FrozenConfigDict(cfg)
  with pytest.raises(ConfigError, match='another network'):
    prior.init(frozen)
  with cfg.unlocked():
    cfg.init = str(tmp_path / 'none')
  frozen = FrozenConfigDict(cfg)
  with pytest.raises(WeightError, match='No such file'):
    prior.init(frozen)
