"""The rasteriser of meshes against a plain loop over faces, forward and backward, on one core.

  python -m benchmarks.raster

256 x 256 pixels, a closed mesh of 51,200 faces. The loop is a `lax.scan` over faces that tests all
pixels against one face at a time and keeps the nearest in a z-buffer; its backward pass gathers the
corners of the nearest faces, as ours. It is timed on a part of the faces, its time is proportional
to their number. The second table has the parts of a step of a geometry stage: signed distances on a
tetrahedral grid to anti-aliased normals of four views.
"""

import argparse
import json
import os

from benchmarks import timing

SIZE, PART = 256, 256  # pixels, faces of the loop
VIEWS, GRID, VIEW_SIZES = 4, 64, (64, 128)


def mesh():
  """Vertices and faces of an uneven ball of 51,200 faces in any order, seen by one camera."""
  import jax.numpy as jnp
  import numpy as np
  import trimesh

  from jax3dgen.core import camera as cameras

  ball = trimesh.creation.uv_sphere(radius=0.7, count=[161, 160])
  rng = np.random.default_rng(0)
  wave = 1 + 0.1 * np.sin(6 * ball.vertices).prod(1, keepdims=True)
  vertices = jnp.asarray(ball.vertices * wave, jnp.float32)
  return vertices, rng.permutation(ball.faces).astype(np.int32), cameras.orbit(0.4, 0.3, 2.5, 0.8)


def plain(projection, faces, size):
  """(face [H, W], depth [H, W]) of one camera by a scan over faces."""
  import jax
  import jax.numpy as jnp

  x, y = jnp.arange(size)[None] + 0.5, jnp.arange(size)[:, None] + 0.5

  def one(state, row):
    nearest, winner = state
    index, corner = row
    (ax, bx, cx), (ay, by, cy) = projection.place[0, corner].T
    first = (bx - x) * (cy - y) - (by - y) * (cx - x)
    second = (cx - x) * (ay - y) - (cy - y) * (ax - x)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    weight = jnp.stack([first, second, area - first - second]) / area
    near = jnp.sum(weight / projection.depth[0, corner][:, None, None], 0)
    closer = (weight >= 0).all(0) & (near > nearest)
    return (jnp.where(closer, near, nearest), jnp.where(closer, index, winner)), None
  start = jnp.zeros((size, size)), jnp.full((size, size), -1, jnp.int32)
  (nearest, winner), _ = jax.lax.scan(one, start, (jnp.arange(len(faces)), jnp.asarray(faces)))
  return winner, nearest


def measure(turns):
  """Processor milliseconds of ours and of the loop, forward and with gradients."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from jax3dgen.scene import raster

  vertices, faces, camera = mesh()
  size = raster.capacity(len(faces), 1, SIZE)
  part = faces[:PART]

  def ours(vertices):
    shape = raster.project(vertices, faces, camera, SIZE)
    return raster.rasterize(shape, SIZE, size)

  def loop(vertices):
    shape = raster.project(vertices, part, camera, SIZE)
    face, _ = plain(jax.lax.stop_gradient(shape), part, SIZE)
    return raster.shade(shape, face[None])

  def loss(draw):
    def value(vertices):
      barycentrics, depth = draw(vertices)
      return jnp.sum(jnp.where(jnp.isfinite(depth), depth, 0.0)) + jnp.sum(barycentrics[..., 0])
    return jax.jit(jax.value_and_grad(value))

  def drawn(vertices):
    picture = ours(vertices)
    return picture.barycentrics, picture.depth

  functions = {'ours': jax.jit(ours), 'loop': jax.jit(loop), 'ours gradient': loss(drawn),
               'loop gradient': loss(loop)}
  picture = functions['ours'](vertices)
  shape = raster.project(vertices, part, camera, SIZE)
  same = raster.rasterize(shape, SIZE, size).face[0] == plain(shape, part, SIZE)[0]
  assert not picture.overflow and np.mean(same) > 0.999  # equal pictures
  times = timing.interleaved({name: lambda f=f: jax.block_until_ready(f(vertices))
                              for name, f in functions.items()}, turns)
  return {name: cpu * (len(faces) / PART if 'loop' in name else 1)
          for name, (cpu, _) in times.items()}


def stage(turns):
  """{pixels: {part: processor ms}} of a step of a geometry stage, each part with what precedes."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from jax3dgen.core import camera as cameras
  from jax3dgen.scene import connectivity, dmtet, raster, silhouette
  from jax3dgen.scene import mesh as meshes

  place = dmtet.points(GRID)
  sdf = jnp.asarray(0.6 - np.linalg.norm(place, axis=-1)
                    + 0.05 * np.sin(12 * place).prod(-1), jnp.float32)
  offsets = jnp.zeros(place.shape)
  size = dmtet.capacity(sdf, GRID)
  camera = cameras.orbit(jnp.arange(VIEWS) * 1.5, 0.2, 2.5, 0.8)

  def images(sdf, offsets, pixels, last):
    surface = dmtet.march(sdf, offsets, GRID, size)
    vertices, faces = surface.vertices, surface.faces
    if last == 'surface':
      return vertices
    lists = raster.capacity(size.faces, VIEWS, pixels)
    shape = raster.project(vertices, faces, camera, pixels, surface.face_mask)
    picture = raster.rasterize(shape, pixels, lists)
    normal = raster.smooth_normals(picture, faces, meshes.normals(vertices, faces))
    if last == 'normals':
      return normal
    twin = connectivity.twins(faces, surface.face_mask)
    edges = silhouette.locate(shape, picture, twin, lists)
    return silhouette.antialias(0.5 * (normal + 1.0) * picture.mask[..., None], edges)

  tables = {}
  for pixels in VIEW_SIZES:
    parts = {last: jax.jit(lambda s, o, n=pixels, last=last: images(s, o, n, last))
             for last in ('surface', 'normals', 'anti-aliased')}
    parts['with gradients'] = jax.jit(jax.value_and_grad(
        lambda s, o, n=pixels: jnp.square(images(s, o, n, 'anti-aliased')).mean(), (0, 1)))
    times = timing.interleaved({name: lambda f=f: jax.block_until_ready(f(sdf, offsets))
                                for name, f in parts.items()}, turns)
    tables[pixels] = {name: cpu for name, (cpu, _) in times.items()}
  return tables


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=7, help='measurements of each function')
  parser.add_argument('--child', type=int, default=0, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps([measure(args.turns), stage(args.turns)]))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; {SIZE} pixels, 51,200 faces, one core')
  times, tables = timing.pinned('benchmarks.raster', 1, '--child', 1, '--turns', args.turns)
  for name, suffix in (('forward', ''), ('forward and backward', ' gradient')):
    ours, loop = times['ours' + suffix], times['loop' + suffix]
    print(f'{name}: ours {ours:.1f} ms, loop over faces {loop:.0f} ms, {loop / ours:.0f}x')
  for pixels, parts in tables.items():
    print(f'{VIEWS} views of {pixels} pixels, grid {GRID}: '
          + ', '.join(f'{name} {ms:.1f} ms' for name, ms in parts.items()))


if __name__ == '__main__':
  main()
