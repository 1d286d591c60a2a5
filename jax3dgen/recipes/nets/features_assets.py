"""The folder of trained features: weights, sizes, curve and a card that says all of it."""

from jax3dgen.core import parallel, tree
from jax3dgen.formats import features
from jax3dgen.recipes.nets import small_nets

CARD = """# Features of the embedded world's pictures

A vision transformer for 32 x 32 pictures of figurines, {count:,} parameters, float16 on disk:
patches of {patch} pixels, {width} channels, {depth} blocks, {heads} heads. It gives a class token
and a map of patches, by which `jax3dgen.perception.pose` tells poses from template pictures.

- licence: Apache-2.0, as the project
- data: none fetched; pictures of `jax3dgen.data.figurines` drawn while training, azimuths uniform
- objective: contrast of two crops of one picture with those of all others, and of their patches; no
  pose, kind or colour is ever shown to it, and no crop is mirrored
- command: `python -m experiments.train_features --workdir runs/features`
- {steps} steps of {batch} pictures on {devices} devices, seed {seed}, averaged weights; the config
  is in config.json

## Nearest neighbours of held-out pictures ({pictures:,} fresh draws of the same world)

The likest other picture by class token. "Same side": of the same kind, and within 45 degrees of
azimuth; the gap is the median over those of the same kind. Spoilt: blur, speckle, noise, pale or
drifting colours, ghosts.

| pictures | same kind | same side | gap |
|---|---|---|---|
{rows}

How well poses are told with it is in docs/results/pose_classifier.md of the project.

## Limits

It knows this procedural world and nothing else. An object that is optimised through it can fool it.
"""


def card(net, params, measured, config):
  """The card's text; `measured` is what `recipes.nets.features.measure` returned."""
  rows = '\n'.join(f'| {name} | {x["kind"]:.1%} | {x["side"]:.1%} | {x["gap_deg"]:.1f} deg |'
                   for name, x in measured.items())
  return CARD.format(
      count=tree.count(params), patch=net.patch, width=net.width, depth=net.depth, heads=net.heads,
      steps=config.train.steps, batch=config.train.batch, devices=parallel.device_count(),
      seed=config.seed, pictures=config.test.count, rows=rows)


def write(folder, net, params, measured, config, metrics):
  """Writes the folder; `metrics` is the run's metrics.csv."""
  record = {'net': {name: getattr(net, name) for name in features.SIZES},
            'config': config.to_dict(), 'measured': measured}
  texts = {'config.json': small_nets.listed(record), 'card.md': card(net, params, measured, config)}
  small_nets.write(folder, params, 'features', texts, ('config.json',), metrics)
