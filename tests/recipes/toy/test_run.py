"""The toy studies: their command with the tiny config, and the parts against closed forms."""

import json

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
from scipy import integrate, stats

from experiments import _command, _config
from experiments import toy as command
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError
from jax3dgen.prior import gaussian, schedule
from jax3dgen.recipes.toy import bounds as toy_bounds
from jax3dgen.recipes.toy import esd as toy_esd
from jax3dgen.recipes.toy import flow as toy_flow
from jax3dgen.recipes.toy import jsd as toy_jsd
from jax3dgen.recipes.toy import modes as toy_modes
from jax3dgen.recipes.toy import poses as toy_poses
from jax3dgen.recipes.toy import priors as toy_priors
from jax3dgen.recipes.toy import run as toy
from tests import commands

KEY = jax.random.key(0)


CONFIG = f'{commands.ROOT / "configs" / "toy.py"}:tiny'


def call(workdir, *args):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(launch, 'reexecute', lambda: None)
    return _command.call(command.run, command.__doc__, config='configs/toy.py',
                         argv=[f'--config={CONFIG}', f'--workdir={workdir}', *args])


@pytest.mark.parametrize('study', [
    name if name == 'divergence_bounds' else pytest.param(name, marks=pytest.mark.slow)
    for name in toy.STUDIES])
def test_a_study_leaves_a_page_a_picture_and_figures(study, tmp_path, capsys):
  assert call(tmp_path, f'--config.study={study}') == 0
  page = (tmp_path / 'toy.md').read_text()
  assert toy.STUDIES[study][1] in page and f'](toy_{study}.png)' in page and 'nan' not in page
  assert (tmp_path / f'toy_{study}.png').read_bytes().startswith(b'\x89PNG')
  figures = json.loads((tmp_path / 'toy.json').read_text())
  assert list(figures) == [study]
  CHECKS[study](figures[study], _config.load(CONFIG)[1])


def check_divergences(rows, config):
  """By quadrature, with the bounds of JSD; slopes are differences."""
  mixture = lambda parts, x, shift=0.0: sum(
      weight * stats.norm.pdf(x, mean + shift, std) for weight, mean, std in parts)
  assert [row['shift'] for row in rows] == list(toy_bounds.SHIFTS)
  p = lambda x: mixture(toy_bounds.P, x)
  for row in rows[1:]:
    q = lambda x, shift=row['shift']: mixture(toy_bounds.Q, x, shift)
    total = lambda f: integrate.quad(f, -12, 14, limit=200, points=np.arange(-3.0, 11.0))[0]
    kl = [total(lambda x, a=a, b=b: a(x) * np.log(a(x) / b(x))) for a, b in ((p, q), (q, p))]
    np.testing.assert_allclose([row['kl_pq'], row['kl_qp']], kl, rtol=1e-4)
    np.testing.assert_allclose(row['tv'], total(lambda x, q=q: 0.5 * abs(p(x) - q(x))), rtol=1e-4)
    assert row['jsd'] <= min(0.5 * min(kl), 0.25 * sum(kl), np.log(2) * row['tv'])
    assert row['value'] == pytest.approx(2 * row['jsd'] - np.log(4), rel=1e-6)
    near = [toy_bounds.row(row['shift'] + h) for h in (1e-3, -1e-3)]
    for slope, name in (('jsd', 'jsd'), ('reverse_kl', 'kl_qp')):
      assert row['slopes'][slope] == pytest.approx((near[0][name] - near[1][name]) / 2e-3, rel=1e-3)


def check_fits(rows, config):
  """lambda Sigma_p - (1 - lambda) (sigma / alpha)^2 I, without its negative directions."""
  abar = config.esd.abar
  assert [(row['case'], row['entropy']) for row in rows] == [
      (case, entropy) for case in toy_esd.CASES for entropy in config.esd.entropies]
  for row in rows:
    eigenvalues = np.linalg.eigvalsh(np.array(toy_esd.CASES[row['case']][1]))
    expected = row['entropy'] * eigenvalues - (1 - row['entropy']) * (1 - abar) / abar
    np.testing.assert_allclose(row['expected'], np.maximum(expected, 0), atol=1e-6)
    assert all(low <= value <= high for value, low, high in row['fitted'])


def check_poses(figures, config):
  assert len(figures['flows']) == len(list(toy_poses.cases(config)))
  for row in figures['flows']:
    assert sum(row['marginal']) == pytest.approx(1)
    assert row['divergence'][0] == pytest.approx(  # from the uniform marginal
        np.log(4) + sum(p * np.log(p) for p in row['marginal'] if p), abs=1e-6)
    assert row['table'] is None or np.allclose(np.sum(row['table'], -1), 1)


def check_hits(rows, config):
  for row in rows:
    hits, count = row['hits']
    interval = stats.binomtest(hits, count).proportion_ci(method='wilson')
    np.testing.assert_allclose(row['hit_interval'], interval, atol=1e-6)


def check_paths(rows, config):
  assert [(row['prior'], row['guidance'], row['objective']) for row in rows] == [
      (prior, guidance, name) for prior, _, guidance, name in toy_jsd.cases(config)]
  check_hits(rows, config)
  assert all(-1 <= x <= 1 for row in rows for x in row['correlation'])


def check_modes(rows, config):
  assert {row['objective'] for row in rows} == set(config.modes.objectives)
  check_hits(rows, config)
  for row in rows:
    assert not row['hits'][0] or sum(row['histogram']) == pytest.approx(1)
    assert row['modes'] == sum(share >= 0.01 for share in row['histogram'])


CHECKS = {'divergence_bounds': check_divergences, 'esd_gaussian_fit': check_fits,
          'rectified_marginal': check_poses, 'jsd_eight_gaussians': check_paths,
          'mode_coverage': check_modes}


def test_invalid_settings_are_refused(tmp_path, capsys):
  assert call(tmp_path / 'x', '--config.study=esd') == 2
  assert 'is none of all, jsd_eight_gaussians' in capsys.readouterr().err
  for name, value in (('esd.steps', 0), ('jsd.particles', 1), ('poses.weights', (1.0, 0.0)),
                      ('bounds.points', 1), ('esd.entropies', ()), ('jsd.forms', ('eq11',)),
                      ('modes.objectives', ()), ('poses.levels', ('none',))):
    config = toy.default_config()
    config.update_from_flattened_dict({name: value})
    with pytest.raises(ConfigError, match=name.partition('.')[0]):
      toy.check(config)


def test_a_known_critic_makes_sds_esd_and_vsd():
  prior, params = toy_priors.circle(4, 3.0, 0.6)
  x = jax.random.normal(KEY, (6, 1, 1, 2))
  rows = toy_flow.prompt(jnp.int32(1), jnp.int32(-1))
  view = toy_flow.particle_view(x, jnp.full(6, 0.4), rows, 0,
                                lambda prior, params, x_t, t, view, scale: x_t)
  cfg = ConfigDict({'guidance': 1.0, 'weighting': 'uniform'})
  state = toy_flow.variational(None, 0.0).init(KEY, params, cfg)
  critic = lambda view, x_t: 2 * x_t
  of = lambda share: toy_flow.variational(critic, share).direction(
      KEY, view, prior, params, state, cfg)[0]
  eps = jax.random.normal(KEY, x.shape)
  x_t = np.cos(0.2 * np.pi) * x + np.sin(0.2 * np.pi) * eps
  np.testing.assert_allclose(of(0.0), x_t - eps, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(of(1.0), -x_t, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(of(0.25), x_t - 0.75 * eps - 0.5 * x_t, rtol=1e-5, atol=1e-6)


def test_the_score_of_a_cloud_is_that_of_its_kernels():
  prior, _ = toy_priors.circle(4, 3.0, 0.6)
  x = jax.random.normal(KEY, (5, 1, 1, 2))
  rows = toy_flow.prompt(jnp.int32(-1), jnp.int32(-1))
  view = toy_flow.particle_view(x, jnp.full(5, 0.5), rows, 0, None)
  x_t = jax.random.normal(jax.random.key(1), x.shape)
  score = toy_flow.particle_critic(prior)(view, x_t)
  alpha = sigma = np.sqrt(0.5)
  away = np.asarray(x_t)[:, None, 0, 0] - alpha * np.asarray(x)[None, :, 0, 0]
  share = np.exp(-0.5 * (away**2).sum(-1) / sigma**2)
  share /= share.sum(1, keepdims=True)
  np.testing.assert_allclose(score[:, 0, 0], (share[..., None] * away).sum(1) / sigma, rtol=1e-4,
                             atol=1e-5)


@pytest.mark.parametrize('entropy, expected', [(1.0, 1.5), (0.5, 0.416667), (0.2, 0.0),
                                               (0.0, 0.0)])
def test_fixed_point_of_esd_in_one_dimension(entropy, expected):
  # l Sigma_p - (1 - l) (sigma / alpha)^2, or 0 where that is negative; abar .6, Sigma_p 1.5.
  assert toy_esd.fixed_point([[1.5]], entropy, 0.6)[0, 0] == pytest.approx(expected, abs=1e-6)


def test_mean_gradient_of_esd_is_the_closed_form():
  # alpha^2 (C_p^-1 - l C_q^-1) L and alpha^2 C_p^-1 (a - m), times sigma / alpha for g.
  mean, covariance = np.array([0.5, -0.2]), np.array([[1.5, 0.6], [0.6, 0.9]])
  a, scale = jnp.array([1.0, 0.3]), jnp.array([[0.9, 0.0], [0.4, 0.7]])
  t, entropy = toy_esd.level(0.6), 0.3
  prior, params = toy_esd.gaussian(mean, covariance)
  alpha, sigma = np.sqrt(0.6), np.sqrt(0.4)
  assert float(schedule.COSINE.alpha(t)) == pytest.approx(alpha, rel=1e-6)
  slopes = jax.jit(jax.vmap(lambda key: toy_esd.slope(key, a, scale, prior, params, entropy, t,
                                                      20_000)))(jax.random.split(KEY, 20))
  inverse = lambda s: np.linalg.inv(alpha**2 * np.asarray(s) + sigma**2 * np.eye(2))
  c_p, c_q = inverse(covariance), inverse(scale @ scale.T)
  for sample, expected in zip(slopes, (
      alpha * sigma * c_p @ (np.asarray(a) - mean),
      alpha * sigma * (c_p - entropy * c_q) @ np.asarray(scale)), strict=True):
    error = np.asarray(sample).std(0) / np.sqrt(20)
    assert (np.abs(np.asarray(sample).mean(0) - expected) < 4 * error).all()


def test_the_fitted_gaussian_stops_at_the_fixed_point():
  # lambda .5 and 1 in one dimension.
  config = toy.default_config()
  config.esd.update({'steps': 400, 'batch': 512, 'rate': 0.05, 'seeds': 2})
  for entropy, expected in ((0.5, 0.416667), (1.0, 1.5)):
    a, sigma, _ = toy_esd.fit(config, (0.3,), ((1.5,),), entropy)
    np.testing.assert_allclose(sigma.ravel(), expected, atol=0.03)
    np.testing.assert_allclose(a.ravel(), 0.3, atol=0.03)


def test_bootstrap_of_a_mean_and_of_a_correlation():
  rng = np.random.default_rng(0)
  rows = rng.normal(2.0, 1.0, 400)
  value, low, high = toy_flow.bootstrap(rows)
  expected = stats.norm.interval(0.95, rows.mean(), rows.std() / 20)
  assert value == pytest.approx(rows.mean())
  np.testing.assert_allclose((low, high), expected, atol=0.02)
  pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], (3, 500)).transpose(2, 0, 1)
  a, b = pairs[..., None]
  m = toy_flow.moments(a, b)
  value, low, high = toy_flow.bootstrap(m, toy_flow.correlation)
  assert value == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
  assert low < value < high and high - low < 0.1
  difference = toy_flow.spread_of_difference(m.mean(0))
  assert difference == pytest.approx((a - b).var())


def test_basins_shares_and_entropy():
  where, away = toy_flow.basins([[3.9, 0.1], [0.0, -4.2], [0.1, 4.0]], [[4, 0], [0, 4], [0, -4]])
  np.testing.assert_array_equal(where, [0, 2, 1])
  np.testing.assert_allclose(away, [np.hypot(0.1, 0.1), 0.2, 0.1])
  np.testing.assert_allclose(toy_flow.shares(where, 3), 1 / 3)
  assert toy_flow.entropy([0.5, 0.5, 0.0]) == pytest.approx(np.log(2))


def test_sds_of_one_class_ends_in_its_mode():
  config = toy.default_config()
  config.jsd.update({'particles': 20, 'steps': 250})
  exact = toy_priors.circle(toy_jsd.COUNT, toy_jsd.RADIUS, toy_jsd.STD)
  track, high, low = toy_jsd.flow(config, 'sds', 1.0, *exact, toy_jsd.CLASS, 20)
  row = toy_jsd.measure(config, track, high, low, exact[1]['means'], toy_jsd.CLASS)
  assert row['hits'] == (20, 20) and row['modes'] == {10: 1} and row['correlation'][0] > 0.9
  # What is subtracted is the noise that was drawn: standard normal.
  assert np.std(low) == pytest.approx(1.0, abs=0.05)


def test_the_joint_s_marginal_is_uniform_and_the_posterior_reading_is_not():
  for t, joint, posterior in toy_poses.theory(None):
    np.testing.assert_allclose(joint, 1 / 3, atol=1e-5)
    assert sum(posterior) == pytest.approx(1, abs=1e-5)
    assert (abs(posterior[0] - 1 / 3) > 0.2) == (t > 0.6)


@pytest.mark.slow
def test_usd_rests_at_the_root_of_the_prior_s_marginal():
  config = toy.default_config()
  config.poses.update({'seeds': 3, 'steps': 400})
  expected = toy_poses.fixed_point(config.poses.weights)
  np.testing.assert_allclose(expected**2 / (expected**2).sum(), config.poses.weights)
  ends, _ = toy_poses.flow(config, 'ideal', 1.0, 'falling', tuple(config.poses.weights))
  where, _ = toy_flow.basins(ends, toy_priors.circle(4, toy_poses.RADIUS, 1.0)[1]['means'])
  np.testing.assert_allclose(toy_flow.shares(where, 4).mean(0), expected, atol=0.03)


@pytest.mark.slow
def test_a_network_learns_the_mixture():
  teacher = toy_priors.circle(3, 2.0, 0.5)
  cfg = ConfigDict({'steps': 400, 'batch': 256, 'width': 32, 'rate': 5e-3, 'dropout': 0.2})
  prior, params, _ = toy_priors.train(KEY, *teacher, cfg)
  cond = jnp.tile(jnp.array([-1, 1]), 200)
  x0 = gaussian.sample(jax.random.key(1), teacher[1], cond)
  t = jnp.full(400, 0.6)
  x_t = np.cos(0.3 * np.pi) * x0 + np.sin(0.3 * np.pi) * jax.random.normal(KEY, x0.shape)
  expected = teacher[0].predict(teacher[1], x_t, t, cond)
  error = jnp.square(prior.predict(params, x_t, t, cond) - expected).mean()
  assert error < 0.1 * jnp.square(expected).mean()


def test_every_objective_of_the_table_is_built_with_its_settings():
  prior, _, _ = toy_modes.eight_gaussians()
  for name in toy_modes.NAMES:
    _, cfg = toy_modes.objective(name, 1.0, 100, prior)
    assert name == 'csd' or cfg.guidance == 1.0
  assert toy_modes.objective('sds_bridge', None, 100, prior)[1].switch == 50
  assert toy_modes.objective('jsd shared', None, 100, prior)[1].minority_noise == 'shared'
