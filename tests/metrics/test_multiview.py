"""Consistency of views: the truth is perfect, known errors are counted, hidden hands left out."""

import jax
import numpy as np
import pytest

from jax3dgen.data import multiview as world
from jax3dgen.metrics import intervals, multiview, referee

COUNT = 12
truth = jax.jit(world.truth)
SLOT = np.arange(COUNT) % 4


def answer(objects):
  return jax.tree.map(np.asarray, truth(objects))


@pytest.fixture(scope='module')
def objects():
  return world.draw('test', COUNT)


@pytest.fixture(scope='module')
def true(objects):
  return answer(objects)


def hands(views, true, slot=SLOT):
  """Sums over the objects."""
  return sums(multiview.hands(views, true.hands, true.colors, world.HAND_RGB, slot))


def sums(rows):
  assert all(x.shape == (COUNT,) for x in rows.values())
  return {name: x.sum() for name, x in rows.items()}


def test_true_views_are_right(objects, true):
  result = hands(true.pictures, true)
  assert result['hands_right'] == result['hands_count'] > 2 * COUNT
  assert result['agree_right'] == result['agree_count'] > result['hands_count']
  hats = sums(multiview.hats(true.pictures, true.with_hat, true.without_hat, objects.hat))
  assert hats['hat_right'] == hats['hat_count'] > 4 * COUNT


def test_exchanged_hands_are_wrong_and_agree(objects, true):
  swapped = answer(objects.replace(left=objects.right, right=objects.left))
  result = hands(swapped.pictures, true)
  assert result['hands_right'] == 0 and result['agree_right'] == result['agree_count']


def test_one_hand_of_another_colour_in_one_view(objects, true):
  other = answer(objects.replace(left=(objects.left + 1) % 4)).pictures
  views = true.pictures.copy()
  views[:, 4] = other[:, 4]  # the top
  result, perfect = hands(views, true), hands(true.pictures, true)
  large = true.hands.sum((-1, -2)) >= multiview.LEAST
  rows = np.arange(COUNT)
  wrong = large[rows, SLOT, 0] & large[:, 4, 0]
  assert perfect['hands_right'] - result['hands_right'] == wrong.sum() > 0
  others = large[:, :4, 0].sum(1) * large[:, 4, 0]
  assert perfect['agree_right'] - result['agree_right'] == others.sum()


def test_a_hand_that_the_reference_does_not_show_is_not_judged(true):
  """A view from the left does not show the right hand."""
  slot = np.full(COUNT, world.SLOTS.index('left'))
  views = true.pictures.copy()
  views[true.hands[:, :, 1]] = 0.5  # the right hands
  result = hands(views, true, slot)
  assert result['hands_right'] == result['hands_count'] == (
      true.hands[:, [0, 1, 2, 4], 0].sum((-1, -2)) >= multiview.LEAST).sum()


def test_the_nearest_colour_ignores_brightness_and_small_parts():
  views = np.zeros((5, 6, 6, 3), np.float32)
  views[:4] = world.HAND_RGB[:, None, None] * np.array([1, 0.9, 0.7, 0.6])[:, None, None, None]
  masks = np.zeros((5, 6, 6), bool)
  masks[:4, :2, :2], masks[4, 0, :3] = True, True
  assert multiview.nearest_color(views, masks, world.HAND_RGB).tolist() == [0, 1, 2, 3, -1]


def test_a_hat_too_many_or_too_few_is_wrong(objects, true):
  other = answer(objects.replace(hat=1 - objects.hat)).pictures
  result = sums(multiview.hats(other, true.with_hat, true.without_hat, objects.hat))
  assert result['hat_right'] == 0 and result['hat_count'] > 4 * COUNT


def test_the_referee_knows_the_sides(objects, true):
  params = referee.load()
  shares = multiview.judge(params, true.pictures, objects.kind, objects.color)
  assert min(x.mean() for x in shares.values()) > 0.8
  turned = true.pictures[:, [1, 2, 3, 0, 4]]
  assert multiview.judge(params, turned, objects.kind, objects.color)['sector'].mean() < 0.1


def test_likeness_leaves_the_reference_out(true):
  views = true.pictures.copy()
  views[np.arange(COUNT), SLOT] = 0
  psnr, ssim = multiview.likeness(views, true.pictures, SLOT)
  np.testing.assert_allclose(psnr, 100, atol=1e-3)
  np.testing.assert_allclose(ssim, 1, atol=1e-5)
  views[:, 4] += 0.1
  psnr, _ = multiview.likeness(views, true.pictures, SLOT)
  np.testing.assert_allclose(psnr, (3 * 100 + 20) / 4, atol=0.01)


def test_shares_and_means():
  low, high = intervals.wilson(3, 10)
  assert multiview.share(3, 10) == {'share': 0.3, 'low': low, 'high': high, 'count': 10}
  values = np.random.default_rng(0).normal(size=50)
  result = multiview.mean(values)
  assert result['mean'] == pytest.approx(values.mean())
  assert result['half'] == pytest.approx(1.96 * values.std(ddof=1) / 50**0.5)
