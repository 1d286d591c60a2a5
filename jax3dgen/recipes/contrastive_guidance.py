"""The theory of contrastive guidance by numbers: its Example 1, directions, end laws, a figure.

`run(config, workdir)` is what `python -m experiments.contrastive_guidance` calls. Three dimensions;
views a_1 = e_1, a_2 = e_2 and the approximate a' of Example 1; data A z with A = [a_1, a_2] and a
Gaussian z with mean 0 (`feedback/linear_guidance`).
"""

import json

from matplotlib import rc_context
from matplotlib.figure import Figure
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import files
from jax3dgen.core.errors import ConfigError
from jax3dgen.export import markdown
from jax3dgen.feedback import linear_guidance as theory
from jax3dgen.metrics import intervals

NAME = 'contrastive_guidance'
VIEW = np.eye(3)[0]
APPROXIMATE = np.array([0.8, np.sqrt(5) / 5, 0.4])
PICTURED = 0.6  # alpha of the vectors in the figure


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.seed = 0  # of the samples
  c.target = 1.0  # y, the upper bound of the similarity with a view
  c.clean = (0.2, 0.3, 0.0)  # the true sample X_0 of contrastive guidance
  c.scale = 0.5  # of the guidance in the sampler
  c.alphas = (0.9, 0.6, 0.3)  # noise levels of the table of directions
  c.covariances = ((1.0, 1.0, 0.0), (4.0, 4.0, 0.0), (1.0, 1.0, 0.6))  # Sigma as (11, 22, 12)
  c.samples = 20_000  # of the guided sampler
  c.steps = 400  # of the guided sampler
  return c.lock()


def check(config):
  """ConfigError for an invalid value."""
  if len(config.clean) != 3:
    raise ConfigError(f'config.clean={tuple(config.clean)} is not three numbers.')
  for alpha in config.alphas:
    if not 0 < alpha < 1:
      raise ConfigError(f'config.alphas={tuple(config.alphas)} are not between 0 and 1.')
  for row in config.covariances:
    if len(row) != 3 or min(row[0], row[0] * row[1] - row[2]**2) <= 0:
      raise ConfigError(f'config.covariances={tuple(config.covariances)} are not of the form '
                        '(variance, variance, covariance), positive definite.')
  if not (config.alphas and config.covariances):
    raise ConfigError('config.alphas and config.covariances need a value.')
  for name in ('samples', 'steps'):
    if config[name] < 2:
      raise ConfigError(f'config.{name}={config[name]} is too small.')


def data_of(row):
  """The Data of a row of config.covariances."""
  return theory.Data(np.eye(3)[:, :2], np.zeros(2), np.array([[row[0], row[2]], [row[2], row[1]]]))


def forms(config, data):
  """{name: guidance (x [..., 3], alpha) -> [..., 3]}, of scale 1."""
  clean = np.array(config.clean, float)
  simple = lambda view: lambda x, alpha: theory.simple(data, x, alpha, view, config.target)
  contrast = lambda residual: lambda x, alpha: theory.contrastive(
      data, clean, x, alpha, VIEW, APPROXIMATE, config.target, residual)
  return {"simple, a'": simple(APPROXIMATE), 'simple, a_1': simple(VIEW),
          'contrastive (Theorem 1)': contrast(False), 'contrastive with residual': contrast(True)}


def unguided_and(guidance):
  """(name, guidance) of no guidance and of each of `forms`."""
  return [('none', lambda x, alpha: np.zeros_like(x)), *guidance.items()]


def by_text(config, c):
  """{name: direction [3]} as Example 1 describes them: c a' where the formula has J a'."""
  clean = np.array(config.clean, float)
  toward = 2 * (config.target - clean @ VIEW) * VIEW
  return {"simple, a'": 2 * config.target * c * APPROXIMATE,
          'simple, a_1': 2 * config.target * c * VIEW,
          'contrastive (Theorem 1)': toward - 2 * c * APPROXIMATE}


def directions(config):
  """Rows of the directions at x with E[X_0 | x] = 0, for scalar Sigma also by the text."""
  rows = []
  for row in config.covariances:
    data = data_of(row)
    for alpha in config.alphas:
      c = theory.jacobian(data, alpha)[0, 0] if row[0] == row[1] and not row[2] else None
      text = by_text(config, c) if c is not None else {}
      for name, guidance in forms(config, data).items():
        rows.append({'covariance': list(row), 'alpha': alpha, 'guidance': name,
                     'direction': guidance(np.zeros(3), alpha).tolist(),
                     'text': text[name].tolist() if name in text else None})
  return rows


def laws(config):
  """Rows of the end laws by the moment equations; 'closed': their deviation from a closed form."""
  rows = []
  for row in config.covariances:
    data = data_of(row)
    for name, guidance in unguided_and(forms(config, data)):
      law = theory.end_law(data, lambda x, alpha, g=guidance: config.scale * g(x, alpha))
      closed = closed_form(config, row, data, name)
      deviation = None if closed is None else float(max(
          np.abs(a - b).max() for a, b in zip(law, closed)))
      away = law.mean - config.target * VIEW
      rows.append({'covariance': list(row), 'guidance': name, 'mean': law.mean.tolist(),
                   'law': law.covariance.tolist(), 'closed': deviation,
                   'distance': float(away @ away + np.trace(law.covariance))})
  return rows


def closed_form(config, row, data, name):
  """The end Law of a form of guidance where there is a closed form, else None."""
  if name == 'none':
    return theory.noised(data, 1.0)
  if name == 'contrastive (Theorem 1)':
    return theory.contrastive_end(data, np.array(config.clean, float), VIEW, APPROXIMATE,
                                  config.target, config.scale)
  views = {"simple, a'": APPROXIMATE, 'simple, a_1': VIEW}
  if name in views and row[0] == row[1] and not row[2]:
    return theory.simple_end(data, views[name], config.target, config.scale)
  return None


def sampled(config):
  """(rows, {(covariance, guidance): samples [n, 3]}) of the guided sampler."""
  rows, clouds = [], {}
  for row in config.covariances:
    data = data_of(row)
    for name, guidance in unguided_and(forms(config, data)):
      x = theory.sample(np.random.default_rng(config.seed), data,
                        lambda x, alpha, g=guidance: config.scale * g(x, alpha), config.samples,
                        config.steps)
      first = int(np.sum(x[:, 0] > np.abs(x[:, 1])))
      rows.append({'covariance': list(row), 'guidance': name, 'mean': x.mean(0).tolist(),
                   'std': x.std(0).tolist(), 'first': [first, len(x)],
                   'error': (1.96 * x.std(0) / len(x)**0.5).tolist()})
      clouds[tuple(row), name] = x
  return rows, clouds


def run(config, workdir, command='', report=print):
  """Writes contrastive_guidance.md, .json and .png; returns the figures of the JSON file."""
  check(config)
  figures = {'directions': directions(config), 'laws': laws(config)}
  report('Directions and end laws: done.')
  figures['samples'], clouds = sampled(config)
  with rc_context({'font.size': 8}), files.replacing(workdir / f'{NAME}.png') as beside:
    picture(config, figures, clouds).savefig(beside, format='png', dpi=100)
  lines = ['# Contrastive guidance', '', f'`{command}`', '', *section(config, figures), '',
           f'![Directions of the guidance and laws of the samples]({NAME}.png)']
  for suffix, text in (('json', json.dumps(figures, indent=1)), ('md', '\n'.join(lines))):
    with files.replacing(workdir / f'{NAME}.{suffix}') as beside:
      beside.write_text(text + '\n', encoding='utf-8')
  return figures


def _vector(values):
  return ', '.join(f'{value + 0.0:.3f}'.replace('-0.000', '0.000') for value in values)


def _covariance(row):
  return f'{row[0]:g} I' if row[0] == row[1] and not row[2] else (
      f'{row[0]:g}, {row[1]:g}, off-diagonal {row[2]:g}')


def direction_table(rows):
  """Lines of the table of `directions`."""
  return markdown.table(['Sigma', 'alpha', 'guidance', 'direction', 'by the text of Example 1'], [
      [_covariance(r['covariance']), f'{r["alpha"]:g}', r['guidance'], _vector(r['direction']),
       _vector(r['text']) if r['text'] else '-'] for r in rows])


def law_table(rows):
  """Lines of the table of `laws`."""
  return markdown.table(
      ['Sigma', 'guidance', 'mean', 'std along the axes', 'distance', 'closed form'], [
          [_covariance(r['covariance']), r['guidance'], _vector(r['mean']),
           _vector(np.sqrt(np.maximum(np.diag(r['law']), 0))), f'{r["distance"]:.3f}',
           _deviation(r['closed'])] for r in rows])


def _deviation(value):
  if value is None:
    return '-'
  return 'below 1e-5' if value < 1e-5 else f'{value:.0e}'


def sample_table(rows):
  """Lines of the table of `sampled`."""
  return markdown.table(['Sigma', 'guidance', 'mean', '95 % interval: +-', 'std', 'nearest to a_1'],
                        [[_covariance(r['covariance']), r['guidance'], _vector(r['mean']),
                          _vector(r['error']), _vector(r['std']), _share(*r['first'])]
                         for r in rows])


def _share(hits, count):
  low, high = intervals.wilson(hits, count)
  return f'{hits / count:.1%} ({low:.1%} to {high:.1%})'


def section(config, figures):
  """Lines of the page."""
  return [
      f"Views a_1 = e_1 and a' = ({_vector(APPROXIMATE)}), A = [e_1, e_2], z ~ N(0, Sigma), target "
      f'y = {config.target:g}, true sample X_0 = ({_vector(config.clean)}).', '',
      '## Directions', '',
      'The guidance of scale 1 where E[X_0 | X_t] = 0, beside that of the text of Example 1, which '
      "puts c a' (c = alpha s / (alpha^2 s + h) for Sigma = s I) for J a'.", '',
      *direction_table(figures['directions']), '', '## End laws', '',
      f'The law of the samples of the reverse process under guidance of scale {config.scale:g}, by '
      'moment equations. Distance: the mean of |X - y a_1|^2. Closed form: the largest deviation '
      'from it, where there is one.', '', *law_table(figures['laws']), '', '## Samples', '',
      f"{config.samples:,} samples of the guided sampler (the paper's Eq. 1, {config.steps} steps, "
      f'seed {config.seed}). Nearest to a_1: the share with a_1^T X > |a_2^T X|, with the '
      "interval of Wilson's score.", '', *sample_table(figures['samples'])]


def picture(config, figures, clouds):
  """The Figure: directions as in the paper's Figure 3 above, end laws and samples below."""
  row = tuple(config.covariances[0])
  data, figure = data_of(row), Figure((11, 5.6), layout='constrained')
  c = theory.jacobian(data, PICTURED)[0, 0]
  text = by_text(config, c)
  for i, (name, guidance) in enumerate(forms(config, data).items()):
    _arrows(figure.add_subplot(2, 4, 1 + i, projection='3d'), f'({"abcd"[i]}) {name}',
            guidance(np.zeros(3), PICTURED), text.get(name))
    law = next(r for r in figures['laws'] if (tuple(r['covariance']), r['guidance']) == (row, name))
    _cloud(figure.add_subplot(2, 4, 5 + i), config, law, clouds[row, name], data)
  return figure


def _arrows(axes, title, direction, text):
  """Unit views and the direction, by the formula and by the text."""
  unit = lambda x: x / np.linalg.norm(x)
  for vector, label, color, style in (
      (VIEW, 'a_1', 'tab:blue', '-'), (np.eye(3)[1], 'a_2', '0.6', '-'),
      (APPROXIMATE, "a'", 'tab:orange', '-'), (unit(direction), 'guidance', 'tab:red', '-'),
      (text if text is None else unit(text), 'by the text', 'tab:red', ':')):
    if vector is not None:
      axes.plot(*np.stack([np.zeros(3), vector], 1), style, color=color, label=label, linewidth=1.6)
      axes.scatter(*vector[:, None], color=color, s=8)
  axes.set_title(title, fontsize=8)
  axes.set(xlim=(-0.5, 1), ylim=(-1, 1), zlim=(-0.6, 0.6), xticks=(0, 1), yticks=(-1, 0, 1),
           zticks=(-0.5, 0, 0.5), xlabel='1', ylabel='2', zlabel='3')
  axes.view_init(elev=22, azim=-60)
  axes.tick_params(labelsize=6)
  axes.legend(fontsize=6, frameon=False, loc='upper left')


def _cloud(axes, config, law, samples, data):
  """Samples, the law's ellipse of two standard deviations, that of the data, and the target."""
  axes.plot(*samples[:600, :2].T, '.', markersize=2, color='0.7')
  angle = np.linspace(0, 2 * np.pi, 100)
  circle = np.stack([np.cos(angle), np.sin(angle)])
  for mean, covariance, color, label in (
      (np.zeros(2), data.covariance, 'tab:blue', 'data'),
      (np.array(law['mean'])[:2], np.array(law['law'])[:2, :2], 'tab:red', 'guided')):
    values, vectors = np.linalg.eigh(covariance)
    axes.plot(*(mean[:, None] + vectors @ (2 * np.sqrt(values)[:, None] * circle)), color=color,
              label=label, linewidth=1.2)
  axes.plot(config.target, 0, '*', color='tab:green', markersize=9, label='y a_1')
  axes.set(xlim=(-3.5, 5.5), ylim=(-4.5, 4.5), aspect='equal', xlabel='a_1^T X', ylabel='a_2^T X')
  axes.legend(fontsize=6, frameon=False, loc='upper left')
