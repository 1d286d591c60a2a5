"""Contrastive losses of features, against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.perception import augment, contrastive


def test_info_nce_is_its_formula():
  rng = np.random.default_rng(0)
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  a, b = (unit(rng.normal(size=(n, 5))) for n in (4, 7))
  weight = np.array([1, 0, 1, 1])
  loss, hit = contrastive.info_nce(*map(jnp.float32, (a, b)), 2, 0.3, jnp.float32(weight))
  terms, hits = [], []
  for i in (0, 2, 3):
    e = [np.exp(np.dot(a[i], b[j]) / 0.3) for j in range(7)]
    terms.append(-np.log(e[2 + i] / sum(e)))
    hits.append(np.argmax(e) == 2 + i)
  assert float(loss) == pytest.approx(np.mean(terms), rel=1e-5)
  assert float(hit) == pytest.approx(np.mean(hits), rel=1e-6)


def test_patches_are_interpolated_between_their_centres():
  patches = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), jnp.float32)
  centre = augment.places(8)
  x, y = jnp.array([[centre[2], 0.5 * (centre[3] + centre[4]), -1.0]]), jnp.array(
      [[centre[5], centre[6], 1.0]])
  result = contrastive.interpolate(patches, x, y)[0]
  want = patches[0, 5, 2], 0.5 * (patches[0, 6, 3] + patches[0, 6, 4]), patches[0, 7, 0]
  np.testing.assert_allclose(result, np.stack(want), atol=1e-5)


def test_sampled_patches_lie_on_the_object():
  images = np.ones((2, 32, 32, 3), np.float32)
  images[:, 8:24, 12:20] = 0.2  # rows 2 to 5, columns 3 and 4 of the patches
  x, y = contrastive.sample_patches(jax.random.key(0), jnp.asarray(images), 8, 8)
  for i in range(2):
    cells = {(round(float(4 * b + 3.5)), round(float(4 * a + 3.5))) for a, b in zip(x[i], y[i])}
    assert cells == {(r, c) for r in range(2, 6) for c in (3, 4)}
