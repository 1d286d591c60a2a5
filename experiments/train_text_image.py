"""Trains the text-image model of the embedded world, which stands in for CLIP in measures.

  python -m experiments.train_text_image --config configs/text_image.py --workdir runs/text_image

Its captioned pictures are drawn as it trains: there is no data set to fetch. The workdir receives
the folder `weights` (weights.safetensors, config.json with the held-out accuracies, words.json,
card.md, curve.csv, curve.svg, sha256), metrics.csv, TensorBoard events and checkpoints. The same
command again resumes.
"""

from experiments import _command


def run(config, workdir, args):
  from jax3dgen.recipes.nets import text_image
  folder = text_image.run(config, workdir, args.allow_change)
  print(f'{folder / "card.md"} holds the accuracies; copy {folder} to jax3dgen/assets/text_image '
        'to ship this model.')


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/text_image.py')
