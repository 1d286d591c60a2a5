"""Training views of a surface, shared by the stages of geometry and texture.

Axes: B cameras, V vertices, F faces, S pixels per side.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import image, rng
from jax3dgen.core.types import Array
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import step as scene_step
from jax3dgen.scene import base as scenes
from jax3dgen.scene import connectivity, raster, silhouette
from jax3dgen.scene import mesh as meshes

SLACK = 1.5  # of the lists of pictures, in units of the longest that a ring of views needs
ROUND = 1024  # lengths are multiples of it, so that few programs are compiled


class SurfaceView(NamedTuple):
  """A surface in B views: picture, a `raster.Picture`; points [B, S, S, 3] of the surface (0 where
  nothing is), normals [B, S, S, 3], mask [B, S, S], outline, a `silhouette.Silhouette`, twin
  [F, 3] of `connectivity.twins`, and how many entries did not fit the lists [] int32."""
  picture: raster.Picture
  points: Array
  normals: Array
  mask: Array
  outline: silhouette.Silhouette
  twin: Array
  overflow: Array


def surface_view(vertices, faces, face_mask, camera, size, capacity):
  """What cameras see of a closed surface, with gradients in its vertices [V, 3]."""
  twin = connectivity.twins(faces, face_mask)
  projection = raster.project(vertices, faces, camera, size, face_mask)
  picture = raster.rasterize(projection, size, capacity)
  outline = silhouette.locate(projection, picture, twin, capacity)
  normals = raster.smooth_normals(picture, faces, meshes.normals(vertices, faces))
  return SurfaceView(picture, raster.interpolate(picture, faces, vertices), normals, picture.mask,
                     outline, twin, picture.overflow + outline.overflow)


def capacity(cfg, mesh, batch, size, slack=SLACK):
  """The `raster.Capacity` of `batch` training views of a Mesh, and of others up to `slack` times as
  complex: that of the ring of views of `outputs.ring` that needs the longest lists."""
  faces, lists = jnp.asarray(mesh.faces), raster.capacity(len(mesh.faces), 1, size)

  @jax.jit
  def needs(vertices, faces, camera):
    projection = raster.project(vertices, faces, camera, size)
    picture = raster.rasterize(projection, size, lists)
    twin = connectivity.twins(faces, jnp.ones(len(faces), bool))
    outline = silhouette.locate(projection, picture, twin, lists)
    return jnp.append(picture.needs, outline.needs)
  camera = outputs.ring(cfg, outputs.PREVIEW_VIEWS)
  most = np.max([needs(jnp.asarray(mesh.vertices), faces, jax.tree.map(
      lambda x, i=i: x[i:i + 1], camera)) for i in range(outputs.PREVIEW_VIEWS)], 0)
  return raster.Capacity(*(
      batch * max(least, ROUND * math.ceil(slack * most / ROUND))
      for least, most in zip(lists, most.tolist(), strict=True)))


def paint(view, colors, background):
  """Images [B, S, S, 3] of colours over a background, [B, S, S, 3] both, with smooth outlines."""
  solid = view.mask[..., None]
  return silhouette.antialias(solid * colors + (1.0 - solid) * background, view.outline)


def observer(prior, cfg, count, size, draw):
  """The `observe` of `scene_step.make_step`: views at `size` pixels on one of `count` devices.

  draw(field parameters, fixed parameters, camera, background [B, S, S, 3]) -> (images, SurfaceView,
  penalty [], figures).
  """
  batch = cfg.train.batch // count

  def observe(params, shared, local, index, step):
    camera = scene_step.cameras_of(cfg, rng.stream(shared, 'turn'), rng.stream(local, 'camera'),
                                   batch, index, count)
    rays = cameras.rays(camera, size, size)
    without = scenes.Field(None, None)  # no background is learned
    behind = scene_step.background(cfg, without, None, rng.stream(local, 'background'), rays, step)

    def show(field_params):
      picture, view, penalty, figures = draw(field_params, params, camera, behind, step)
      x0 = prior.encode(params, picture)
      points = image.resize(view.points, x0.shape[1:3])
      figures |= {'opacity': view.mask.mean(), 'overflow': view.overflow.astype(jnp.float32)}
      return (x0, penalty), (picture, points, figures)
    return camera, show
  return observe


def watchdog(what):
  """(step, metrics) -> why the stage must stop, or None: lists that are too short, an empty view.
  """
  def reason(step, metrics):
    if metrics['overflow']:
      return (f'the surface outgrew the lists of the {what} stage; raise '
              'config.geometry.mesh.slack, or lower its learning rate')
    if not metrics['opacity']:
      return f'no view of the {what} stage shows a surface'
    return None
  return reason
