"""Stability rates from the outcomes of an engine. Host arrays in and out.

Axes: M meshes, P runs (tilts) of each. A run is stable where the mesh turned by less than the
threshold and the simulation did not diverge (DSO's rule).
"""

from typing import NamedTuple

import chex
import numpy as np

MAX_TILTS = (0.01, 0.02, 0.04, 0.08)  # radians, DSO Table 6


class Summary(NamedTuple):
  """For each mesh [M]: the share of its runs that are stable, how many diverged, and the mean and
  the largest rotation in degrees of those that did not (NaN where all did)."""
  stable_rate: np.ndarray
  diverged: np.ndarray
  rotation_deg_mean: np.ndarray
  rotation_deg_max: np.ndarray


class Means(NamedTuple):
  """Means over meshes: DSO's '% stable' as a share, and its 'Rot.' in degrees over the meshes with
  a finite one."""
  stable_rate: float
  rotation_deg: float


class TiltRates(NamedTuple):
  """For each maximum tilt [K] in radians: the mean stable rate (NaN without runs), and the number
  of runs per mesh."""
  max_tilt: np.ndarray
  stable_rate: np.ndarray
  runs: np.ndarray


class Confusion(NamedTuple):
  """Numbers of runs by the labels of an engine and of a reference.

  `falsely_stable` are stable in the engine alone, `falsely_unstable` in the reference alone.
  """
  both_stable: int
  both_unstable: int
  falsely_stable: int
  falsely_unstable: int

  @property
  def total(self):
    return sum(self)

  @property
  def agreement(self):
    """The share of labels that are the same (NaN where there are none)."""
    return (self.both_stable + self.both_unstable) / self.total if self.total else float('nan')


def stable(rotation_deg, diverged, threshold_deg=20.0):
  """Which runs [M, P] are stable; a rotation that is not finite is unstable."""
  return (np.asarray(rotation_deg) < threshold_deg) & ~np.asarray(diverged, bool)


def summary(rotation_deg, diverged, threshold_deg=20.0):
  """The Summary of runs [M, P]."""
  diverged = np.asarray(diverged, bool)
  chex.assert_rank([rotation_deg, diverged], 2)
  angle = np.where(diverged, np.nan, rotation_deg)
  finite = np.isfinite(angle)
  runs = finite.sum(1)
  with np.errstate(invalid='ignore'):
    mean = np.where(finite, angle, 0.0).sum(1) / runs
  most = np.where(runs > 0, np.where(finite, angle, -np.inf).max(1, initial=-np.inf), np.nan)
  return Summary(stable(rotation_deg, diverged, threshold_deg).mean(1), diverged.sum(1), mean, most)


def means(summaries):
  """The Means over the meshes of a Summary."""
  finite = np.isfinite(summaries.rotation_deg_mean)
  return Means(float(summaries.stable_rate.mean()) if len(finite) else float('nan'),
               float(summaries.rotation_deg_mean[finite].mean()) if finite.any() else float('nan'))


def by_max_tilt(stands, tilts, max_tilts=MAX_TILTS):
  """The TiltRates of runs `stands` [M, P] after tilts [P, 3] (rotation vectors, radians).

  DSO draws uniform angles up to each maximum separately. Here the runs whose tilt is at most the
  maximum are selected from one sweep: of angles uniform up to 0.08, those up to 0.04 are uniform as
  well, so the expected rate is the same and only the number of runs is smaller.
  """
  angle = np.linalg.norm(tilts, axis=-1)
  stands, max_tilts = np.asarray(stands, bool), np.asarray(max_tilts, np.float64)
  within = angle[:, None] <= max_tilts * (1 + 1e-6)  # tilts may be float32
  runs = within.sum(0)
  with np.errstate(invalid='ignore'):
    return TiltRates(max_tilts, stands.mean(0) @ within / runs, runs)


def confusion(reference, other):
  """The Confusion of two engines' labels, boolean arrays of one shape."""
  reference, other = np.asarray(reference, bool), np.asarray(other, bool)
  if reference.shape != other.shape:
    raise ValueError(f'Labels of shapes {reference.shape} and {other.shape} are not comparable.')
  return Confusion(*(int(count.sum()) for count in (
      reference & other, ~reference & ~other, other & ~reference, reference & ~other)))
