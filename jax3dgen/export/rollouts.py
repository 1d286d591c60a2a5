"""HTML pages with the drop of one mesh, simulated in C MuJoCo, in an interactive viewer.

Each page is a self-contained file in the folder `rollouts` beside the page of the sweep. Frames and
lengths are those of the normalised mesh of the sweep: +z up, the plane at z = 0.
"""

import html
import re
from typing import NamedTuple

import numpy as np

from jax3dgen.core import files
from jax3dgen.core.errors import MeshError
from jax3dgen.export import mesh_io, report, sweep_tables, viewer
from jax3dgen.physics import native, normalize, sweep

FPS = 30  # approximate: there is a whole number of time steps per frame
NAME = 100  # characters of a page's name


class Release(NamedTuple):
  """A named release under a rotation vector `tilt` [3] (radians), and its `native.Drop`."""
  name: str
  tilt: np.ndarray
  drop: native.Drop


def write_pages(workdir, items, result, tilts, config, command):
  """Writes the pages of config.rollouts meshes; returns {index into items: address}.

  items: the Items of the sweep. result: the `sweep.Result` of the M items without an error under
  tilts [P, 3]. Meshes come in the order of `order`; one that MuJoCo rejects is skipped. Addresses
  are relative to `workdir`.
  """
  valid = [i for i, item in enumerate(items) if not item.error]
  addresses, names = {}, set()
  for k in order(result.stable):
    if len(addresses) == config.rollouts:
      break
    i = valid[k]
    try:
      solid = mesh_io.read_solids(items[i].path, config.up)[items[i].place]
      mesh = normalize.normalize(solid.mesh, config.normalize)[0]
      releases = simulate(items[i].body, tilts[worst(result.rotation_deg[k])], config)
    except MeshError:
      continue
    addresses[i] = f'rollouts/{file_name(items[i].name, names)}'
    with files.replacing(workdir / addresses[i]) as beside:
      beside.write_text(mesh_page(items[i].name, mesh, releases, config.to_dict(), command),
                        encoding='utf-8')
  return addresses


def order(stable):
  """Indices of meshes with labels `stable` [M, P], the least stable first."""
  return np.argsort(stable.mean(1), kind='stable').tolist()


def worst(rotation_deg):
  """The index [] of the largest rotation [P]; a diverged run (NaN) counts as the largest."""
  return int(np.argmax(np.nan_to_num(rotation_deg, nan=np.inf)))


def file_name(name, names):
  """A page name for the mesh `name`, valid in file systems and URLs.

  It differs from all of the set `names`, to which it is added.
  """
  safe = re.sub('[^A-Za-z0-9._-]+', '_', name)[-NAME:].lstrip('.') or 'mesh'
  candidate, count = safe, 1
  while candidate.lower() in names:  # some file systems ignore case
    count += 1
    candidate = f'{safe}-{count}'
  names.add(candidate.lower())
  return f'{candidate}.html'


def simulate(body, tilt, config):
  """[Release] of a `body.Body`: upright and, where that differs, turned by `tilt` [3]."""
  model = native.compile_model(body, config.timestep or sweep.TIMESTEPS['native'], config.friction)
  releases = []
  for name, turn in (('Upright', np.zeros(3)), ('The worst tilt', tilt)):
    if not releases or turn.any():
      data = native.release(model, body, turn)
      releases.append(Release(name, turn, native.settle(model, data, body, config.seconds,
                                                        config.threshold_deg, FPS)))
  return releases


def mesh_page(name, mesh, releases, config, command):
  """The HTML of a page: the mesh `name` at rest, and the motion of each Release."""
  poses = [viewer.on_floor(mesh, 'As given'), *(_pose(mesh, release) for release in releases)]
  marks = ''.join(f'<li>{report.mark(r.drop.stable, f"{r.name}: {_verdict(r)}")}</li>'
                  for r in releases)
  lead = report.SEPARATOR.join([
      'C MuJoCo', f'{config["seconds"]:g} s', f'friction {config["friction"]:g}',
      *(f'{r.name.lower()}: {_tilt(r.tilt)}' for r in releases if r.tilt.any())])
  body = f'''<header><p class="over">jax3dgen rollout, one mesh of
<a href="../report.html">a stability sweep</a></p><h1>{html.escape(name)}</h1>
<p class="lead">{html.escape(lead)}</p><ul class="marks" aria-label="Verdict">{marks}</ul></header>
<div class="stage"><div><h2>Choose a release to play it</h2>
{viewer.figure(poses, f'3D view of {name} as it drops', floor=True)}</div></div>
{report.repeat(command, config, 'The same command gives the same motions.')}'''
  return report.page(name, body, viewer.resources())


def _pose(mesh, release):
  motion = release.drop.motion
  path = native.path(motion)
  path = path[np.isfinite(path).all((1, 2))]  # a simulation that diverged may end in NaN
  return viewer.Pose(release.name, mesh, path, float(1 / (motion.times[1] - motion.times[0])))


def _verdict(release):
  drop = release.drop
  if drop.diverged:
    return 'diverged'
  outcome = 'stands' if drop.stable else 'falls'
  rest = '' if drop.settled else ', still moving'
  return f'{outcome}, turned by {drop.rotation_deg:.1f}\N{DEGREE SIGN}{rest}'


def _tilt(tilt):
  angle, azimuth = sweep_tables.lean(tilt)
  return f'{angle:.2f}\N{DEGREE SIGN} towards azimuth {azimuth:.0f}\N{DEGREE SIGN}'
