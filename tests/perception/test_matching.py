"""Counts of mutual matches of dense features, against a loop; LoFTR itself is in tests/nn."""

import jax.numpy as jnp
import numpy as np

from jax3dgen.nn import loftr
from jax3dgen.perception import matching

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 2, 4, 4, 48)).astype(np.float32)
SECOND[:, 1:3] = FIRST[:, 2:4] + 0.5 * SECOND[:, 1:3]  # half of the patches have a counterpart


def loop(a, b, temperature=0.1, threshold=0.2):
  a, b = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (a, b))
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  e = np.exp(unit(a) @ unit(b).T / temperature)
  p = e / e.sum(0, keepdims=True) * (e / e.sum(1, keepdims=True))
  return sum(p[i, j] == p[i].max() == p[:, j].max() and p[i, j] > threshold
             for i in range(len(a)) for j in range(len(b)))


def test_counts_against_a_loop():
  got = matching.count_mutual(FIRST, SECOND)
  assert got.tolist() == [loop(a, b) for a, b in zip(FIRST, SECOND)]
  assert 0 < got.min() and got.max() < 16
  assert matching.count_mutual(FIRST, SECOND[:, :2])[0] == loop(FIRST[0], SECOND[0, :2])


def test_equal_maps_match_everywhere_and_the_order_has_no_effect():
  assert matching.count_mutual(FIRST, FIRST).tolist() == [16, 16]
  assert matching.count_mutual(3 * FIRST, FIRST).tolist() == [16, 16]  # cosines
  np.testing.assert_array_equal(matching.count_mutual(FIRST, SECOND),
                                matching.count_mutual(SECOND, FIRST))


def test_counts_of_valid_matches():
  place = jnp.zeros((2, 3, 2))
  mask = jnp.array([[True, False, True], [False, False, False]])
  assert matching.count(loftr.Matches(place, place, place[..., 0], mask)).tolist() == [2, 0]
