"""Trees by name, against loops and hashlib."""

import hashlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import tree


class Pair(NamedTuple):
  mu: Any
  nu: Any


TREE = {'net': [{'kernel': jnp.ones((2, 3)), 'bias': jnp.zeros((3,))}, jnp.float32(2.0)],
        'opt': Pair(jnp.full((4,), 2.0), None)}
NAMES = ['net/0/bias', 'net/0/kernel', 'net/1', 'opt/mu']


def test_names_follow_the_order_of_leaves():
  assert list(tree.named(TREE)) == NAMES
  assert tree.named(TREE)['opt/mu'].shape == (4,)


def test_two_leaves_of_one_name_are_refused():
  with pytest.raises(ValueError, match='a/b'):
    tree.named({'a': {'b': 1}, 'a/b': 2})


def test_mask_finds_names():
  masked = tree.named(tree.mask(TREE, r'kernel$|^opt/'))
  assert masked == dict(zip(NAMES, [False, True, False, True]))


def test_partition_and_join():
  tree_ = {'a': {'kernel': 1, 'bias': 2}, 'b': {'c': {'kernel': 3}}}
  first, second = tree.partition(tree_, '^a/|c/kernel')
  assert first == tree_ and second == {}
  first, second = tree.partition(tree_, 'bias|^b')
  assert first == {'a': {'bias': 2}, 'b': {'c': {'kernel': 3}}} and second == {'a': {'kernel': 1}}
  assert tree.join(first, second) == tree_ == tree.join(tree_)
  assert tree.join(tree_, {'a': {'bias': 7}}, {'d': 4}) == {
      'a': {'kernel': 1, 'bias': 7}, 'b': {'c': {'kernel': 3}}, 'd': 4}


def test_ema_is_the_weighted_sum_of_the_past():
  values, decay = [3.0, -1.0, 5.0], 0.9
  average = {'a': jnp.float32(1.0)}
  for v in values:
    average = tree.ema(average, {'a': jnp.float32(v)}, decay)
  expected = decay**3 + (1 - decay) * sum(v * decay ** (2 - i) for i, v in enumerate(values))
  np.testing.assert_allclose(average['a'], expected, rtol=1e-6)


def test_count():
  assert tree.count(TREE) == 6 + 3 + 1 + 4
  assert tree.count({'empty': np.zeros((0, 3))}) == 0


def test_digest_is_sha256_of_sorted_float32():
  a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(7)
  expected = hashlib.sha256(a.astype('<f4').tobytes() + b.astype('<f4').tobytes()).hexdigest()
  assert tree.digest({'b': b, 'a': a}) == expected
  assert tree.digest({'b': jnp.asarray(b), 'a': jnp.asarray(a)}) == expected
  assert tree.digest({'a': a.T.copy().T, 'b': b}) == expected  # not the order in memory
  assert tree.digest({'a': a + 1e-6, 'b': b}) != expected


def test_digest_sorts_by_name_not_by_position():
  ten = {str(i): np.float32(i) for i in range(11)}
  as_list = [np.float32(i) for i in range(11)]  # leaves in the order 0, 1, 2; names sort 0, 1, 10
  assert tree.digest(as_list) == tree.digest(ten)


def test_flatten_joins_the_names_of_nested_dicts():
  nested = {'seed': 0, 'train': {'steps': 2, 'rates': (('a', 0.1),)}, 'more': {}}
  assert tree.flatten(nested) == {
      'seed': 0, 'train.steps': 2, 'train.rates': (('a', 0.1),), 'more': {}}
  assert tree.flatten([1]) == {'': [1]}


def test_nonfinite_names_the_leaves():
  bad = {'a': np.array([1.0, np.nan]), 'b': np.array([np.inf]), 'c': np.array([1]),
         'd': np.ones(2, jnp.bfloat16)}
  assert tree.nonfinite(bad) == ['a', 'b']
