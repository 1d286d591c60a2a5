"""Particles with a rectified attribute, hat or colour: RecDreamer Figure 15 on the embedded prior.

Each objective moves particles from each seed; such a run is one of `particles/run`, in its own
folder. The rectifier classifies the attribute by texts (`perception/phrases`). The judge is another
network: the referee for colours, and for hats a linear probe on the referee's features, fitted to
rendered figurines of the prompt's kind and colour. `run(config, workdir)` is what
`python -m experiments.attributes` calls.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict
import numpy as np

from jax3dgen.core import files, image, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_views, figurines
from jax3dgen.distill import base
from jax3dgen.export import turntable
from jax3dgen.metrics import probe, referee
from jax3dgen.nn.referee import SIZE
from jax3dgen.perception import phrases
from jax3dgen.prior import words
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.particles import attributes_page
from jax3dgen.recipes.particles import run as particles

CLASSES = {'hat': ('hat', 'no hat'), 'color': figurines.COLORS}
CHUNK = 200  # figurines per batch, an even number
VIEWS = FrozenConfigDict({  # for `figurine_views.sample_views`: the prior's, but evenly all round
    'elevation_deg': (-5.0, 35.0), 'steep_share': 0.0, 'steep_deg': 35.0, 'distance': (2.8, 3.0),
    'fovy_deg': 40.0, 'shift': 0.0})

complete = particles.complete


def default_config():
  """A locked ConfigDict: that of a run of particles, and the section `attributes`."""
  c = particles.default_config().unlock()
  c.attributes = ConfigDict()
  c.attributes.name = 'hat'  # hat or color; distill.templates has a text for each of its classes
  c.attributes.objectives = ('sds', 'sds_rectified')  # run one after the other
  c.attributes.seeds = 2  # runs of each, seeds 0 to this - 1
  c.attributes.views = 2000  # figurines for the probe of hats; the second half is held out
  c.lock()
  c.distill.unlock()
  return c


def check(config):
  """ConfigError for the first field with an invalid value."""
  c = config.attributes
  if c.name not in CLASSES:
    raise ConfigError(f'config.attributes.name={c.name!r} is none of {", ".join(CLASSES)}.')
  if not c.objectives or c.seeds < 1 or c.views < 2 * CHUNK:
    raise ConfigError(f'config.attributes needs an objective, a seed and {2 * CHUNK} views.')
  for name in c.objectives:
    base.load(name)  # raises for an unknown one before the first run
  count = len(config.distill.templates.split(phrases.SEPARATOR))
  if not count == config.distill.classes == len(CLASSES[c.name]):
    raise ConfigError(f'config.distill.templates={config.distill.templates!r} and config.distill.'
                      f'classes={config.distill.classes} must be for the classes of {c.name}: '
                      f'{", ".join(CLASSES[c.name])}.')


def run_config(config, objective, seed):
  """The complete config of one run: without the settings that `objective` does not read."""
  config = config.copy_and_resolve_references()
  fields = base.load(objective)[1].keys() | {'name', 'guidance'}
  with config.unlocked():
    del config.attributes
    config.distill = ConfigDict({k: v for k, v in config.distill.items() if k in fields})
    config.distill.name, config.seed = objective, seed
  return complete(config)


def run(config, workdir, command=''):
  """Makes the runs that are missing; writes attributes.md, .json and .png, returns the figures."""
  check(config)
  workdir, c = pathlib.Path(workdir), config.attributes
  judge, accuracy, held_out = load_judge(config)
  classifier = load_classifier(config)
  record = {'prompt': config.prompt, 'attribute': c.name, 'classes': CLASSES[c.name],
            'particles': config.particles.count, 'steps': config.train.steps,
            'judge_accuracy': accuracy, 'held_out': held_out, 'rows': []}
  strips = []
  for objective in c.objectives:
    for seed in range(c.seeds):
      folder = workdir / f'{objective}_{seed:02d}'
      particles.run(run_config(config, objective, seed), folder)
      strip = outputs.previews(folder)[-1][1]
      pictures = particles.cells(strip, config.particles.count)
      record['rows'].append({'objective': objective, 'seed': seed} | class_counts(
          config, pictures, judge, classifier))
      strips.append(strip)
  turntable.write_png(workdir / 'attributes.png', image.enlarge(np.concatenate(strips), 2))
  with files.replacing(workdir / 'attributes.json') as beside:
    beside.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
  attributes_page.write_page(workdir, record, command)
  return record


def class_counts(config, pictures, judge, classifier):
  """{'judge', 'classifier', 'right_kind'}: numbers of the pictures [N, H, W, 3] in each class, by
  the judge and by the rectifier's own classifier, and of those of the prompt's kind."""
  count = lambda labels: [int((labels == k).sum()) for k in range(config.distill.classes)]
  prompt_words = words.with_synonyms(config.prompt)
  kind = np.asarray(particles.judging()(jnp.asarray(pictures)).kind).argmax(-1)
  right = [i for i, name in enumerate(figurines.KINDS) if name in prompt_words]
  return {'judge': count(judge(pictures)), 'classifier': count(classifier(pictures)),
          'right_kind': int(np.isin(kind, right).sum())}


def load_classifier(config):
  """images -> their likeliest class [N] by the rectifier's classifier."""
  arrays = phrases.load(config.prompt, config.distill)
  cfg = FrozenConfigDict(config.distill)
  probabilities = jax.jit(lambda images: phrases.classify(arrays, images, None, cfg))
  return lambda images: np.asarray(probabilities(jnp.asarray(images))).argmax(-1)


def load_judge(config):
  """(images -> their class [N], the accuracy of that, the number of held-out figurines behind it);
  for the referee's colours, whose accuracy is in its card, None and 0."""
  params = referee.load()
  if config.attributes.name == 'color':
    classify = particles.judging()
    return lambda images: np.asarray(classify(jnp.asarray(images)).color).argmax(-1), None, 0
  features, hat = views(config)
  half = len(hat) // 2
  hat_probe = probe.fit(features[:half], hat[:half])
  right = (probe.score(hat_probe, features[half:]) > 0) == hat[half:]
  extract = jax.jit(lambda images: referee.features(params, images))
  judge = lambda images: np.where(probe.score(hat_probe, extract(jnp.asarray(images))) > 0, 0, 1)
  return judge, float(right.mean()), len(right)


def views(config):
  """(the referee's features [N, D], hat or not [N]) of degraded figurines of the prompt's kind and
  colour, of any where the prompt names none; half of them with a hat."""
  prompt_words = words.with_synonyms(config.prompt)
  matches = lambda names: jnp.array([i for i, name in enumerate(names) if name in prompt_words]
                                    or range(len(names)), jnp.int32)
  choices = matches(figurines.KINDS), matches(figurines.COLORS)
  key = rng.stream(jax.random.key(config.seed), 'views')
  keys = jax.random.split(key, -(-config.attributes.views // CHUNK))
  parts = [draw(key, choices) for key in keys]
  features, hat = (np.concatenate(x) for x in zip(*parts, strict=True))
  return features, hat > 0


@jax.jit
def draw(key, choices):
  """(features [CHUNK, D], hat [CHUNK]) of figurines of `choices`: kinds [K] and colours [C]."""
  part = lambda name: rng.stream(key, name)
  kind, color = (jax.random.choice(part(name), indices, (CHUNK,))
                 for name, indices in zip(('kind', 'color'), choices, strict=True))
  hat = jax.random.bernoulli(part('hat'), 0.5, (CHUNK,)).astype(jnp.int32)
  camera = figurine_views.sample_views(part('camera'), CHUNK, VIEWS)
  images = figurines.render(figurines.Figurine(kind, color, hat), camera, SIZE).rgb
  images = figurine_views.spoil(
      jax.random.uniform(part('amounts'), (CHUNK, figurine_views.DRAWS)),
      jax.random.normal(part('grain'), images.shape[:3] + (4,)), images)
  return referee.features(referee.load(), images), hat
