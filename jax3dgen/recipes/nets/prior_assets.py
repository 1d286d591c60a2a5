"""The folder of weights that a training of the embedded prior leaves, ready to be shipped.

weights.safetensors (the EMA, float16), config.json and words.json (what `prior.embedded.load` needs
beside them), sha256, curve.csv and curve.svg, training.json (the whole config) and card.md.
"""

import csv
import json
import pathlib
import shlex

import numpy as np

from jax3dgen.core import files, tree, weights
from jax3dgen.export import curves
from jax3dgen.prior import embedded
from jax3dgen.recipes.nets import prior_config

CARD = """# Embedded prior: captioned {size}x{size} images of figurines

A text-conditioned denoiser that predicts v ({denoiser:,} parameters, `jax3dgen/nn/unet_small.py`)
and a caption encoder over a closed vocabulary ({text:,} parameters, `jax3dgen/nn/caption.py`),
float16 of the exponential moving average (decay {ema}).

- **Data**: none but the procedural world of `jax3dgen/data/figurine_examples.py`, drawn while
  training: {kinds} in {colors}. The azimuth is biased to the front on purpose (normal,
  {spread_deg:g} degrees; {uniform:.0%} uniform), so that objects with several faces can be studied.
- **Training**: {training}
- **Final loss**: mean squared error of v {final:.4f} (mean over the last {tail} rows of curve.csv);
  the whole curve is in curve.csv and curve.svg, the whole config in training.json.
- **Samples**: of {samples} plain captions (every kind and colour), guidance {guidance:g}, {ddim}
  DDIM steps, {right:.1%} show the right kind in the right colour, as the referee sees them.
- **Use**: `jax3dgen.prior.embedded.load()`; guidance 3 to 5. It knows the words of words.json and
  nothing else. Nothing that is measured on it transfers to larger priors without saying so.
- **Licence**: Apache-2.0, like the code that made it.
"""
TAIL = 50  # rows of the curve that the final loss is averaged over


def write(folder, ema, net, words, config, metrics, facts):
  """Writes the folder from the averaged parameters.

  `net` becomes config.json, `words` the vocabulary, `metrics` is the run's metrics.csv; `facts`
  names what the card says of the world (`kinds` and `colors`).
  """
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'sha256').unlink(missing_ok=True)
  earlier = history(config)
  curve = curves.read(metrics)
  steps, error = curve['v_mse']
  path = folder / 'weights.safetensors'
  weights.save(path, ema, {'format': 'jax3dgen embedded prior'}, np.float16)
  texts = {
      'config.json': _json(net),
      'words.json': _json(words),
      'training.json': _json(config.to_dict() | {'earlier': earlier}),
      'curve.svg': curves.svg(steps, error),
      'card.md': CARD.format(
          size=config.data.size, denoiser=tree.count(ema['denoiser']),
          text=tree.count(ema['text']), ema=config.optim.ema, spread_deg=config.data.spread_deg,
          uniform=config.data.uniform, training=_training([*earlier, config.to_dict()]), tail=TAIL,
          final=float(np.mean(error[-TAIL:])), **facts),
  }
  for name, text in texts.items():
    with files.replacing(folder / name) as beside:
      beside.write_text(text, encoding='utf-8')
  with files.replacing(folder / 'curve.csv') as beside, open(beside, 'w', newline='') as file:
    rows = csv.writer(file, lineterminator='\n')
    rows.writerow(['step', 'loss', 'v_mse'])
    rows.writerows([int(s), f'{w:.5g}', f'{e:.5g}']
                   for s, w, e in zip(steps, curve['loss'][1], error, strict=True))
  weights.seal(folder, (path.name, *embedded.BESIDE))


def _json(value):
  return json.dumps(value, indent=1, sort_keys=True) + '\n'


def history(config):
  """The configs (dicts) of the runs that made the weights that this one started from, in order."""
  if not config.init:
    return []
  folder = embedded.shipped() if config.init == 'shipped' else pathlib.Path(config.init)
  before = json.loads((folder / 'training.json').read_text())
  return [*before.pop('earlier', []), before]


def _training(parts):
  """What the card says of the runs, oldest first."""
  total = sum(part['train']['steps'] for part in parts)
  start = (f' in {len(parts)} runs, each from the weights of the one before (`shipped`)'
           if len(parts) > 1 else '')
  lines = [f'{total:,} steps of {parts[-1]["train"]["batch"]} images{start}:']
  return '\n'.join(lines + [f'  `{_command(part)}`' for part in parts])


def _command(config):
  """The command that repeats a run: what differs from the config file's defaults."""
  plain = lambda value: list(value) if isinstance(value, tuple) else value
  default = dict(_leaves(prior_config.default_config().to_dict()))
  changed = [f' --config.{name}={shlex.quote(str(value))}' for name, value in _leaves(config)
             if plain(default[name]) != plain(value)]
  return ('python -m experiments.train_prior --config configs/embedded_prior.py'
          + ''.join(changed) + ' --workdir runs/prior')


def _leaves(value, prefix=''):
  for name, leaf in value.items():
    if isinstance(leaf, dict):
      yield from _leaves(leaf, f'{prefix}{name}.')
    else:
      yield prefix + name, leaf
