"""Evaluation of finished objects by the metrics of the score distillation papers.

`run(config, workdir)` is what `python -m experiments.evaluate` calls. Each figure comes with the
name of its judge, the network behind it: figures of different judges cannot be compared.
"""

from collections.abc import Callable
import functools
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
from jax3dgen.recipes.evaluate import reference_set
from jax3dgen.recipes.evaluate import views as object_views

default_config = evaluate_config.default_config
POSES = 4
MOST_VIEWS = 1000  # of one object
INCEPTION = {'features': lambda output: output.features,  # its answer as the judge of these
             'classes': lambda output: jax.nn.softmax(output.logits, -1)}


class Judge(NamedTuple):
  """A network by name, and its function of images [B, S, S, 3], which returns an array [B, ...]."""
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


class Answers(NamedTuple):
  """Outputs of the judges for the V views of an Item: the referee's Judgement, features [V, D],
  classes [V, K], poses [V, 4] and image embeddings [V, E]."""
  item: object_views.Item
  judgement: referee.Judgement
  features: np.ndarray
  classes: np.ndarray
  poses: np.ndarray
  embedding: np.ndarray


def check(config):
  """ConfigError for the first field with an invalid value."""
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
  """`function` of images [N, ...] in batches of `size`, the last padded: it compiles once."""
  def ask(images):
    images = np.asarray(images, np.float32)
    padded = np.concatenate([images, np.repeat(images[-1:], -len(images) % size, 0)])
    rows = [jax.tree.map(np.asarray, function(padded[i:i + size]))
            for i in range(0, len(padded), size)]
    return jax.tree.map(lambda *x: np.concatenate(x)[:len(images)], *rows)
  return ask


def text_image_model(text):
  """The text-image Model that config.judge.text_image names."""
  if ':' in text:
    return modules.function(text, 'config.judge.text_image')()
  return clip.find(text)


def load_judge(name, text):
  """The Judge of config.judge.`name`: a function, or the FID Inception in a folder."""
  if ':' in text or name not in INCEPTION:
    return Judge(text, modules.function(text, f'config.judge.{name}'))
  apply, params = inception.load(text)
  answer = INCEPTION[name]
  judge = jax.jit(lambda params, x: answer(apply(params, x)))
  return Judge(f'{name} of the {inception.NAME}', functools.partial(judge, params))


def load_judges(config):
  """The Judges of `config`, the section `judge`."""
  params, labels = referee.load(), referee.labels()
  size = config.batch
  classify = jax.jit(lambda x: referee.classify(params, x))

  def joint(images):
    judgement = classify(images)
    return (judgement.kind[:, :, None] * judgement.color[:, None]).reshape(len(images), -1)

  poses = jax.jit(lambda x: janus.view_probabilities(referee.classify(params, x).sector))
  features = jax.jit(lambda x: referee.features(params, x))
  table = {'features': Judge('features of the embedded referee', features),
           'classes': Judge(f'kind x colour of the embedded referee, {len(labels.colors)} x '
                            f'{len(labels.kinds) + 1} classes', joint),
           'poses': Judge('poses of the embedded referee', poses)}
  table |= {name: load_judge(name, config[name]) for name in table if config[name]}
  table = {name: judge._replace(ask=batched(judge.ask, size)) for name, judge in table.items()}
  model = text_image_model(config.text_image)
  return Judges(Judge('embedded referee', batched(classify, size)), **table,
                text=model._replace(images=batched(model.images, size)))


def ask_all(item, judges):
  """The Answers for an Item; ConfigError where an answer is not finite."""
  images = item.views()
  answers = Answers(item, judges.referee.ask(images), judges.features.ask(images),
                    judges.classes.ask(images), judges.poses.ask(images),
                    judges.text.images(images))
  for name in ('features', 'classes', 'poses', 'embedding'):
    if not np.isfinite(getattr(answers, name)).all():
      raise ConfigError(f'{item.name}: the {name} of its views are not finite.')
  return answers


def row(answers, views, judges, labels):
  """The figures of one object, a dict; `views` is the section of the config."""
  item = answers.item
  prompt_words = words.with_synonyms(item.prompt)
  match = lambda names: next((name for name in names if name in prompt_words), None)
  subset = lambda x, number: jax.tree.map(lambda leaf: object_views.pick(leaf, number), x)
  forms = prompts.view_prompts(item.prompt)
  texts = np.asarray(judges.text.texts([forms[name] for name in ('main', *reference_set.SIDES)]))
  image = subset(answers.embedding, views.entropy)
  return {
      'name': item.name, 'prompt': item.prompt, 'source': item.source,
      'views': len(answers.features),
      'cent': entropy.cent(image, texts[1:], judges.text.scale),
      'pent': entropy.of_mean(subset(answers.poses, views.entropy)),
      'text_distance': entropy.text_distance(image, texts[0]),
      **janus.report(subset(answers.judgement, views.janus), labels, match(labels.kinds),
                     match(labels.colors)),
      **{name: item.figures.get(name) for name in ('seconds', 'peak_memory_gib', 'seed', 'steps')}}


def reference_moments(judges, pictures):
  """(Moments of all `pictures`, batches [B, S, S, 3]; Moments of equally many of each pose; the
  number of pictures of each pose [4])."""
  features, poses = [], []
  for batch in pictures:
    features.append(judges.features.ask(batch))
    poses.append(judges.poses.ask(batch).argmax(-1))
  features = np.concatenate(features)
  even, counts = frechet.equal_poses(np.concatenate(poses), POSES)
  return frechet.moments(features), frechet.moments(features[even]), counts.tolist()


def group_figures(answers, rows, views, reference):
  """The figures of several objects together: FID and uFID against `reference_moments`, and means.

  `answers` is a list of Answers.
  """
  generated = frechet.stream(lambda x: x, [object_views.pick(a.features, views.fid)
                                           for a in answers])
  plain, even, _ = reference
  return {'fid': frechet.distance(generated, plain), 'ufid': frechet.distance(generated, even),
          'generated': generated.count, **evaluate_page.means(rows)}


def by_prompt(answers, views):
  """[IV, IQ and cosine of the objects of one prompt], where two or more share it."""
  table = []
  for prompt in dict.fromkeys(a.item.prompt for a in answers):
    group = [a for a in answers if a.item.prompt == prompt]
    if len(group) < 2:
      continue
    number = min([views.diversity, *(len(a.features) for a in group)])
    stack = lambda name, group=group, number=number: np.stack(
        [object_views.pick(getattr(a, name), number) for a in group])
    p = stack('classes')
    table.append({
        'prompt': prompt, 'objects': len(group), 'views': number, 'iv': diversity.variation(p),
        'iv_by_view': diversity.variation_by_view(p), 'iq': diversity.quality(p),
        'bound': float(np.log(p.shape[-1])), 'cosine': diversity.cosine(stack('features'))})
  return table


def run(config, workdir, command=''):
  """Evaluates config.runs into `workdir`; returns the record of evaluate.json (a dict)."""
  check(config)
  items, faults = object_views.find(config)
  judges, labels = load_judges(config.judge), referee.labels()
  texts = list(dict.fromkeys(item.prompt for item in items))
  judges.text.texts(texts)  # raises for unknown words before anything is rendered
  answers, rows = [], []
  for item in tqdm.tqdm(items, 'judging', disable=None):
    try:
      answer = ask_all(item, judges)
      rows.append(row(answer, config.views, judges, labels))
      answers.append(answer)
    except Jax3dgenError as error:
      if len(items) == 1:
        raise
      faults.append((item.name, str(error)))
  if not answers:
    raise ConfigError(f'No object can be evaluated; the first: {faults[0][1]}')
  for name, why in faults:
    print(f'{name} is left out: {why}', file=sys.stderr)
  reference = reference_moments(
      judges, reference_set.pictures(config.reference, texts, workdir))
  groups, prompt_rows = {}, []
  for name in dict.fromkeys(group_of(figures['name']) for figures in rows):
    indices = [i for i, figures in enumerate(rows) if group_of(figures['name']) == name]
    members = [answers[i] for i in indices]
    groups[name] = group_figures(members, [rows[i] for i in indices], config.views, reference)
    prompt_rows += [{'group': name} | figures for figures in by_prompt(members, config.views)]
  record = {
      'command': command,
      'judges': {'fid, ufid, cosine': judges.features.name,
                 'pent, poses of ufid': judges.poses.name, 'iv, iq': judges.classes.name,
                 'cent, text_distance': judges.text.name,
                 'face_count and the other figures of views': judges.referee.name},
      'reference': {'pictures': reference[0].count, 'poses': reference[2], 'source': (
          config.reference.folder or f'samples of the prior {config.reference.prior}, '
          f'{config.reference.count} for each prompt, front, side and back forms alike')},
      'views': config.views.to_dict(), 'groups': groups, 'prompts': prompt_rows, 'objects': rows,
      'left_out': [{'name': name, 'why': why} for name, why in faults]}
  sweep_tables.write_csv(workdir / 'evaluate.csv', list(rows[0]), rows)
  with files.replacing(workdir / 'evaluate.md') as beside:
    beside.write_text(evaluate_page.text(record), encoding='utf-8')
  with files.replacing(workdir / 'evaluate.json') as beside:
    beside.write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
  return record


def group_of(name):
  """The group of an object: the folder that holds it, for example one per method."""
  return name.rpartition('/')[0] or 'all'
