"""Regularisers at the values that their formulas give by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Rendering
from jax3dgen.scene import regularizers


def rendering(weights, mids=None, normals=None):
  """A Rendering of R rays from weights [R, S]."""
  weights = jnp.asarray(weights, jnp.float32)
  mids = jnp.broadcast_to(jnp.arange(weights.shape[-1], dtype=jnp.float32), weights.shape
                          ) if mids is None else jnp.asarray(mids, jnp.float32)
  return Rendering(rgb=jnp.zeros(weights.shape[:-1] + (3,)), opacity=weights.sum(-1),
                   depth=(weights * mids).sum(-1), normal=None, weights=weights, mids=mids,
                   sample_normals=normals)


def test_opaque_is_largest_at_one_half():
  # The binary entropy is log 2 at an opacity of 1 / 2.
  np.testing.assert_allclose(regularizers.opaque(rendering([[0.5], [0.5]])), np.log(2.0), rtol=1e-6)
  low = regularizers.opaque(rendering([[0.0], [1.0]]))
  np.testing.assert_allclose(low, -(1e-3 * np.log(1e-3) + 0.999 * np.log(0.999)), rtol=1e-3)


def test_sparsity_and_opacity():
  # sqrt(opacity^2 + 0.01): 0.1 where nothing is opaque.
  assert regularizers.sparsity(rendering([[0.0, 0.0]])) == pytest.approx(0.1)
  assert regularizers.sparsity(rendering([[0.5, 0.25]])) == pytest.approx((0.5625 + 0.01)**0.5)
  assert regularizers.opacity(rendering([[0.5, 0.25], [0.0, 0.0]])) == pytest.approx(0.28125)


def test_entropy_is_in_bits_and_per_sample():
  # At most one bit.
  assert regularizers.entropy(rendering([[0.5, 0.5]])) == pytest.approx(1.0)
  expected = 0.5 * -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
  assert regularizers.entropy(rendering([[0.25, 0.0]])) == pytest.approx(expected, abs=2e-4)


def test_z_variance_of_one_and_two_spikes():
  # 0 for one spike; (d / 2)^2 for two equal ones at distance d.
  assert regularizers.z_variance(rendering([[0.0, 0.9, 0.0]])) == pytest.approx(0.0, abs=1e-6)
  two = rendering([[0.4, 0.0, 0.4]], mids=[[1.0, 2.0, 4.0]])
  assert regularizers.z_variance(two) == pytest.approx((3.0 / 2)**2, rel=1e-5)


def test_z_variance_uses_opaque_rays_alone():
  both = rendering([[0.4, 0.0, 0.4], [0.2, 0.0, 0.2]])
  assert regularizers.z_variance(both) == pytest.approx(1.0, rel=1e-5)
  none = rendering([[0.2, 0.0, 0.2]])
  assert regularizers.z_variance(none) == 0.0


def test_orientation_counts_what_faces_away():
  normals = jnp.array([[[1.0, 0, 0], [-1.0, 0, 0]], [[0, 1.0, 0], [0.6, 0.8, 0]],
                       [[1.0, 0, 0], [1.0, 0, 0]]])
  r = rendering([[0.3, 0.4], [0.1, 0.5], [0.0, 0.0]], normals=normals)
  direction = jnp.broadcast_to(jnp.array([1.0, 0, 0]), (3, 3))
  expected = (0.3 * 1.0 + 0.5 * 0.36) / 2  # the third ray is empty
  assert regularizers.orientation(r, direction) == pytest.approx(expected)
  loss = lambda weights: regularizers.orientation(r.replace(weights=weights), direction)
  gradient = jax.jit(jax.grad(loss))(r.weights)
  assert (gradient == 0).all()
  with pytest.raises(ConfigError, match='render.normals'):
    regularizers.orientation(rendering([[0.5]]), direction[:1])


def test_convexity_of_pixels_one_by_one():
  generator = np.random.default_rng(0)
  normal = generator.normal(size=(2, 16, 16, 3)).astype(np.float32)
  opacity = generator.uniform(size=(2, 16, 16)).astype(np.float32)
  r = rendering(opacity[..., None]).replace(normal=jnp.asarray(normal))
  unit = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
  picture = 0.5 * (unit + 1) * opacity[..., None]
  # Pixel i of 8 lies between 2 i and 2 i + 1 of 16: bilinear weights of a half each.
  small = picture.reshape(2, 8, 2, 8, 2, 3).mean((2, 4))
  across, up = [], []
  for b in range(2):
    for i in range(8):
      for j in range(7):
        across.append(np.cross(small[b, i, j], small[b, i, j + 1])[2])
        up.append(np.cross(small[b, j + 1, i], small[b, j, i])[2])
  value = regularizers.convexity(r)
  np.testing.assert_allclose(value, -np.mean(across) - np.mean(up), rtol=1e-4, atol=1e-6)
  coarse = r.replace(normal=r.normal[:, :12, :12], opacity=r.opacity[:, :12, :12])
  torch_picture = torch.from_numpy(picture[:, :12, :12].transpose(0, 3, 1, 2).copy())
  small = torch.nn.functional.interpolate(torch_picture, (8, 8), mode='bilinear')
  small = small.permute(0, 2, 3, 1)
  cross = lambda a, b: torch.linalg.cross(a, b)[..., 2].mean()
  expected = -(cross(small[:, :, :-1], small[:, :, 1:]) + cross(small[:, 1:], small[:, :-1]))
  np.testing.assert_allclose(regularizers.convexity(coarse), expected, rtol=1e-4, atol=1e-6)
  with pytest.raises(ConfigError, match='render.normals'):
    regularizers.convexity(rendering([[0.5]]))


@pytest.mark.parametrize('name', list(regularizers.TERMS))
@pytest.mark.parametrize('weight', [0.0, 1e-30, 0.25, 0.5])
def test_gradients_are_finite(name, weight):
  direction = jnp.broadcast_to(jnp.array([1.0, 0, 0]), (1, 8, 8, 3))

  def loss(weights):
    normals = jnp.zeros((1, 8, 8, 2, 3)) + weights[..., None]
    return regularizers.TERMS[name](
        rendering(weights, normals=normals).replace(normal=normals.sum(-2)), direction)

  value, gradient = jax.jit(jax.value_and_grad(loss))(np.full((1, 8, 8, 2), weight, np.float32))
  assert np.isfinite(value) and np.isfinite(gradient).all()
