"""Tunes a multi-view prior on preferences between its own samples (MV-D3PO).

  python -m experiments.multiview --config configs/multiview_d3po.py --workdir runs/d3po
  python -m experiments.multiview --config configs/multiview_d3po.py:contrastive --workdir runs/c
  python -m experiments.multiview --config configs/multiview_d3po.py:sd21 \
      --config.prior.weights=FOLDER --workdir runs/sd21

The base, or one that the run trains, draws several rollouts of each reference; a score makes
preferences of them, on which adapters of the denoiser are tuned; base and tuned model are compared
on held-out objects. The workdir receives multiview.md (the table), samples.png, result.json and a
folder for each phase (base, rollout, metric, score, tune, test). The same command again resumes,
within any phase.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.multiview import run as multiview
  command = shlex.join(['python', '-m', 'experiments.multiview', *sys.argv[1:]])
  multiview.run(config, workdir, allow_change=args.allow_change, command=command)
  print((workdir / 'multiview.md').read_text(encoding='utf-8'))


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/multiview_d3po.py')
