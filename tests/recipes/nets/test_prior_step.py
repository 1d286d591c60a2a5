"""Training of the embedded prior: the step on one and on several devices, and the whole call."""

import json

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np
import pytest

from configs import embedded_prior as configs
from jax3dgen.core import parallel, tree, weights
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.data import figurine_examples
from jax3dgen.prior import base, embedded, schedule
from jax3dgen.recipes.nets import prior, prior_step
from tests import nets

CFG = FrozenConfigDict(configs.get_config('tiny'))
COUNT = 4
MEAN = jnp.array([0.2, -0.6, 0.4])  # of every pixel of the toy images


def toy_draw(key, batch):
  """Images of one flat colour each, captioned with nothing that matters."""
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


def toy(count=COUNT, axis_name=parallel.AXIS, velocity=toy_velocity, draw=toy_draw, cfg=CFG):
  """(step, first state) of a problem that compiles in no time."""
  tx = prior_step.optimiser(cfg)
  step = prior_step.make_step(toy_embed, velocity, draw, tx, cfg, count, axis_name)
  return step, prior_step.init_state(toy_params(), tx)


def test_pmap_equals_vmap_and_compiles_once(monkeypatch):
  step, state = toy()
  mapped = parallel.map(step, 0)
  spread = jax.tree.map(lambda x: jnp.broadcast_to(x, (COUNT, *x.shape)), state)
  reference = jax.jit(jax.vmap(step, axis_name=parallel.AXIS))
  replicated = parallel.replicate(state)
  spread, _ = reference(spread)
  replicated, _ = mapped(replicated)
  refuse = lambda *args, **kwargs: pytest.fail('compiled again')
  with monkeypatch.context() as patch:
    patch.setattr(jax._src.compiler, 'compile_or_get_cached', refuse)
    for _ in range(9):
      replicated, metrics = mapped(replicated)
  for _ in range(9):
    spread, expected = reference(spread)
  for a, b in zip(jax.tree.leaves(replicated), jax.tree.leaves(spread)):
    a = np.asarray(a)
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert all((row == a[0]).all() for row in a)
  np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-5)


def test_noise_levels_are_stratified_over_all_devices():
  levels = [prior_step.noise_levels(jax.random.key(i), 3, i, 4) for i in range(4)]
  np.testing.assert_array_equal(np.floor(np.concatenate(levels) * 12), np.arange(12))


def test_learning_rate_warms_up_stays_and_falls_to_zero():
  cfg = configs.get_config()
  cfg.train.steps = 1000
  rate = prior_step.learning_rate(cfg)
  got = [float(rate(s)) for s in (0, 100, 200, 400, 700, 1000)]
  np.testing.assert_allclose(got, np.array([0, 0.5, 1, 1, 0.5, 0]) * cfg.optim.rate, atol=1e-9)


def test_captions_are_dropped_as_often_as_told():
  """With all captions dropped the words get no gradient; with none dropped they do."""
  for share, moved in ((1.0, False), (0.0, True)):
    cfg = configs.get_config('tiny')
    cfg.loss.dropout = share
    step, state = toy(1, None, cfg=FrozenConfigDict(cfg))
    text = jax.jit(step)(jax.jit(step)(state)[0])[0].params['text']
    assert bool(text[1].any()) == moved and bool(text[0].any()) != moved


def test_loss_is_the_weighted_velocity_error():
  """Against a loop over the batch, with a network that says nothing."""
  seen = {}

  def spy(params, x_t, t, cond):
    seen.update(x_t=x_t, t=t)
    return jnp.zeros_like(x_t)

  step, state = toy(1, None, velocity=spy)
  with jax.disable_jit():
    _, metrics = step(state)
  key = jax.random.fold_in(jax.random.key(CFG.seed), 0)
  x0 = 2 * toy_draw(prior_step.rng.stream(key, 'draw'), CFG.train.batch)[0] - 1
  total = error = 0.0
  for i in range(CFG.train.batch):
    a, s = (float(f(seen['t'][i])) for f in (schedule.COSINE.alpha, schedule.COSINE.sigma))
    eps = (np.asarray(seen['x_t'][i]) - a * np.asarray(x0[i])) / s
    square = np.mean((a * eps - s * np.asarray(x0[i])) ** 2)
    total += (min(a**2 / s**2, CFG.loss.gamma) / (a**2 / s**2 + 1) + CFG.loss.floor) * square
    error += square
  np.testing.assert_allclose(metrics['loss'], total / CFG.train.batch, rtol=1e-3)
  np.testing.assert_allclose(metrics['v_mse'], error / CFG.train.batch, rtol=1e-3)


def test_bad_gradients_are_skipped_and_counted():
  def poisoned(params, x_t, t, cond):
    return toy_velocity(params, x_t, t, cond) / jnp.where(x_t.sum() < 1e9, 0.0, 1.0)
  step, state = toy(1, None, velocity=poisoned)
  after, metrics = jax.jit(step)(jax.jit(step)(state)[0])
  jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
  jax.tree.map(np.testing.assert_array_equal, after.ema, state.ema)
  assert float(metrics['nonfinite']) == 1 and int(after.skipped) == 2 and int(after.step) == 2


def test_loss_falls_and_the_ema_denoises():
  """After training, the clean estimate at high noise is the mean image."""
  cfg = configs.get_config('tiny')
  cfg.optim.rate, cfg.train.steps, cfg.train.batch = 0.05, 400, 32
  step, state = toy(1, None, cfg=FrozenConfigDict(cfg))
  step, losses = jax.jit(step), []
  for _ in range(400):
    state, metrics = step(state)
    losses.append(float(metrics['v_mse']))
  assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:5])
  t, x = jnp.full((1,), 0.9), jax.random.normal(jax.random.key(5), (1, 4, 4, 3))
  predict = base.as_eps(toy_velocity, schedule.COSINE, 'v')
  cond = toy_embed(state.ema, jnp.ones((1, 2), jnp.int32))
  x0 = base.x0_from_eps(schedule.COSINE, x, t, predict(state.ema, x, t, cond))
  np.testing.assert_allclose(x0.mean((0, 1, 2)), MEAN, atol=0.15)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A tiny run broken off at half and taken up again, beside an unbroken one."""
  root = tmp_path_factory.mktemp('prior')
  config = configs.get_config('tiny')
  prior.run(config, root / 'whole')
  half = configs.get_config('tiny')
  with pytest.MonkeyPatch.context() as patch:
    stop = lambda self, step: step == half.checkpoint.every
    patch.setattr('jax3dgen.train.stop.Preemption.requested', stop)
    with pytest.raises(SystemExit):
      prior.run(half, root / 'broken')
  prior.run(config, root / 'broken')
  return root, config


@pytest.mark.slow
def test_a_resumed_run_ends_like_an_unbroken_one(trained):
  root, _ = trained
  for name in ('weights/weights.safetensors', 'weights/sha256', 'metrics.csv'):
    assert (root / 'whole' / name).read_bytes() == (root / 'broken' / name).read_bytes()


@pytest.mark.slow
def test_a_run_leaves_a_folder_that_loads(trained):
  root, config = trained
  folder = root / 'whole' / 'weights'
  loaded, params, tokenize = embedded.load(folder)
  ids = tokenize(prior.captions())
  assert ids.shape == (60, 16) and (ids > 0).any(1).all()
  assert loaded.embed(params, ids).tokens.shape == (60, 16, config.text.width)
  assert json.loads((folder / 'training.json').read_text())['train']['steps'] == 20
  card = (folder / 'card.md').read_text()
  assert '20 steps of 8 images:' in card and '--config.train.steps=20' in card
  rows = (folder / 'curve.csv').read_text().splitlines()
  assert rows[0] == 'step,loss,v_mse' and rows[-1].startswith('20,')
  assert '<svg' in (folder / 'curve.svg').read_text()
  assert sorted(p.name for p in (root / 'whole' / 'samples').iterdir()) == ['000010.png',
                                                                          '000020.png']


def test_a_run_can_start_from_finished_weights(tmp_path):
  cfg = configs.get_config('tiny')
  cfg.init = str(tmp_path)
  frozen = FrozenConfigDict(cfg)
  net = prior.net_config(frozen)
  weights.save(tmp_path / 'weights.safetensors',
               nets.drawn(embedded.network(net)[0], jax.random.key(0)))
  (tmp_path / 'config.json').write_text(json.dumps(net))
  (tmp_path / 'words.json').write_text(json.dumps(figurine_examples.words()))
  weights.seal(tmp_path, ('weights.safetensors', 'config.json', 'words.json'))
  got = prior.initial_params(frozen, net)
  assert tree.digest(got) == tree.digest(embedded.load(tmp_path)[1])
  with cfg.unlocked():
    cfg.text.depth = 2
  frozen = FrozenConfigDict(cfg)
  with pytest.raises(ConfigError, match='another network'):
    prior.initial_params(frozen, prior.net_config(frozen))
  with cfg.unlocked():
    cfg.init = str(tmp_path / 'none')
  frozen = FrozenConfigDict(cfg)
  with pytest.raises(WeightError, match='No such file'):
    prior.initial_params(frozen, prior.net_config(frozen))


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
  config = configs.get_config('tiny')
  config.train.batch = 6
  with pytest.raises(ConfigError, match='config.train.batch=6'):
    prior.run(config, tmp_path)
  with pytest.raises(ValueError, match='tiny'):
    configs.get_config('huge')
