"""The page of a tuning of a multi-view prior."""

import json

from jax3dgen.export import markdown

ENDS = ('samples', 'spread', 'frechet')  # figures of `evaluate.summary` that follow the columns
MEANING = {  # of the first column of a kind
    'psnr': "PSNR and SSIM to the true views, without the reference's own. ",
    'sector': 'Sector, kind and color by the referee; hands, agree, hat: shares of hands of the '
              'right colour where the reference shows the hand, of pairs of views whose hands have '
              'one colour, and of hats that are there or not as they should be. '}


def text(figures, cfg, command=''):
  """The Markdown of `run.run`'s figures."""
  names = list(figures['change'])
  tuning = figures['tuning']
  lines = ['# Views of one object', '',
           f'{cfg.loss.name.upper()}, seed {cfg.seed}, {tuning["step"]} steps; samples of held-out '
           'objects, the same noise for every model. ' + ''.join(
               text for name, text in MEANING.items() if name in names) +
           'In brackets 95 % intervals of the change by the bootstrap over objects.', '',
           *table(figures['rows'], names, figures['change'])]
  if 'pairs' in tuning:
    noise = tuning['noise']
    lines += ['', f'{tuning["pairs"]} preferences by {cfg.score.by}' + (
        '.' if tuning['agreement'] is None else
        f'; {tuning["agreement"]:.3f} of the decided pairs agree with the true PSNR.')]
    if noise['count']:
      lines += [f'The rollout with less noise on its reference wins {noise["less_noise"]:.3f} of '
                f'{noise["count"]} pairs with unequal noise (correlation '
                f'{noise["correlation"]:+.3f}).']
  digests = json.dumps({name: value[:12] for name, value in tuning['digests'].items()})
  lines += ['', f'Digests: `{digests}`']
  return '\n'.join([*lines, *(['', f'    {command}'] if command else [])]) + '\n'


def table(rows, names, change):
  """The lines of a table with a row for each model and one for the change."""
  cells = lambda row: [number(row[name]) for name in (*names, *ENDS)]
  return markdown.table(('', *names, *ENDS), [
      *([name, *cells(row)] for name, row in rows.items()),
      ['change', *(interval(*change[name]) for name in names), '', '', '']])


def interval(value, low, high):
  """'+0.12 (-0.03 to +0.27)'."""
  return f'{value:+.3f} ({low:+.3f} to {high:+.3f})'


def number(value):
  """A number for a table; '-' for one that is not defined."""
  if isinstance(value, int):
    return str(value)
  return '-' if value is None or value != value else f'{value:.3f}'
