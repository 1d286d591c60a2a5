"""Distils one prompt from several seeds and counts the faces: how often the Janus problem shows.

  python -m experiments.seeds --config configs/embedded.py --workdir runs/seeds/phrases
  python -m experiments.seeds --config configs/embedded.py:plain --workdir runs/seeds/plain

Each seed is a run of experiments.distill in a folder of its own below the workdir: it resumes, and
a finished run is not repeated. seeds.json and the printed table hold, over all seeds, the shares of
assets with one face, none and several, and the means of the other figures. A seed that fails (an
empty field, say) is listed as such, and the exit status is 3.
"""

import json
import sys

from experiments import _command
from experiments.distill import complete

MEANS = ('front_fraction', 'view_kl', 'winding', 'reject_rate', 'rotation_deg',
         'rotation_deg_uncut')
SHARES = ('kind_correct', 'color_correct', 'watertight', 'stable', 'stable_uncut')


def flags(parser):
  parser.add_argument('--seeds', type=int, default=8, metavar='N', help='seeds 0 to N - 1')


def summary(runs):
  """The figures [dict] of several runs as one dict: shares of the face counts, shares and means.

  Shares and means are over the runs whose figure is not None.
  """
  share = lambda test: sum(map(test, runs)) / len(runs)

  def mean(name):
    values = [run[name] for run in runs if run[name] is not None]
    return sum(values) / len(values) if values else None
  return {
      'prompt': runs[0]['prompt'], 'steps': runs[0]['steps'],
      'seeds': [run['seed'] for run in runs], 'face_counts': [run['face_count'] for run in runs],
      'one_face': share(lambda run: run['face_count'] == 1),
      'no_face': share(lambda run: run['face_count'] == 0),
      'several_faces': share(lambda run: run['face_count'] > 1),
      **{name: mean(name) for name in SHARES + MEANS}, 'seconds': mean('seconds')}


def run(config, workdir, args):
  from jax3dgen.core import files
  from jax3dgen.core.errors import ConfigError, DivergenceError, MeshError
  from jax3dgen.recipes.distill import run as distill
  if args.seeds < 1:
    raise ConfigError(f'--seeds={args.seeds}: at least one seed is needed.')
  runs, failed = [], []
  for seed in range(args.seeds):
    cfg = config.copy_and_resolve_references()
    cfg.seed = seed
    folder = workdir / f'seed_{seed:02d}'
    try:
      runs.append(distill.run(
          cfg, folder, allow_change=args.allow_change,
          command=_command.again('distill', args, folder, seed=seed)).figures)
    except (DivergenceError, MeshError) as e:
      print(f'Seed {seed} failed: {e}', file=sys.stderr)
      failed.append(seed)
  figures = {'failed': failed} | (summary(runs) if runs else {})
  with files.replacing(workdir / 'seeds.json') as beside:
    beside.write_text(json.dumps(figures, indent=2) + '\n')
  for name, value in figures.items():
    print(f'{name:<20}{f"{value:.3f}" if isinstance(value, float) else value}')
  return 3 if failed else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/embedded.py', flags=flags, complete=complete)
