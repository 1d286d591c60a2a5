"""Figures of a model's samples: stability by three judges, distance from the true shape, volume."""

from concurrent import futures

import jax
import numpy as np

from jax3dgen.core import machine
from jax3dgen.core.errors import Jax3dgenError
from jax3dgen.metrics import geometry
from jax3dgen.recipes.preference import blocks, sample
from jax3dgen.recipes.preference import label as labels
from jax3dgen.recipes.preference import problem as problems


def run(problem, model, images, count, points, cfg, folder, title, margins=False):
  """{name: host array [I count]} of `count` samples of each of I images, image by image.

  The columns of `label.label` and `shape_figures`, and image and sample, the numbers of each row.
  The noise follows from config.evaluation.seed, the image and the sample alone, so that models are
  compared on equal noise; `points` is the number on each surface; `margins` as in `label.label`.
  """
  size = cfg.batch
  draw, decode = sample.programs(problem.generator, model.params, cfg.sampler, size)

  def compute(rows):
    image, number = np.divmod(rows, count)
    noise = sample.noises(problem.generator.shape, (cfg.evaluation.seed,), image, number)
    logits = decode(draw(noise, jax.tree.map(lambda x: x[image], images.cond)))
    return (labels.label(logits, cfg.label, margins)
            | shape_figures(logits, images, image, points, cfg)
            | {'image': image, 'sample': number})
  key = blocks.digest(model.key, problems.images_digest(images), count, cfg.evaluation.seed, points,
                      cfg.sampler.to_dict(), cfg.label.to_dict(), size, margins)
  return blocks.run(folder, len(images.object) * count, size, key, compute, title)


def logits_of(cfg, problem, model, rows):
  """Logits [n, R, R, R] of rows [n] of a model's test samples, those of `evaluate.run`."""
  draw, decode = sample.programs(problem.generator, model.params, cfg.sampler, cfg.batch)
  parts, size = [], -(-cfg.batch // jax.process_count())
  for start in range(0, len(rows), size):
    image, number = np.divmod(rows[start:start + size], cfg.evaluation.samples)
    noise = sample.noises(problem.generator.shape, (cfg.evaluation.seed,), image, number)
    cond = jax.tree.map(lambda x, image=image: x[image], problem.test.cond)
    parts.append(decode(draw(noise, cond)))
  return np.concatenate(parts)


def shape_figures(logits, images, image, points, cfg):
  """iou, chamfer and f_score [n] float32 of logits [n, R, R, R] of the images [n].

  The last two are of the mesh after the flat cut by DSO's protocol (`metrics.geometry`) on `points`
  of each surface; they are NaN without a mesh, and all are where the true shape is unknown.
  """
  names, count = ('iou', 'chamfer', 'f_score'), len(logits)
  figures = {name: np.full(count, np.nan, np.float32) for name in names}
  if images.occupancy is not None:
    true, ours = images.occupancy[image], logits > 0
    both, either = ((op(true, ours)).sum((1, 2, 3)) for op in (np.logical_and, np.logical_or))
    figures['iou'] = (both / np.maximum(either, 1)).astype(np.float32)
  if images.mesh is None:
    return figures

  def measure(k):
    try:
      ours = labels.mesh(logits[k], cfg.label)
      scores = geometry.measure(jax.random.key(0), [ours], [images.mesh(int(image[k]))], points)
    except Jax3dgenError:
      return
    figures['chamfer'][k], figures['f_score'][k] = scores.chamfer[0], scores.f_score[0]
  with futures.ThreadPoolExecutor(machine.cores()) as pool:
    list(pool.map(measure, range(count)))
  return figures


def summary(rows):
  """The means of the columns of `run` as plain numbers: the shares and counts of stable samples,
  the mean rotation in degrees (180 where the simulation diverged or could not start), the means of
  the figures of the shape, of the parts and the volume, and how many samples had a reason."""
  mean = lambda x: float(np.mean(x[np.isfinite(x)])) if np.isfinite(x).any() else None
  judges = {f'stable_{judge}': int(rows[f'stable_{judge}'].sum()) for judge in labels.JUDGES}
  rotation = np.nan_to_num(rows['rotation_deg'], nan=180.0)
  return {'samples': len(rotation), **judges, 'rotation_deg': float(rotation.mean()),
          **{name: mean(rows[name]) for name in ('chamfer', 'f_score', 'iou')},
          'parts': float(rows['parts'].mean()), 'volume': float(rows['volume'].mean()),
          'not_judged': int((rows['reason'] != '').sum()),
          'digest': blocks.digest(rows)}


def compared(rows, base, factor):
  """`summary` of rows, with those of the base on equal noise: how many samples `exploded`."""
  return summary(rows) | {'exploded': exploded(rows, base, factor)}


def exploded(rows, base, factor):
  """The number of samples whose volume is more than `factor` times that of the base's sample of the
  same noise (or of its mean, where that is larger)."""
  reference = np.maximum(base['volume'], base['volume'].mean())
  return int((rows['volume'] > factor * reference).sum())
