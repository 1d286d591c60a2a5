"""The critic, VSD and ESD: what they must be where the best critic is known."""

import functools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Cond
from jax3dgen.distill import base, critic, esd, sds, vsd
from jax3dgen.prior import embedded
from tests import nets
from tests.fakes import gaussian

KEY = jax.random.key(0)


def config(module=vsd, **fields):
  return ConfigDict(module.DEFAULTS | {'clip': False, 'camera_layer': ''} | fields)


def test_a_fresh_critic_is_the_prior():
  # With the exact unconditional score of renders that follow the prior, VSD is 0.
  prior, params = gaussian.prior(0.2, 0.7)
  cfg = config(guidance=1.0)
  view = gaussian.view(jax.random.normal(KEY, (4, 3, 3, 1)), 0.5, base.classifier_free, shift=0.3)
  state = vsd.init(KEY, params, cfg)
  direction = lambda cfg: jax.jit(lambda view: vsd.direction(
      KEY, view, prior, params, state, cfg)[0])(view)
  np.testing.assert_allclose(direction(cfg), 0, atol=1e-7)
  # With guidance s, what remains is (s - 1) (eps_cond - eps_null).
  cfg = config(guidance=3.0, weighting='uniform')
  alpha = sigma = np.sqrt(0.5)
  variance = alpha**2 * 0.49 + sigma**2
  np.testing.assert_allclose(direction(cfg), -2.0 * sigma * alpha * 0.3 / variance, rtol=1e-4)


def test_the_critic_of_one_render_makes_vsd_sds():
  # The best critic of a Dirac at x_0 predicts the very noise that was drawn.
  prior, params = gaussian.prior(0.2, 0.7)
  x0 = jax.random.normal(KEY, (4, 3, 3, 1))
  view = gaussian.view(x0, 0.5, base.classifier_free)
  x_t, eps = base.noised(KEY, view, prior)
  dirac = lambda trainable, prior, params, x_t, t, cond, cameras: eps
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(critic, 'predict', dirac)
    cfg = config(weighting='uniform')
    g, _, _ = vsd.direction(KEY, view, prior, params, base.DistillState({}, {}), cfg)
  expected, _, _ = sds.direction(KEY, view, prior, params, None, cfg)
  np.testing.assert_allclose(g, expected, rtol=1e-6)


@pytest.mark.parametrize('target', ['v', 'eps'])
def test_the_loss_is_stationary_where_renders_follow_the_prior(target):
  prior, params = gaussian.prior(0.2, 0.7)
  cfg = config(critic_target=target)
  state = vsd.init(KEY, params, cfg)
  loss = jax.jit(jax.grad(lambda trainable, key, view: critic.fit(
      trainable, key, view, prior, params, state, cfg)))

  def slopes(std):
    gradients = []
    for key in jax.random.split(KEY, 40):
      x0 = 0.2 + std * jax.random.normal(key, (256, 2, 2, 1))
      gradients.append(loss(state.trainable, key, gaussian.view(x0, 0.5, base.classifier_free)))
    flat = jnp.stack([s['adapters']['attn/kernel']['b'].ravel() for s in gradients])
    return flat.mean(0), flat.std(0) / np.sqrt(len(flat))
  mean, error = slopes(0.7)
  assert (jnp.abs(mean) < 4 * error).all()
  mean, error = slopes(0.1)
  assert (jnp.abs(mean) > 4 * error).any()


def test_a_critic_learns_what_renders_look_like():
  """Its one parameter is a gain on x_t; the best one follows from a least squares by hand."""
  prior, params = gaussian.prior(0.0, 0.7)
  cfg = config(critic_target='eps', critic_rank=1)
  trainable = vsd.init(KEY, params, cfg).trainable
  tx = optax.adam(0.02)
  opt = tx.init(trainable)
  x0 = 0.1 * jax.random.normal(KEY, (512, 2, 2, 1))
  view = gaussian.view(x0, 0.5, base.classifier_free)

  @jax.jit
  def step(trainable, opt, key):
    grads = jax.grad(critic.fit)(trainable, key, view, prior, params, None, cfg)
    updates, opt = tx.update(grads, opt)
    return optax.apply_updates(trainable, updates), opt
  for key in jax.random.split(KEY, 400):
    trainable, opt = step(trainable, opt, key)
  learned = trainable['adapters']['attn/kernel']
  gain = float((learned['b'] @ learned['a'])[0, 0])
  t = np.linspace(*prior.schedule.safe_range, 2000)
  alpha, sigma = np.cos(0.5 * np.pi * t), np.sin(0.5 * np.pi * t)
  spread = alpha**2 * float(jnp.mean(x0**2)) + sigma**2  # of x_t
  prior_gain = sigma / (alpha**2 * 0.49 + sigma**2)  # the prior's gain
  # The least squares of eps - prior_gain x_t: E[x_t (eps - prior_gain x_t)] / E[x_t^2].
  best = np.mean(sigma - prior_gain * spread) / np.mean(spread)
  np.testing.assert_allclose(gain, best, atol=0.05)


@functools.cache
def small():
  """A tiny embedded net with random weights; a fresh one has zeros in its last layers."""
  prior = embedded.make({
      'size': 8, 'text': {'words': 5, 'length': 3, 'width': 8, 'heads': 1, 'depth': 1},
      'denoiser': {'channels': [8, 16], 'embedding': 16, 'head_width': 8, 'expansion': 1}})
  return prior, nets.random_parameters(prior.init, KEY, scale=0.2)


def test_the_camera_reaches_the_critic_and_none_is_zeros():
  prior, params = small()
  cfg = ConfigDict(vsd.DEFAULTS)
  trainable = critic.init(KEY, params, cfg)
  x = jax.random.normal(KEY, (2, 8, 8, 3))
  t, cond = jnp.full(2, 0.5), jax.jit(prior.embed)(params, jnp.array([[1, 2, 0], [3, 0, 0]]))
  cameras = jax.random.normal(KEY, (2, 16))
  predict = jax.jit(lambda trainable, cameras: critic.predict(
      trainable, prior, params, x, t, cond, cameras))
  alone = jax.jit(prior.predict)(params, x, t, cond)
  np.testing.assert_allclose(predict(trainable, cameras), alone, atol=1e-6)
  trainable['camera']['out'] = jax.random.normal(KEY, trainable['camera']['out'].shape)
  assert jnp.abs(predict(trainable, cameras) - predict(trainable, 0 * cameras)).max() > 1e-4
  # No camera, and no bias yet: silu(0) = 0.
  np.testing.assert_allclose(predict(trainable, 0 * cameras), alone, atol=1e-6)
  assert isinstance(cond, Cond)


@pytest.mark.slow
def test_esd_mixes_the_critics_with_and_without_a_camera():
  prior, params = small()
  state = vsd.init(KEY, params, ConfigDict(esd.DEFAULTS))
  state.trainable['camera']['out'] = jax.random.normal(
      KEY, state.trainable['camera']['out'].shape)
  cond = jax.tree.map(lambda leaf: leaf[0], jax.jit(prior.embed)(
      params, jnp.array([[1, 2, 0]])))
  x0 = jax.random.normal(KEY, (2, 8, 8, 3))
  view = gaussian.view(x0, 0.5, base.classifier_free)
  view = view.replace(
      prompt=jax.tree.map(lambda _: cond, view.prompt, is_leaf=lambda x: not hasattr(x, 'main')),
      camera=view.camera.replace(c2w=jax.random.normal(KEY, (2, 4, 4))))

  def at(entropy):
    cfg = ConfigDict(esd.DEFAULTS | {'entropy': entropy})
    return jax.jit(lambda view: esd.direction(KEY, view, prior, params, state, cfg)[0])(view)
  cfg = ConfigDict(vsd.DEFAULTS)
  plainly = jax.jit(lambda view: vsd.direction(KEY, view, prior, params, state, cfg)[0])
  plain = plainly(view)
  without = plainly(view.replace(camera=view.camera.replace(c2w=jnp.zeros((2, 4, 4)))))
  np.testing.assert_allclose(at(0.0), plain, atol=1e-6)
  np.testing.assert_allclose(at(1.0), without, atol=1e-5)
  np.testing.assert_allclose(at(0.25), 0.75 * plain + 0.25 * without, atol=1e-5)
  assert jnp.abs(plain - without).max() > 1e-4


@pytest.mark.parametrize('entropy', [0.0, 0.3, 1.0])
def test_esd_of_gaussian_renders_has_the_closed_form_s_mean(entropy):
  """Renders N(a, s^2) under a prior N(m, S^2). The critic with a camera knows the render
  itself (its noise), the one without all renders: the mean of g is that of the difference of the
  prior's and `entropy` times the renders' score, which is 0 on average."""
  mean, std, render_mean, render_std = 0.2, 0.7, -0.5, 0.4
  prior, params = gaussian.prior(mean, std)
  x0 = render_mean + render_std * jax.random.normal(jax.random.key(1), (20_000, 1, 1, 1))
  view = gaussian.view(x0, 0.5, base.classifier_free)
  x_t, eps = base.noised(KEY, view, prior)
  alpha = sigma = np.sqrt(0.5)
  of_all = sigma * (x_t - alpha * render_mean) / (alpha**2 * render_std**2 + sigma**2)
  predict = lambda trainable, prior, params, x_t, t, cond, cameras: jnp.where(
      cameras[:, :1, None, None] > 0, eps, of_all)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(critic, 'predict', predict)
    patch.setattr(critic, 'cameras', lambda view: jnp.ones((len(view.x0), 16)))
    cfg = config(esd, weighting='uniform', entropy=entropy, guidance=1.0)
    g, _, _ = esd.direction(KEY, view, prior, params, base.DistillState({}, {}), cfg)
  c_prior, c_render = alpha**2 * std**2 + sigma**2, alpha**2 * render_std**2 + sigma**2
  error = lambda x: 3 * float(x.std()) / np.sqrt(x.size)
  np.testing.assert_allclose(g.mean(), sigma * alpha * (render_mean - mean) / c_prior,
                             atol=error(g))
  # The slope in the spread s, E[g (x_0 - a)] / s, is sigma alpha s (1 / C_p - lambda / C_q).
  slope = g * (x0 - render_mean) / render_std
  expected = sigma * alpha * render_std * (1 / c_prior - entropy / c_render)
  np.testing.assert_allclose(slope.mean(), expected, atol=error(slope))


def test_invalid_settings_are_refused():
  prior, params = gaussian.prior(0.0, 1.0)
  with pytest.raises(ConfigError, match='matches no kernel'):
    vsd.init(KEY, params, config(critic_layers='nowhere'))
  view = gaussian.view(jnp.zeros((1, 2, 2, 1)), 0.5, base.classifier_free)
  state = vsd.init(KEY, params, config())
  with pytest.raises(ConfigError, match='none of v, eps'):
    critic.fit(state.trainable, KEY, view, prior, params, state, config(critic_target='x'))
