"""How good a referee is: on held-out pictures, on no figurines, and on whole correct figurines.

Held-out pictures come from other keys of the same procedural world: none is in the training data.
Axes: K kinds, C colours, 2 (without and with a hat), V views of a ring.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.data import figurines, referee_examples
from jax3dgen.metrics import janus, referee
from jax3dgen.nn import referee as nets

CHUNK = 200  # pictures per compiled call


def chunk_keys(key, count):
  """As many keys as `count` pictures need chunks."""
  return jax.random.split(key, -(-count // CHUNK))


@functools.partial(jax.jit, static_argnames='views')
def correct(params, key, views, strength):
  """(kind, color, {label: whether the referee is right}) of CHUNK figurine views, all [CHUNK]."""
  examples = referee_examples.draw(key, CHUNK, views, strength)
  j = referee.classify(params, examples.images)
  return examples.kind, examples.color, {
      'kind': j.kind.argmax(-1) == examples.kind, 'color': j.color.argmax(-1) == examples.color,
      'sector': j.sector.argmax(-1) == nets.sector(examples.azimuth),
      'face': (j.face > 0.5) == (examples.face > 0.5)}


def accuracy(params, key, views, count, strength):
  """Plain accuracies over `count` held-out views of figurines, `spoil`ed by up to `strength`.

  Returns {'kind', 'color', 'sector', 'face': float, 'per_kind': {kind: the same four},
  'per_color': {color: float}}. A kind is right only when it is not rejected either.
  """
  parts = [correct(params, k, views, strength) for k in chunk_keys(key, count)]
  kind, color, right = jax.tree.map(lambda *x: np.concatenate(x), *parts)
  shares = lambda rows: {name: float(x[rows].mean()) for name, x in right.items()}
  return shares(slice(None)) | {
      'per_kind': {name: shares(kind == i) for i, name in enumerate(figurines.KINDS)},
      'per_color': {name: float(right['color'][color == i].mean())
                    for i, name in enumerate(figurines.COLORS)}}


def reject_rates(params, key, views, count):
  """{sort of no figurine: share rejected of `count` such pictures, half of them spoilt}."""
  @jax.jit
  def rejected(params, key, sort):
    examples = referee_examples.draw(key, CHUNK, views, 1.0, 0.5, 1.0, sort)
    return (referee.classify(params, examples.images).kind.argmax(-1) == examples.kind).mean()

  share = lambda i: np.mean([rejected(params, k, jnp.full((CHUNK,), i))
                             for k in chunk_keys(key, count)])
  return {name: float(share(i)) for i, name in enumerate(referee_examples.REJECTS)}


def strips(params, views):
  """Judgement of the ring of views of every kind x colour x hat, leading axes [K, C, 2, V]."""
  camera = janus.view_cameras(views.ring_distance, np.deg2rad(views.fovy_deg))

  @jax.jit
  def classify(params, kind, color, hat):
    full = lambda x: jnp.full((janus.N_VIEWS,), x, jnp.int32)
    figurine = figurines.Figurine(kind=full(kind), color=full(color), hat=full(hat))
    return referee.classify(params, figurines.render(figurine, camera, nets.SIZE).rgb)

  shape = (len(figurines.KINDS), len(figurines.COLORS), 2)
  rows = [classify(params, *index) for index in np.ndindex(*shape)]
  return jax.tree.map(lambda *x: np.stack(x).reshape(shape + x[0].shape), *rows)


def face_arcs(judgement):
  """{kind: degrees of the circle over which its face is visible} in the Judgement of `strips`.

  The mean over its colours and hats; at least one view, so that untrained weights have an arc too.
  """
  arcs = np.asarray(janus.visible_arc_deg(judgement.face)).mean((1, 2))
  return {name: max(float(arc), 360.0 / janus.N_VIEWS)
          for name, arc in zip(figurines.KINDS, arcs, strict=True)}


def figures_of_strips(judgement, labels):
  """The worst figures over the strips of each kind, {kind: {figure: value}}.

  'right' is the share of the strips of which everything is right: one face, kind, colour,
  |winding - 1| < 0.05 and view_kl < 0.05.
  """
  table = {}
  for k, kind in enumerate(labels.kinds):
    rows = []
    for c, h in np.ndindex(judgement.face.shape[1:3]):
      strip = jax.tree.map(lambda x, at=(k, c, h): jnp.asarray(x[at]), judgement)
      rows.append(janus.report(strip, labels, kind, labels.colors[c]))
    right = [r['face_count'] == 1 and r['kind_correct'] and r['color_correct']
             and abs(r['winding'] - 1) < 0.05 and r['view_kl'] < 0.05 for r in rows]
    table[kind] = {
        'right': float(np.mean(right)),
        'face_count': (min(r['face_count'] for r in rows), max(r['face_count'] for r in rows)),
        'winding': (min(r['winding'] for r in rows), max(r['winding'] for r in rows)),
        'view_kl': max(r['view_kl'] for r in rows),
        'reject_rate': max(r['reject_rate'] for r in rows)}
  return table
