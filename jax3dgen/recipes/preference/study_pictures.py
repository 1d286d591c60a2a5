"""Pictures of the study: samples of several models side by side, and the losses' own curves."""

import io

import matplotlib.figure
import numpy as np

from jax3dgen.core import image as images
from jax3dgen.core.errors import MeshError
from jax3dgen.export import thumbnail, turntable
from jax3dgen.feedback import dpo, dro
from jax3dgen.recipes.preference import evaluate
from jax3dgen.recipes.preference import label as labels

STANDS, FALLS, TRUE = (0.35, 0.65, 0.45), (0.85, 0.45, 0.38), (0.62, 0.64, 0.68)


def write(path, problem, models, rows, cfg):
  """Writes `samples` as a PNG."""
  turntable.write_png(path, samples(problem, models, rows, cfg))


def samples(problem, models, rows, cfg, size=96):
  """A picture [H, W, 3] with a column for each of the test samples `rows`: the image, the true mesh
  and the sample of each of `models` [Model] on equal noise, green where it stands, red where not.
  """
  image = np.asarray(rows) // cfg.evaluation.samples
  table = []
  if problem.test.picture is not None:
    rgba = np.asarray(problem.test.picture(image))
    table.append(list(images.resize(images.over(rgba, 1.0), (size, size))))
  if problem.test.mesh is not None:
    table.append([shaded(problem.test.mesh(int(i)), TRUE, size) for i in image])
  for model in models:
    logits = evaluate.logits_of(cfg, problem, model, np.asarray(rows))
    stable = labels.label(logits, cfg.label)['stable_cut']
    table.append([shaded_logits(grid, STANDS if ok else FALLS, cfg, size)
                  for grid, ok in zip(logits, stable, strict=True)])
  return images.grid(np.stack([cell for row in table for cell in row]), len(rows))


def shaded_logits(logits, color, cfg, size):
  """`shaded` of the mesh that the label is of; white where there is none."""
  try:
    return shaded(labels.mesh(logits, cfg.label), color, size)
  except MeshError:
    return np.ones((size, size, 3), np.float32)


def shaded(mesh, color, size):
  """A picture [size, size, 3] of a Mesh in one colour."""
  colors = np.broadcast_to(np.asarray(color), np.shape(mesh.vertices))
  return thumbnail.picture(mesh.replace(colors=colors), size) / 255.0


def losses(beta=500.0):
  """A PNG of the losses of a pair and their slopes over D (DSO App. E, Figure 8), from `feedback`.

  D = (l_win - l_win,ref) - (l_lose - l_lose,ref); DRO's loss is D but for a constant.
  """
  d = np.linspace(-0.05, 0.05, 201)
  value = {'DRO': [float(dro.of_errors(np.array([x]), np.array([0.0]))) for x in d],
           'DPO': [float(dpo.of_difference(np.array([x]), beta)) for x in d]}
  figure = matplotlib.figure.Figure((7, 2.8), layout='constrained')
  left, right = figure.subplots(1, 2)
  for name, curve in value.items():
    left.plot(d, curve, label=name)
    right.plot(d, np.gradient(curve, d), label=name)
  left.set(xlabel='D', ylabel='loss')
  right.set(xlabel='D', ylabel='slope', yscale='log')
  left.legend()
  stream = io.BytesIO()
  figure.savefig(stream, format='png', dpi=110)
  return stream.getvalue()
