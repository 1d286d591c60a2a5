"""The folder of a trained classifier of poses in noisy pictures, and its card."""

from jax3dgen.core import parallel, tree
from jax3dgen.recipes.nets import small_nets

CARD = """# The classifier of poses in noisy pictures

A small convolutional net, {count:,} parameters, float16 on disk, that is shown x_t of the embedded
prior (32 x 32 pixels) and its noise level t, and tells front, left, back and right apart. It lets a
rectifier do without the denoiser's Jacobian (`config.distill.classifier=noisy_pose`,
`config.distill.sees=noisy`).

- licence: Apache-2.0, as the project
- data: none fetched; pictures of `jax3dgen.data.figurines` drawn while training, all kinds, colours
  and azimuths equally often, noised by the schedule of the embedded prior, t uniform in its safe
  range
- labels: the true poses. That is far stronger than what template pictures tell, and no real prior
  has it
- command: `python -m experiments.train_noisy_pose --config configs/noisy_pose.py \
--workdir runs/noisy_pose`
- {steps} steps of {batch} pictures, {noises} noises of each, on {devices} devices, seed {seed},
  averaged weights; the config is in config.json

## Held-out views ({pictures:,} fresh draws of the same world, the same at each noise level)

Poses are sectors of 90 degrees: a view near a border is ambiguous, its plain accuracy is given;
chance is 25 %. The confidence is the mean of the largest probability: where it is the accuracy, the
classifier is calibrated. The log loss is in nats; that of chance is 1.386.

| t | accuracy | confidence | log loss |
|---|---|---|---|
{rows}

## Limits

It knows this procedural world, this schedule and white backgrounds, and nothing else: renders of a
radiance field that is not yet a figurine are unlike what it was trained on, at small t above all.
An object that is optimised against it can fool it, so it must not judge what it drove.
"""


def card(params, measured, config):
  """The card's text; `measured` is what `recipes.nets.noisy_pose.measure` returned."""
  rows = '\n'.join(f'| {row["t"]:g} | {row["accuracy"]:.1%} | {row["confidence"]:.1%} | '
                   f'{row["log_loss"]:.3f} |' for row in measured)
  return CARD.format(
      count=tree.count(params), steps=config.train.steps, batch=config.train.batch,
      noises=config.train.noises, devices=parallel.device_count(), seed=config.seed,
      pictures=config.test.count, rows=rows)


def write(folder, params, measured, config, metrics):
  """Writes the folder; `metrics` is the run's metrics.csv."""
  record = {'config': config.to_dict(), 'measured': measured}
  texts = {'config.json': small_nets.listed(record), 'card.md': card(params, measured, config)}
  small_nets.write(folder, params, 'noisy pose', texts, ('config.json',), metrics)
