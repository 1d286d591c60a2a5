"""The folder of a trained text-image model: weights, sizes, words, curve and a card."""

import json

from jax3dgen.core import parallel, tree
from jax3dgen.recipes.nets import small_nets

CARD = """# The text-image model of the embedded world

Two small towers, {count:,} parameters, float16 on disk: a convolutional one for 32 x 32 pictures of
figurines and a transformer over the closed vocabulary of their captions (words.json). Both give
unit vectors of {embedding} numbers; the cosine says how well a caption fits. It stands in for CLIP
in the measures that ask CLIP (class entropy, text distance), until real weights are given.
Made for measuring only: no objective may be trained against it.

- licence: Apache-2.0, as the project
- data: none fetched; captioned pictures drawn while training, azimuths uniform
- command: `python -m experiments.train_text_image --config configs/text_image.py \
--workdir runs/text_image`
- {steps} steps of {batch} pairs on {devices} devices (each contrasts its own), seed {seed},
  averaged weights; the config is in config.json

## Held-out accuracy ({pictures:,} pictures each, fresh draws of the same world)

Object: kind and colour among all 36. Side: front, side or back form of the right caption; a view
near a border is ambiguous, its plain accuracy is given.

| pictures | object | side |
|---|---|---|
{accuracy}

## Correct figurines: every kind x colour, 10 views at 15 degrees

- class entropy over front, side and back: mean {mean:.4f}, least {least:.4f} nats. A judge
  that were always right would give 1.0889 (3, 4 and 3 of 10 views); ln 3 is 1.0986.
- 1 - cosine: {distance:.4f} to the right prompt, {wrong:.4f} to that of another colour.
- cosines become logits by the factor {scale:.2f}.

## Limits

It knows this procedural world and its words, and nothing else. Its distances are not those of
CLIP: compare them only with each other.
"""


def card(params, measured, config):
  """The card's text; `measured` is what `recipes.nets.text_image.measure` returned."""
  percent = lambda shares: ' | '.join(f'{100 * shares[name]:.2f} %' for name in ('object', 'side'))
  return CARD.format(
      count=tree.count(params), embedding=config.net.embedding, steps=config.train.steps,
      batch=config.train.batch, devices=parallel.device_count(), seed=config.seed,
      pictures=config.test.count, scale=measured['scale'], distance=measured['distance'],
      wrong=measured['wrong_distance'], **measured['entropy'],
      accuracy='\n'.join(f'| {name} | {percent(measured[name])} |' for name in ('clean', 'spoilt')))


def write(folder, params, net, words, measured, config, metrics):
  """Writes the folder; `metrics` is the run's metrics.csv."""
  record = {'net': net, 'config': config.to_dict(), 'measured': measured}
  texts = {'config.json': small_nets.listed(record), 'words.json': json.dumps(list(words)) + '\n',
           'card.md': card(params, measured, config)}
  small_nets.write(folder, params, 'text-image', texts, ('config.json', 'words.json'), metrics)
