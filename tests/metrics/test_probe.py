"""The linear probe against the normal equations, and on features that hold the answer."""

import numpy as np
import pytest

from jax3dgen.metrics import probe

RNG = np.random.default_rng(0)


@pytest.mark.parametrize('ridge', [1e-3, 0.3])
def test_it_solves_the_normal_equations(ridge):
  features = RNG.normal(size=(200, 5)) * np.array([[1, 10, 0.1, 3, 1]]) + 2
  labels = features[:, 0] + RNG.normal(size=200) > 2.5
  model = probe.fit(features, labels, ridge)
  z = (features - features.mean(0)[None]) / features.std(0)[None]
  z = np.concatenate([z, np.ones((200, 1))], 1)
  penalty = 200 * ridge * np.diag([1, 1, 1, 1, 1, 0])  # the intercept is free
  w = np.linalg.solve(z.T @ z + penalty, z.T @ np.where(labels, 1.0, -1.0))
  np.testing.assert_allclose(probe.score(model, features), z @ w, atol=1e-10)


def test_separable_classes_are_separated_and_constant_features_accepted():
  features = np.concatenate([RNG.normal(size=(400, 3)), np.ones((400, 1))], 1)
  labels = features @ np.array([1.0, -2.0, 0.5, 0.3]) > 0
  model = probe.fit(features[:200], labels[:200])
  assert ((probe.score(model, features[200:]) > 0) == labels[200:]).mean() > 0.95
  assert np.isfinite(model.weights).all() and model.weights[3] == 0
