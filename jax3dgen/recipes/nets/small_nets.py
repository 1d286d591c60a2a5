"""What the runs that train small shipped nets share: the training, and the folder of weights."""

import contextlib
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import files, parallel, weights
from jax3dgen.export import curves
from jax3dgen.train import checkpoint, loop


def trained(config, workdir, state, step, title):
  """The state after config.train.steps steps, begun at `state` or at the newest checkpoint of
  `workdir`. `step` is that of one device (`referee_step.descend`)."""
  with contextlib.closing(checkpoint.Checkpoints(
      workdir / 'checkpoints', config.checkpoint.keep,
      json.dumps(config.to_dict()))) as checkpoints:
    start, state = checkpoints.restore(state) or (0, state)
    if start < config.train.steps:
      programs = [parallel.map(step, 0)] * (config.train.steps - start)
      state = loop.optimise(config, workdir, programs, start, state, checkpoints, title)
  return state


def as_shipped(params):
  """Parameters as a reader of the float16 file will have them."""
  return jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float16), jnp.float32), params)


def write(folder, params, title, texts, sealed, metrics):
  """Writes the folder of float16 weights.

  `texts` is {file name: text}, `metrics` the run's metrics.csv, which becomes the curve. sha256 is
  of the weights and the texts `sealed`, and comes last: without it the folder counts as incomplete.
  """
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'sha256').unlink(missing_ok=True)
  weights.save(folder / 'weights.safetensors', params, {'format': f'jax3dgen {title}'}, np.float16)
  for name, text in texts.items():
    put(folder / name, text)
  shutil.copyfile(metrics, folder / 'curve.csv')
  put(folder / 'curve.svg', curves.svg(*curves.read(metrics)['loss']))
  weights.seal(folder, ('weights.safetensors', *sealed))


def listed(record):
  """The text of a JSON file for readers."""
  return json.dumps(record, indent=2) + '\n'


def put(path, text):
  with files.replacing(path) as beside:
    beside.write_text(text, encoding='utf-8')
