"""The page and the pictures of a comparison: its rows as tables, its last strips of views."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jax3dgen.export import markdown
from jax3dgen.metrics import intervals
from jax3dgen.prior import words

UNIFORM = 0.05  # most divergence of the views' poses from a uniform one, in nats
TURN = 0.9  # least winding of a turn whose sides follow each other as they should
MARGIN = 4  # pixels about the names of methods beside their pictures


def janus_free(row):
  """Whether a run has one face, its sides in order once round, and all poses about equally often.
  """
  return bool(not row['failed'] and row['face_count'] == 1 and row['winding'] > TURN
              and row['view_kl'] < UNIFORM)


def count_faces(rows, test):
  """How many of the runs that did not fail have a face count that passes `test`."""
  return sum(test(row['face_count']) for row in rows if not row['failed'])


def mean(rows, name):
  """The mean of a figure over the runs that have it, as text."""
  values = [row[name] for row in rows if row.get(name) is not None]
  return f'{np.mean(values):.2f}' if values else 'none'


def previews(row):
  """The figures of the previews of a run, a row each, with the `step` of the preview."""
  history = row.get('history', {})
  return [{'failed': ''} | dict(zip(history, values))
          for values in zip(*history.values(), strict=True)]


def last_preview(row, rows_per_step, budget):
  """The last preview before which a run had used at most `budget` rows of the denoiser per view;
  None before its first one."""
  early = [preview for preview in previews(row) if preview['step'] * rows_per_step <= budget]
  return early[-1] if early else None


def text(rows, command, rows_per_step):
  """The page: each method over all prompts, prompt by prompt, and at equal denoiser calls.

  `rows_per_step` {method: rows of the denoiser per view and step}.
  """
  prompts = list(dict.fromkeys(row['prompt'] for row in rows))
  seeds = sorted({row['seed'] for row in rows})
  by_method = {method: [row for row in rows if row['method'] == method]
               for method in dict.fromkeys(row['method'] for row in rows)}
  lines = ['# Objectives side by side', '', f'`{command}`', '',
           f'{len(prompts)} prompts ({", ".join(prompts)}), seeds {seeds[0]} to {seeds[-1]}. '
           f'Janus-free: one face, winding above {TURN}, poses within {UNIFORM} nats of uniform, '
           'by the referee. In brackets 95 % intervals (Wilson). Seconds and memory are those of '
           'whole runs on CPUs, with mesh and page; runs several at a time have none.']
  lines += ['', *over_all(by_method)]
  lines += ['', '## Prompt by prompt', '', 'Janus-free; runs with no face and with several.']
  lines += ['', *prompt_by_prompt(by_method, prompts)]
  budget = min((rows_per_step[row['method']] * row['steps'] for row in rows if not row['failed']),
               default=0)
  lines += ['', '## At equal denoiser calls', '',
            f'The last preview (eight views, so coarser) before {budget} rows of the denoiser per '
            'view, forward and backward; schedules are those of the whole runs.']
  lines += ['', *at_equal_calls(by_method, rows_per_step, budget)]
  return '\n'.join(lines) + '\n'


def share_janus_free(rows):
  """The share of Janus-free runs with its interval, as text."""
  return intervals.share(sum(map(janus_free, rows)), len(rows))


def over_all(by_method):
  """A table of all figures, a line for each method of {method: rows}."""
  def line(method, rows):
    whole = [row for row in rows if 'batched' not in row]
    return [method, share_janus_free(rows), count_faces(rows, lambda n: n == 1),
            count_faces(rows, lambda n: n == 0), count_faces(rows, lambda n: n > 1),
            *(mean(rows, name) for name in (
                'kind_correct', 'color_correct', 'view_kl', 'reject_rate')),
            sum(bool(row['failed']) for row in rows), mean(whole, 'seconds'),
            mean(whole, 'peak_memory_gib'),
            ', '.join(sorted({row.get('device', 'cpu') for row in rows}))]
  return markdown.table(
      ['method', 'Janus-free', 'one face', 'none', 'several', 'right kind', 'right colour',
       'mean KL', 'rejected', 'failed', 'seconds', 'GiB', 'devices'],
      [line(*item) for item in by_method.items()])


def prompt_by_prompt(by_method, prompts):
  """A table of Janus-free runs, a line for each method and a column for each prompt."""
  def cell(rows):
    if not rows:
      return 'no runs'
    return (f'{share_janus_free(rows)}; none {count_faces(rows, lambda n: n == 0)}, '
            f'several {count_faces(rows, lambda n: n > 1)}')
  return markdown.table(['method', *prompts], [
      [method, *(cell([row for row in rows if row['prompt'] == prompt]) for prompt in prompts)]
      for method, rows in by_method.items()])


def at_equal_calls(by_method, rows_per_step, budget):
  """A table of Janus-free previews at `budget` rows of the denoiser, a line for each method."""
  lines = []
  for method, rows in by_method.items():
    last = [last_preview(row, rows_per_step[method], budget) for row in rows]
    last = [preview for preview in last if preview]
    steps = sorted({preview['step'] for preview in last})
    lines.append([method, rows_per_step[method], ', '.join(map(str, steps)) or 'none',
                  share_janus_free(last)])
  return markdown.table(['method', 'rows per step', 'step', 'Janus-free'], lines)


def picture(rows, folder, prompt, seed):
  """The strips uint8 [H, W, 3] of all methods for one prompt and seed, one below the other with
  their names, as far as they lie in folder/METHOD; None without any. A failed run is white."""
  name = f'{words.slug(prompt)}-{seed:02d}.png'
  paths = {row['method']: folder / row['method'] / name for row in rows
           if (row['prompt'], row['seed']) == (prompt, seed)}
  failed = {row['method'] for row in rows
            if (row['prompt'], row['seed']) == (prompt, seed) and row['failed']}
  strips = {method: Image.open(path) for method, path in paths.items() if path.exists()}
  methods = [method for method in paths if method in strips or method in failed]
  if not strips:
    return None
  width, height = next(iter(strips.values())).size
  font = ImageFont.load_default()
  left = 2 * MARGIN + max(math.ceil(font.getlength(method)) for method in methods)
  page = Image.new('RGB', (left + width, height * len(methods)), 'white')
  draw = ImageDraw.Draw(page)
  for i, method in enumerate(methods):
    draw.text((MARGIN, (i + 0.5) * height), method, 'black', font, 'lm')
    if method in strips:
      page.paste(strips[method].convert('RGB'), (left, i * height))
  return np.asarray(page)
