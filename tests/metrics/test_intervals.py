"""Wilson's interval against its closed form."""

import numpy as np
import pytest

from jax3dgen.metrics import intervals


@pytest.mark.parametrize('hits, count', [(0, 5), (3, 8), (29, 29)])
def test_interval_has_wilson_s_closed_form(hits, count):
  z, p = 1.959963985, hits / count
  middle = (p + z**2 / (2 * count)) / (1 + z**2 / count)
  half = z / (1 + z**2 / count) * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
  np.testing.assert_allclose(intervals.wilson(hits, count), (middle - half, middle + half),
                             atol=1e-8)


def test_shares_as_text():
  assert intervals.share(3, 10) == '3 of 10 (11% to 60%)'
  assert intervals.share(0, 0) == 'no runs'


def test_bootstrap_of_a_mean_is_that_of_the_statistic():
  rng = np.random.default_rng(1)
  groups = rng.integers(0, 40, 200)
  values = rng.normal(size=200) + groups / 20
  ours = intervals.bootstrap_mean(values, groups)
  general = intervals.bootstrap(lambda index: values[index].mean(), groups)
  assert ours[0] == pytest.approx(general[0])
  np.testing.assert_allclose(ours[1:], general[1:], atol=0.03)
