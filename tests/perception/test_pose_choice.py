"""The choice of pose templates, on pictures of three columns: y is a face, z a back."""

import itertools

import jax
import numpy as np
import pytest

from jax3dgen.core.camera import SECTORS
from jax3dgen.perception import pose, pose_choice

COLUMNS = {'front': 'pyq', 'left': 'ykz', 'right': 'zky', 'back': 'rzs', 'outlier': 'ooo'}
MIRROR = {'left': 'right', 'right': 'left'}
FEATURE = dict(zip(' pyqkzrso', np.eye(9), strict=True))
TEMPERATURE = 0.05


def features(*rows):
  """(tokens [P, 2, N, 9], patches [P, 2, N, 5, 5, 9]) of pictures, given by the names of COLUMNS,
  and of their mirror images, on an empty border, with little noise of their own."""
  noise = np.random.default_rng(0)

  def picture(name):
    image = np.tile(FEATURE[' '], (5, 5, 1))
    image[1:4, 1:4] = [FEATURE[column] for column in COLUMNS[name]]
    return image + 0.002 * noise.normal(size=image.shape)
  patches = np.stack([[[picture(name) for name in names] for names in (
      row, [MIRROR.get(name, name) for name in row])] for row in rows])
  return patches[:, :, :, 1:4, 1:4].mean((3, 4)), patches


def test_a_phrase_that_the_prior_mostly_ignores_still_gets_its_pose():
  """Two of six pictures of the back show it, the others the front, or nothing; two of the side."""
  rows = (('front', 'front', 'left', 'front', 'front', 'front'),
          ('front', 'right', 'front', 'front', 'right', 'outlier'),
          ('front', 'outlier', 'front', 'back', 'front', 'back'))
  choice = pose_choice.choose(*features(*rows), SECTORS, TEMPERATURE)
  chosen = {name: rows[('front', 'side', 'back').index(phrase)][i]
            for name, (phrase, i, _) in choice.pictures.items()}
  assert chosen == {'front': 'front', 'left': 'right', 'back': 'back', 'right': 'right'}
  assert [choice.pictures[name][2] for name in SECTORS] == [False, True, False, False]
  assert choice.agreement['back'] == pytest.approx(1 / 5) and choice.margin['back'] < 0
  assert choice.agreement['front'] == pytest.approx(4 / 5) and choice.margin['front'] > 0.3


def test_sides_of_two_poses_differ_from_their_mirror_images():
  tokens, patches = features(('front', 'left', 'front', 'left'))
  choice = pose_choice.choose(tokens, patches, ('left', 'right'), TEMPERATURE)
  (phrase, i, mirrored), other = choice.pictures['left'], choice.pictures['right']
  assert phrase == 'side' and i in (1, 3) and other == ('side', i, not mirrored)


@pytest.mark.parametrize('poses', [SECTORS, ('left', 'back', 'right')])
def test_the_choice_is_the_best_of_all_by_a_loop_over_single_pictures(poses):
  rows = {'front': ('front', 'left', 'outlier'), 'side': ('left', 'front', 'right'),
          'back': ('front', 'back', 'left')}
  phrases = pose_choice.phrases_of(poses)
  tokens, patches = features(*(rows[phrase] for phrase in phrases))
  every = pose.from_features(*(x.reshape(-1, 1, *x.shape[3:]) for x in (tokens, patches)))
  count = patches.shape[2]
  at = lambda phrase, mirrored, i: (2 * phrases.index(phrase) + mirrored) * count + i

  classify = jax.jit(lambda bank: pose.probabilities(bank, every.tokens, every.patches,
                                                     TEMPERATURE))

  def score(picks):
    rows = np.array([at(pose_choice.PHRASES[name], name == 'right',
                        picks[pose_choice.PHRASES[name]]) for name in poses])
    bank = every.replace(tokens=every.tokens[rows], patches=every.patches[rows],
                         masks=every.masks[rows])
    means, p = [], np.asarray(classify(bank))
    for phrase in phrases:
      own = [pose_choice.PHRASES[name] == phrase for name in poses]
      values = []
      for mirrored, i in itertools.product((0, 1), range(count)):
        if i != picks[phrase]:
          values.append(p[at(phrase, mirrored, i)][own].max())
      means.append(np.mean(values))
    return np.mean(means)
  combinations = [dict(zip(phrases, picks, strict=True))
                  for picks in itertools.product(range(count), repeat=len(phrases))]
  scores = [score(picks) for picks in combinations]
  choice = pose_choice.choose(tokens, patches, poses, TEMPERATURE)
  picks = {phrase: i for phrase, i, _ in choice.pictures.values()}
  assert score(picks) == pytest.approx(max(scores), abs=1e-4)
