"""Objectives side by side: every method on every prompt from every seed, as a table and pictures.

A cell is one distillation run. What it leaves, its figures and its last strip of views, goes to
`cells`, a folder that may outlive the runs and be kept with the docs: a cell that is there for the
same settings is not run again.
"""

import json
import shutil
import sys

from matplotlib import image as png
import numpy as np

from jax3dgen.core import files
from jax3dgen.core.errors import ConfigError, DivergenceError, MeshError
from jax3dgen.export import turntable
from jax3dgen.prior import words
from jax3dgen.train import distill, results

# What each method changes in the config; all else is equal.
METHODS = {
    'sds': {},
    'debiased_sds': {'debias.clamp': (0, 0.5, 2.0, 1200)},
    'perp_neg': {'guide.name': 'perp_neg'},
    'hifa_annealing': {'timestep.rule': 'sqrt'},
    **{name: {'distill.name': name} for name in (
        'sjc', 'csd', 'nfsd', 'ism', 'sdi', 'hifa', 'sds_bridge', 'jsd', 'vsd', 'esd')}}
UNIFORM = 0.05  # most divergence of the views' poses from a uniform one, in nats
TURN = 0.9  # least winding of a turn whose sides follow each other as they should


def check(config):
  """ConfigError for a method that there is not."""
  unknown = [name for name in config.compare.methods if name not in METHODS]
  if unknown:
    raise ConfigError(f'config.compare.methods={unknown[0]!r} is none of {", ".join(METHODS)}.')
  if not config.compare.methods or not config.compare.prompts or config.compare.seeds < 1:
    raise ConfigError('config.compare needs a method, a prompt and a seed.')


def cell_config(config, method, prompt, seed):
  """The config of one run; `config` is that of the comparison, which holds `compare` beside it."""
  one = config.copy_and_resolve_references()
  with one.unlocked():
    del one.compare
    one.prompt, one.seed = prompt, seed
    for name, value in METHODS[method].items():
      one.update_from_flattened_dict({name: value})
  return distill.complete(one)


def run(config, workdir, cells):
  """Runs what is missing; returns the rows, one dict for each cell."""
  check(config)
  c = config.compare
  rows = []
  for seed in range(c.first_seed, c.first_seed + c.seeds):  # seeds outside: whole tables grow
    for prompt in c.prompts:
      for method in c.methods:
        rows.append(cell(config, method, prompt, seed, workdir, cells))
  return rows


def cell(config, method, prompt, seed, workdir, cells):
  """One row: `method`, `prompt`, `seed`, and the run's figures, or why it came to nothing."""
  one, name = cell_config(config, method, prompt, seed), f'{words.slug(prompt)}-{seed:02d}'
  kept = cells / method / f'{name}.json'
  digest = results.config_digest(one)
  if kept.exists():
    row = json.loads(kept.read_text())
    if row['config_digest'] == digest:
      return row
  folder = workdir / 'runs' / method / name
  row = {'method': method, 'prompt': prompt, 'seed': seed, 'config_digest': digest}
  try:
    row = distill.run(one, folder).figures | row | {'failed': ''}
    strip = results.previews(folder)[-1][1]
    turntable.write_png(kept.with_suffix('.png'), strip)
  except (DivergenceError, MeshError) as e:
    print(f'{method}, {prompt!r}, seed {seed} came to nothing: {e}', file=sys.stderr)
    row |= {'failed': str(e)}
  with files.replacing(kept) as beside:
    beside.write_text(json.dumps(row, indent=2) + '\n', encoding='utf-8')
  if not config.compare.keep_runs:
    shutil.rmtree(folder, ignore_errors=True)
  return row


def janus_free(row):
  """One face, the sides in their order once round, all poses about equally often."""
  return bool(not row['failed'] and row['face_count'] == 1 and row['winding'] > TURN
              and row['view_kl'] < UNIFORM)


def interval(hits, count, z=1.96):
  """Wilson's 95 % interval of a share of `hits` in `count`."""
  share = hits / count
  middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
  half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
  return max(middle - half, 0.0), min(middle + half, 1.0)


def markdown(rows, command):
  """The page: a row for each method over all prompts, then shares by prompt."""
  methods = list(dict.fromkeys(row['method'] for row in rows))
  prompts = list(dict.fromkeys(row['prompt'] for row in rows))
  seeds = sorted({row['seed'] for row in rows})
  lines = ['# Objectives side by side', '', f'`{command}`', '',
           f'{len(prompts)} prompts ({", ".join(prompts)}), seeds {seeds[0]} to {seeds[-1]}. '
           f'Janus-free: one face, winding above {TURN}, poses within {UNIFORM} nats of uniform, '
           'by the referee.',
           '', '| method | Janus-free | 95 % interval | one face | none | several | right kind | '
           'right colour | mean KL | rejected | failed | seconds |', '|---' * 12 + '|']
  for method in methods:
    mine = [row for row in rows if row['method'] == method]
    whole = [row for row in mine if not row['failed']]
    free = sum(map(janus_free, mine))
    low, high = interval(free, len(mine))
    faces = lambda test, whole=whole: sum(test(row['face_count']) for row in whole)
    mean = lambda name, whole=whole: (
        f'{np.mean([row[name] for row in whole]):.2f}' if whole else 'none')
    lines.append(
        f'| {method} | {free} of {len(mine)} | {low:.0%} to {high:.0%} | '
        f'{faces(lambda n: n == 1)} | {faces(lambda n: n == 0)} | {faces(lambda n: n > 1)} | '
        f'{mean("kind_correct")} | {mean("color_correct")} | {mean("view_kl")} | '
        f'{mean("reject_rate")} | {len(mine) - len(whole)} | {mean("seconds")} |')
  lines += ['', '## Janus-free by prompt', '', '| method | ' + ' | '.join(prompts) + ' |',
            '|---' * (len(prompts) + 1) + '|']
  for method in methods:
    of = lambda prompt, method=method: [row for row in rows
                                        if (row['method'], row['prompt']) == (method, prompt)]
    lines.append(f'| {method} | ' + ' | '.join(
        f'{sum(map(janus_free, of(p)))} of {len(of(p))}' for p in prompts) + ' |')
  return '\n'.join(lines) + '\n'


def picture(rows, cells, prompt, seed):
  """The strips [H, W, 3] of all methods for one prompt and seed, one below the other; None without
  any. A failed cell is white."""
  mine = [row for row in rows if (row['prompt'], row['seed']) == (prompt, seed)]
  name = f'{words.slug(prompt)}-{seed:02d}.png'
  strips = [png.imread(cells / row['method'] / name)[..., :3] if not row['failed'] else None
            for row in mine]
  found = [strip for strip in strips if strip is not None]
  if not found:
    return None
  return np.concatenate([np.ones_like(found[0]) if s is None else s for s in strips])
