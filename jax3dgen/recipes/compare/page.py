"""The page and the pictures of a comparison: its rows as tables, its last strips of views."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jax3dgen.export import markdown
from jax3dgen.metrics import intervals
from jax3dgen.prior import words
from jax3dgen.recipes.compare import methods as compare_methods

UNIFORM = 0.05  # most divergence of the views' poses from a uniform one, in nats
TURN = 0.9  # least winding of a turn whose sides follow each other as they should
MARGIN = 4  # pixels about the names of methods beside their pictures


def janus_free(row):
  """One face, the sides in their order once round, all poses about equally often."""
  return bool(not row['failed'] and row['face_count'] == 1 and row['winding'] > TURN
              and row['view_kl'] < UNIFORM)


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


def text(rows, command):
  """The page: each method over all prompts, prompt by prompt, and at equal denoiser calls."""
  methods = list(dict.fromkeys(row['method'] for row in rows))
  texts = list(dict.fromkeys(row['prompt'] for row in rows))
  seeds = sorted({row['seed'] for row in rows})
  by = {method: [row for row in rows if row['method'] == method] for method in methods}
  free = lambda some: intervals.share(sum(map(janus_free, some)), len(some))
  whole = lambda some: [row for row in some if 'together' not in row]
  lines = ['# Objectives side by side', '', f'`{command}`', '',
           f'{len(texts)} prompts ({", ".join(texts)}), seeds {seeds[0]} to {seeds[-1]}. '
           f'Janus-free: one face, winding above {TURN}, poses within {UNIFORM} nats of uniform, '
           'by the referee. In brackets 95 % intervals (Wilson). Seconds and memory are those of '
           'whole runs on CPUs, with mesh and page; runs several at a time have none.']
  lines += ['', *markdown.table(
      ['method', 'Janus-free', 'one face', 'none', 'several', 'right kind', 'right colour',
       'mean KL', 'rejected', 'failed', 'seconds', 'GiB', 'devices'],
      [[method, free(some), faces(some, lambda n: n == 1), faces(some, lambda n: n == 0),
        faces(some, lambda n: n > 1), *(mean(some, name) for name in (
            'kind_correct', 'color_correct', 'view_kl', 'reject_rate')),
        sum(bool(row['failed']) for row in some), mean(whole(some), 'seconds'),
        mean(whole(some), 'peak_memory_gib'),
        ', '.join(sorted({row.get('device', 'cpu') for row in some}))]
       for method, some in by.items()])]
  of = lambda some, text: [row for row in some if row['prompt'] == text]
  cell = lambda some: 'no runs' if not some else (
      f'{free(some)}; none {faces(some, lambda n: n == 0)}, '
      f'several {faces(some, lambda n: n > 1)}')
  lines += ['', '## Prompt by prompt', '', 'Janus-free; runs with no face and with several.']
  lines += ['', *markdown.table(['method', *texts], [
      [method, *(cell(of(some, text)) for text in texts)] for method, some in by.items()])]
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
                 free([{'failed': ''} | one for one in early])])
  lines += ['', *markdown.table(['method', 'rows per step', 'step', 'Janus-free'], body)]
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
