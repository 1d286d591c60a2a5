import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Prompt
from jax3dgen.distill import base, sds
from tests.fakes import gaussian


def prompt_of_rows():
  row = lambda value: jnp.full((2,), value, jnp.float32)
  return Prompt(*map(row, range(8)))


@pytest.mark.parametrize('azimuth_deg, elevation_deg, row', [
    (0, 0, 1), (44, 0, 1), (46, 0, 2), (-90, 30, 2), (134, 0, 2), (136, 0, 3), (-180, 0, 3),
    (180, 59, 3), (315.5, 0, 1), (0, 61, 4), (170, 80, 4)])
def test_rows_follow_the_camera(azimuth_deg, elevation_deg, row):
  view = gaussian.view(jnp.zeros((3, 2, 2, 1)), 0.5, base.classifier_free,
                       azimuth=np.deg2rad(azimuth_deg), elevation=np.deg2rad(elevation_deg))
  selected_rows = base.rows(view.replace(prompt=prompt_of_rows()))
  np.testing.assert_array_equal(selected_rows, np.full((3, 2), row))


def test_limits_between_rows_may_be_others():
  at = lambda azimuth, elevation: gaussian.view(
      jnp.zeros((1, 2, 2, 1)), 0.5, base.classifier_free, azimuth=np.deg2rad(azimuth),
      elevation=np.deg2rad(elevation)).replace(
          prompt=prompt_of_rows(), limits=(np.deg2rad(30.0), np.deg2rad(50.0)))
  for azimuth, elevation, row in ((29, 0, 1), (31, 0, 2), (149, 0, 2), (151, 0, 3), (0, 51, 4)):
    np.testing.assert_array_equal(base.rows(at(azimuth, elevation)), np.full((1, 2), row))


def test_guidance_on_two_gaussians_is_the_linear_combination():
  # Scale 1 is the conditional prediction, 0 the unconditional one.
  prior, params = gaussian.prior(0.2, 0.7)
  x_t = jax.random.normal(jax.random.key(0), (2, 3, 3, 1))
  view = gaussian.view(x_t, 0.4, base.classifier_free, shift=0.5)
  cond = prior.predict(params, x_t, view.t, jnp.full((2,), 0.5))
  null = prior.predict(params, x_t, view.t, jnp.zeros((2,)))
  for scale in (0.0, 1.0, 7.5):
    guided = base.guided(prior, params, x_t, view.t, view, scale)
    np.testing.assert_allclose(guided, null + scale * (cond - null), rtol=1e-5, atol=1e-6)


def test_noise_to_has_the_schedules_moments():
  prior, _ = gaussian.prior(0.0, 1.0)
  eps = jax.random.normal(jax.random.key(1), (1, 64, 64, 1))
  x_t = base.noise_to(prior, jnp.full_like(eps, 2.0), jnp.array([0.3]), eps)
  alpha, sigma = np.cos(0.15 * np.pi), np.sin(0.15 * np.pi)
  np.testing.assert_allclose(x_t.mean(), 2 * alpha, atol=4 * sigma / 64)
  np.testing.assert_allclose(x_t.std(), sigma, rtol=0.05)


def test_surrogate_has_the_direction_as_gradient():
  x0, g = jax.random.normal(jax.random.key(2), (2, 2, 4, 4, 3))
  np.testing.assert_array_equal(jax.grad(base.surrogate)(x0, g), g)


def test_load_finds_objectives_of_the_package():
  distillation, defaults = base.load('sds')
  assert distillation is sds.DISTILLATION
  assert defaults == sds.DEFAULTS


def test_load_finds_a_file_in_the_working_directory(tmp_path, monkeypatch):
  (tmp_path / 'my_loss_for_test.py').write_text(
      'from jax3dgen.distill import base\n'
      'DISTILLATION = base.stateless(lambda key, view, prior, params, state, cfg: '
      '(view.x0, state, {}))\n')
  monkeypatch.chdir(tmp_path)
  distillation, defaults = base.load('my_loss_for_test')
  assert distillation.fit is None and defaults == {}


@pytest.mark.parametrize('name, sentence', [
    ('sdss', 'Close spellings: sds'), ('no.such.module', 'no objective'),
    ('../sds', 'no module name'), ('json', 'defines no DISTILLATION'), ('', 'no module name')])
def test_load_refuses_in_one_sentence(name, sentence):
  with pytest.raises(ConfigError, match=sentence):
    base.load(name)
