"""Rollouts of one reference: what they share, preferences of scores, advantages, the control."""

import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import rollout_pairs

KEY = jax.random.key(0)
SCORE = np.array([[0.1, 0.5, 0.5, -1.0, 0.3], [2.0, 1.0, 0.0, -1.0, 3.0], [1.0] * 5])


@pytest.mark.parametrize('source, step, reference', [
    ('reference', 1, 4), ('sampler', 4, 1), ('both', 4, 4)])
def test_rollouts_of_a_reference_share_their_start(source, step, reference):
  keys, perturbation = rollout_pairs.keys(KEY, [7, 3], 4, source)
  bits = lambda k: np.asarray(jax.random.key_data(k)).reshape(2, 4, -1)
  different = lambda k: [len(np.unique(group, axis=0)) for group in bits(k)]
  assert different(keys.start) == [1, 1]
  assert different(keys.sampler) == [step] * 2 and different(keys.reference) == [reference] * 2
  assert different(perturbation) == [4, 4]
  assert len(np.unique(bits(keys.start)[:, 0], axis=0)) == 2
  alone, _ = rollout_pairs.keys(KEY, [3], 4, source)  # a reference does not depend on the others
  for one, two in zip(alone, keys):
    np.testing.assert_array_equal(jax.random.key_data(one), jax.random.key_data(two)[4:])


def test_an_unknown_source_is_refused():
  with pytest.raises(ConfigError, match="the sampler or both, not 'seed'"):
    rollout_pairs.keys(KEY, [0], 2, 'seed')


def test_perturbations_have_their_scale():
  e = jax.random.normal(KEY, (5, 40, 40, 2)).at[0, 0, 0, 0].set(-0.0)
  keys = jax.random.split(jax.random.key(1), 5)
  got = np.asarray(rollout_pairs.perturbed(keys, e, rollout_pairs.SCALES))
  assert got[0].tobytes() == np.asarray(e[0]).tobytes()
  np.testing.assert_allclose((got - e).std((1, 2, 3)), rollout_pairs.SCALES, rtol=0.03)


def test_preferences_are_antisymmetric_and_transitive():
  a, b = np.meshgrid(SCORE[1], SCORE[1])
  p = rollout_pairs.preference(a, b)
  np.testing.assert_array_equal(p, -p.T)
  for i, j, k in itertools.permutations(range(5), 3):
    if p[i, j] == p[j, k] == 1:
      assert p[i, k] == 1
  assert rollout_pairs.preference(1.0, 1.0) == 0 and rollout_pairs.preference(1.2, 1.0, 0.3) == 0
  np.testing.assert_array_equal(
      rollout_pairs.preference([np.nan, np.inf, 1.0], [0.0, 0.0, np.nan]), 0)


def test_all_pairs_of_each_reference():
  pairs = rollout_pairs.all_pairs(SCORE)
  assert len(pairs.first) == 30 and pairs.preferred.dtype == np.int32  # 10 of each 5
  flat = SCORE.ravel()
  assert (pairs.first // 5 == pairs.second // 5).all() and (pairs.first < pairs.second).all()
  assert len(set(zip(pairs.first.tolist(), pairs.second.tolist()))) == 30
  for i, j, p in zip(*pairs):
    assert p == int(flat[i] > flat[j]) - int(flat[i] < flat[j])


def test_best_against_worst():
  score = SCORE.copy()
  score[1, 4] = np.nan
  pairs = rollout_pairs.extreme_pairs(score)
  assert pairs.first.tolist()[:2] == [1, 5] and pairs.second.tolist()[:2] == [3, 8]
  assert pairs.preferred.tolist() == [1, 1, 0]


def test_advantages_are_standard_scores():
  got = rollout_pairs.advantages(SCORE)
  np.testing.assert_allclose(got[:2], stats.zscore(SCORE[:2], axis=1), rtol=1e-6)
  np.testing.assert_array_equal(got[2], 0)
  np.testing.assert_allclose(rollout_pairs.advantages([[3.0, 5.0]]), [[-1, 1]])
  with pytest.raises(ConfigError, match='finite'):
    rollout_pairs.advantages([[0.0, np.nan]])


def test_a_preference_for_less_noise_shows_in_the_control():
  scale = np.tile(rollout_pairs.SCALES, 40)
  noise = np.random.default_rng(0).normal(size=(40, 5))
  control = lambda score: rollout_pairs.noise_control(rollout_pairs.all_pairs(score), scale)
  less = control(-scale.reshape(40, 5))
  assert less['less_noise'] == 1 and less['count'] == 400 and less['correlation'] < -0.8
  more = control(scale.reshape(40, 5))
  assert more['correlation'] == pytest.approx(-less['correlation']) and more['less_noise'] == 0
  none = control(noise)
  assert abs(none['correlation']) < 0.15 and abs(none['less_noise'] - 0.5) < 0.1
  equal = rollout_pairs.noise_control(rollout_pairs.all_pairs(noise), np.zeros(200))
  assert equal == {'correlation': None, 'less_noise': None, 'count': 0}


def test_pairs_at_equal_noise():
  scale = np.array([0.0, 0.1, 0.1, 0.0, 0.1] * 3)
  pairs = rollout_pairs.at_equal_scale(rollout_pairs.all_pairs(SCORE), scale)
  assert len(pairs.first) == 12 and (scale[pairs.first] == scale[pairs.second]).all()
  with pytest.raises(ConfigError, match='ties'):
    rollout_pairs.at_equal_scale(rollout_pairs.all_pairs(SCORE), np.arange(15))


@pytest.mark.parametrize('score, why', [
    (np.ones((4, 3)), 'All preferences are ties'), (np.ones((4, 1)), 'two or more'),
    (np.ones((0, 3)), 'two or more'), (np.ones(4), 'two or more')])
def test_what_cannot_make_a_pair_is_refused(score, why):
  for make in (rollout_pairs.all_pairs, rollout_pairs.extreme_pairs, rollout_pairs.advantages):
    with pytest.raises(ConfigError, match=why):
      make(score)
