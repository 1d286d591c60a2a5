"""Scores meshes against their prompts as T3Bench does: quality and alignment.

  python -m experiments.distill --config configs/embedded.py --prompts prompts.txt --workdir runs/t3
  python -m experiments.t3bench --config.prompts="('prompts.txt',)" \\
      --config.meshes='runs/t3/{slug}/mesh.glb' --config.size=64 --workdir runs/t3_scores

The workdir receives t3bench.json, t3bench.md and prompts/, a file for each prompt; the same command
again resumes. With ImageReward as config.quality.scorer, a captioner and a language model as judge
the scores are those of the paper. Without them, quality is measured by the embedded text-image
model, which was trained on figurines alone. A prompt without a mesh is scored on black pictures,
and counted.
"""

import shlex
import sys

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.core import parallel
  from jax3dgen.recipes.evaluate import t3bench
  from jax3dgen.train import workdir as workdirs
  parallel.initialize()
  command = shlex.join(['python', '-m', 'experiments.t3bench', *sys.argv[1:]])
  with workdirs.lock(workdir):
    t3bench.run(config, workdir, command)
  if parallel.is_main():
    print((workdir / 't3bench.md').read_text(encoding='utf-8'))


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/t3bench.py')
