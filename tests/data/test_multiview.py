"""Five views of figurines: against points sampled along rays, geometry of the views, draws."""

import jax
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_parts as parts
from jax3dgen.data import figurines, multiview

COUNT = 12
trace = jax.jit(multiview.trace, static_argnums=1)


@pytest.fixture(scope='module')
def objects():
  return multiview.draw('test', COUNT)


@pytest.fixture(scope='module')
def image(objects):
  return jax.tree.map(np.asarray, trace(objects, multiview.SIZE))


def solids(row):
  """[(Part with the sizes of an object, its rgb)] of one row of Objects."""
  body = np.minimum(parts.COLOR_RGB[row.color] * row.tint, 1)
  scale, round_ = row.scale, row.scale[:2].mean()
  for part in parts.PARTS[row.kind]:
    if part.region == parts.HAT and not row.hat:
      continue
    size = np.array(part.size) * ([round_, round_, scale[2]] if part.shape == 'cone' else scale)
    rgb = part.paint[:3] + part.paint[3] * body
    if part.region in (parts.LEFT, parts.RIGHT):
      size = size * row.hand
      rgb = multiview.HAND_RGB[row.left if part.region == parts.LEFT else row.right]
    yield part._replace(center=tuple(part.center * scale), size=tuple(size)), rgb


def test_pictures_equal_those_of_points_along_the_rays(objects):
  size, samples, steps = 12, 2, 240
  rows = size * samples
  place = 2.9 * np.tan(np.deg2rad(20)) * (1 - 2 * (np.arange(rows) + 0.5) / rows)
  up, right = np.meshgrid(place, -place, indexing='ij')
  pictures = np.asarray(trace(objects, size).rgb)
  regions = np.asarray(trace(objects, size).regions)
  along = np.linspace(1.2, -1.2, steps)  # from the camera
  for i in (0, 7):
    row = jax.tree.map(lambda x, i=i: np.asarray(x[i]), objects)
    for slot, (azimuth, elevation) in enumerate(zip(multiview.AZIMUTH_DEG,
                                                    multiview.ELEVATION_DEG)):
      a, e = np.deg2rad([azimuth, elevation])
      toward = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
      across = np.array([-np.sin(a), np.cos(a), 0])
      upward = np.cross(toward, across)
      points = (right[..., None, None] * across + up[..., None, None] * upward
                + along[:, None] * toward).astype(np.float32)
      first = np.full((rows, rows), steps)
      rgb, region = np.ones((rows, rows, 3)), np.zeros((rows, rows), int)
      for part, paint in solids(row):
        inside = figurines._signed_distance(part, points) < 0
        at = np.where(inside.any(-1), inside.argmax(-1), steps)
        rgb[at < first], region[at < first] = paint, part.region
        first = np.minimum(first, at)
      mean = lambda x: x.reshape(size, samples, size, samples, -1).mean((1, 3))
      true = mean(np.eye(len(figurines.REGIONS))[region])
      wrong = np.abs(true - regions[i, slot]).max(-1) > 0.01
      assert wrong.mean() < 0.05  # where two parts touch, a step decides
      error = np.abs(mean(rgb) - pictures[i, slot]).max(-1)
      assert (error > figurines.SKY * 2 + 0.01).mean() < 0.04 and np.median(error) < 0.1


def test_views_show_the_sides_that_they_are_named_after(objects, image):
  shares = dict(zip(multiview.SLOTS, image.shares.transpose(1, 2, 0)))
  assert (shares['left'][parts.LEFT] > 0.01).all() and (shares['left'][parts.RIGHT] < 0.002).all()
  assert (shares['right'][parts.RIGHT] > 0.01).all() and (shares['right'][parts.LEFT] < 0.002).all()
  assert (shares['front'][parts.FACE] > 0.04).all() and (shares['back'][parts.FACE] < 0.002).all()
  assert ((shares['top'][parts.HAT] > 0.01) == (np.asarray(objects.hat) == 1)).all()
  columns = np.arange(multiview.SIZE)
  for slot, sign in (('front', 1), ('back', -1), ('top', 1)):  # facing us, its left is on our right
    regions = image.regions[:, multiview.SLOTS.index(slot)].sum(1)
    place = lambda k: (regions[..., k] * columns).sum(-1) / regions[..., k].sum(-1)  # noqa: B023
    seen = (regions[..., parts.LEFT].sum(-1) > 2) & (regions[..., parts.RIGHT].sum(-1) > 2)
    assert seen.any() and (sign * (place(parts.LEFT) - place(parts.RIGHT))[seen] > 4).all()


def test_hands_have_their_colours(objects, image):
  for region, color in ((parts.LEFT, objects.left), (parts.RIGHT, objects.right)):
    whole = image.regions[..., region] == 1
    assert whole.sum((2, 3)).max(1).min() > 8
    true = multiview.HAND_RGB[np.asarray(color)][:, None, None, None]
    shade = image.rgb / np.maximum(true, 1e-3)
    bright = np.broadcast_to(true > 0.3, shade.shape) & whole[..., None]
    low = figurines.AMBIENT - figurines.SKY - 0.01
    assert shade[bright].min() > low and shade[bright].max() < 1.01


def test_another_colour_of_a_hand_changes_that_hand_alone(objects, image):
  other = objects.replace(left=(objects.left + 1) % len(multiview.HANDS))
  changed = np.abs(np.asarray(trace(other, multiview.SIZE).rgb) - image.rgb).max(-1) > 1e-6
  np.testing.assert_array_equal(changed, image.regions[..., parts.LEFT] > 0)


def test_draws():
  many = jax.tree.map(np.asarray, multiview.draw('train', 600))
  assert (many.left != many.right).all()
  for values, count in ((many.kind, 6), (many.color, 6), (many.left, 4), (many.right, 4)):
    assert np.bincount(values, minlength=count).min() > 600 / count * 0.6
  assert abs(many.hat.mean() - multiview.HAT_SHARE) < 0.08
  for values, (low, high) in ((many.tint, multiview.TINT), (many.scale, multiview.SCALE),
                              (many.hand, multiview.HAND)):
    assert low <= values.min() < low + 0.02 and high - 0.02 < values.max() <= high
  part = multiview.draw('train', 5, first=3)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[3:8]), part, many)
  tints = [np.asarray(multiview.draw(split, 600).tint)[:, 0] for split in multiview.SPLITS]
  assert len(np.unique(np.concatenate(tints))) > 1790  # of 1800, of 24 bits
  with pytest.raises(ConfigError, match="split='tests'"):
    multiview.draw('tests', 2)


def test_references_are_the_sides_in_turn_whatever_the_first_object():
  slots = multiview.reference_slots(6, first=3)
  assert slots.tolist() == [3, 0, 1, 2, 3, 0] and slots.dtype == np.int32
  views = np.arange(30).reshape(6, 5, 1)
  assert multiview.at_slot(views, slots)[:, 0].tolist() == [3, 5, 11, 17, 23, 25]
