"""T3Bench (He et al. 2023) without its scoring models: views, smoothing and scores.

Quality: a mesh is rendered from the 162 vertices of an icosphere in 5 fields of view; a reward
model scores each image against the prompt. The best field of view counts, the scores are smoothed
over the sphere, and the best place counts. Alignment: 12 views are captioned, and a language model
rates from 1 to 5 how much of the prompt the captions contain. Axes: N places on the sphere, F
fields of view.
"""

import jax.numpy as jnp
import numpy as np
import trimesh

from jax3dgen.core import camera as cameras
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Camera, Mesh

RADIUS = 2.2  # of the sphere on which the cameras stand
FOVY_DEG = (60.0, 45.0, 36.0, 30.0, 24.0)
CAPTION_RADIUS = RADIUS**2  # the released caption renderer multiplies by the radius twice
CAPTION_FOVY_DEG = 60.0
ROUNDS = 3  # of smoothing
LEVELS = (1.0, 5.0)  # range of the alignment ratings


def sphere(subdivisions):
  """(directions [N, 3], neighbours: a list of N index lists) of an icosphere: N = 12, 42, 162."""
  mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
  return np.asarray(mesh.vertices), [list(near) for near in mesh.vertex_neighbors]


def viewpoints(directions, radius, fovy_deg):
  """The Camera of N places `radius` away in `directions` [N, 3], upright but at the poles."""
  eye = radius * np.asarray(directions, np.float32)
  up = np.where(np.abs(directions[:, 2:]) < 0.99, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
  full = lambda x: jnp.full((len(eye),), x, jnp.float32)
  return Camera(cameras.look_at(eye, np.zeros_like(eye), up),
                jnp.asarray(np.arctan2(eye[:, 1], eye[:, 0])),
                jnp.asarray(np.arcsin(np.clip(eye[:, 2] / radius, -1, 1))), full(radius),
                full(np.deg2rad(fovy_deg)))


def normalize(mesh):
  """The Mesh about the mean of its vertices, scaled so that its largest coordinate is 1."""
  vertices = np.asarray(mesh.vertices, np.float64)
  vertices = vertices - vertices.mean(0, keepdims=True)
  largest = np.abs(vertices).max()
  if not largest > 0:
    raise ConfigError('All vertices of the mesh coincide.')
  return Mesh((vertices / largest).astype(np.float32), mesh.faces, mesh.colors)


def smooth(scores, neighbours, rounds=ROUNDS):
  """Scores [N] after `rounds` of replacing each by the mean of itself and its neighbours."""
  scores = np.asarray(scores, np.float64)
  for _ in range(rounds):
    scores = np.array([scores[[i, *near]].mean() for i, near in enumerate(neighbours)])
  return scores


def quality(rewards, neighbours):
  """Rewards [N, F] -> 20 r + 50 of the best place of the smoothed best of the fields of view."""
  return float(20.0 * smooth(np.asarray(rewards).max(1), neighbours).max() + 50.0)


def alignment(level):
  """A level from 1 to 5 as 0 to 100.

  The released code prints the mean level, the tables of the paper use this scale.
  """
  low, high = LEVELS
  if not low <= level <= high:
    raise ConfigError(f'An alignment rating is from 1 to 5, not {level}.')
  return (level - low) * 100.0 / (high - low)
