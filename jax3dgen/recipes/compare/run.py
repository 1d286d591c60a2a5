"""Objectives side by side: every method on every prompt from every seed, as a table and pictures.

A run of one method, prompt and seed is finished where `config.compare.table` has its row, or the
workdir has its files: cells/METHOD/NAME.json, the row, and NAME.png, the last strip of views.
cells/METHOD/config.json holds the settings of all runs of the method. Finished runs are not
repeated; `merge` adds the rows of a workdir to the table.
"""

import json
import pathlib
import shutil
import sys

import jax.numpy as jnp

from jax3dgen.core import files, tree
from jax3dgen.core.errors import ConfigError, DivergenceError, MeshError
from jax3dgen.data import prompts as prompt_files
from jax3dgen.distill import base, guidance
from jax3dgen.export import turntable
from jax3dgen.metrics import janus, referee
from jax3dgen.prior import words
from jax3dgen.recipes.compare import table as tables
from jax3dgen.recipes.distill import batched, outputs
from jax3dgen.recipes.distill import run as distill
from jax3dgen.train import log

PREVIEW_FIGURES = ('face_count', 'winding', 'view_kl', 'reject_rate')


def check(config):
  """ConfigError for a method that does not exist, or a comparison of nothing."""
  c = config.compare
  if not c.methods or not c.prompts or c.seeds < 0 or c.batched < 0:
    raise ConfigError('config.compare needs a method, a prompt and 0 or more seeds.')
  for method in c.methods:
    changes_of(config, method)


def changes_of(config, method):
  """What a method changes in the config, {dotted field: value}.

  A method without an entry in config.compare.changes is the objective of that name.
  """
  changes = dict(config.compare.changes)
  if method in changes:
    return dict(changes[method])
  try:
    base.load(method)
  except ConfigError as error:
    raise ConfigError(f'{method!r} is none of the methods of config.compare.changes '
                      f'({", ".join(changes)}), and no objective: {error}') from error
  return {'distill.name': method}


def prompts_of(config):
  """The prompts of a comparison: those of config.compare.prompts_file if that is set."""
  c = config.compare
  return (prompt_files.read(c.prompts_file, 'config.compare.prompts_file') if c.prompts_file
          else c.prompts)


def run_config(config, method, prompt, seed):
  """The complete config of one run; `config` is that of the comparison."""
  cfg = config.copy_and_resolve_references()
  with cfg.unlocked(), cfg.ignore_type():  # a number may become a schedule
    del cfg.compare
    cfg.prompt, cfg.seed = prompt, seed
    cfg.update_from_flattened_dict(changes_of(config, method))
  return distill.complete(cfg)


def method_config(config, method):
  """The complete config of the first run of a method."""
  return run_config(config, method, prompts_of(config)[0], config.compare.first_seed)


def denoiser_rows(config, method):
  """Rows of the denoiser per view and step of a method (see `base.Distillation`)."""
  cfg = method_config(config, method)
  distillation, _ = base.load(cfg.distill.name)
  return distillation.denoiser_rows(cfg.distill, guidance.denoiser_rows(cfg.guide))


def settings_of(cfg):
  """What the outcome of a run depends on but its prompt and seed: {dotted field: value}."""
  plain = json.loads(json.dumps(cfg.to_dict()))
  for name in ('prompt', 'seed', 'log', 'checkpoint'):
    del plain[name]
  return tree.flatten(plain)


def same_settings(finished, settings, method, where):
  """ConfigError where the `finished` runs of a method, in the file or folder `where`, had other
  settings.

  A field that did not exist when they were made is not compared.
  """
  differ = [f'config.{name}={value!r}, not {settings.get(name)!r}'
            for name, value in finished.items() if settings.get(name) != value]
  if differ:
    raise ConfigError(
        f'The runs of {method!r} in {where} were made with {"; ".join(differ)}: set it so, or '
        'choose another config.compare.study, config.compare.table or --workdir.')


def open_table(path):
  """The Table in config.compare.table; an empty one for ''."""
  return tables.read(path) if path else tables.Table([], {})


def read(config, workdir):
  """(Table, rows of the workdir, {method: their settings}); ConfigError where the settings of a
  method of the table, the workdir and the config differ."""
  c, folder = config.compare, workdir / 'cells'
  table = open_table(c.table)
  stored = table.settings.get(c.study, {})
  settings = {path.parent.name: json.loads(path.read_text(encoding='utf-8'))
              for path in sorted(folder.glob('*/config.json'))}
  for method, made_with in settings.items():
    same_settings(stored.get(method, {}), made_with, method, c.table)
  for method in c.methods:
    current = settings_of(method_config(config, method))
    same_settings(stored.get(method, {}), current, method, c.table)
    same_settings(settings.get(method, {}), current, method, folder / method)
  order = [*c.methods, *(method for method in settings if method not in c.methods)]
  rows = [json.loads(path.read_text(encoding='utf-8')) for method in order
          for path in sorted((folder / method).glob('*.json')) if path.name != 'config.json']
  return table, rows, settings


def run(config, workdir):
  """Makes the runs that neither the table nor the workdir has; returns the rows of both."""
  check(config)
  c, workdir = config.compare, pathlib.Path(workdir)
  table, rows, _ = read(config, workdir)
  finished = {tables.run_of(row) for row in [*tables.of_study(table, c.study), *rows]}
  missing = [(method, prompt, seed)  # seeds outside: whole tables grow
             for seed in range(c.first_seed, c.first_seed + c.seeds)
             for prompt in prompts_of(config) for method in c.methods
             if (method, prompt, seed) not in finished]
  if c.batched:
    for method in c.methods:
      run_batched(config, [entry for entry in missing if entry[0] == method], workdir)
  else:
    for entry in missing:
      run_alone(config, *entry, workdir)
  table, rows, _ = read(config, workdir)
  rows = tables.joined(tables.of_study(table, c.study), rows)
  if not rows:
    raise ConfigError(f'{c.table or workdir} has no finished runs; ask for a seed or more.')
  return rows


def merge(config, workdir):
  """Adds the rows of a workdir to config.compare.table; returns how many the table had not."""
  table, rows, settings = read(config, pathlib.Path(workdir))
  larger = tables.merged(table, config.compare.study, rows, settings)
  tables.write(config.compare.table, larger)
  return len(larger.rows) - len(table.rows)


def row_path(workdir, method, prompt, seed):
  """The file of a finished run's row; its last strip of views lies beside it as PNG."""
  return workdir / 'cells' / method / f'{words.slug(prompt)}-{seed:02d}.json'


def run_alone(config, method, prompt, seed, workdir):
  """Makes one whole run, with its mesh and the figures of that."""
  path = row_path(workdir, method, prompt, seed)
  folder = workdir / 'runs' / method / path.stem
  cfg = run_config(config, method, prompt, seed)
  try:
    figures = distill.run(cfg, folder).figures
    outcome = batched.Outcome(figures | {'metrics': log.last(folder)}, '', outputs.previews(folder))
  except (DivergenceError, MeshError) as error:
    outcome = batched.Outcome({}, str(error), [])
  write(path, method, cfg, outcome)
  if not config.compare.keep_runs:
    shutil.rmtree(folder, ignore_errors=True)


def run_batched(config, missing, workdir):
  """Makes the runs `missing`, (method, prompt, seed) of one method, without meshes."""
  configs = [run_config(config, *entry) for entry in missing]
  outcomes = batched.run(configs, config.compare.batched) if configs else []
  for entry, cfg, outcome in zip(missing, configs, outcomes, strict=True):
    write(row_path(workdir, *entry), entry[0], cfg, outcome)


def write(path, method, cfg, outcome):
  """Writes a finished run: its strip, the settings of its method if they are missing, its row."""
  row = {'method': method, 'prompt': cfg.prompt, 'seed': cfg.seed, 'failed': outcome.failed}
  row |= outcome.figures
  if outcome.failed:
    print(f'{method}, {cfg.prompt!r}, seed {cfg.seed} failed: {outcome.failed}', file=sys.stderr)
  else:
    row['history'] = history(outcome.strips, row['kind_seen'])
    turntable.write_png(path.with_suffix('.png'), outcome.strips[-1][1])
  if not path.with_name('config.json').exists():
    write_json(path.with_name('config.json'), settings_of(cfg))
  write_json(path, row)


def write_json(path, value):
  """Writes a value as JSON."""
  with files.replacing(path) as beside:
    beside.write_text(json.dumps(value, indent=1) + '\n', encoding='utf-8')


def history(strips, kind):
  """The referee's figures of the previews [(step, strip)], {name: [one for each preview]}.

  A preview has eight views, so these are coarser than the final figures. Runs are compared by them
  at equal numbers of denoiser rows.
  """
  labels, params = referee.labels(), referee.load()
  columns = {name: [] for name in ('step', *PREVIEW_FIGURES)}
  for step, strip in strips:
    side = strip.shape[1] // outputs.PREVIEW_VIEWS
    views = jnp.stack(jnp.split(jnp.asarray(strip[:side]), outputs.PREVIEW_VIEWS, 1))
    report = janus.evaluate_views(params, views, labels, kind if kind in labels.kinds else None)
    for name, column in columns.items():
      column.append(step if name == 'step' else report[name])
  return columns
