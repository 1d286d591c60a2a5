"""Stabilisation of meshes: one file, or a study on solids against the flat cut (DSO D.2)."""

import itertools
import json
import pathlib

import jax
import numpy as np

from jax3dgen.core import files
from jax3dgen.data import solids
from jax3dgen.export import markdown, mesh_io, report, sweep_tables
from jax3dgen.metrics import geometry
from jax3dgen.physics import body, native, stabilize
from jax3dgen.scene import mesh as meshes
from jax3dgen.train import log

CONCAVE = ('table', 'stack', 'bitten')
COLUMNS = ('seed', 'kind', 'rotation_deg', 'stands', 'chamfer', 'moved', 'depth', 'margin_deg',
           'cut', 'cut_chamfer', 'floor')


def run(config, workdir, command=''):
  """Stabilises config.mesh into `workdir`: mesh.glb, result.json, report.html; returns the figures.

  Raises MeshError for a mesh without faces or volume; one that cannot be stabilised is written
  unchanged.
  """
  workdir = pathlib.Path(workdir)
  original, offset = meshes.near_origin(mesh_io.read(config.mesh, config.up))
  before = native.drop(body.from_mesh(original), config.seconds)
  result = stabilize.stabilize(original, config.seconds)
  after = native.drop(body.from_mesh(result.mesh), config.seconds, fps=30)
  cut = stabilize.smallest_flat_cut(original, seconds=config.seconds)
  figures = {
      'prompt': pathlib.Path(config.mesh).name,
      'stable': after.stable, 'rotation_deg': after.rotation_deg,
      'stable_before': before.stable, 'rotation_deg_before': before.rotation_deg,
      'chamfer': chamfer(result.mesh, original), 'moved': result.moved, 'depth': result.depth,
      'margin_deg': result.margin_deg, 'smallest_flat_cut': cut and cut[0],
      'flat_cut_chamfer': cut and chamfer(cut[1], original),
      'chamfer_floor': chamfer(original, original),
      'vertices': len(result.mesh.vertices), 'faces': len(result.mesh.faces),
      'watertight': meshes.is_watertight(result.mesh.faces)}
  mesh_io.write(workdir / 'mesh.glb', result.mesh.replace(
      vertices=np.asarray(result.mesh.vertices, np.float64) + offset))
  report.write_report(
      workdir / 'report.html', figures['prompt'], figures, config.to_dict(), command,
      mesh=result.mesh, rest=None if after.diverged else native.path(after.motion), fps=30,
      glb=workdir / 'mesh.glb')
  with files.replacing(workdir / 'result.json') as beside:
    beside.write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')
  return figures


def chamfer(mesh, reference):
  """DSO's Chamfer distance of two Meshes (see `metrics.geometry`). The samples of each are
  independent, so the distance of a mesh from itself is not 0: it is the floor of the figure."""
  return float(geometry.measure(jax.random.key(0), [mesh], [reference]).chamfer[0])


def study(config):
  """Rows (dicts with COLUMNS) of the first config.study.solids concave random solids that fall."""
  seeds = (seed for seed in itertools.count(config.study.first_seed)
           if solids.kind(seed) in CONCAVE)
  rows = []
  with log.Progress(0, config.study.solids, 'solid') as progress:
    while len(rows) < config.study.solids:
      for row in examine(next(seeds), config):
        rows.append(row)
        progress.advance()
        progress.show(len(rows), {'stand': sum(row['stands'] for row in rows)})
  return rows


def examine(seed, config):
  """[row] of one solid, or [] where it stands unchanged (C MuJoCo at 1 ms)."""
  solid = solids.random_solid(seed)
  drop = native.drop(body.from_mesh(solid), config.seconds)
  if drop.stable:
    return []
  result = stabilize.stabilize(solid, config.seconds)
  cut = stabilize.smallest_flat_cut(solid, seconds=config.seconds)
  return [{
      'seed': seed, 'kind': solids.kind(seed), 'rotation_deg': drop.rotation_deg,
      'stands': result.stands, 'chamfer': chamfer(result.mesh, solid) if result.stands else None,
      'moved': result.moved if result.stands else None, 'depth': result.depth,
      'margin_deg': result.margin_deg, 'cut': cut and cut[0],
      'cut_chamfer': cut and chamfer(cut[1], solid), 'floor': chamfer(solid, solid)}]


def text(rows, command):
  """The page of the study."""
  stand = [row for row in rows if row['stands']]
  pairs = [row for row in stand if row['cut']]
  uncut = [row for row in rows if not row['cut']]
  chamfers, cut_chamfers = (np.array([row[name] for row in pairs])
                            for name in ('chamfer', 'cut_chamfer'))
  lines = [
      '# Making what falls stand', '', f'`{command}`', '',
      f'{len(rows)} concave random solids that fall in C MuJoCo (seeds {rows[0]["seed"]} to '
      f'{rows[-1]["seed"]}). Deformed by `physics/stabilize`, {len(stand)} of them stand '
      f'({len(stand) / len(rows):.0%}; C MuJoCo, 1 ms). A flat cut of at most 60 % of the height '
      f'saves {len(pairs)} of these and {len(rows) - len(uncut) - len(pairs)} of the others. '
      f'{len(uncut)} cannot be saved by any cut; {sum(bool(row["stands"]) for row in uncut)} of '
      'them stand when deformed.', '']
  if pairs:
    lines += [
        f'Over the {len(pairs)} that both make stand, the median Chamfer distance to the original '
        f'(DSO\'s protocol) is {np.median(chamfers):.4f} deformed and '
        f'{np.median(cut_chamfers):.4f} cut; the deformed one is closer in '
        f'{int((chamfers < cut_chamfers).sum())}. Two samples of 10,000 points of one surface '
        'differ, too: the floor of these figures is the Chamfer distance of the original from '
        f'itself, with a median of {np.median([row["floor"] for row in pairs]):.4f}. The protocol '
        'brings each shape to its own unit cube first, so a cut that takes much of the height '
        'counts as a change of scale as well.', '']
  number = lambda x, form: 'none' if x is None else f'{x:{form}}'
  lines += markdown.table(
      ['seed', 'kind', 'fell by', 'stands', 'Chamfer', 'moved (rms)', 'smallest cut', 'its Chamfer',
       'floor'],
      [[row['seed'], row['kind'], f'{row["rotation_deg"]:.0f} deg',
        'yes' if row['stands'] else '**no**', number(row['chamfer'], '.4f'),
        number(row['moved'], '.4f'), number(row['cut'], '.0%'), number(row['cut_chamfer'], '.4f'),
        f'{row["floor"]:.4f}'] for row in rows])
  return '\n'.join(lines) + '\n'


def write_study(workdir, rows, command):
  """Writes stabilize.md and stabilize.csv."""
  sweep_tables.write_csv(workdir / 'stabilize.csv', COLUMNS, rows)
  with files.replacing(workdir / 'stabilize.md') as beside:
    beside.write_text(text(rows, command), encoding='utf-8')
