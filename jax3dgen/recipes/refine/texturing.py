"""The texture stage: colours of a fixed mesh by a hash grid, moved by an objective on its views
(ProlificDreamer's and RecDreamer's third stage).

It begins with the colours of the trained field. Optimised are the parameters of a Field of which
only `rgb` counts.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core.types import Mesh
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.refine import views
from jax3dgen.scene import raster

SURFACE = 'surface'  # where the fixed parameters hold the mesh
CHUNK = 2**16  # points whose colours are computed at a time


def build(config, field_params, mesh):
  """Parts of the stage for a complete config of it, the field's parameters and a Mesh."""
  field = distill_parts.build_field(config)

  def observe(prior, cfg, count, stage):
    lists = views.capacity(cfg, mesh, cfg.train.batch // count, stage.size)
    draw = functools.partial(_draw, field, stage.size, lists)
    return views.observer(prior, cfg, count, stage.size, draw)
  parts = distill_parts.build(config, lambda cfg: (
      field._replace(init=lambda key: field_params), observe))
  arrays = {'vertices': jnp.asarray(mesh.vertices, jnp.float32), 'faces': jnp.asarray(mesh.faces)}
  return parts._replace(params=parts.params | {SURFACE: arrays})


def _draw(field, size, lists, params, fixed, camera, background, step):
  del step
  surface = fixed[SURFACE]
  mask = jnp.ones(len(surface['faces']), bool)
  view = views.surface_view(surface['vertices'], surface['faces'], mask, camera, size, lists)
  colors = field.query(params, view.points, 1.0).rgb
  return views.paint(view, colors, background), view, jnp.zeros(()), {}


def asset(cfg, field, params, mesh):
  """The `outputs.Asset` of a Mesh with the colours of a field at its surface."""
  color = colors_of(field, params)
  vertices = np.asarray(mesh.vertices, np.float32)
  mesh = Mesh(vertices, np.asarray(mesh.faces), color(vertices, None))
  edges = vertices[np.asarray(mesh.faces)] - vertices[np.roll(np.asarray(mesh.faces), 1, 1)]
  reach = float(np.linalg.norm(edges, axis=-1).max())
  return outputs.Asset(mesh, lambda size: functools.partial(
      renderer(cfg, field, mesh, size), params), color, reach, params)


def colors_of(field, params):
  """(points [N, 3], normals) -> colours [N, 3] of a field, on the host."""
  query = jax.jit(lambda params, points: field.query(params, points, 1.0).rgb)

  def color(points, normals):
    del normals
    rows = []
    for start in range(0, len(points), CHUNK):
      part = np.asarray(points[start:start + CHUNK], np.float32)
      padded = np.pad(part, ((0, min(CHUNK, len(points)) - len(part)), (0, 0)))
      rows.append(np.asarray(query(params, padded))[:len(part)])
    return np.concatenate(rows)
  return color


def renderer(cfg, field, mesh, size):
  """(field parameters, Camera) -> images [B, size, size, 3] of a Mesh with a field's colours, one
  camera at a time."""
  lists = views.capacity(cfg, mesh, 1, size)
  fixed = {SURFACE: {'vertices': jnp.asarray(mesh.vertices), 'faces': jnp.asarray(mesh.faces)}}
  background = jnp.broadcast_to(jnp.asarray(cfg.render.background, jnp.float32),
                                (1, size, size, 3))

  @jax.jit
  def draw(params, fixed, camera):
    picture, view, _, _ = _draw(field, size, lists, params, fixed, camera, background, 0)
    return picture, view.picture

  def images(params, camera):
    rows = []
    for i in range(len(camera.azimuth)):
      picture, view = draw(params, fixed, jax.tree.map(lambda x, i=i: x[i:i + 1], camera))
      raster.check(view)
      rows.append(np.asarray(picture)[0])
    return np.clip(np.stack(rows), 0.0, 1.0)
  return images
