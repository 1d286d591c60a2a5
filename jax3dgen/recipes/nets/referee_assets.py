"""The folder of a trained referee: weights, sizes, words, curve and a card that says all of it."""

from jax3dgen.core import parallel, tree
from jax3dgen.recipes.nets import small_nets

CARD = """# The referee of the embedded world

A convolutional judge of 32 x 32 pictures of figurines, {count:,} parameters, float16 on disk.
It says the kind (or "{reject}"), the colour, the view sector (8 of 45 degrees; sector 0 faces the
front) and whether a face is visible (at least {share:.0%} of the figurine's outline).
Made for measuring only: no objective may be trained against it.

- licence: Apache-2.0, as the project
- data: none fetched; pictures of `jax3dgen.data.figurines` drawn while training, azimuths uniform
- command: `python -m experiments.train_referee --config configs/referee.py --workdir runs/referee`
- {steps} steps of {batch} pictures on {devices} devices, seed {seed}, averaged weights; the config
  is in config.json

## Held-out accuracy ({pictures:,} pictures each, fresh draws of the same world)

Clean pictures, and pictures spoilt as in training (blur, speckle, noise, pale or drifting colours,
ghosts). Views 8 x 45 degrees: a picture near a border is ambiguous, its plain accuracy is given.

| pictures | kind | colour | view sector | face |
|---|---|---|---|---|
{accuracy}

By kind, on clean pictures:

| kind | kind | colour | view sector | face |
|---|---|---|---|---|
{per_kind}

By colour, on clean pictures: {per_color}.

## No figurines, half of them spoilt: share rejected

{rejected}.

## Correct figurines: every kind x colour x hat, 24 views at 15 degrees

The arc is the part of the circle over which the face is seen: the reference of `face_count`. Two
numbers are the least and the greatest over the strips; one is the worst.

| kind | face arc | all right | face count | winding | view KL (nats) | rejected |
|---|---|---|---|---|---|---|
{strips}

## Limits

It knows this procedural world and nothing else. An object that was optimised against it can fool
it. `reject` was learnt from the sorts above; another sort of picture may pass as a figurine.
"""


def percent(shares):
  return ' | '.join(f'{100 * shares[name]:.2f} %' for name in ('kind', 'color', 'sector', 'face'))


def card(params, labels, measured, config):
  """The card's text; `measured` is what `recipes.nets.referee.measure` returned."""
  listed = lambda shares: ', '.join(f'{name.replace("_", " ")} {100 * share:.1f} %'
                                    for name, share in shares.items())
  span = lambda pair, form: f'{pair[0]:{form}} .. {pair[1]:{form}}'
  return CARD.format(
      count=tree.count(params), reject=labels.reject, share=labels.face_share,
      steps=config.train.steps, batch=config.train.batch, seed=config.seed,
      devices=parallel.device_count(),
      pictures=config.test.count,
      accuracy='\n'.join(f'| {name} | {percent(measured[name])} |'
                         for name in ('clean', 'degraded')),
      per_kind='\n'.join(f'| {kind} | {percent(shares)} |'
                         for kind, shares in measured['clean']['per_kind'].items()),
      per_color=listed(measured['clean']['per_color']), rejected=listed(measured['rejected']),
      strips='\n'.join(
          f'| {kind} | {labels.face_arc_deg[kind]:.0f} deg | {100 * row["right"]:.0f} % | '
          f'{span(row["face_count"], "d")} | {span(row["winding"], ".3f")} | '
          f'{row["view_kl"]:.4f} | {row["reject_rate"]:.2f} |'
          for kind, row in measured['strips'].items()))


def write(folder, params, labels, measured, config, metrics):
  """Writes the folder; `metrics` is the run's metrics.csv."""
  record = {'config': config.to_dict(), 'measured': measured}
  texts = {'labels.json': small_nets.listed(labels._asdict()),
           'config.json': small_nets.listed(record),
           'card.md': card(params, labels, measured, config)}
  small_nets.write(folder, params, 'referee', texts, ('labels.json',), metrics)
