"""Measures the pose classifier on held-out views of figurines whose pose is known.

`run(config, workdir, command)` is what `python -m experiments.pose_classifier` calls. Axes: B
views, K poses.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np
from scipy import special

from jax3dgen.core import files, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views, figurines
from jax3dgen.metrics import confusion
from jax3dgen.perception import pose, templates
from jax3dgen.prior import words
from jax3dgen.recipes.evaluate import pose_classifier_page

CHUNK = 240  # views per batch
PART = CHUNK // len(figurines.KINDS)  # views of one kind in a batch
FORMS = {'full': ('both', 'matched'), 'full, hybrid': ('both', 'hybrid'),
         'full, printed': ('both', 'printed'), 'orientation': ('orientation', 'matched'),
         'orientation, hybrid': ('orientation', 'hybrid'),
         'orientation, printed': ('orientation', 'printed'), 'texture': ('texture', 'matched'),
         'texture, printed': ('texture', 'printed')}
TEMPERATURES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
ELEVATIONS_DEG = (-10, 10, 30, 60)  # borders of the elevation ranges


def default_config():
  """A locked ConfigDict; the comment behind a field is its help text."""
  c = ConfigDict()
  c.seed = 1  # seeds the views
  c.prompt = ''  # its kind of figurine alone is measured; empty: all kinds
  c.templates = ''  # folder of the pictures to compare with; empty: the shipped ones and sketches
  c.strength = 1.0  # strength of the degradations of the spoilt views
  c.views = figurine_views.default_config().views
  c.test = ConfigDict()
  c.test.count = 3000  # views of all kinds, clean and again spoilt
  return c.lock()


def run(config, workdir, command=''):
  """Writes pose_classifier.json, .md and confusion.png into `workdir`; returns the figures."""
  cfg, workdir = FrozenConfigDict(config), pathlib.Path(workdir)
  kinds = [kind for kind in figurines.KINDS if kind in words.with_synonyms(cfg.prompt)]
  if cfg.prompt and not kinds:
    raise ConfigError(f'config.prompt={cfg.prompt!r} names none of the kinds '
                      f'{", ".join(figurines.KINDS)}.')
  if cfg.test.count < CHUNK:
    raise ConfigError(f'config.test.count={cfg.test.count} must be at least {CHUNK}.')
  extract, params = templates.load_extractor()
  sets = ({'own': cfg.templates} if cfg.templates else
          {'renders': ''} | {name: name for name in templates.OTHERS})
  views = {name: held_out(extract, params, cfg, strength)
           for name, strength in (('clean', 0.0), ('spoilt', cfg.strength))}
  kinds = kinds or list(figurines.KINDS)
  selection = np.isin(views['clean']['kind'], [figurines.KINDS.index(kind) for kind in kinds])
  record = {'count': int(selection.sum()), 'kinds': kinds, 'folder': cfg.templates,
            'elevations_deg': ELEVATIONS_DEG, 'rows': []}
  for name, folder in sets.items():
    for kind in kinds:
      poses, pictures = templates.read(templates.folder_of(kind, folder))
      bank = templates.build(jax.random.key(0), extract, params, pictures)
      for state, features in views.items():
        record['rows'] += [{'templates': name, 'kind': kind, 'views': state, **row}
                           for row in rows_of_kind(bank, poses, features,
                                                   figurines.KINDS.index(kind))]
  with files.replacing(workdir / 'pose_classifier.json') as beside:
    beside.write_text(json.dumps(record, indent=1) + '\n')
  pose_classifier_page.write(workdir, record, command)
  return record


@functools.partial(jax.jit, static_argnames=('extract', 'views'))
def _features(extract, params, key, views, strength):
  """Features of CHUNK views, degraded by `spoil` up to `strength`, with their true kind [B],
  azimuth and elevation [B] in radians."""
  k_draw, k_amounts, k_grain = jax.random.split(key, 3)
  images, figurine, camera = figurine_views.pictures(k_draw, CHUNK, CHUNK, views)
  images = figurine_views.spoil(
      jax.random.uniform(k_amounts, (CHUNK, figurine_views.DRAWS)),
      jax.random.normal(k_grain, images.shape[:3] + (4,)), images, strength)
  token, patches = extract(params, images)
  return {'token': token, 'patches': patches, 'kind': figurine.kind, 'azimuth': camera.azimuth,
          'elevation': camera.elevation}


def held_out(extract, params, cfg, strength):
  """`_features` of cfg.test.count views (rounded up to whole batches), on the host."""
  key = rng.stream(jax.random.key(cfg.seed), 'views')
  keys = jax.random.split(key, -(-cfg.test.count // CHUNK))
  parts = [_features(extract, params, key, cfg.views, strength) for key in keys]
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)


@jax.jit
def _log_probabilities(bank, token, patches):
  """{name of FORMS: log p [B, K]} at temperature 1, in one program: they share the costly parts."""
  return {name: jnp.log(pose.probabilities(bank, token, patches, 1.0, *form))
          for name, form in FORMS.items()}


def rows_of_kind(bank, poses, features, kind):
  """Rows {form, elevation range, confusion matrix, log loss by temperature} for one kind's views.

  `bank` are the Templates of `poses`, `features` those of `held_out`. Views of a pose without
  template are left out. The log loss is that of all elevations together.
  """
  selection = features['kind'] == kind
  token, patches = features['token'][selection], features['patches'][selection]
  side = side_of(features['azimuth'][selection])
  place = {templates.POSES.index(name): i for i, name in enumerate(poses)}
  valid = np.isin(side, list(place))
  true = np.array([place[s] for s in side[valid]], int)
  elevation = np.rad2deg(features['elevation'][selection][valid])
  bins = np.digitize(elevation, ELEVATIONS_DEG[1:-1])
  rows = []
  parts = [_log_probabilities(bank, token[i:i + PART], patches[i:i + PART])
           for i in range(0, len(token), PART)]
  for name in FORMS:
    log_p = np.concatenate([part[name] for part in parts])[valid]
    prediction = log_p.argmax(-1)
    loss = lambda t, log_p=log_p: -special.log_softmax(log_p / t, -1)[
        np.arange(len(true)), true].sum()
    matrix = lambda at, prediction=prediction: confusion.matrix(
        true[at], prediction[at], len(poses)).tolist()
    rows += [{'form': name, 'elevation': i, 'poses': list(poses), 'matrix': matrix(bins == i),
              'log_loss': {str(t): float(loss(t)) for t in TEMPERATURES} if not i else None}
             for i in range(len(ELEVATIONS_DEG) - 1)]
  return rows


def side_of(azimuth):
  """The pose [B] of azimuths [B] (radians): indices of templates.POSES."""
  return np.floor(np.mod(np.asarray(azimuth) + np.pi / 4, 2 * np.pi) / (np.pi / 2)).astype(int) % 4
