"""The page of a run of particles: particles.md and the pictures of its poses."""

from matplotlib import rc_context
from matplotlib.figure import Figure
import numpy as np

from jax3dgen.core import camera, files
from jax3dgen.export import markdown
from jax3dgen.metrics import intervals

COLORS = dict(zip(camera.VIEWS, ('C0', 'C3', 'C1', 'C2'), strict=True))


def write_page(workdir, figures, timeline, command):
  """Writes particles.md, poses.png (the referee's poses over the steps) and, where there are
  averages, averages.png. `timeline` is [(step, figures of the referee)]."""
  save(workdir / 'poses.png', over_steps(timeline))
  if figures['averages']:
    save(workdir / 'averages.png', over_levels(figures['averages']))
  with files.replacing(workdir / 'particles.md') as beside:
    beside.write_text(text(figures, timeline, command), encoding='utf-8')


def save(path, figure):
  """Writes a matplotlib Figure as PNG."""
  with files.replacing(path) as beside, rc_context({'font.size': 8}):
    figure.savefig(beside, format='png', dpi=100)


def over_steps(timeline):
  """The referee's mean probability of each pose over the steps."""
  figure = Figure((4.6, 2.6), layout='constrained')
  axes = figure.add_subplot()
  for name in camera.VIEWS:
    axes.plot([step for step, _ in timeline], [f['mean_poses'][name] for _, f in timeline],
              marker='.', color=COLORS[name], label=name)
  axes.axhline(0.25, color='0.7', linewidth=0.8)
  axes.set_ylim(0, 1)
  axes.set_xlabel('step')
  axes.set_ylabel('share of poses (referee)')
  axes.legend(frameon=False, ncols=2)
  return figure


def over_levels(table):
  """The rectifier's averages in each range of the noise level, stacked (RecDreamer Figure 14)."""
  table = np.asarray(table)
  count, classes = table.shape
  poses = camera.SECTORS
  names = poses if classes == len(poses) else [f'class {k}' for k in range(classes)]
  figure = Figure((4.6, 2.6), layout='constrained')
  axes = figure.add_subplot()
  bottom = np.zeros(count)
  for k, name in enumerate(names):
    axes.bar(range(count), table[:, k], bottom=bottom, label=name,
             color=COLORS.get(name, f'C{k}'))
    bottom += table[:, k]
  axes.set_xticks(range(count), [f'{i / count:.1f}' for i in range(count)])
  axes.set_xlabel('noise level from')
  axes.set_ylabel('average of p(pose)')
  axes.legend(frameon=False, ncols=4, loc='lower center', bbox_to_anchor=(0.5, 1.0))
  return figure


def text(figures, timeline, command):
  """The page of the figures of result.json."""
  count = figures['particles']
  control = ', asked for the pose of each camera' if figures['control'] else ''
  lines = [
      f'# {count} particles: {figures["prompt"]}', '', f'`{command}`', '',
      f'Objective {figures["objective"]}{control}, {figures["steps"]} steps, seed '
      f'{figures["seed"]}, {figures["seconds"]} s.', '',
      '![The particles over the steps, a row each time](particles.png)', '']
  body = []
  for name, share in figures['poses'].items():
    hits = round(share * count)
    low, high = intervals.wilson(hits, count)
    body.append([name, hits, f'{share:.0%}', f'{low:.0%} to {high:.0%}',
                 f'{figures["mean_poses"][name]:.2f}'])
  lines += markdown.table(
      ['pose', 'particles', 'share', '95 % interval (Wilson)', 'mean probability'], body)
  lines += [
      '', f'Poses as the referee judges the last pictures; entropy of the mean '
      f'{figures["pose_entropy"]:.3f} nats (uniform: {np.log(4):.3f}). It rejects '
      f'{figures["rejected"]:.0%} as no figurine and sees a face in {figures["face"]:.0%}; '
      f'{figures["right_pose"]:.0%} show the pose of their own camera (by chance 25 %).',
      '', '![Poses over the steps](poses.png)']
  if figures['averages']:
    lines += ['', 'The rectifier\'s averages in each range of the noise level at the end:', '',
              '![Averages by noise level](averages.png)']
  lines += ['', *markdown.table(['step', *camera.VIEWS, 'rejected'], [
      [step, *(f'{f["mean_poses"][n]:.2f}' for n in camera.VIEWS), f'{f["rejected"]:.0%}']
      for step, f in timeline])]
  return '\n'.join(lines) + '\n'
