"""Mesh files: GLB, OBJ, PLY, STL read and written, MJCF (MuJoCo XML) written.

Frames: a Mesh is +z up. GLB is y-up by its standard, (x, y, z) -> (x, z, -y) on the way out and the
inverse rotation on the way in; the others stay z-up. Colours: a Mesh holds sRGB; GLB's COLOR_0 is
linear light by its standard; OBJ and PLY hold sRGB as is; STL holds none.

A file is data from anywhere: only its own bytes are used (no material, texture or buffer that it
refers to is opened), sizes that it claims are checked against what is there, and whatever is wrong
with it becomes one MeshError. OBJ, PLY and STL are trimesh's; GLB is `export.glb`.
"""

import io
import pathlib
import warnings

import numpy as np
import trimesh

from jax3dgen.core import files, image
from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.export import glb
from jax3dgen.physics import body as bodies
from jax3dgen.scene import mesh as meshes

READABLE = ('glb', 'obj', 'ply', 'stl')
MAX_BYTES = 2**29  # of a file that is read
MAX_ELEMENTS = 10**7  # vertices or faces of one mesh, all instances counted


def read(path, up='auto'):
  """The Mesh (+z up, host arrays) of a file; all parts of a scene are merged where they are placed.

  `up` is the axis that is up in the file: 'y', 'z', or 'auto' (y for GLB, z otherwise). `colors` is
  None where the file has no vertex or face colours; textures are not read.
  """
  path = pathlib.Path(path)
  name = str(path).encode(errors='replace').decode()
  kind = path.suffix[1:].lower()
  if up not in ('auto', 'y', 'z'):
    raise ConfigError(f"up is 'auto', 'y' or 'z', not {up!r}.")
  if kind not in READABLE:
    raise MeshError(f'{name}: a mesh is read from {", ".join(READABLE)} files.')
  try:
    data = _bytes(path)
    with warnings.catch_warnings(), np.errstate(all='ignore'):
      warnings.simplefilter('ignore')
      mesh = _merged(_parts(data, kind))
    vertices, faces = meshes.checked(mesh)
  except OSError as error:
    raise MeshError(f'{name}: {error.strerror or error}.') from error
  except MeshError as error:
    raise MeshError(f'{name}: {error}') from error
  except Exception as error:  # the parsers raise whatever they stumble over
    raise MeshError(f'{name}: this is no valid {kind.upper()} file '
                    f'({type(error).__name__}: {error}).') from error
  used, faces = np.unique(faces, return_inverse=True)
  vertices, faces = vertices[used], faces.reshape(-1, 3)
  colors = None if mesh.colors is None else mesh.colors[used].astype(np.float32)
  if kind == 'stl':  # its triangles share no vertices
    vertices, same = np.unique(vertices, axis=0, return_inverse=True)
    faces = same.ravel()[faces]
  if (kind == 'glb' if up == 'auto' else up == 'y'):
    vertices = vertices[:, (0, 2, 1)] * (1, -1, 1)
  if kind == 'glb' and colors is not None:
    colors = image.linear_to_srgb(colors)
  return Mesh(vertices.astype(np.float32), faces.astype(np.int32), colors)


def write(path, mesh):
  """Writes a Mesh in the format that the ending of `path` names; whole or not at all."""
  path = pathlib.Path(path)
  kind = path.suffix[1:].lower()
  if kind not in WRITERS:
    raise MeshError(f'{path}: a mesh is written to {", ".join(WRITERS)} files.')
  vertices, faces = meshes.checked(mesh)
  colors = None if mesh.colors is None else np.clip(np.asarray(mesh.colors, np.float32), 0, 1)
  data = WRITERS[kind](Mesh(vertices.astype(np.float32), faces.astype(np.int32), colors))
  with files.replacing(path) as beside:
    beside.write_bytes(data)


def _bytes(path):
  if not path.exists():
    raise MeshError('there is no such file.')
  if not path.is_file():
    raise MeshError('this is not a file.')
  if path.stat().st_size > MAX_BYTES:
    raise MeshError(f'the file is larger than {MAX_BYTES >> 20} MB.')
  return path.read_bytes()


def _parts(data, kind):
  """Yields (vertices, faces, colours or None) of the parts of a file, in its own frame."""
  if kind == 'glb':
    yield from glb.parts(data)
    return
  scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=None, process=False,
                             skip_materials=True, maintain_order=True)
  for part in scene.geometry.values():
    if isinstance(part, trimesh.Trimesh):
      plain = part.visual.kind not in ('vertex', 'face')
      yield part.vertices, part.faces, None if plain else part.visual.vertex_colors[:, :3] / 255


def _merged(parts):
  """All triangles as one unchecked Mesh; parts without colours are white among coloured ones."""
  vertices, faces = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.int64)]
  colors, count = [], 0
  for points, triangles, shades in parts:
    faces.append(triangles + count)
    vertices.append(points.astype(np.float32))
    colors.append(shades)
    count += len(points)
    if max(count, sum(map(len, faces))) > MAX_ELEMENTS:
      raise MeshError(f'the file places more than {MAX_ELEMENTS} vertices or faces.')
  mesh = Mesh(np.concatenate(vertices), np.concatenate(faces))
  if all(shades is None for shades in colors):
    return mesh
  white = [np.ones_like(points) if shades is None else shades
           for points, shades in zip(vertices[1:], colors)]
  return mesh.replace(colors=np.clip(np.nan_to_num(np.concatenate(white)), 0, 1))


def _by_trimesh(kind):
  def data(mesh):
    colors = None if mesh.colors is None else image.to_uint8(mesh.colors)
    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=colors, process=False)
    text = surface.export(file_type=kind)
    return text.encode() if isinstance(text, str) else text
  return data


def _mjcf(mesh):
  """MuJoCo XML: the `physics.body` of a mesh at rest on a plane, as `physics.native` drops it.

  The hull collides (group 3, which viewers hide), the surface is what is seen.
  """
  body = bodies.from_mesh(mesh)
  (xx, xy, xz), (_, yy, yz), (_, _, zz) = body.inertia
  color = np.full(3, 0.7) if mesh.colors is None else mesh.colors.mean(0)
  return f'''<mujoco model="jax3dgen">
  <asset>
    <mesh name="hull" inertia="convex" vertex="{_text(body.hull)}"/>
    <mesh name="surface" inertia="shell" vertex="{_text(mesh.vertices * body.scale)}"
      face="{_text(mesh.faces)}"/>
  </asset>
  <worldbody>
    <light pos="0 0 {_text(4 * np.ptp(body.hull[:, 2]))}"/>
    <geom name="floor" type="plane" size="0 0 1" rgba="0.9 0.9 0.9 1"/>
    <body name="body" pos="0 0 {_text(-body.hull[:, 2].min())}">
      <freejoint/>
      <inertial pos="{_text(body.center)}" mass="{_text(body.mass)}"
        fullinertia="{_text([xx, yy, zz, xy, xz, yz])}"/>
      <geom type="mesh" mesh="hull" group="3"/>
      <geom type="mesh" mesh="surface" contype="0" conaffinity="0" rgba="{_text(color)} 1"/>
    </body>
  </worldbody>
</mujoco>
'''.encode()


def _text(array):
  return ' '.join(f'{value:.9g}' for value in np.ravel(array))


WRITERS = {'glb': glb.encode, 'obj': _by_trimesh('obj'), 'ply': _by_trimesh('ply'),
           'stl': _by_trimesh('stl'), 'xml': _mjcf}
