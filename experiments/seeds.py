"""Distils one prompt from several seeds and counts the faces: how often the Janus problem shows.

  python -m experiments.seeds --config configs/embedded.py --workdir runs/seeds/phrases
  python -m experiments.seeds --config configs/embedded.py:plain --workdir runs/seeds/plain

Each seed is a run of experiments.distill in a folder of its own below the workdir, which resumes or
is left alone where it is finished. seeds.json and the table that is printed hold, over all seeds,
the shares of assets with one face, none and several, and the means of the other figures. A seed
that comes to nothing (an empty field, say) is listed as failed, and the exit status is 3.
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
  """The figures of several runs as one dict: shares of the face counts, shares and means."""
  share = lambda test: sum(map(test, runs)) / len(runs)
  known = lambda name: [r[name] for r in runs if r[name] is not None]
  mean = lambda name: sum(known(name)) / len(known(name)) if known(name) else None
  return {
      'prompt': runs[0]['prompt'], 'steps': runs[0]['steps'], 'seeds': [r['seed'] for r in runs],
      'face_counts': [r['face_count'] for r in runs],
      'one_face': share(lambda r: r['face_count'] == 1),
      'no_face': share(lambda r: r['face_count'] == 0),
      'several_faces': share(lambda r: r['face_count'] > 1),
      **{name: mean(name) for name in SHARES + MEANS}, 'seconds': mean('seconds')}


def run(config, workdir, args):
  from jax3dgen.core import files
  from jax3dgen.core.errors import ConfigError, DivergenceError, MeshError
  from jax3dgen.recipes.distill import run as distill
  if args.seeds < 1:
    raise ConfigError(f'--seeds={args.seeds}: at least one seed is needed.')
  runs, failed = [], []
  for seed in range(args.seeds):
    one = config.copy_and_resolve_references()
    one.seed = seed
    folder = workdir / f'seed_{seed:02d}'
    try:
      runs.append(distill.run(
          one, folder, allow_change=args.allow_change,
          command=_command.again('distill', args, folder, seed=seed)).figures)
    except (DivergenceError, MeshError) as e:
      print(f'Seed {seed} came to nothing: {e}', file=sys.stderr)
      failed.append(seed)
  found = {'failed': failed} | (summary(runs) if runs else {})
  with files.replacing(workdir / 'seeds.json') as beside:
    beside.write_text(json.dumps(found, indent=2) + '\n')
  for name, value in found.items():
    print(f'{name:<20}{f"{value:.3f}" if isinstance(value, float) else value}')
  return 3 if failed else 0


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/embedded.py', flags=flags, complete=complete)
