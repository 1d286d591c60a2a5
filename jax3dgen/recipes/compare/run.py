"""Objectives side by side: every method on every prompt from every seed, as a table and pictures.

A cell is one distillation run. What it leaves, its figures and its last strip of views, goes to
cells/METHOD/, a folder that may outlive the runs and be kept with the docs; config.json in it holds
the settings of all its cells. A cell that is there is not run again.
"""

import json
import shutil
import sys

import jax.numpy as jnp

from jax3dgen.core import files
from jax3dgen.core.errors import ConfigError, DivergenceError, MeshError
from jax3dgen.data import prompts
from jax3dgen.export import turntable
from jax3dgen.metrics import janus, referee
from jax3dgen.prior import words
from jax3dgen.recipes.compare import methods as compare_methods
from jax3dgen.recipes.distill import batched, outputs
from jax3dgen.recipes.distill import run as distill
from jax3dgen.train import log


def check(config):
  """ConfigError for a method that there is not."""
  unknown = [name for name in config.compare.methods if name not in compare_methods.ALL]
  if unknown:
    raise ConfigError(f'config.compare.methods={unknown[0]!r} is none of '
                      f'{", ".join(compare_methods.ALL)}.')
  c = config.compare
  if not c.methods or not c.prompts or c.seeds < 0 or c.together < 0:
    raise ConfigError('config.compare needs a method, a prompt and 0 or more seeds.')


def asked(config):
  """The prompts of a comparison: those of config.compare.prompts_file where it is given."""
  c = config.compare
  return (prompts.read(c.prompts_file, 'config.compare.prompts_file') if c.prompts_file
          else c.prompts)


def cell_config(config, method, prompt, seed):
  """The config of one run; `config` is that of the comparison, which holds `compare` beside it."""
  one = config.copy_and_resolve_references()
  with one.unlocked(), one.ignore_type():  # a number may become a schedule
    del one.compare
    one.prompt, one.seed = prompt, seed
    for name, value in compare_methods.ALL[method].items():
      one.update_from_flattened_dict({name: value})
  return distill.complete(one)


def settings(one):
  """What a cell's outcome depends on but its prompt and seed: {dotted field: value}."""
  def flat(section, prefix):
    for name, value in section.items():
      if isinstance(value, dict):
        yield from flat(value, f'{prefix}{name}.')
      else:
        yield prefix + name, value
  plain = json.loads(json.dumps(one.to_dict()))
  for name in ('prompt', 'seed', 'log', 'checkpoint'):
    del plain[name]
  return dict(flat(plain, ''))


def same_settings(folder, one):
  """Notes the settings of a method beside its cells; ConfigError where older cells had others.

  A field that did not exist when the cells were made is not compared.
  """
  mine, path = settings(one), folder / 'config.json'
  if path.exists():
    for name, value in json.loads(path.read_text()).items():
      if mine.get(name) != value:
        raise ConfigError(f'The cells in {folder} were made with config.{name}={value!r}, not '
                          f'{mine.get(name)!r}: set it so, or name another folder with '
                          'config.compare.cells.')
  else:
    with files.replacing(path) as beside:
      beside.write_text(json.dumps(mine, indent=1) + '\n', encoding='utf-8')


def run(config, workdir, cells):
  """Runs what is missing; returns the rows of all cells in the folder, one dict each."""
  check(config)
  c, texts = config.compare, asked(config)
  for method in c.methods:
    same_settings(cells / method, cell_config(config, method, texts[0], c.first_seed))
  missing = [(method, prompt, seed)  # seeds outside: whole tables grow
             for seed in range(c.first_seed, c.first_seed + c.seeds)
             for prompt in texts for method in c.methods
             if not kept(cells, method, prompt, seed).exists()]
  if c.together:
    for method in c.methods:
      in_one_program(config, [one for one in missing if one[0] == method], cells)
  else:
    for one in missing:
      alone(config, *one, workdir, cells)
  rows = read(cells)
  if not rows:
    raise ConfigError(f'There are no finished cells in {cells}; ask for a seed or more.')
  return rows


def read(cells):
  """The rows of all cells in a folder, method by method."""
  return [json.loads(path.read_text()) for method in compare_methods.ALL
          for path in sorted((cells / method).glob('*.json')) if path.name != 'config.json']


def kept(cells, method, prompt, seed):
  """The file with the figures of a cell; its last strip of views lies beside it as PNG."""
  return cells / method / f'{words.slug(prompt)}-{seed:02d}.json'


def alone(config, method, prompt, seed, workdir, cells):
  """Makes one cell by a whole run, with its mesh and what becomes of it."""
  path = kept(cells, method, prompt, seed)
  folder = workdir / 'runs' / method / path.stem
  try:
    figures = distill.run(cell_config(config, method, prompt, seed), folder).figures
    made = batched.Made(figures | {'metrics': log.last(folder)}, '', outputs.previews(folder))
  except (DivergenceError, MeshError) as e:
    made = batched.Made({}, str(e), [])
  keep(path, method, prompt, seed, made)
  if not config.compare.keep_runs:
    shutil.rmtree(folder, ignore_errors=True)


def in_one_program(config, missing, cells):
  """Makes the cells `missing`, (method, prompt, seed) of one method, without meshes."""
  configs = [cell_config(config, *one) for one in missing]
  for one, made in zip(missing, configs and batched.run(configs, config.compare.together)):
    keep(kept(cells, *one), *one, made)


def keep(path, method, prompt, seed, made):
  """Writes a finished cell: what it was, its figures or why there are none, its last views."""
  row = {'method': method, 'prompt': prompt, 'seed': seed, 'failed': made.failed} | made.figures
  if made.failed:
    print(f'{method}, {prompt!r}, seed {seed} came to nothing: {made.failed}', file=sys.stderr)
  else:
    row['history'] = history(made.strips, row['kind_seen'])
    turntable.write_png(path.with_suffix('.png'), made.strips[-1][1])
  with files.replacing(path) as beside:
    beside.write_text(json.dumps(row, indent=1) + '\n', encoding='utf-8')


def history(strips, kind):
  """What the referee says of the previews [(step, strip)]: eight views each, so coarser than the
  final figures. Equal numbers of denoiser calls are compared by them."""
  labels, params = referee.labels(), referee.load()
  found = []
  for step, strip in strips:
    side = strip.shape[1] // outputs.PREVIEW_VIEWS
    views = jnp.stack(jnp.split(jnp.asarray(strip[:side]), outputs.PREVIEW_VIEWS, 1))
    report = janus.judge(params, views, labels, kind if kind in labels.kinds else None)
    found.append({'step': step} | {
        name: report[name] for name in ('face_count', 'winding', 'view_kl', 'reject_rate')})
  return found
