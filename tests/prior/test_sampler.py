"""DDIM against what it does to a Gaussian prior, in closed form."""

import functools

import diffusers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jax3dgen.prior import base, sampler, schedule
from tests.fakes import gaussian

SHAPE = (2, 3, 3, 2)


def sample(mean, std, steps, guidance=1.0, shift=None, eta=0.0, clip=None, shape=SHAPE, seed=0):
  prior, params = gaussian.prior(mean, std)
  cond = jnp.zeros(shape[:1]) if shift is None else jnp.full(shape[:1], shift)
  null = None if shift is None else jnp.zeros(shape[:1])
  run = functools.partial(sampler.ddim, prior=prior, params=params, cond=cond, null=null,
                          shape=shape, steps=steps, guidance=guidance, eta=eta, clip=clip)
  return prior, np.asarray(jax.jit(run)(jax.random.key(seed)))


def test_times_go_down_within_the_safe_range():
  times = np.asarray(sampler.times(schedule.COSINE, 7))
  assert times.shape == (8,) and (np.diff(times) < 0).all()
  np.testing.assert_allclose(times[[0, -1]], schedule.COSINE.safe_range[::-1])


@pytest.mark.parametrize('steps', [1, 4])
def test_standard_normal_prior_multiplies_by_cosines(steps):
  """eps^ = sigma x under N(0, 1): each transition multiplies by alpha alpha' + sigma sigma', the
  cosine of the difference of their angles arccos(alpha)."""
  prior, got = sample(0.0, 1.0, steps)
  start = jax.random.normal(jax.random.split(jax.random.key(0))[0], SHAPE)
  angle = np.asarray(sampler.times(prior.schedule, steps), np.float64) * np.pi / 2
  factor = np.prod(np.cos(np.diff(angle))) * np.cos(angle[-1])
  np.testing.assert_allclose(got, factor * start, atol=2e-4)


def test_many_steps_follow_the_flow_of_a_gaussian():
  """The ODE keeps (x - alpha m) / sqrt(alpha^2 S + sigma^2); DDIM converges to it."""
  mean, std = 0.4, 0.3
  prior, got = sample(mean, std, 400)
  start = np.asarray(jax.random.normal(jax.random.split(jax.random.key(0))[0], SHAPE), np.float64)
  t = np.array(prior.schedule.safe_range)
  alpha, sigma = np.cos(t * np.pi / 2), np.sin(t * np.pi / 2)
  spread = np.sqrt(alpha**2 * std**2 + sigma**2)
  end = alpha[0] * mean + spread[0] * (start - alpha[1] * mean) / spread[1]
  posterior = mean + alpha[0] * std**2 * (end - alpha[0] * mean) / spread[0] ** 2
  np.testing.assert_allclose(got, posterior, atol=5e-3)


@pytest.mark.parametrize('eta', [0.0, 1.0])
def test_samples_have_the_moments_of_the_prior(eta):
  _, got = sample(-0.2, 0.5, 400, eta=eta, shape=(4, 32, 32, 1))
  np.testing.assert_allclose([got.mean(), got.std()], [-0.2, 0.5], atol=0.025)


def test_eta_one_is_the_ancestral_step():
  """Eta 1 draws from q(x_s | x_t, x_0) of the Markov chain (Ho et al. 2020, Eq. 7)."""
  x, x0 = jnp.full((1, 1), 0.7), 0.2
  t, s = jnp.array([0.6]), jnp.array([0.5])
  cosine = schedule.COSINE
  eps = base.eps_from_x0(cosine, x, t, x0)
  step = lambda noise: sampler.ddim_step(cosine, x, t, s, eps, jnp.full((1, 1), noise), 1.0)
  at, st, as_, ss = (float(f(u)[0]) for u in (t, s) for f in (cosine.alpha, cosine.sigma))
  ratio = at / as_
  beta = st**2 - ratio**2 * ss**2
  mean = (ratio * ss**2 * 0.7 + as_ * beta * x0) / st**2
  np.testing.assert_allclose(step(0.0), mean, rtol=1e-5)
  np.testing.assert_allclose(step(1.0) - step(0.0), np.sqrt(beta) * ss / st, rtol=1e-5)


def test_deterministic_unless_eta():
  _, a = sample(0.1, 0.5, 5)
  _, b = sample(0.1, 0.5, 5)
  _, c = sample(0.1, 0.5, 5, eta=1.0)
  np.testing.assert_array_equal(a, b)
  assert np.abs(a - c).max() > 1e-2


def test_guidance_scale_one_is_conditional_and_zero_unconditional():
  conditional = sample(0.5, 0.3, 10)[1]
  np.testing.assert_allclose(sample(0.2, 0.3, 10, 1.0, shift=0.3)[1], conditional, atol=1e-4)
  plain = sample(0.2, 0.3, 10)[1]
  np.testing.assert_allclose(sample(0.2, 0.3, 10, 0.0, shift=0.3)[1], plain, atol=1e-4)


def test_guidance_of_equal_variances_moves_the_mean():
  """Linear in the mean where the variances agree: scale 4 acts like a shift four times as large."""
  np.testing.assert_allclose(sample(0.1, 0.3, 10, 4.0, shift=0.05)[1], sample(0.3, 0.3, 10)[1],
                             atol=1e-4)


def test_clip_bounds_the_clean_estimate():
  assert np.abs(sample(0.9, 0.5, 6)[1]).max() > 1.0
  assert np.abs(sample(0.9, 0.5, 6, clip=1.0)[1]).max() <= 1.0


# As SD was trained; 10 levels of which the index is whole.
LEVELS = {'beta_start': 0.00085, 'beta_end': 0.012, 'beta_schedule': 'scaled_linear'}
PUBLISHED = {
    'ddim': (lambda: diffusers.DDIMScheduler(
        **LEVELS, clip_sample=False, timestep_spacing='leading'), (0.0, 0.9)),
    'euler': (lambda: diffusers.EulerDiscreteScheduler(
        **LEVELS, timestep_spacing='linspace'), (0.0, 0.999)),
    'dpm_solver': (lambda: diffusers.DPMSolverMultistepScheduler(
        **LEVELS, timestep_spacing='linspace'), (0.1, 0.999)),
}


def toy(x, t):
  """A prediction that bends with x and t in [0, 1]; works on arrays and tensors."""
  return 0.7 * x / (0.5 + x * x) + (t - 0.5) * x


@pytest.mark.parametrize('name, eta', [('ddim', 0.0), ('ddim', 0.7), ('euler', 0.0),
                                       ('dpm_solver', 0.0)])
def test_steps_are_those_of_diffusers(name, eta):
  make, safe_range = PUBLISHED[name]
  steps, key = 9, jax.random.key(3)
  noise = schedule.discrete(schedule.betas(LEVELS))._replace(safe_range=safe_range)
  prior = gaussian.prior(0.0, 1.0)[0]._replace(
      schedule=noise, predict=lambda params, x, t, cond: toy(x, base.broadcast(t, x)))
  options = {'eta': eta} if eta else {}
  ours = jax.jit(lambda key: sampler.SAMPLERS[name](
      key, prior, None, None, None, SHAPE, steps, 1.0, **options))(key)

  start, fresh = jax.random.split(key)
  theirs = make()
  theirs.set_timesteps(steps + 1)
  x = torch.from_numpy(np.array(jax.random.normal(start, SHAPE)))
  if name == 'euler':  # its samples are x / alpha
    x = x / float(noise.alpha(safe_range[1]))
  for i, level in enumerate(theirs.timesteps):
    inputs = theirs.scale_model_input(x, level)
    kwargs = {'eta': eta if i < steps else 0.0, 'variance_noise': torch.from_numpy(np.array(
        jax.random.normal(jax.random.fold_in(fresh, i), SHAPE)))} if eta else {}
    x = theirs.step(toy(inputs, float(level) / 1000), level, x, **kwargs).prev_sample
  np.testing.assert_allclose(ours, x.numpy(), atol=2e-4 * float(x.abs().max()))
