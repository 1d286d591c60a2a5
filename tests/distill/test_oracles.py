"""Closed forms that concern no single objective; the others are in the files beside this one."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from jax3dgen.core.types import Prompt
from jax3dgen.distill import base, rectifier, sds
from jax3dgen.prior import gaussian as mixtures
from tests.fakes import gaussian

KEY = jax.random.key(0)


@pytest.mark.parametrize('scale', [0.0, 1.0, 7.5])
def test_two_conventions_of_guidance_differ_by_one(scale):
  # eps_c + s (eps_c - eps_u) is this project's guidance at scale s + 1.
  prior, params = gaussian.prior(0.2, 0.7)
  x_t = jax.random.normal(KEY, (2, 3, 3, 1))
  view = gaussian.view(x_t, 0.4, base.classifier_free, shift=0.5)
  null = base.guided(prior, params, x_t, view.t, view, 0.0)
  cond = base.guided(prior, params, x_t, view.t, view, 1.0)
  np.testing.assert_allclose(base.guided(prior, params, x_t, view.t, view, scale + 1),
                             cond + scale * (cond - null), rtol=1e-5, atol=1e-6)


def test_a_pose_that_never_appears_keeps_the_rectifier_finite():
  # With an average of 0, 1 / pbar is bounded by the floor.
  prior, params = mixtures.mixture([[-2.0], [2.0]], [0.5, 0.5], [1.0 - 1e-7, 1e-7])
  classify = lambda params, x0, t, cfg: mixtures.posterior(
      prior, params, x0, jnp.full(len(x0), 0.3))
  objective = rectifier.rectified(sds.DISTILLATION, classify)
  x0 = jnp.linspace(-2.5, 2.5, 5).reshape(-1, 1, 1, 1)
  view = gaussian.view(x0, 0.35, base.classifier_free)
  view = view.replace(prompt=Prompt(*[jnp.int32(-1)] * 8))

  @jax.jit
  def directed(table, floor):
    cfg = ConfigDict(sds.DEFAULTS | rectifier.DEFAULTS | {
        'classes': 2, 'clip': False, 'weighting': 'uniform', 'clamp': 1e9, 'rect_scale': 1.0,
        'floor': floor})
    state = objective.init(KEY, params, cfg)
    state = state.replace(buffers=state.buffers | {'poses': jnp.tile(table[None], (10, 1))})
    return objective.direction(KEY, view, prior, params, state, cfg)[0]
  never, rarely = jnp.array([1.0, 0.0]), jnp.array([1.0, 0.01])
  result = directed(never, 0.01)
  assert jnp.isfinite(result).all()
  np.testing.assert_allclose(result, directed(rarely, 0.0), rtol=1e-5)
  assert not jnp.isfinite(directed(never, 0.0)).all()
