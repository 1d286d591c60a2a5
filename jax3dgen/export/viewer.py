"""An interactive WebGL viewer of meshes as an HTML snippet.

The snippet is self-contained and works offline. The camera starts on +x, at the object's front,
with +z up. Colours are sRGB; the surface is shown gently shaded, in its plain colours, or as clay.
V vertices, F faces, T frames.
"""

import base64
import html
import importlib.resources
import json
from typing import Any, NamedTuple

import numpy as np

from jax3dgen.core.errors import MeshError
from jax3dgen.core.types import Mesh
from jax3dgen.scene import mesh as meshlib

CAMERAS = (('Front', 0), ('Left', 90), ('Back', 180), ('Right', 270))
SURFACES = (('shaded', 'Shaded'), ('plain', 'Colours'), ('clay', 'Clay'))
HELP = ('Drag to turn, click and scroll or pinch to zoom, arrow keys to turn, '
        '+ and \N{MINUS SIGN} to zoom, 0 to reset.')


class Pose(NamedTuple):
  """A named state of a mesh.

  `transform` [4, 4] takes mesh to world coordinates (None: they are the same); [T, 4, 4] is a
  motion at `fps` frames a second that plays when the pose is selected and ends in the last frame.
  Poses may share one Mesh; it is stored once.
  """
  name: str
  mesh: Mesh
  transform: Any = None
  fps: float = 30.0


def on_floor(mesh, name='As generated'):
  """The Pose of `mesh` with its lowest vertex on the floor z = 0."""
  lift = np.eye(4)
  lift[2, 3] = -float(np.asarray(mesh.vertices)[:, 2].min())
  return Pose(name, mesh, lift)


def asset(name):
  """The text of a file of assets/web."""
  return (importlib.resources.files('jax3dgen') / 'assets' / 'web' / name).read_text('utf-8')


def resources():
  """The style and the script that all viewers of a page share."""
  scripts = ''.join(f'<script>{asset(name)}</script>' for name in ('painter.js', 'viewer.js'))
  return f'<style>{asset("viewer.css")}</style>{scripts}'


def figure(poses, label, floor=False):
  """One viewer of `poses` without `resources`, for pages that hold several.

  `label` is the text for screen readers; `floor` draws the plane z = 0 with a grid. Meshes and
  places far from the origin are moved to it, along the floor where there is one.
  """
  poses = _near_origin(poses, floor)
  meshes = list({id(pose.mesh): pose.mesh for pose in poses}.values())
  index = {id(mesh): i for i, mesh in enumerate(meshes)}
  scene = {
      'meshes': [_pack(mesh) for mesh in meshes],
      'poses': [{'mesh': index[id(pose.mesh)], 'frames': _frames(pose), 'fps': pose.fps}
                for pose in poses],
      'floor': floor,
  }
  names = _buttons('Pose', 'pose', enumerate(pose.name for pose in poses)) if len(poses) > 1 else ''
  colored = any(mesh.colors is not None for mesh in meshes)
  return f'''<figure class="viewer" data-state="waiting">
<canvas tabindex="0" role="application" aria-roledescription="3D viewer"
 aria-label="{html.escape(label)}. {HELP}"></canvas>
<p class="viewer-message" role="status">The 3D view needs JavaScript and WebGL.</p>
<output class="viewer-heading" aria-hidden="true"></output>
<div class="viewer-bar">{names}{_buttons('Side', 'azimuth', ((a, n) for n, a in CAMERAS))}{
    _buttons('Surface', 'surface', SURFACES) if colored else ''}</div>
<figcaption>{HELP}</figcaption>
<script type="application/json">{json.dumps(scene, separators=(",", ":"))}</script>
</figure>
<script>jax3dgenViewer.mount(document.currentScript.previousElementSibling)</script>'''


def snippet(poses, label, floor=False):
  """A complete viewer of `poses` for any page."""
  return resources() + figure(poses, label, floor)


def _buttons(title, name, choices):
  """A group of buttons; the script marks the active one."""
  items = ''.join(f'<button type="button" data-{name}="{value}" aria-pressed="false">'
                  f'{html.escape(text)}</button>' for value, text in choices)
  return f'<div class="viewer-choice" role="group" aria-label="{title}">{items}</div>'


def _near_origin(poses, floor):
  """Poses of which float32 numbers of a browser lose nothing."""
  near = {id(pose.mesh): meshlib.near_origin(pose.mesh) for pose in poses}
  if not any(offset.any() for _, offset in near.values()):
    return poses
  shown, place = [], None
  for pose in poses:
    mesh, offset = near[id(pose.mesh)]
    path = np.array(np.eye(4) if pose.transform is None else pose.transform, np.float64)
    path[..., :3, 3] += path[..., :3, :3] @ offset
    if place is None:
      place = path.reshape(-1, 4, 4)[0, :3, 3] * ((1, 1, 0) if floor else 1)
    path[..., :3, 3] -= place
    shown.append(pose._replace(mesh=mesh, transform=path))
  return shown


def _pack(mesh):
  """A mesh as base64: positions as 16-bit shares of the bounding box, sRGB bytes, indices."""
  vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces)
  colors = None if mesh.colors is None else np.asarray(mesh.colors, np.float64)
  if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
    raise MeshError('The mesh has no faces, or faces of vertices that it does not have.')
  if not np.isfinite(vertices).all() or (colors is not None and not np.isfinite(colors).all()):
    raise MeshError('The mesh has vertices or colours that are not finite.')
  low = vertices.min(0)
  size = np.maximum(vertices.max(0) - low, 1e-12)
  whole = np.rint((vertices - low) / size * 65535)
  wide = len(vertices) > 65536
  return {'low': low.tolist(), 'size': size.tolist(), 'positions': _base64(whole, '<u2'),
          'wide': wide, 'faces': _base64(faces, '<u4' if wide else '<u2'),
          'colors': None if colors is None else _base64(np.rint(np.clip(colors, 0, 1) * 255), 'u1')}


def _frames(pose):
  """The upper three rows of each transform, row by row: lists of 12 numbers.

  Frames after the end of the motion are dropped.
  """
  transform = np.eye(4) if pose.transform is None else np.asarray(pose.transform, np.float64)
  if transform.shape[-2:] != (4, 4) or transform.ndim > 3 or not transform.size:
    raise ValueError(f'Expected a transform [4, 4] or [T, 4, 4], got {transform.shape}.')
  rows = transform.reshape(-1, 4, 4)[:, :3].reshape(-1, 12)
  if not np.isfinite(rows).all():
    raise ValueError(f'The pose {pose.name!r} is not finite.')
  rows = np.round(rows, 5)
  moving = np.flatnonzero(np.abs(rows - rows[-1:]).max(-1) > 1e-3)
  return [*rows[:moving[-1] + 1 if len(moving) else 0].tolist(), rows[-1].tolist()]


def _base64(values, dtype):
  return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode('ascii')
