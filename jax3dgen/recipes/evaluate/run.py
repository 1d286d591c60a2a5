"""The figures of finished objects that the score distillation papers print, in one call.

`run(config, workdir)` is what `python -m experiments.evaluate` calls. Each figure is given with the
name of the features or of the judge that it rests on: figures of different judges do not compare.
"""

from collections.abc import Callable
import json
import sys
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from jax3dgen.core import files, modules
from jax3dgen.core.errors import ConfigError, Jax3dgenError
from jax3dgen.data import prompts
from jax3dgen.export import sweep_tables
from jax3dgen.metrics import diversity, entropy, frechet, janus, referee
from jax3dgen.perception import clip, inception, text_image
from jax3dgen.prior import words
from jax3dgen.recipes.evaluate import config as evaluate_config
from jax3dgen.recipes.evaluate import page as evaluate_page
from jax3dgen.recipes.evaluate import references
from jax3dgen.recipes.evaluate import views as object_views

default_config = evaluate_config.default_config
POSES = 4
MOST_VIEWS = 1000  # of one object
INCEPTION = {'features': lambda seen: seen.features,  # what it answers where it is the judge
             'classes': lambda seen: jax.nn.softmax(seen.logits, -1)}


class Judge(NamedTuple):
  """Who is asked, by name, and what he answers to images [B, S, S, 3]: an array [B, ...]."""
  name: str
  ask: Callable


class Judges(NamedTuple):
  """The referee (whose answer is a Judgement), the Judges of features, classes and poses, and the
  text-image model."""
  referee: Judge
  features: Judge
  classes: Judge
  poses: Judge
  text: text_image.Model


class Seen(NamedTuple):
  """What the judges say of the V views of one Item: the referee's Judgement, features [V, D],
  classes [V, K], poses [V, 4] and image embeddings [V, E]."""
  item: object_views.Item
  judgement: referee.Judgement
  features: np.ndarray
  classes: np.ndarray
  poses: np.ndarray
  embedding: np.ndarray


def check(config):
  """ConfigError for the first field whose value means nothing."""
  if config.source not in object_views.SOURCES:
    raise ConfigError(f'config.source={config.source!r} is none of '
                      f'{", ".join(object_views.SOURCES)}.')
  for name in ('fid', 'entropy', 'diversity', 'janus', 'size'):
    if config.views[name] < 1:
      raise ConfigError(f'config.views.{name}={config.views[name]} must be 1 or more.')
  for name in ('count', 'steps', 'size'):
    if config.reference[name] < 1:
      raise ConfigError(f'config.reference.{name}={config.reference[name]} must be 1 or more.')
  count = object_views.count(config.views)
  if count > MOST_VIEWS:
    raise ConfigError('config.views: fid, entropy, janus and diversity are to be shares of one '
                      f'ring of views; the smallest for these has {count}, '
                      f'more than {MOST_VIEWS}.')
  if config.judge.batch < 1:
    raise ConfigError(f'config.judge.batch={config.judge.batch} must be 1 or more.')


def batched(function, size):
  """`function` of images [N, ...] in batches of `size`, the last filled up: it compiles once."""
  def ask(images):
    images = np.asarray(images, np.float32)
    filled = np.concatenate([images, np.repeat(images[-1:], -len(images) % size, 0)])
    rows = [jax.tree.map(np.asarray, function(filled[i:i + size]))
            for i in range(0, len(filled), size)]
    return jax.tree.map(lambda *x: np.concatenate(x)[:len(images)], *rows)
  return ask


def text_image_model(text):
  """The text-image Model that config.judge.text_image names."""
  if ':' in text:
    return modules.function(text, 'config.judge.text_image')()
  return clip.find(text)


def given(name, text):
  """The Judge that config.judge.`name` names: a function, or the FID Inception in a folder."""
  if ':' in text or name not in INCEPTION:
    return Judge(text, modules.function(text, f'config.judge.{name}'))
  apply, params = inception.load(text)
  answer = INCEPTION[name]
  return Judge(f'{name} of the {inception.NAME}', jax.jit(lambda x: answer(apply(params, x))))


def judges(config):
  """The Judges of the section `judge`."""
  params, labels = referee.load(), referee.labels()
  size = config.batch
  classify = jax.jit(lambda x: referee.classify(params, x))

  def joint(images):
    found = classify(images)
    return (found.kind[:, :, None] * found.color[:, None]).reshape(len(images), -1)

  poses = jax.jit(lambda x: janus.view_probabilities(referee.classify(params, x).sector))
  features = jax.jit(lambda x: referee.features(params, x))
  own = {'features': Judge('features of the embedded referee', features),
         'classes': Judge(f'kind x colour of the embedded referee, {len(labels.colors)} x '
                          f'{len(labels.kinds) + 1} classes', joint),
         'poses': Judge('poses of the embedded referee', poses)}
  own |= {name: given(name, config[name]) for name in own if config[name]}
  own = {name: judge._replace(ask=batched(judge.ask, size)) for name, judge in own.items()}
  model = text_image_model(config.text_image)
  return Judges(Judge('embedded referee', batched(classify, size)), **own,
                text=model._replace(images=batched(model.images, size)))


def look(item, asked):
  """The Seen of an Item; ConfigError where an answer is not finite."""
  images = item.views()
  found = Seen(item, asked.referee.ask(images), asked.features.ask(images),
               asked.classes.ask(images), asked.poses.ask(images), asked.text.images(images))
  for name in ('features', 'classes', 'poses', 'embedding'):
    if not np.isfinite(getattr(found, name)).all():
      raise ConfigError(f'{item.name}: the {name} of its views are not finite.')
  return found


def row(seen, views, asked, labels):
  """The figures of one object, a dict; `views` is the section of the config."""
  item = seen.item
  said = words.meant(item.prompt)
  named = lambda known: next((word for word in known if word in said), None)
  few = lambda x, number: jax.tree.map(lambda leaf: object_views.pick(leaf, number), x)
  forms = prompts.view_prompts(item.prompt)
  texts = np.asarray(asked.text.texts([forms[name] for name in ('main', *references.SIDES)]))
  image = few(seen.embedding, views.entropy)
  return {
      'name': item.name, 'prompt': item.prompt, 'source': item.source,
      'views': len(seen.features),
      'cent': entropy.cent(image, texts[1:], asked.text.scale),
      'pent': entropy.of_mean(few(seen.poses, views.entropy)),
      'text_distance': entropy.text_distance(image, texts[0]),
      **janus.report(few(seen.judgement, views.janus), labels, named(labels.kinds),
                     named(labels.colors)),
      **{name: item.figures.get(name) for name in ('seconds', 'peak_memory_gib', 'seed', 'steps')}}


def reference(asked, pictures):
  """(Moments of all `pictures`, batches [B, S, S, 3]; of as many of each pose; poses [4])."""
  features, poses = [], []
  for batch in pictures:
    features.append(asked.features.ask(batch))
    poses.append(asked.poses.ask(batch).argmax(-1))
  features = np.concatenate(features)
  even, counts = frechet.equal_poses(np.concatenate(poses), POSES)
  return frechet.moments(features), frechet.moments(features[even]), counts.tolist()


def group_figures(all_seen, rows, views, target):
  """The figures of several objects together: FID and uFID against `reference`, and means."""
  generated = frechet.stream(lambda x: x, [object_views.pick(seen.features, views.fid)
                                           for seen in all_seen])
  plain, even, _ = target
  return {'fid': frechet.distance(generated, plain), 'ufid': frechet.distance(generated, even),
          'generated': generated.count, **evaluate_page.means(rows)}


def by_prompt(all_seen, views):
  """[IV, IQ and cosine of the objects of one prompt], where two or more share it."""
  table = []
  for prompt in dict.fromkeys(seen.item.prompt for seen in all_seen):
    mine = [seen for seen in all_seen if seen.item.prompt == prompt]
    if len(mine) < 2:
      continue
    number = min([views.diversity, *(len(seen.features) for seen in mine)])
    stack = lambda name, mine=mine, number=number: np.stack(
        [object_views.pick(getattr(seen, name), number) for seen in mine])
    p = stack('classes')
    table.append({
        'prompt': prompt, 'objects': len(mine), 'views': number, 'iv': diversity.variation(p),
        'iv_by_view': diversity.variation_by_view(p), 'iq': diversity.quality(p),
        'bound': float(np.log(p.shape[-1])), 'cosine': diversity.cosine(stack('features'))})
  return table


def run(config, workdir, command=''):
  """Evaluates config.runs into `workdir`; returns the record of evaluate.json (a dict)."""
  check(config)
  items, faults = object_views.find(config)
  asked, labels = judges(config.judge), referee.labels()
  texts = list(dict.fromkeys(item.prompt for item in items))
  asked.text.texts(texts)  # words that it does not know are refused before anything is rendered
  all_seen, rows = [], []
  for item in tqdm.tqdm(items, 'judging', disable=None):
    try:
      seen = look(item, asked)
      rows.append(row(seen, config.views, asked, labels))
      all_seen.append(seen)
    except Jax3dgenError as error:
      if len(items) == 1:
        raise
      faults.append((item.name, str(error)))
  if not all_seen:
    raise ConfigError(f'No object can be judged; the first: {faults[0][1]}')
  for name, why in faults:
    print(f'{name} is left out: {why}', file=sys.stderr)
  target = reference(asked, references.pictures(config.reference, texts, workdir))
  groups, prompts_of = {}, []
  for name in dict.fromkeys(group_of(one['name']) for one in rows):
    mine = [i for i, one in enumerate(rows) if group_of(one['name']) == name]
    some = [all_seen[i] for i in mine]
    groups[name] = group_figures(some, [rows[i] for i in mine], config.views, target)
    prompts_of += [{'group': name} | one for one in by_prompt(some, config.views)]
  record = {
      'command': command,
      'judges': {'fid, ufid, cosine': asked.features.name, 'pent, poses of ufid': asked.poses.name,
                 'iv, iq': asked.classes.name, 'cent, text_distance': asked.text.name,
                 'face_count and the other figures of views': asked.referee.name},
      'reference': {'pictures': target[0].count, 'poses': target[2], 'source': (
          config.reference.folder or f'samples of the prior {config.reference.prior}, '
          f'{config.reference.count} for each prompt, front, side and back forms alike')},
      'views': config.views.to_dict(), 'groups': groups, 'prompts': prompts_of, 'objects': rows,
      'left_out': [{'name': name, 'why': why} for name, why in faults]}
  sweep_tables.write(workdir / 'evaluate.csv', list(rows[0]), rows)
  with files.replacing(workdir / 'evaluate.md') as beside:
    beside.write_text(evaluate_page.markdown(record), encoding='utf-8')
  with files.replacing(workdir / 'evaluate.json') as beside:
    beside.write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
  return record


def group_of(name):
  """The folder in which an object lies, which is what is compared: a method, say."""
  return name.rpartition('/')[0] or 'all'
