"""Objectives side by side: every method on every prompt from every seed, as a table and pictures.

A cell is one distillation run. What it leaves, its figures and its last strip of views, goes to
cells/METHOD/, a folder that may outlive the runs and be kept with the docs; config.json in it holds
the settings of all its cells. A cell that is there is not run again.
"""

import json
import math
import shutil
import sys

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jax3dgen.core import files
from jax3dgen.core.errors import ConfigError, DivergenceError, MeshError
from jax3dgen.data import prompts
from jax3dgen.export import turntable
from jax3dgen.metrics import janus, referee
from jax3dgen.prior import words
from jax3dgen.train import compare_methods, distill, log, results, together

UNIFORM = 0.05  # most divergence of the views' poses from a uniform one, in nats
TURN = 0.9  # least winding of a turn whose sides follow each other as they should
MARGIN = 4  # pixels about the names of methods beside their pictures


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
    made = together.Made(figures | {'metrics': log.last(folder)}, '', results.previews(folder))
  except (DivergenceError, MeshError) as e:
    made = together.Made({}, str(e), [])
  keep(path, method, prompt, seed, made)
  if not config.compare.keep_runs:
    shutil.rmtree(folder, ignore_errors=True)


def in_one_program(config, missing, cells):
  """Makes the cells `missing`, (method, prompt, seed) of one method, without meshes."""
  configs = [cell_config(config, *one) for one in missing]
  for one, made in zip(missing, configs and together.run(configs, config.compare.together)):
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
    side = strip.shape[1] // results.PREVIEW_VIEWS
    views = jnp.stack(jnp.split(jnp.asarray(strip[:side]), results.PREVIEW_VIEWS, 1))
    report = janus.judge(params, views, labels, kind if kind in labels.kinds else None)
    found.append({'step': step} | {
        name: report[name] for name in ('face_count', 'winding', 'view_kl', 'reject_rate')})
  return found


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


def table(header, body):
  """Lines of a Markdown table."""
  return ['', '| ' + ' | '.join(header) + ' |', '|---' * len(header) + '|',
          *('| ' + ' | '.join(map(str, row)) + ' |' for row in body)]


def share(hits, count):
  """'3 of 10 (11 to 60%)': hits of count, with `interval`."""
  if not count:
    return 'no runs'
  low, high = interval(hits, count)
  return f'{hits} of {count} ({low:.0%} to {high:.0%})'


def faces(rows, test):
  """How many of the runs that came to something have a face count that passes `test`."""
  return sum(test(row['face_count']) for row in rows if not row['failed'])


def mean(rows, name):
  """The mean of a figure over the runs that have it, as text."""
  values = [row[name] for row in rows if row.get(name) is not None]
  return f'{np.mean(values):.2f}' if values else 'none'


def at_equal_calls(row, calls):
  """The latest preview at which a run had used at most `calls` rows of the denoiser per view; None
  before its first one."""
  spent = compare_methods.calls(row['method'])
  found = [one for one in row.get('history', []) if one['step'] * spent <= calls]
  return found[-1] if found else None


def markdown(rows, command):
  """The page: each method over all prompts, prompt by prompt, and at equal denoiser calls."""
  methods = list(dict.fromkeys(row['method'] for row in rows))
  texts = list(dict.fromkeys(row['prompt'] for row in rows))
  seeds = sorted({row['seed'] for row in rows})
  by = {method: [row for row in rows if row['method'] == method] for method in methods}
  free = lambda some: share(sum(map(janus_free, some)), len(some))
  whole = lambda some: [row for row in some if 'together' not in row]
  lines = ['# Objectives side by side', '', f'`{command}`', '',
           f'{len(texts)} prompts ({", ".join(texts)}), seeds {seeds[0]} to {seeds[-1]}. '
           f'Janus-free: one face, winding above {TURN}, poses within {UNIFORM} nats of uniform, '
           'by the referee. In brackets 95 % intervals (Wilson). Seconds and memory are those of '
           'whole runs on CPUs, with mesh and page; runs several at a time have none.']
  lines += table(
      ['method', 'Janus-free', 'one face', 'none', 'several', 'right kind', 'right colour',
       'mean KL', 'rejected', 'failed', 'seconds', 'GiB', 'devices'],
      [[method, free(some), faces(some, lambda n: n == 1), faces(some, lambda n: n == 0),
        faces(some, lambda n: n > 1), *(mean(some, name) for name in (
            'kind_correct', 'color_correct', 'view_kl', 'reject_rate')),
        sum(bool(row['failed']) for row in some), mean(whole(some), 'seconds'),
        mean(whole(some), 'peak_memory_gib'),
        ', '.join(sorted({row.get('device', 'cpu') for row in some}))]
       for method, some in by.items()])
  of = lambda some, text: [row for row in some if row['prompt'] == text]
  cell = lambda some: 'no runs' if not some else (
      f'{free(some)}; none {faces(some, lambda n: n == 0)}, '
      f'several {faces(some, lambda n: n > 1)}')
  lines += ['', '## Prompt by prompt', '', 'Janus-free; runs with no face and with several.']
  lines += table(['method', *texts], [
      [method, *(cell(of(some, text)) for text in texts)] for method, some in by.items()])
  budget = min(compare_methods.calls(row['method']) * row['steps'] for row in rows
               if not row['failed'])
  lines += ['', '## At equal denoiser calls', '',
            f'The last preview (eight views, so coarser) before {budget} rows of the denoiser per '
            'view, forward and backward; schedules are those of the whole runs.']
  body = []
  for method, some in by.items():
    early = [one for row in some if (one := at_equal_calls(row, budget))]
    body.append([method, compare_methods.calls(method),
                 ', '.join(map(str, sorted({one['step'] for one in early}))) or 'none',
                 share(sum(janus_free({'failed': ''} | one) for one in early), len(early))])
  lines += table(['method', 'rows per step', 'step', 'Janus-free'], body)
  return '\n'.join(lines) + '\n'


def picture(rows, cells, prompt, seed):
  """The strips uint8 [H, W, 3] of all methods for one prompt and seed, one below the other with
  their names; None without any. A failed cell is white."""
  mine = [row for row in rows if (row['prompt'], row['seed']) == (prompt, seed)]
  name = f'{words.slug(prompt)}-{seed:02d}.png'
  strips = {row['method']: cells / row['method'] / name for row in mine if not row['failed']}
  if not strips:
    return None
  opened = {method: Image.open(path) for method, path in strips.items()}
  width, height = next(iter(opened.values())).size
  font = ImageFont.load_default()
  left = 2 * MARGIN + max(math.ceil(font.getlength(row['method'])) for row in mine)
  page = Image.new('RGB', (left + width, height * len(mine)), 'white')
  draw = ImageDraw.Draw(page)
  for i, row in enumerate(mine):
    draw.text((MARGIN, (i + 0.5) * height), row['method'], 'black', font, 'lm')
    if row['method'] in opened:
      page.paste(opened[row['method']].convert('RGB'), (left, i * height))
  return np.asarray(page)
