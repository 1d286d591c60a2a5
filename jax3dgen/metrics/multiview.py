"""Consistency of generated views with one reference, in a world where the truth is known.

The colour of the hands is what a view can only know from the reference: it is read directly from
the pixels where the hand is in the true picture. Axes: N objects, V views, S pixels per side, K
colours of hands. Slots [N] are the views that the references show.
"""

import jax
import numpy as np

from jax3dgen.metrics import intervals, pictures, referee

NUMBERS = ('psnr', 'ssim', 'sector', 'kind', 'color')  # of each object
SHARES = ('hands', 'agree', 'hat')  # of each object NAME_right of NAME_count cases
LEAST = 4  # pixels of a part that is read
SECTORS = (0, 6, 4, 2)  # the referee's of the first views: front, right, back, left
DIFFERENT = 0.25  # least difference of a channel between a picture with a hat and one without


def nearest_color(views, masks, palette):
  """Indices [...] into the palette [K, 3] of the mean colour in masks [..., S, S] of views
  [..., S, S, 3]; -1 where a mask has less than 4 pixels.

  Colours are compared with the same brightness, that of their largest channel.
  """
  masks = np.asarray(masks, np.float32)
  count = masks.sum((-1, -2))
  mean = np.einsum('...hwc,...hw->...c', views, masks) / np.maximum(count, 1)[..., None]
  bright = lambda x: x / np.maximum(x.max(-1, keepdims=True), 0.05)
  distance = np.square(bright(mean)[..., None, :] - bright(np.asarray(palette))).sum(-1)
  return np.where(count >= LEAST, distance.argmin(-1), -1)


def hands(views, masks, colors, palette, slot):
  """The colours of the hands in generated views [N, V, S, S, 3].

  masks [N, V, 2, S, S]: pixels of the left and right hand in the true pictures, colors [N, 2]
  indices into the palette. {'hands_right', 'hands_count'} [N]: hands of the right colour, of those
  in views other than the reference's whose reference shows that hand; {'agree_right',
  'agree_count'} [N]: pairs of two views of one hand that have one colour. By chance 1 of K is
  right.
  """
  read = nearest_color(np.asarray(views)[:, :, None], masks, palette)  # [N, V, 2]
  seen, rows = read >= 0, np.arange(len(read))
  judged = seen & seen[rows, slot][:, None]
  judged[rows, slot] = False
  right = judged & (read == np.asarray(colors)[:, None])
  first, second = np.triu_indices(read.shape[1], 1)
  pairs = seen[:, first] & seen[:, second]
  agree = pairs & (read[:, first] == read[:, second])
  each = lambda x: x.sum((1, 2))
  return {'hands_right': each(right), 'hands_count': each(judged), 'agree_right': each(agree),
          'agree_count': each(pairs)}


def hats(views, with_hat, without, worn):
  """Whether generated views [N, V, S, S, 3] have a hat where the object wears one.

  with_hat and without are the true pictures of the object with and without its hat, worn [N] says
  which is true. A view is read where the two differ, by the nearer one. {'hat_right',
  'hat_count'} [N].
  """
  where = (np.abs(with_hat - without).max(-1, keepdims=True) > DIFFERENT)
  seen = where.sum((-1, -2, -3)) >= LEAST
  error = lambda x: (np.square(views - x) * where).sum((-1, -2, -3))
  right = seen & ((error(with_hat) < error(without)) == (np.asarray(worn) > 0)[:, None])
  return {'hat_right': right.sum(1), 'hat_count': seen.sum(1)}


def judge(params, views, kind, color):
  """{'sector', 'kind', 'color'} [N]: shares of the first views of an object that the referee gives
  their side, kind and colour; kind and color [N]."""
  sides = len(SECTORS)
  views = np.asarray(views)[:, :sides]
  out = referee.classify(params, views.reshape(-1, *views.shape[2:]))
  best = jax.tree.map(lambda x: np.asarray(x).argmax(-1).reshape(-1, sides),
                      {'sector': out.sector, 'kind': out.kind, 'color': out.color})
  truth = {'sector': np.array(SECTORS)[None], 'kind': np.asarray(kind)[:, None],
           'color': np.asarray(color)[:, None]}
  return {name: (best[name] == truth[name]).mean(1) for name in best}


def of_others(values, slot):
  """The mean [N] of values [N, V] over the views other than the reference's."""
  others = np.arange(values.shape[1])[None] != np.asarray(slot)[:, None]
  return (np.asarray(values) * others).sum(1) / (values.shape[1] - 1)


def compare(distances, views, true, slot):
  """[N] for each of `distances`, functions of pictures ([B, S, S, 3], [B, S, S, 3]) -> [B].

  The mean between views [N, V, S, S, 3] and the true ones over those other than the reference's.
  """
  flat = lambda x: np.asarray(x, np.float32).reshape(-1, *x.shape[2:])
  return [of_others(np.asarray(distance(flat(views), flat(true))).reshape(views.shape[:2]), slot)
          for distance in distances]


def likeness(views, true, slot):
  """(PSNR [N], SSIM [N]) of views [N, V, S, S, 3], mean over those other than the reference's."""
  return tuple(compare((pictures.psnr, pictures.ssim), views, true, slot))


def share(hits, count):
  """{'share', 'low', 'high', 'count'} with Wilson's 95 % interval."""
  low, high = intervals.wilson(hits, count)
  return {'share': hits / count, 'low': low, 'high': high, 'count': count}


def mean(values):
  """{'mean', 'half'}: the mean of values [N] and half the width of its 95 % interval."""
  return {'mean': float(np.mean(values)),
          'half': float(1.96 * np.std(values, ddof=1) / len(values) ** 0.5)}


def columns(views, truth, objects, palette, slot):
  """{name: [N]} of generated views [N, V, S, S, 3] against a `data.multiview.Truth`.

  Those of `likeness`, `judge`, `hands` and `hats`; `objects` has kind, color and hat [N].
  """
  psnr, ssim = likeness(views, truth.pictures, slot)
  return {'psnr': psnr, 'ssim': ssim,
          **judge(referee.load(), views, objects.kind, objects.color),
          **hands(views, truth.hands, truth.colors, palette, slot),
          **hats(views, truth.with_hat, truth.without_hat, objects.hat)}


def figures(rows):
  """{name: `mean` or `share`} of `columns`, over all objects."""
  return {name: mean(rows[name]) for name in NUMBERS} | {
      name: share(int(rows[f'{name}_right'].sum()), int(rows[f'{name}_count'].sum()))
      for name in SHARES}
