"""The choice of pose templates among pictures that were sampled for view phrases.

A prior may ignore a phrase: some pictures of a back view show the front, most of a side view hardly
turn. The most typical picture of a phrase is then no template of its pose. Chosen are the pictures
by which the pose classifier (`perception/pose`, on its own features) best tells the other pictures'
phrases apart: a front among the back views does not, a failed picture is like no other, and a side
view that hardly turns is like its own mirror image, which is the template of the other side.

Axes: P phrases, M = 2 (a picture and its mirror image), N pictures of each phrase, K poses, h and w
rows and columns of the patch map, C channels.
"""

import itertools
from typing import NamedTuple

import jax
import numpy as np

from jax3dgen.perception import pose

PHRASES = {'front': 'front', 'left': 'side', 'back': 'back', 'right': 'side'}  # pose -> phrase


class Choice(NamedTuple):
  """`pictures` {pose: (phrase, index, whether mirrored)} and figures {phrase: float} of the other
  pictures of each phrase: `agreement`, the share of those whose likeliest pose is of their phrase,
  and `margin`, the mean of the phrase's largest probability minus that of the likeliest other pose.
  """
  pictures: dict
  agreement: dict
  margin: dict


def phrases_of(poses):
  """The phrases of poses (names), each once."""
  return tuple(dict.fromkeys(PHRASES[name] for name in poses))


def choose(tokens, patches, poses, temperature):
  """The Choice for `poses` (names) from features on the host: tokens [P, M, N, C], patches
  [P, M, N, h, w, C], P as in `phrases_of`. `temperature` is that of the classifier.

  Tries all combinations of one picture for each phrase. The score is the probability of a picture's
  own phrase, in the mean over pictures and then over phrases, without the chosen pictures.
  """
  phrases, count = phrases_of(poses), tokens.shape[2]
  columns = [(phrases.index(PHRASES[name]), int(name == 'right')) for name in poses]
  indices = [[k for k, (j, _) in enumerate(columns) if j == i] for i in range(len(phrases))]
  joint = similarities(tokens, patches)
  best, highest = None, -np.inf
  for first in itertools.product(range(count), repeat=len(phrases) - 1):
    p = _probabilities(joint, columns, first, temperature)
    scores = np.mean([_mean_of_others(p[j][..., indices[j]].max(-1), pick) for j, pick in
                      enumerate((*first, np.arange(count)))], 0)
    if scores.max() > highest:
      best, highest = (*first, int(scores.argmax())), scores.max()
  p = _probabilities(joint, columns, best[:-1], temperature)[:, 0, :, best[-1]]
  agreement, margin = {}, {}
  for name, index, rows, pick in zip(phrases, indices, p, best, strict=True):
    rows = np.delete(rows, pick, 0)
    winner = np.array(index)[rows[:, index].argmax(-1)]
    others = np.where(np.arange(len(poses)) == winner[:, None], -np.inf, rows)
    agreement[name] = float(np.isin(rows.argmax(-1), index).mean())
    margin[name] = float((rows.max(-1, where=others == -np.inf, initial=0) - others.max(-1)).mean())
  chosen = dict(zip(phrases, best, strict=True))
  itself = 'left'  # the pose of the side picture; the other side is its mirror image
  if {'front', 'side'} <= chosen.keys():
    side, fronts = (patches[phrases.index(name), 0] for name in ('side', 'front'))
    itself = 'left' if _faces_left(side[chosen['side']], fronts) else 'right'
  pictures = {name: (PHRASES[name], chosen[PHRASES[name]],
                     PHRASES[name] == 'side' and name != itself) for name in poses}
  return Choice(pictures, agreement, margin)


def similarities(tokens, patches):
  """The classifier's similarity of each picture to each as a template: [P, M, N, P, M, N], in the
  form of the authors' code, the one that depends on left and right."""
  axes = tokens.shape[:3]
  tokens, patches = tokens.reshape(-1, *tokens.shape[3:]), patches.reshape(-1, *patches.shape[3:])
  templates = pose.from_features(tokens[:, None], patches[:, None])
  return np.asarray(_compare(templates, tokens, patches)).reshape(*axes, *axes)


@jax.jit
def _compare(templates, tokens, patches):
  def row(picture):  # one by one: the distances of all patches of all pictures are large
    token, patch = picture[0][None], picture[1][None]
    return pose.similarity(templates, token, patch)[0]
  return jax.lax.map(row, (tokens, patches))


def _probabilities(joint, columns, first, temperature):
  """p(pose) [P, M, N, N, K] of all pictures (first axes) by templates: the pictures `first` of all
  phrases but the last, of which each picture in turn (fourth axis) is the template."""
  of = lambda j, m: joint[..., j, m, first[j], None] if j < len(first) else joint[..., j, m, :]
  x = np.stack(np.broadcast_arrays(*(of(*column) for column in columns), joint[..., -1, 0, :])[:-1],
               -1)
  x = x / x.sum(-1, keepdims=True) / temperature
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def _mean_of_others(values, pick):
  """The means [L] of values [M, N, L] over all N but `pick`, one index or L of them."""
  count = values.shape[1]
  others = np.arange(count)[:, None] != np.broadcast_to(pick, values.shape[2])
  return (values * others).sum((0, 1)) / (len(values) * (count - 1))


def _faces_left(side, fronts):
  """Whether the object of a side picture faces the left edge of the image, from its patches
  [h, w, C] and those of front pictures [N, h, w, C].

  A guess: on the side that it faces the patches are more like those of fronts.
  """
  flat = side.reshape(-1, side.shape[-1])

  def distance(front):
    front = front.reshape(-1, front.shape[-1])
    square = (flat**2).sum(-1)[:, None] + (front**2).sum(-1)[None] - 2 * flat @ front.T
    return np.sqrt(np.maximum(square, 0)).min(-1)
  distances = np.mean([distance(front) for front in fronts], 0).reshape(side.shape[:2])
  return bool((distances * np.linspace(-1.0, 1.0, side.shape[1])).sum() >= 0)
