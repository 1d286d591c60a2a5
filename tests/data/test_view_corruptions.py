"""Corruptions of views: what each changes, and in which views, against the regions of renders."""

import jax
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_parts as parts
from jax3dgen.data import multiview
from jax3dgen.data import view_corruptions as corruptions

COUNT = 8
KEY = jax.random.key(1)
trace = jax.jit(multiview.trace)
FIELDS = {'hands swapped': {'left', 'right'}, 'hand color': {'left', 'right'}, 'color': {'color'},
          'hat': {'hat'}, 'proportions': {'scale'}, 'other object': {
              'kind', 'color', 'hat', 'left', 'right', 'tint', 'scale', 'hand'}}


@pytest.fixture(scope='module')
def objects():
  return multiview.draw('test', COUNT)


@pytest.fixture(scope='module')
def image(objects):
  return jax.device_get(trace(objects))


@pytest.fixture(scope='module')
def cases(objects, image):
  """{name: (views, affected)} of all corruptions, with one program for all renders."""
  render = lambda changed: trace(changed).rgb
  return {name: jax.device_get(corruptions.corrupt(name, KEY, objects, image.rgb, render))
          for name in corruptions.NAMES}


@pytest.mark.parametrize('name', corruptions.CHANGES)
def test_changes_change_their_fields_alone(objects, name):
  new = corruptions.CHANGES[name](KEY, objects)
  for field in FIELDS['other object']:
    before, after = np.asarray(getattr(objects, field)), np.asarray(getattr(new, field))
    assert (before != after).any() == (field in FIELDS[name]), field
  assert (np.asarray(new.left) != np.asarray(new.right)).all()
  if name == 'hand color':
    changed = [np.asarray(getattr(new, x) != getattr(objects, x)) for x in ('left', 'right')]
    np.testing.assert_array_equal(changed[0] ^ changed[1], True)
    both = [np.asarray(getattr(objects, x)) for x in ('left', 'right')]
    fresh = np.where(changed[0], np.asarray(new.left), np.asarray(new.right))
    assert (fresh != both[0]).all() and (fresh != both[1]).all()
    assert 2 <= changed[0].sum() <= COUNT - 2
  if name in ('color', 'hat'):
    assert (np.asarray(getattr(new, name)) != np.asarray(getattr(objects, name))).all()


def test_affected_are_the_views_that_show_the_part(objects, image, cases):
  pixels = np.moveaxis((image.regions == 1).sum((2, 3)), -1, 0)
  any_pixel = np.moveaxis((image.regions > 0).sum((2, 3)), -1, 0)
  _, affected = cases['hands swapped']
  hands = pixels[parts.LEFT] + pixels[parts.RIGHT]
  assert affected[hands >= 4].all()
  assert not affected[any_pixel[parts.LEFT] + any_pixel[parts.RIGHT] < 4].any()
  views, affected = cases['hat']
  top = multiview.SLOTS.index('top')
  assert affected[:, top].all() and affected.mean() > 0.9
  for name in ('color', 'other object', 'wrong view'):
    assert cases[name][1].mean() > 0.9, name
  assert cases['proportions'][1].mean() > 0.5


def test_a_face_on_the_back(image, cases):
  views, affected = cases['second face']
  np.testing.assert_array_equal(views[:, 2], image.rgb[:, 0])
  rest = [0, 1, 3, 4]
  np.testing.assert_array_equal(views[:, rest], image.rgb[:, rest])
  np.testing.assert_array_equal(affected, np.arange(5)[None] == np.full((COUNT, 1), 2))


def test_wrong_views_are_those_of_other_slots(image, cases):
  views, _ = cases['wrong view']
  slots = np.asarray(corruptions.wrong_slots(KEY, COUNT))
  assert (slots != np.arange(5)).all() and len(np.unique(slots)) == 5
  for n in range(COUNT):
    for v in range(5):
      np.testing.assert_array_equal(views[n, v], image.rgb[n, slots[n, v]])


def test_affected_needs_enough_pixels():
  views = np.zeros((1, 3, 8, 8, 3), np.float32)
  other = views.copy()
  other[0, 0, 0, :4, 1] = 0.2  # four pixels, one channel
  other[0, 1, 0, :3] = 1.0  # three pixels
  other[0, 2] = 0.09  # all of them, by too little
  np.testing.assert_array_equal(corruptions.affected(views, other), [[True, False, False]])


def test_mixed_objects_have_one_change_each(objects):
  names = ('hat', 'hat', 'hat', 'color')
  many = multiview.draw('train', 400)
  new = jax.jit(lambda key, x: corruptions.mixed(key, x, names))(KEY, many)
  hats, colors = (np.asarray(getattr(new, x) != getattr(many, x)) for x in ('hat', 'color'))
  np.testing.assert_array_equal(hats ^ colors, True)
  assert 0.65 < hats.mean() < 0.85
  np.testing.assert_array_equal(new.left, many.left)
  with pytest.raises(ConfigError, match="'face' is no change"):
    corruptions.mixed(KEY, objects, ('face',))
  with pytest.raises(ConfigError, match="'face' is no corruption"):
    corruptions.corrupt('face', KEY, objects)
