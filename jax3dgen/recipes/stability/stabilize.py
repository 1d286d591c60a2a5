"""Making meshes stand, as whole runs: one file, or a study against the flat cut of DSO D.2."""

import itertools
import json
import pathlib

import jax
import numpy as np

from jax3dgen.core import files
from jax3dgen.data import solids
from jax3dgen.export import mesh_io, report, sweep_tables
from jax3dgen.metrics import geometry
from jax3dgen.physics import body, native, stabilize
from jax3dgen.scene import mesh as meshes
from jax3dgen.train import log

CONCAVE = ('table', 'stack', 'bitten')
COLUMNS = ('seed', 'kind', 'rotation_deg', 'stands', 'chamfer', 'moved', 'depth', 'margin_deg',
           'cut', 'cut_chamfer', 'floor')


def run(config, workdir, command=''):
  """Stabilises config.mesh into `workdir`: mesh.glb, result.json, report.html; returns the figures.

  Raises MeshError for what is no solid; a mesh that nothing helped is written as it was.
  """
  workdir = pathlib.Path(workdir)
  given = mesh_io.read(config.mesh, config.up)
  before = native.drop(body.from_mesh(given), config.seconds)
  found = stabilize.stabilize(given, config.seconds)
  after = native.drop(body.from_mesh(found.mesh), config.seconds, fps=30)
  cut = stabilize.flat_cut(given, seconds=config.seconds)
  figures = {
      'prompt': pathlib.Path(config.mesh).name,
      'stable': after.stable, 'rotation_deg': after.rotation_deg,
      'stable_before': before.stable, 'rotation_deg_before': before.rotation_deg,
      'chamfer': chamfer(found.mesh, given), 'moved': found.moved, 'depth': found.depth,
      'margin_deg': found.margin_deg, 'smallest_flat_cut': cut and cut[0],
      'flat_cut_chamfer': cut and chamfer(cut[1], given), 'chamfer_floor': chamfer(given, given),
      'vertices': len(found.mesh.vertices), 'faces': len(found.mesh.faces),
      'watertight': meshes.is_watertight(found.mesh.faces)}
  mesh_io.write(workdir / 'mesh.glb', found.mesh)
  report.write(workdir / 'report.html', figures['prompt'], figures, config.to_dict(), command,
               mesh=found.mesh, rest=None if after.diverged else native.path(after.motion), fps=30,
               glb=workdir / 'mesh.glb')
  with files.replacing(workdir / 'result.json') as beside:
    beside.write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')
  return figures


def chamfer(mesh, reference):
  """DSO's Chamfer distance of two Meshes (see `metrics.geometry`). Each is sampled by itself:
  a mesh differs from itself, too, which is the floor of what can be found."""
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
  """[row] of one solid, or [] where it stands as it is (C MuJoCo at 1 ms judges)."""
  solid = solids.random_solid(seed)
  drop = native.drop(body.from_mesh(solid), config.seconds)
  if drop.stable:
    return []
  found = stabilize.stabilize(solid, config.seconds)
  cut = stabilize.flat_cut(solid, seconds=config.seconds)
  return [{
      'seed': seed, 'kind': solids.kind(seed), 'rotation_deg': drop.rotation_deg,
      'stands': found.stands, 'chamfer': chamfer(found.mesh, solid) if found.stands else None,
      'moved': found.moved if found.stands else None, 'depth': found.depth,
      'margin_deg': found.margin_deg, 'cut': cut and cut[0],
      'cut_chamfer': cut and chamfer(cut[1], solid), 'floor': chamfer(solid, solid)}]


def markdown(rows, command):
  """The study as a page of Markdown."""
  stand = [row for row in rows if row['stands']]
  both = [row for row in stand if row['cut']]
  uncut = [row for row in rows if not row['cut']]
  ours, cuts = (np.array([row[name] for row in both]) for name in ('chamfer', 'cut_chamfer'))
  lines = [
      '# Making what falls stand', '', f'`{command}`', '',
      f'{len(rows)} concave random solids that fall in C MuJoCo (seeds {rows[0]["seed"]} to '
      f'{rows[-1]["seed"]}). Deformed by `physics/stabilize`, {len(stand)} of them stand '
      f'({len(stand) / len(rows):.0%}; C MuJoCo, 1 ms). A flat cut of at most 60 % of the height '
      f'saves {len(both)} of these and {len(rows) - len(uncut) - len(both)} of the others. '
      f'{len(uncut)} cannot be saved by any cut; {sum(bool(row["stands"]) for row in uncut)} of '
      'them stand when deformed.', '']
  if both:
    lines += [
        f'Over the {len(both)} that both make stand, the median Chamfer distance to the original '
        f'(DSO\'s protocol) is {np.median(ours):.4f} deformed and {np.median(cuts):.4f} cut; the '
        f'deformed one is closer in {int((ours < cuts).sum())}. Two samples of 10,000 points of '
        'one surface differ, too: the floor of these figures is the Chamfer distance of the '
        'original from itself, with a median of '
        f'{np.median([row["floor"] for row in both]):.4f}. The protocol brings each shape to its '
        'own unit cube first, so a cut that takes much of the height counts as a change of scale '
        'as well.', '']
  lines += ['| seed | kind | fell by | stands | Chamfer | moved (rms) | smallest cut | its Chamfer '
            '| floor |', '|---' * 9 + '|']
  number = lambda x, form: 'none' if x is None else f'{x:{form}}'
  for row in rows:
    lines.append(
        f'| {row["seed"]} | {row["kind"]} | {row["rotation_deg"]:.0f} deg | '
        f'{"yes" if row["stands"] else "**no**"} | {number(row["chamfer"], ".4f")} | '
        f'{number(row["moved"], ".4f")} | {number(row["cut"], ".0%")} | '
        f'{number(row["cut_chamfer"], ".4f")} | {row["floor"]:.4f} |')
  return '\n'.join(lines) + '\n'


def write_study(workdir, rows, command):
  """Writes stabilize.md and stabilize.csv."""
  sweep_tables.write(workdir / 'stabilize.csv', COLUMNS, rows)
  with files.replacing(workdir / 'stabilize.md') as beside:
    beside.write_text(markdown(rows, command), encoding='utf-8')
