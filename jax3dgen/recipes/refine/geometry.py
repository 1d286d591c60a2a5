"""The geometry stage: signed distances and offsets of a tetrahedral grid, moved by an objective on
views of the surface (ProlificDreamer's and RecDreamer's second stage, on normal maps).

The first surface is that of a trained field. Optimised are {'sdf' [V], 'offsets' [V, 3]} of
`scene/dmtet`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.refine import views
from jax3dgen.scene import base as scenes
from jax3dgen.scene import dmtet, mesh_regularizers
from jax3dgen.train import optim

STYLE = 'field'  # where the fixed parameters hold those of the field whose colours are shown


def march(cfg, capacity, params):
  """The `dmtet.Surface` of the stage's parameters."""
  return dmtet.march(params['sdf'], params['offsets'], cfg.mesh.resolution, capacity)


def build(config, field, field_params):
  """(Parts of the stage, its dmtet.Capacity) for a complete config of it and a trained Field.

  MeshError where the field has no surface.
  """
  mesh = config.mesh
  sdf = dmtet.from_field(field.query, field_params, mesh.resolution, mesh.level or None)
  capacity = dmtet.capacity(sdf, mesh.resolution, mesh.slack)
  init = lambda key: {'sdf': jnp.asarray(sdf), 'offsets': jnp.zeros((len(sdf), 3))}

  first = surface_of(config, capacity, init(None))

  def observe(prior, cfg, count, stage):
    lists = views.capacity(cfg, first, cfg.train.batch // count, stage.size, mesh.slack)
    draw = functools.partial(_draw, cfg, field, capacity, stage.size, lists)
    return views.observer(prior, cfg, count, stage.size, draw)
  parts = distill_parts.build(config, lambda cfg: (scenes.Field(init, None), observe))
  if mesh.shown == 'colors':
    parts = parts._replace(params=parts.params | {STYLE: field_params})
  return parts, capacity


def _draw(cfg, field, capacity, size, lists, params, fixed, camera, background, step):
  surface = march(cfg, capacity, params)
  view = views.surface_view(surface.vertices, surface.faces, surface.face_mask, camera, size, lists)
  if cfg.mesh.shown == 'normals':
    colors = 0.5 * (view.normals + 1.0)
  else:
    colors = field.query(fixed[STYLE], view.points, 1.0).rgb
  penalty, figures = _penalties(cfg.mesh, surface, view.twin, step)
  view = view._replace(overflow=view.overflow + surface.overflow)
  return views.paint(view, colors, background), view, penalty, figures


def _penalties(mesh, surface, twin, step):
  """(sum of the weighted penalties, {name: value}); a weight of 0 costs nothing."""
  terms = {
      'normal_consistency': lambda: mesh_regularizers.normal_consistency(
          surface.vertices, surface.faces, twin),
      'laplacian': lambda: mesh_regularizers.smoothness(surface.vertices, surface.faces,
                                                        surface.face_mask)}
  total, values = jnp.zeros(()), {}
  for name, term in terms.items():
    if mesh[name] != 0:
      values[name] = term()
      total = total + optim.scalar(mesh[name], step) * values[name]
  return total, values


def surface_of(cfg, capacity, params):
  """The Mesh (host) of the stage's parameters; MeshError where it has none."""
  marched = jax.jit(functools.partial(march, cfg, capacity))(params)
  return dmtet.to_mesh(jax.tree.map(np.asarray, marched))
