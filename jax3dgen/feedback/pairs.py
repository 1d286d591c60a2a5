"""Pairs of a winner and a loser from the labels of a pool of samples.

Rows of a pool belong to groups: the samples of one image, or of one object across its images (DSO's
setting: winner, loser and condition then come from three of its images at random). A `Table` lists
for each group its winners, its losers and the images that may be the condition, padded to a fixed
size, so that `draw` runs within a compiled step and its result follows from the key.

Axes: N rows of the pool, G groups, B pairs.
"""

from typing import NamedTuple

import jax
import numpy as np

from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array


class Members(NamedTuple):
  """Members of G groups: index [G, K] int32, of which count [G] are valid, then repeats."""
  index: Array
  count: Array


class Table(NamedTuple):
  """Winners and losers as rows of the pool, conditions as images."""
  win: Members
  lose: Members
  cond: Members


def by_label(stable, image, group=None, usable=None):
  """(Table, left out) by the labels stable [N] bool of samples of image [N] int.

  group [N] is the object of each row; without it the image. Rows without `usable` [N] are in no
  pair. `left out` is {group: 'no stable sample' or 'no unstable sample'}. ConfigError where no
  group has both.
  """
  stable = np.asarray(stable, bool)
  split = lambda rows: (rows[stable[rows]], rows[~stable[rows]])
  return _table(split, image, group, usable, ('no stable sample', 'no unstable sample'))


def by_margin(margin, image, gap, group=None, usable=None):
  """`by_label`, with the better half of a group by margin [N] against its other half.

  Groups whose largest and smallest margin differ by less than `gap` are left out.
  """
  margin = np.asarray(margin, float)

  def split(rows):
    order = rows[np.argsort(-margin[rows], kind='stable')]
    half = len(order) // 2
    if half == 0 or margin[order[0]] - margin[order[-1]] < gap:
      half = 0
    return order[:half], order[len(order) - half:]
  why = f'margins that differ by less than {gap}'
  return _table(split, image, group, usable, (why, why))


def _table(split, image, group, usable, reasons):
  image = np.asarray(image)
  group = image if group is None else np.asarray(group)
  usable = np.ones(len(image), bool) if usable is None else np.asarray(usable, bool)
  wins, losses, conds, left_out = [], [], [], {}
  for name in np.unique(group):
    win, lose = split(np.flatnonzero((group == name) & usable))
    if len(win) and len(lose):
      wins.append(win)
      losses.append(lose)
      conds.append(np.unique(image[group == name]))
    else:
      left_out[name.item()] = reasons[len(win) > 0]
  if not wins:
    raise ConfigError(
        f'None of the {len(left_out)} groups of samples has a winner and a loser '
        f'({sum(why == reasons[0] for why in left_out.values())}: {reasons[0]}), so there is no '
        'pair to tune on; take more samples, or other images.')
  return Table(_padded(wins), _padded(losses), _padded(conds)), left_out


def _padded(rows):
  """Members of lists of numbers; the padding repeats the first."""
  size = max(map(len, rows))
  index = np.array([np.concatenate([r, np.repeat(r[:1], size - len(r))]) for r in rows], np.int32)
  return Members(index, np.array([len(r) for r in rows], np.int32))


def draw(key, table, count):
  """(winners, losers, images) [count] int32, with replacement: the group uniform, then each member
  uniform within it, as in DSO's code."""
  keys = jax.random.split(key, 4)
  group = jax.random.randint(keys[0], (count,), 0, len(table.win.count))

  def member(key, members):
    place = jax.random.randint(key, (count,), 0, members.count[group])
    return members.index[group, place]
  return tuple(member(k, members) for k, members in zip(keys[1:], table))
