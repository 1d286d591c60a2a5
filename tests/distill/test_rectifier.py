"""RecDreamer's rectifier on exact mixtures, and its parts against closed forms."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Prompt
from jax3dgen.distill import base, rectifier, sds, vsd
from jax3dgen.prior import base as priors
from jax3dgen.prior import gaussian as mixtures
from tests.fakes import gaussian

MEANS, STDS, WEIGHTS = [[-2.0], [0.0], [1.5]], [0.3, 0.5, 0.2], [0.7, 0.2, 0.1]
PRIOR, PARAMS = mixtures.mixture(MEANS, STDS, WEIGHTS)
TABLE = np.tile(WEIGHTS, (10, 1))  # the averages are the mixture's own weights
T = 0.35
KEY = jax.random.key(0)


def noisy_posterior(params, x0, t=None, cfg=None):
  """p_t(k | x_t) from the clean estimate of x_t, which grows with x_t here: by a table."""
  grid = jnp.linspace(-6.0, 6.0, 4001)
  x_t, t = grid[:, None, None, None], jnp.full(len(grid), T)
  eps = PRIOR.predict(PARAMS, x_t, t, jnp.full(len(grid), -1, jnp.int32))
  clean = priors.x0_from_eps(PRIOR.schedule, x_t, t, eps).ravel()
  share = mixtures.posterior(PRIOR, PARAMS, x_t, t)
  return jnp.stack([jnp.interp(x0.ravel(), clean, share[:, k]) for k in range(3)], -1)


def config(**fields):
  return ConfigDict(sds.DEFAULTS | rectifier.DEFAULTS | {
      'classes': 3, 'guidance': 1.0, 'weighting': 'uniform', 'clip': False, 'rect_scale': 1.0,
      'clamp': 1e9, 'floor': 1e-3} | fields)


def view_of(x0, **fields):
  view = gaussian.view(jnp.asarray(np.reshape(np.asarray(x0, float), (-1, 1, 1, 1))), T,
                       base.classifier_free, **fields)
  whole = jnp.int32(-1)
  return view.replace(prompt=Prompt(*[whole] * 8))


def directed(cfg, view, table=None, classify=noisy_posterior, inner=sds.DISTILLATION, key=KEY,
             prior=PRIOR):
  objective = rectifier.rectified(inner, classify)
  state = objective.init(KEY, PARAMS, cfg)
  if table is not None:
    state = state.replace(buffers=state.buffers | {'poses': table})
  return jax.jit(lambda view, state: objective.direction(
      key, view, prior, PARAMS, state, cfg))(view, state)


def plain_sds(view, prior=PRIOR, params=PARAMS, cfg=None, key=KEY):
  """The direction of SDS alone."""
  direction = lambda view: sds.direction(key, view, prior, params, None, cfg or config())[0]
  return np.asarray(jax.jit(direction)(view))


def rectifier_alone(cfg, view, table, key=KEY):
  """What the rectifier adds to SDS."""
  g, _, _ = directed(cfg, view, table, key=key)
  return np.asarray(g) - plain_sds(view, cfg=cfg, key=key)


def test_rectified_sds_is_sds_of_the_rebalanced_mixture(x64):
  # eps - sigma grad log r is the prediction of the mixture whose parts weigh the same.
  view = view_of(np.linspace(-2.5, 2.0, 12))
  table = TABLE
  g, _, metrics = directed(config(), view, table)
  balanced, its = mixtures.mixture(MEANS, STDS, [1, 1, 1])
  expected = plain_sds(view, balanced, its)
  np.testing.assert_allclose(g, expected, atol=2e-3)  # the table's grid
  plain = plain_sds(view)
  assert np.abs(g - plain).max() > 0.1 and metrics['rectifier'] > 0.01


def test_control_is_sds_of_the_camera_s_part(x64):
  # eps - sigma grad log p(k | x_t) = eps_k; three sectors of 120 degrees, the first at the front.
  for azimuth, k in ((0.0, 0), (2.0, 1), (-2.0, 2)):
    view = view_of(np.linspace(-1.0, 1.0, 5), azimuth=azimuth)
    g, _, _ = directed(config(control=True), view)
    alone, its = mixtures.mixture(MEANS[k:k + 1], STDS[k:k + 1], [1])
    expected = plain_sds(view, alone, its)
    np.testing.assert_allclose(g, expected, atol=0.05)


def test_uniform_averages_leave_the_direction_as_it_is():
  view = view_of([-1.0, 0.5])
  g, _, metrics = directed(config(rect_scale=1e4), view)
  plain = plain_sds(view)
  assert metrics['rectifier'] == 0  # sum_k p_k = 1 has no gradient
  np.testing.assert_allclose(g, plain, rtol=3e-7)  # a compiled program against single operations
  assert metrics['pose_entropy'] > 0.99 * np.log(3)


def test_without_the_denoiser_s_jacobian():
  view, table = view_of([0.3, -0.4]), TABLE
  plain = plain_sds(view)
  g, _, _ = directed(config(detach_denoiser=True), view, table)

  @jax.jit
  def slope(view):
    x_t, _ = base.noised(KEY, view, PRIOR)
    clean = priors.x0_from_eps(PRIOR.schedule, x_t, view.t,
                               PRIOR.predict(PARAMS, x_t, view.t, jnp.full(2, -1)))
    log_r = lambda x: jnp.log(noisy_posterior(None, x) @ (1 / 3 / jnp.array(WEIGHTS))).sum()
    return jax.grad(log_r)(clean)
  alpha, sigma = np.cos(0.5 * np.pi * T), np.sin(0.5 * np.pi * T)
  expected = -sigma / alpha * slope(view)
  np.testing.assert_allclose(g - plain, expected, rtol=1e-3, atol=1e-4)


def test_the_denoiser_is_evaluated_once_for_the_objective_and_the_rectifier():
  view, calls = view_of([0.3, -0.4]), []

  def counting(*args):
    calls.append(args)
    return base.classifier_free(*args)
  for remat in (False, True):
    calls.clear()
    cfg = config(remat=remat, fixed=(0.7, 0.2, 0.1), tweedie='guided')
    result, _, _ = directed(cfg, view.replace(guide=counting))
    assert len(calls) == 1
    expected, _, _ = directed(config(fixed=(0.7, 0.2, 0.1)), view)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_the_estimate_is_that_of_the_conditional_prediction_or_of_the_guided_one(x64):
  # Guidance is then the objective's alone: the rectifier is that of guidance 1. Prompts ask for
  # the second part of the mixture, no prompt for the whole.
  view, table = view_of([0.3, -0.4]), TABLE
  view = view.replace(prompt=Prompt(*[jnp.int32(1)] * 8).replace(null=jnp.int32(-1)))
  rows = []

  def counting(params, x_t, t, cond):
    rows.append(len(x_t))
    return PRIOR.predict(params, x_t, t, cond)
  cfg, guided = config(guidance=3.0), config(guidance=3.0, tweedie='guided')
  result = rectifier_alone(cfg, view, table)
  np.testing.assert_allclose(result, rectifier_alone(config(), view, table), atol=1e-6)
  assert np.abs(result - rectifier_alone(guided, view, table)).max() > 0.01
  directed(cfg, view, table, prior=PRIOR._replace(predict=counting))
  assert rows == [2, 2]  # the one that goes back, and the one without a prompt
  other = lambda *args: base.classifier_free(*args)  # another guide makes its own predictions
  again, _, _ = directed(cfg, view.replace(guide=other), table)
  np.testing.assert_allclose(again, directed(cfg, view, table)[0], atol=1e-6)


def test_the_rectifier_may_have_separate_noise(x64):
  view, table = view_of([0.3, -0.4]), TABLE
  result = rectifier_alone(config(noise='fresh'), view, table)
  expected = rectifier_alone(config(), view, table, rng.stream(KEY, 'rectifier'))
  np.testing.assert_allclose(result, expected, atol=1e-6)
  assert np.abs(result - rectifier_alone(config(), view, table)).max() > 0.01


def test_rectified_vsd_is_vsd_of_the_rebalanced_mixture(x64):
  # USD (Eq. 13) with the exact posterior and a critic that says one half everywhere: what is left
  # is the rebalanced mixture's prediction and the critic's.
  view, table = view_of(np.linspace(-2.5, 2.0, 12)), TABLE
  cfg = config(**{k: v for k, v in vsd.DEFAULTS.items() if k.startswith('c')} | {
      'classes': 3, 'clamp': 1e9, 'clip': False})
  balanced, its = mixtures.mixture(MEANS, STDS, [1, 1, 1])
  x_t, expected = jax.jit(lambda view: (lambda x_t: (x_t, balanced.predict(
      its, x_t, view.t, jnp.full(12, -1)) - 0.5))(base.noised(KEY, view, PRIOR)[0]))(view)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(vsd.critic, 'predict', lambda *args: jnp.full_like(x_t, 0.5))
    patch.setattr(vsd.critic, 'cameras', lambda view: None)
    objective = rectifier.rectified(vsd.DISTILLATION._replace(
        init=lambda *args: base.DistillState({}, {})), noisy_posterior)
    state = objective.init(KEY, PARAMS, cfg)
    state = state.replace(buffers=state.buffers | {'poses': table})
    result, _, _ = jax.jit(lambda view: objective.direction(
        KEY, view, PRIOR, PARAMS, state, cfg))(view)
  np.testing.assert_allclose(result, expected, atol=2e-3)


def test_fixed_shares_take_the_place_of_the_averages():
  view = view_of([0.3, -0.4])
  cfg = config(fixed=(0.6, 0.3, 0.1))
  _, state, _ = directed(cfg, view)
  state = base.folded(rectifier.rectified(sds.DISTILLATION, noisy_posterior), state, cfg)
  np.testing.assert_allclose(state.buffers['poses'], [[0.6, 0.3, 0.1]] * 10, rtol=1e-6)
  for shares in ((0.5, 0.5), (-1.0, 1.0, 1.0), (0.0, 0.0, 0.0)):
    with pytest.raises(ConfigError, match='config.distill.fixed'):
      directed(config(fixed=shares), view)


def test_a_classifier_may_take_the_noisy_image(x64):
  # p(k | x_t) itself, so that no gradient goes through the denoiser: exact here.
  view, table = view_of(np.linspace(-2.5, 2.0, 12)), TABLE
  posterior = lambda params, image, t, cfg: mixtures.posterior(PRIOR, PARAMS, image, t)
  g, _, _ = directed(config(sees='noisy', feed='estimate'), view, table, posterior)
  balanced, its = mixtures.mixture(MEANS, STDS, [1, 1, 1])
  expected = plain_sds(view, balanced, its)
  np.testing.assert_allclose(g, expected, atol=1e-6)


def test_the_classifier_may_take_a_smaller_image():
  sides = []

  def classify(params, picture, t, cfg):
    sides.append(picture.shape[1:3])
    return jax.nn.softmax(picture.mean((1, 2)) * jnp.arange(3.0)[None])
  view = gaussian.view(jnp.ones((2, 8, 8, 1)), T, base.classifier_free)
  view = view.replace(prompt=Prompt(*[jnp.int32(-1)] * 8))
  for decode, side in ((1.0, 8), (0.5, 4)):
    sides.clear()
    directed(config(decode=decode, feed='estimate'), view, classify=classify)
    assert set(sides) == {(side, side)}
  for bad in (0.0, 1.5):
    with pytest.raises(ConfigError, match='decode'):
      directed(config(decode=bad), view)


@pytest.mark.parametrize('field', ['intervals', 'n_ema', 'classes'])
def test_counts_below_one_are_refused(field):
  with pytest.raises(ConfigError, match=field):
    directed(config(**{field: 0}), view_of([0.0]))


def test_another_number_of_poses_than_the_classifier_s_is_refused():
  with pytest.raises(ConfigError, match='has 3 poses, not config.distill.classes=4'):
    directed(config(classes=4), view_of([0.0]))


def test_the_pose_that_a_camera_asks_for():
  view = view_of([0.0] * 4)
  view = view.replace(camera=view.camera.replace(azimuth=jnp.deg2rad(jnp.arange(4) * 90.0)))
  ask = lambda poses, classes: np.asarray(
      rectifier.camera_pose(view, config(poses=poses, classes=classes)))
  np.testing.assert_array_equal(ask('', 4), np.eye(4))
  np.testing.assert_array_equal(ask('front left+right back', 3),
                                [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
  np.testing.assert_array_equal(ask('front back', 2), [[1, 0], [1, 1], [0, 1], [1, 1]])


def test_averages_follow_the_last_views():
  # A constant input p gives p + (1 - a)^n (u - p), and the last n_ema carry 90 %.
  rate = rectifier.decay(100)
  np.testing.assert_allclose([rate, rectifier.decay(1000), rectifier.decay(10_000)],
                             [0.0227628, 0.0022999, 0.00023023], rtol=1e-4)
  np.testing.assert_allclose(1 - (1 - rate)**100, 0.9)
  start, p = jnp.full((10, 4), 0.25), jnp.array([0.7, 0.1, 0.1, 0.1])
  rows = jnp.array([3] * 5 + [9])
  averages = rectifier.update_averages(start, rows, jnp.tile(p, (6, 1)), rate)
  np.testing.assert_allclose(averages[3], p + (1 - rate)**5 * (0.25 - p), rtol=1e-5)
  np.testing.assert_allclose(averages[9], p + (1 - rate) * (0.25 - p), rtol=1e-5)
  np.testing.assert_array_equal(averages[:3], start[:3])
  np.testing.assert_array_equal(rectifier.interval(jnp.array([0.0, 0.099, 0.1, 0.95, 1.0]), 10),
                                [0, 0, 1, 9, 9])


@pytest.mark.parametrize('count', [1, 2, 4])
def test_averages_do_not_depend_on_the_number_of_devices(count):
  # Seven steps of four equal views, in turn on 1, 2 and 4 devices; other views in other orders.
  objective, cfg = rectifier.rectified(sds.DISTILLATION, noisy_posterior), config(n_ema=25)
  gather = lambda x: jax.lax.all_gather(x, 'v', tiled=True)

  def fold(shares):  # [28, 3], four of them a step
    def run(mine):  # [7, 4 / count, 3]
      state = base.DistillState({'inner': {}, 'poses': jnp.full((10, 3), 1 / 3)}, {})
      for part in mine:
        observed = {'inner': (), 'poses': (jnp.full(len(part), 3), part)}
        state = base.folded(objective, state.replace(observed=observed), cfg, gather)
      return state.buffers['poses'][3]
    return np.array(jax.jit(jax.vmap(run, 1, axis_name='v'))(shares.reshape(7, count, -1, 3)))
  equal = jnp.tile(jnp.array([1.0, 0.0, 0.0]), (28, 1))
  expected = equal[0] + 0.1**(28 / 25) * (1 / 3 - equal[0])
  np.testing.assert_allclose(fold(equal), np.tile(expected, (count, 1)), rtol=1e-5)
  other = jax.nn.softmax(jax.random.normal(KEY, (28, 3)))
  table = rectifier.update_averages(jnp.full((10, 3), 1 / 3), jnp.full(28, 3), other,
                                    rectifier.decay(25))
  np.testing.assert_allclose(fold(other), np.tile(table[3], (count, 1)), rtol=1e-5)


def test_clamp_is_per_view_and_keeps_directions():
  # The norm is the smaller of the two, the direction stays; no objective, no rectifier.
  g = jnp.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])[:, None, :, None]
  change = jnp.array([[0.0, 20.0], [1.0, 1.0], [0.3, 0.4]])[:, None, :, None]
  result, over = rectifier.clamp(change, g, 1.0, rectifier.norms)
  result = result[:, 0, :, 0]
  assert over.tolist() == [True, True, False]
  np.testing.assert_allclose(result, [[0, 5], [0, 0], [0.3, 0.4]], atol=1e-6)
  result = rectifier.clamp(change, g, 0.3, rectifier.norms)[0][0, 0, :, 0]
  np.testing.assert_allclose(result, [0, 1.5], atol=1e-6)
  assert (rectifier.clamp(0 * change, g, 1.0, rectifier.norms)[0] == 0).all()


def test_norms_may_be_those_of_the_pixels():
  # An encoder that weighs pixels: its adjoint weighs directions so before their norms are taken.
  weights = jnp.array([3.0, 0.5])
  prior = PRIOR._replace(encode=lambda params, image: image * weights[None, None, None])
  size = rectifier.pixel_norms(prior, PARAMS, jnp.zeros((1, 1, 1, 2)))
  g, change = jnp.array([[[[1.0, 0.0]]]]), jnp.array([[[[1.0, 8.0]]]])
  result, _ = rectifier.clamp(change, g, 1.0, size)
  np.testing.assert_allclose(result, change * 3.0 / 5.0, rtol=1e-6)  # |(3, 0)| over |(3, 4)|
  with pytest.raises(ConfigError, match='prior, image'):
    directed(config(clamp_space='latent'), view_of([0.1]))


def test_what_feeds_the_averages():
  view, rate = view_of([-2.0, -2.0]), rectifier.decay(rectifier.DEFAULTS['n_ema'])
  classify = lambda params, image, t, cfg: jnp.where(image.reshape(-1, 1) == -2.0, jnp.eye(3)[:1],
                                             jnp.eye(3)[2:])
  for feed, k in (('render', 0), ('estimate', 2)):
    cfg = config(feed=feed)
    _, state, _ = directed(cfg, view, classify=classify)
    state = base.folded(rectifier.rectified(sds.DISTILLATION, classify), state, cfg)
    expected = 1 - (1 - rate)**2 * (1 - 1 / 3)
    np.testing.assert_allclose(state.buffers['poses'][3, k], expected, rtol=1e-5)
  with pytest.raises(ConfigError, match='render, estimate'):
    directed(config(feed='both'), view)


def test_it_wraps_an_objective_with_buffers_and_trainable_weights():
  def init(key, params, cfg):
    return base.DistillState({'seen': jnp.zeros(())}, {'w': jnp.ones(())})

  def direction(key, view, prior, params, state, cfg):
    g = state.trainable['w'] * jnp.ones_like(view.x0)
    return g, state.replace(buffers={'seen': state.buffers['seen'] + 1},
                            observed=view.x0.ravel()), {}
  fit = lambda trainable, *rest: trainable['w']**2
  fold = lambda buffers, observed, cfg: {'seen': buffers['seen'] + observed.sum()}
  for inner, count in ((base.Distillation(init, direction, fit), 1),
                       (base.Distillation(init, direction, fit, fold=fold), 6)):
    objective = rectifier.rectified(inner, noisy_posterior)
    assert objective.fit is fit
    g, state, _ = directed(config(), view_of([2.0, 3.0]), inner=inner)
    state = base.folded(objective, state, config())
    assert state.buffers['inner']['seen'] == count and state.trainable == {'w': 1.0}
    assert state.observed == ()
