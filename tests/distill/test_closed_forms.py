"""Every objective on a Gaussian prior, whose predictions are known, against its formula by hand."""

import diffusers
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy import stats

from jax3dgen.core.types import Prompt
from jax3dgen.distill import base, csd, hifa, ism, jsd, nfsd, sdi, sds, sds_bridge, sjc
from jax3dgen.prior import base as priors
from jax3dgen.prior import gaussian as mixtures
from jax3dgen.prior import sampler, schedule
from tests.fakes import gaussian

MEAN, STD, COND, NEGATIVE, SOURCE, T = 0.2, 0.7, 0.5, -0.3, -0.1, 0.6
ALPHA, SIGMA = np.cos(0.5 * np.pi * T), np.sin(0.5 * np.pi * T)
VARIANCE = ALPHA**2 * STD**2 + SIGMA**2
PRIOR, PARAMS = gaussian.prior(MEAN, STD)
X0 = np.float32(np.random.default_rng(0).normal(size=(3, 4, 4, 1)))


def predicted(x, shift=0.0, alpha=ALPHA, sigma=SIGMA):
  """The prior's noise prediction, in NumPy."""
  return sigma * (x - alpha * (MEAN + shift)) / (alpha**2 * STD**2 + sigma**2)


def directed(module, x0=X0, key=0, t=T, step=0, **fields):
  """g of an objective with its defaults but for `fields`."""
  view = gaussian.view(jnp.asarray(x0), t, base.classifier_free, shift=COND, negative=NEGATIVE,
                       source=SOURCE, step=step)
  cfg = ConfigDict(module.DEFAULTS | fields)
  state = base.DistillState({}, {})

  @jax.jit
  def direction(key, view):
    g, after, _ = module.direction(key, view, PRIOR, PARAMS, state, cfg)
    assert after is state
    return g
  return jax.device_get(direction(jax.random.key(key), view))


def mean_of(module, away, **fields):
  """(mean, its standard error) of g at a render `away` from the prior's mean."""
  g = directed(module, np.full((4000, 2, 2, 1), MEAN + away, np.float32), **fields)
  return g.mean(), g.std() / np.sqrt(g.size) + 1e-6


def test_sjc_has_the_mean_of_sds_with_and_without_its_noise():
  guided = ALPHA * SIGMA * (0.4 - 4.0 * COND) / VARIANCE
  for centered in (True, False):
    mean, error = mean_of(sjc, 0.4, centered=centered)
    assert abs(mean - guided) < 3 * error
  np.testing.assert_allclose(directed(sjc), directed(sds, weighting='uniform', clip=False),
                             rtol=1e-5)


@pytest.mark.parametrize('negative', [0.0, 1.5])
def test_csd_is_the_classifier_alone(negative):
  per = SIGMA * ALPHA / VARIANCE
  expected = SIGMA**2 * (-4.0 * per * COND + negative * per * NEGATIVE)
  np.testing.assert_allclose(directed(csd, negative=negative, weighting='sds'), expected, rtol=1e-4)
  growing = (0, 0.0, 2 * negative, 100)
  np.testing.assert_allclose(directed(csd, negative=growing, weighting='sds', step=50), expected,
                             rtol=1e-4)


def test_nfsd_at_high_and_low_noise():
  expected = SIGMA**2 * SIGMA * ALPHA / VARIANCE * (-7.5 * COND + NEGATIVE)
  np.testing.assert_allclose(directed(nfsd), expected, rtol=1e-4)
  alpha, sigma = np.cos(0.05 * np.pi), np.sin(0.05 * np.pi)
  mean, error = mean_of(nfsd, 0.4, t=0.1)
  variance = alpha**2 * STD**2 + sigma**2
  assert abs(mean - sigma**2 * sigma * alpha / variance * (-7.5 * COND + 0.4)) < 3 * error


def test_hifa_has_the_residual_of_the_pixels_too():
  # Where the decoder is the identity, I - x0_hat = sigma / alpha (eps_guided - eps).
  plain = directed(sds, weighting='sds', clip=False)
  g = directed(hifa, image_weight=0.5)
  np.testing.assert_allclose(g.x0, plain, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(g.image, 0.5 * plain, rtol=1e-3, atol=1e-5)


def test_bridge_is_sds_first_and_then_leads_from_the_source():
  first = directed(sds_bridge, step=959, switch=960)
  np.testing.assert_allclose(first, directed(sds, clip=False), rtol=1e-4, atol=1e-6)
  expected = -4.0 * SIGMA * SIGMA * ALPHA / VARIANCE * (COND - SOURCE)
  for step in (960, 961, 5000):  # a run that resumes beyond the switch is in stage 2, too
    np.testing.assert_allclose(directed(sds_bridge, step=step, switch=960), expected, rtol=1e-4)
  np.testing.assert_allclose(directed(sds_bridge, step=960, switch=960, bridge_weighting='uniform'),
                             expected / SIGMA, rtol=1e-4)


def test_the_source_prompt_of_the_bridge_is_that_of_the_view():
  rows = jnp.float32([0.1, 0.2, 0.3, 0.4])
  for azimuth, elevation, shift in ((0, 0, 0.1), (90, 0, 0.2), (180, 0, 0.3), (0, 80, 0.4)):
    view = gaussian.view(jnp.asarray(X0), T, base.classifier_free, COND, np.deg2rad(azimuth),
                         np.deg2rad(elevation), step=960)
    view = view.replace(prompt=view.prompt.replace(source=tuple(rows)))
    g, _, _ = sds_bridge.direction(jax.random.key(0), view, PRIOR, PARAMS, None,
                                   ConfigDict(sds_bridge.DEFAULTS))
    expected = -4.0 * SIGMA * SIGMA * ALPHA / VARIANCE * (COND - shift)
    np.testing.assert_allclose(g, np.full(X0.shape, expected), rtol=1e-4)


def inverted(x, steps, t=T, scale=0.0):
  """DDIM inversion under guidance `scale`, in NumPy."""
  low = PRIOR.schedule.safe_range[0]
  levels = low + (t - low) * np.arange(steps + 1) / steps
  for now, later in zip(levels[:-1], levels[1:], strict=True):
    alpha, sigma = np.cos(0.5 * np.pi * now), np.sin(0.5 * np.pi * now)
    eps = predicted(x, scale * COND, alpha, sigma)
    x = (np.cos(0.5 * np.pi * later) * (x - sigma * eps) / alpha
         + np.sin(0.5 * np.pi * later) * eps)
  return x


def test_ism_compares_two_points_of_one_trajectory():
  s = T - 0.05
  x_s = inverted(X0, 3, s)
  alpha, sigma = np.cos(0.5 * np.pi * s), np.sin(0.5 * np.pi * s)
  eps_s = predicted(x_s, 0.0, alpha, sigma)
  x_t = ALPHA * (x_s - sigma * eps_s) / alpha + SIGMA * eps_s
  expected = SIGMA**2 * (predicted(x_t, 7.5 * COND) - eps_s)
  np.testing.assert_allclose(directed(ism), expected, rtol=1e-3, atol=1e-5)


def test_sdi_moves_to_the_guided_estimate_of_the_inverted_render():
  x_t = inverted(X0, 10, scale=-7.5)
  expected = X0 - (x_t - SIGMA * predicted(x_t, 7.5 * COND)) / ALPHA
  np.testing.assert_allclose(directed(sdi, eta=0.0, clip=False), expected, rtol=1e-3, atol=1e-4)


def test_jsd_without_the_minority_sample_and_with_shared_noise():
  x_t = inverted(X0, 10, scale=1.0)
  noise, high = (x_t - ALPHA * X0) / SIGMA, predicted(x_t, 13.5 * COND)
  w = SIGMA**2 * ALPHA / SIGMA
  np.testing.assert_allclose(directed(jsd, minority=False, clip=False), w * (high - noise),
                             rtol=1e-3, atol=1e-4)
  xbar_t = x_t - SIGMA * high + SIGMA * noise
  np.testing.assert_allclose(directed(jsd, minority_noise='shared', clip=False),
                             w * (high - predicted(xbar_t, 13.5 * COND)), rtol=1e-3, atol=1e-4)


def test_mean_of_jsd_with_fresh_noise():
  # The mean prediction at the minority sample is that at its centre.
  mean, error = mean_of(jsd, 0.4, clip=False)
  x_t = inverted(np.array(MEAN + 0.4), 10, scale=1.0)
  high = predicted(x_t, 13.5 * COND)
  expected = SIGMA * ALPHA * (high - predicted(x_t - SIGMA * high, 13.5 * COND))
  assert abs(mean - expected) < 3 * error


def test_targets_of_jsd_are_twice_sdi_plus_the_second_residual():
  # (z - h) + (z - l) = 2 (z - h) + sigma / alpha (eps_2 - eps_fresh).
  fields = {'variant': 'targets', 'minority_noise': 'shared', 'clip': False}
  x_t = inverted(X0, 10, scale=1.0)
  noise, high = (x_t - ALPHA * X0) / SIGMA, predicted(x_t, 13.5 * COND)
  first = X0 - (x_t - SIGMA * high) / ALPHA
  low = predicted(x_t - SIGMA * high + SIGMA * noise, 13.5 * COND)
  np.testing.assert_allclose(directed(jsd, **fields), 2 * first + SIGMA / ALPHA * (low - noise),
                             rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(directed(jsd, **fields | {'minority': False}), first, rtol=1e-3,
                             atol=1e-4)


def test_clipped_estimates_stay_in_the_range_of_images():
  clean = lambda x, scale: (x - SIGMA * predicted(x, scale * COND)) / ALPHA
  x_t = inverted(X0, 10, scale=1.0)
  noise, h = (x_t - ALPHA * X0) / SIGMA, np.clip(clean(x_t, 2.0), -1, 1)
  xbar_t = ALPHA * h + SIGMA * noise
  low = np.clip(clean(xbar_t, 2.0), -1, 1)
  assert 0.1 < (np.abs(h) == 1).mean() < 0.9
  fields = {'guidance': 2.0, 'minority_noise': 'shared'}
  np.testing.assert_allclose(directed(jsd, variant='targets', **fields), 2 * X0 - h - low,
                             rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(  # between the noises that the clipped estimates imply
      directed(jsd, **fields), ALPHA * (x_t - ALPHA * h - xbar_t + ALPHA * low), rtol=1e-3,
      atol=1e-4)
  x_t = inverted(X0, 10, scale=-7.5)
  np.testing.assert_allclose(directed(sdi, eta=0.0, guidance=2.0),
                             X0 - np.clip(clean(x_t, 2.0), -1, 1), rtol=1e-3, atol=1e-4)


def divergence(mean, width, spread):
  """JSD of N(mean, width^2) and N(0, spread^2) by quadrature."""
  x = np.linspace(-15, 15, 60_001)
  q, p = stats.norm.pdf(x, mean, width), stats.norm.pdf(x, 0, spread)
  term = lambda a: np.where(a > 0, a * np.log(np.where(a > 0, 2 * a / (p + q), 1.0)), 0.0)
  return 0.5 * np.trapezoid(term(p) + term(q), x)


@pytest.mark.parametrize('saturating', [True, False])
def test_exact_jsd_is_the_gradient_of_the_divergence(saturating):
  # With q(x_t | x_0) and p(x_t): d JSD / dm, or E_q[(1 - D*) (s_q - s_p)] where D* is frozen.
  prior, params = mixtures.mixture([[0.0]], [1.0], [1.0])
  log_density = lambda params, x, t, cond: mixtures.log_density(prior, params, x, t, cond)
  objective = jsd.exact(log_density, saturating)
  x0 = 0.9
  view = gaussian.view(jnp.full((200_000, 1, 1, 1), x0), T, base.classifier_free)
  zero = jnp.int32(0)
  view = view.replace(prompt=jax.tree.map(lambda _: zero, view.prompt))
  cfg = ConfigDict({'weighting': 'uniform'})
  g = np.asarray(jax.jit(lambda key, view: objective.direction(
      key, view, prior, params, base.DistillState({}, {}), cfg)[0])(jax.random.key(0), view))
  mean, error = g.mean() / SIGMA, g.std() / np.sqrt(g.size) / SIGMA
  h = 1e-4
  slope = lambda f: (f(ALPHA * x0 + h) - f(ALPHA * x0 - h)) / (2 * h)
  if saturating:
    expected = slope(lambda m: divergence(m, SIGMA, 1.0))
  else:  # E_q[(1 - D*) (s_q - s_p)] by quadrature
    x = np.linspace(-15, 15, 60_001)
    q, p = stats.norm.pdf(x, ALPHA * x0, SIGMA), stats.norm.pdf(x)
    residual = -(x - ALPHA * x0) / SIGMA**2 + x
    expected = np.trapezoid(q * (1 - p / (p + q)) * residual, x)
  assert abs(mean - expected) < 3 * error


def test_inversion_turns_by_the_angle_of_each_step():
  # Under N(0, 1), every DDIM step multiplies by cos(phi' - phi), phi = arccos alpha.
  prior, params = gaussian.prior(0.0, 1.0)
  predict = lambda x, t: prior.predict(params, x, t, jnp.zeros(len(x)))
  x0 = np.ones((1, 1, 1, 1), np.float32)
  low = prior.schedule.safe_range[0]
  for steps in (1, 7, 10):
    x_t = jax.jit(lambda x, steps=steps: sampler.invert(
        jax.random.key(0), prior.schedule, predict, x, jnp.full(1, 0.9), steps))(x0)
    np.testing.assert_allclose(x_t, np.cos(0.5 * np.pi * (0.9 - low) / steps)**steps, rtol=1e-5)


def test_transitions_of_stable_diffusion_s_grid():
  # The product of alpha alpha' + sigma sigma' over levels 1, 101, ..., 901 is .880421.
  grid = schedule.discrete(schedule.betas({'beta_schedule': 'scaled_linear', 'beta_start': 0.00085,
                                           'beta_end': 0.012}))
  alpha, sigma = (np.asarray(f(jnp.arange(1, 1000, 100) / 1000), np.float64)
                  for f in (grid.alpha, grid.sigma))
  product = np.prod(alpha[1:] * alpha[:-1] + sigma[1:] * sigma[:-1])
  assert product == pytest.approx(0.880421, rel=1e-5)


def test_renoised_inversion_is_undone_by_ddim():
  steps, t = 10, 0.6
  predict = lambda x, t: PRIOR.predict(PARAMS, x, t, jnp.zeros(len(x)))
  ddim = jax.jit(lambda x, now, later: sampler.ddim_step(
      PRIOR.schedule, x, now, later, predict(x, now), 0.0, 0.0))
  low = PRIOR.schedule.safe_range[0]
  levels = low + (t - low) * np.arange(steps, -1, -1) / steps

  def error(renoise):
    x = jax.jit(lambda x: sampler.invert(jax.random.key(0), PRIOR.schedule, predict, x,
                                         jnp.full(3, t), steps, renoise=renoise))(X0)
    for now, later in zip(levels[:-1], levels[1:], strict=True):
      x = ddim(x, np.full(3, now, np.float32), np.full(3, later, np.float32))
    return float(np.abs(x - X0).max())
  errors = [error(renoise) for renoise in (0, 2, 8)]
  assert errors[0] > 10 * errors[1] and errors[2] < 1e-4


def test_stochastic_inversion_adds_noise_to_the_deterministic_one():
  # N(0, 1) has eps = sigma x, so that each step multiplies x by alpha alpha' + sigma sigma'; the
  # fresh noise has .3^2 times the variance of q(x_t | x_0, x_t'), as diffusers' scheduler gives it.
  # The levels are those of the authors' inversion, .001, .101, ... .901.
  betas = schedule.betas({'beta_start': 0.00085, 'beta_end': 0.012,
                          'beta_schedule': 'scaled_linear'})
  sd = schedule.discrete(betas)._replace(safe_range=(0.001, 0.999))
  scheduler = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012,
                                      beta_schedule='scaled_linear')
  abar, variance = np.cumprod(1 - betas), 1.0
  for now, later in zip(range(1, 900, 100), range(101, 902, 100), strict=True):
    keep = np.sqrt(abar[now] * abar[later]) + np.sqrt((1 - abar[now]) * (1 - abar[later]))
    variance = keep**2 * variance + 0.09 * float(scheduler._get_variance(later, now))
  np.testing.assert_allclose(variance, 1.004, atol=1e-3)  # .842 if it replaced that noise
  predict = lambda x, t: priors.broadcast(sd.sigma(t), x) * x
  x0 = np.random.default_rng(1).normal(size=(40_000, 1, 1, 1)).astype(np.float32)
  x_t = jax.jit(lambda x: sampler.invert(jax.random.key(2), sd, predict, x,
                                         jnp.full(40_000, 0.901), 9, eta=0.3))(x0)
  np.testing.assert_allclose(x_t.var(), variance, rtol=0.03)


@pytest.mark.parametrize('noise, scale, low, high', [
    ('shared', 1.0, 0.99, 1.0), ('fresh', 1.0, -0.1, 0.1), ('shared', 13.5, -1.0, -0.5),
    ('fresh', 13.5, -1.0, -0.5)])
def test_control_variate_of_jsd(noise, scale, low, high, monkeypatch):
  """Eight Gaussians on a circle (radius 4, std 0.3): correlation of the two predictions of Eq. 12.

  The paper's Figure 3 shows a positive one; here only shared noise without guidance has it.
  """
  angle = 2 * np.pi * np.arange(8) / 8
  prior, params = mixtures.mixture(4 * np.stack([np.cos(angle), np.sin(angle)], -1), [0.3] * 8,
                                   [1] * 8)
  x0 = mixtures.sample(jax.random.key(0), params, jnp.full(2000, 2))
  view = gaussian.view(x0, 0.6, base.classifier_free)
  whole, part = jnp.int32(-1), jnp.int32(2)
  view = view.replace(prompt=Prompt(*[part] * 5, null=whole, negative=whole, source=whole))
  noises = []
  guided = base.guided
  monkeypatch.setattr(base, 'guided', lambda *args: noises.append(guided(*args)) or noises[-1])
  cfg = ConfigDict(jsd.DEFAULTS | {'guidance': scale, 'minority_noise': noise,
                                   'clip': False})

  @jax.jit
  def predictions(key, view):
    jsd.direction(key, view, prior, params, base.DistillState({}, {}), cfg)
    return noises[-2:]
  correlation = np.corrcoef(*map(np.ravel, predictions(jax.random.key(1), view)))[0, 1]
  assert low <= correlation <= high + 1e-6
