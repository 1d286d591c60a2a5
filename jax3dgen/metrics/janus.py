"""Janus metrics of one asset: number of faces, view distribution, winding.

Axes: V views evenly round the object at one elevation, in order of growing azimuth
(`view_cameras`); leading axes broadcast. The inputs are a referee's probabilities. A correct
figurine has face_count 1, front_fraction 1/4, view_kl 0 and winding +1. No metric suffices alone:
an object with two half faces may have winding 1, one that shows its back everywhere has no second
face.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera
from jax3dgen.metrics import referee

N_VIEWS = 24
ELEVATION_DEG = 15.0


def view_cameras(distance, fovy, elevation_deg=ELEVATION_DEG):
  """The N_VIEWS cameras of an evaluation; distance in units, fovy in radians."""
  return camera.ring(N_VIEWS, np.deg2rad(elevation_deg), distance, fovy)


def view_probabilities(sector):
  """Sector probabilities [..., 8] -> probabilities [..., 4] of front, back, left, right.

  The pose classes are 90 degrees wide and centred: each is one sector and half of both neighbours.
  """
  shared = 0.5 * (jnp.roll(sector, 1, -1) + jnp.roll(sector, -1, -1))
  quarter = (sector + shared)[..., 0::2]  # at 0, 90, 180, 270 degrees: front, left, back, right
  return quarter[..., np.array([0, 2, 1, 3])]


def face_runs(visible):
  """Number [...] of circular runs of True in visible [..., V]; all True is one run."""
  starts = (visible & ~jnp.roll(visible, 1, -1)).sum(-1)
  return jnp.where(visible.all(-1), 1, starts)


def face_count(p_face, reference_arc_deg):
  """p_face [..., V], reference_arc_deg [...] -> number of faces [...] int32.

  The larger of the number of circular runs with p > 1/2 and round(visible arc / the arc over which
  the face of a correct figurine of that kind is seen). 0: no face.
  """
  visible = p_face > 0.5
  arc = 360.0 * visible.mean(-1)
  return jnp.maximum(face_runs(visible), jnp.floor(arc / reference_arc_deg + 0.5)).astype(jnp.int32)


def visible_arc_deg(p_face):
  """p_face [..., V] -> degrees of the circle [...] over which a face is seen."""
  return 360.0 * (p_face > 0.5).mean(-1)


def view_kl(p_view):
  """KL(mean over the views of p_view [..., V, 4] || uniform) [...] in nats, between 0 and log 4."""
  chex.assert_shape(p_view, (..., 4))
  p = p_view.mean(-2)
  return jnp.sum(p * (jnp.log(jnp.maximum(p, 1e-12)) + np.log(p.shape[-1])), -1)


def winding(p_view):
  """Turns [...] of the angle atan2(p_left - p_right, p_front - p_back) over p_view [..., V, 4]."""
  angle = jnp.arctan2(p_view[..., 2] - p_view[..., 3], p_view[..., 0] - p_view[..., 1])
  return camera.wrap(jnp.roll(angle, -1, -1) - angle).sum(-1) / (2 * jnp.pi)


def report(judgement, labels, kind=None, color=None):
  """The metrics of one asset from the Judgement of its V views, as a dict of plain Python values.

  `kind` and `color` are those of the prompt; where one is None, its *_correct metric is None, and
  the reference arc is that of the predicted kind.
  """
  arcs = np.array([labels.face_arc_deg[name] for name in labels.kinds], np.float32)
  kinds, colors, faces, metrics = jax.device_get(_figures(judgement, arcs))
  prediction = labels.kinds[int(kinds[:-1].argmax())]
  predicted_color = labels.colors[int(colors.argmax())]
  rejected = bool(kinds.argmax() == len(labels.kinds))
  return {
      'face_count': int(faces[labels.kinds.index(kind or prediction)]),
      **{name: float(value) for name, value in metrics.items()},
      'kind_seen': labels.reject if rejected else prediction,
      'color_seen': predicted_color,
      'kind_correct': None if kind is None else prediction == kind and not rejected,
      'color_correct': None if color is None else predicted_color == color,
  }


@jax.jit
def _figures(judgement, arcs):
  """(mean kind [K + 1], mean color [C], face_count [K] by the arcs [K] of all kinds, the other
  metrics of `report`) in one compiled program."""
  p_view = view_probabilities(judgement.sector)
  rejected = judgement.kind.argmax(-1) == judgement.kind.shape[-1] - 1
  return judgement.kind.mean(0), judgement.color.mean(0), face_count(judgement.face[None], arcs), {
      'face_arc_deg': visible_arc_deg(judgement.face), 'front_fraction': p_view[:, 0].mean(),
      'view_kl': view_kl(p_view), 'winding': winding(p_view), 'reject_rate': rejected.mean()}


def evaluate_views(params, images, labels, kind=None, color=None):
  """images [V, H, W, 3] of a ring of views -> `report` of them."""
  return report(referee.classify(params, images), labels, kind, color)
