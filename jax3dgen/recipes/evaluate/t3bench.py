"""The T3Bench protocol: quality and alignment of the meshes of many prompts.

`run(config, workdir)` is what `python -m experiments.t3bench` calls. Each prompt has its own result
file, so an interrupted run resumes; several processes divide the prompts among them. Pictures are
rendered on the CPU (`scene/zbuffer`): the 810 of a mesh of 44,000 faces take 3 minutes of one core
at 512 pixels, and 40 s at 128.
"""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from jax3dgen.core import files, modules, parallel
from jax3dgen.core.errors import ConfigError, MeshError
from jax3dgen.data import prompts
from jax3dgen.export import markdown, mesh_io
from jax3dgen.metrics import t3bench as metrics
from jax3dgen.perception import clip
from jax3dgen.prior import words
from jax3dgen.recipes.evaluate import t3bench_config
from jax3dgen.scene import zbuffer

default_config = t3bench_config.default_config
BLACK = (0.0, 0.0, 0.0)


class Judges(NamedTuple):
  """reward(images, prompt) -> [B] with its name; caption(images) -> [str] and
  level(prompt, captions) -> 1 to 5, or None, with their name."""
  reward: Any
  reward_name: str
  caption: Any
  level: Any
  alignment_name: str


def check(config):
  """ConfigError for the first field with an invalid value."""
  if not config.prompts:
    raise ConfigError("config.prompts is empty: name the text files, for example ('single.txt',).")
  if '{slug}' not in config.meshes and '{name}' not in config.meshes:
    raise ConfigError(f'config.meshes={config.meshes!r} must contain {{slug}} or {{name}}, which '
                      'stand for the prompt.')
  if config.up not in ('auto', 'y', 'z'):
    raise ConfigError(f"config.up={config.up!r} is none of 'auto', 'y' and 'z'.")
  for name, least in (('size', 1), ('samples', 1), ('batch', 1), ('subdivisions', 0)):
    if config[name] < least:
      raise ConfigError(f'config.{name}={config[name]} must be {least} or more.')
  if bool(config.alignment.captioner) != bool(config.alignment.judge):
    raise ConfigError('config.alignment needs both a captioner and a judge, or neither.')


def load_judges(config, prompts):
  """The Judges of the config; raises for words of `prompts` that the built-in scorer lacks."""
  if config.quality.scorer:
    reward = modules.function(config.quality.scorer, 'config.quality.scorer')
    name = config.quality.scorer
  else:
    model = clip.find(config.quality.text_image)
    model.texts(prompts)
    reward = lambda images, prompt: model.images(images) @ model.texts([prompt])[0]
    name = f'cosine of the {model.name}'
  a = config.alignment
  of = lambda text, field: modules.function(text, field) if text else None
  return Judges(reward, name, of(a.captioner, 'config.alignment.captioner'),
                of(a.judge, 'config.alignment.judge'),
                f'{a.captioner}, {a.judge}' if a.judge else '')


def mesh_path(config, prompt):
  """The path of the mesh of a prompt; {name} is the prompt with _ for spaces and slashes."""
  name = prompt.replace(' ', '_').replace('/', '_')
  return pathlib.Path(config.meshes.replace('{slug}', words.slug(prompt)).replace('{name}', name))


def pictures(mesh, camera, config):
  """Yields (start, images [B, S, S, 3]) of a normalised Mesh from a Camera, in batches."""
  for start in range(0, len(camera.fovy), config.batch):
    batch = jax.tree.map(lambda x, start=start: x[start:start + config.batch], camera)
    yield zbuffer.render(mesh, batch, config.size, BLACK, config.samples)


def rewards(mesh, directions, config, reward, prompt):
  """Rewards [N, F] of all places and fields of view; without a mesh, of one black picture."""
  def ask(images):
    scores = np.asarray(reward(images, prompt), np.float64).reshape(-1)
    if scores.shape != (len(images),) or not np.isfinite(scores).all():
      raise ConfigError(f'The scorer returned {scores.shape} numbers for {len(images)} pictures of '
                        f'{prompt!r}, or some that are not finite.')
    return scores

  if mesh is None:
    black = ask(np.zeros((1, config.size, config.size, 3), np.float32))
    return np.full((len(directions), len(metrics.FOVY_DEG)), black[0])
  columns = []
  for fovy in metrics.FOVY_DEG:
    camera = metrics.viewpoints(directions, metrics.RADIUS, fovy)
    columns.append(np.concatenate([ask(images) for images in pictures(mesh, camera, config)]))
  return np.stack(columns, 1)


def alignment_figures(mesh, config, judges, prompt):
  """{'captions', 'level', 'alignment'} of the 12 views of a mesh, black without one."""
  directions = metrics.sphere(0)[0]
  camera = metrics.viewpoints(directions, metrics.CAPTION_RADIUS, metrics.CAPTION_FOVY_DEG)
  black = np.zeros((len(directions), config.size, config.size, 3), np.float32)
  images = black if mesh is None else np.concatenate(list(pictures(mesh, camera, config)))
  captions = [str(caption) for caption in judges.caption(images)]
  level = float(judges.level(prompt, captions))
  return {'captions': captions, 'level': level, 'alignment': metrics.alignment(level)}


def stored_row(path, digest):
  """The row in a prompt's file, or None where its digest (of settings and mesh) is another."""
  try:
    row = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return None
  return row if row.get('digest') == digest else None


def prompt_row(config, group, prompt, judges, directions, neighbours, workdir):
  """The row of one prompt: from its file where settings and mesh are the same, else computed and
  written."""
  path = mesh_path(config, prompt)
  data = path.read_bytes() if path.is_file() else b''
  settings = {k: v for k, v in config.to_dict().items() if k not in ('prompts', 'batch')}
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + data).hexdigest()
  file = workdir / 'prompts' / group / f'{words.slug(prompt)}.json'
  if row := stored_row(file, digest):
    return row
  mesh, missing = None, ''
  try:
    mesh = metrics.normalize(mesh_io.read(path, config.up))
  except (MeshError, ConfigError) as error:
    missing = str(error)
  scores = rewards(mesh, directions, config, judges.reward, prompt)
  row = {'group': group, 'prompt': prompt, 'mesh': str(path), 'missing': missing,
         'quality': metrics.quality(scores, neighbours),
         'reward_mean': float(scores.mean()), 'reward_max': float(scores.max())}
  if judges.caption:
    row |= alignment_figures(mesh, config, judges, prompt)
  row['digest'] = digest
  with files.replacing(file) as beside:
    beside.write_text(json.dumps(row, indent=2) + '\n', encoding='utf-8')
  return row


def run(config, workdir, command=''):
  """Judges all prompts into `workdir`; returns the record of t3bench.json (a dict).

  Process i of n takes every n-th prompt; process 0 writes the tables when all are done.
  """
  check(config)
  groups = {}
  for path in config.prompts:
    name = pathlib.Path(path).stem
    if name in groups:
      raise ConfigError(f'config.prompts names two groups {name!r}; call their files differently.')
    groups[name] = list(dict.fromkeys(prompts.read(path, 'config.prompts')))
  jobs = [(group, prompt) for group, prompts in groups.items() for prompt in prompts]
  judges = load_judges(config, [prompt for _, prompt in jobs])
  directions, neighbours = metrics.sphere(config.subdivisions)
  judge = lambda job: prompt_row(config, *job, judges, directions, neighbours, workdir)
  for i, job in enumerate(jobs[jax.process_index()::jax.process_count()]):
    print(f'{i + 1}: {job[0]}, {job[1]!r}: {judge(job)["quality"]:.1f}', flush=True)
  parallel.least(0)  # waits for all processes
  rows = [judge(job) for job in jobs] if parallel.is_main() else []
  return parallel.from_main(lambda: write(config, workdir, groups, rows, judges, command))


def write(config, workdir, groups, rows, judges, command):
  """Writes t3bench.json and t3bench.md; returns the record."""
  mean = lambda rows, name: float(np.mean([row[name] for row in rows])) if name in rows[0] else None
  table = {}
  for group in groups:
    members = [row for row in rows if row['group'] == group]
    table[group] = {'prompts': len(members),
                    'missing': sum(bool(row['missing']) for row in members),
                    'quality': mean(members, 'quality'), 'alignment': mean(members, 'alignment'),
                    'level': mean(members, 'level')}
  record = {'command': command, 'quality_by': judges.reward_name,
            'alignment_by': judges.alignment_name, 'size': config.size,
            'places': len(metrics.sphere(config.subdivisions)[0]), 'groups': table, 'prompts': rows}
  with files.replacing(workdir / 't3bench.md') as beside:
    beside.write_text(text(record), encoding='utf-8')
  with files.replacing(workdir / 't3bench.json') as beside:
    beside.write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
  return record


def text(record):
  """The page of a record: a row for each group."""
  number = lambda value: '' if value is None else f'{value:.2f}'
  lines = ['# T3Bench protocol', '', f'`{record["command"]}`', '',
           f'Quality by {record["quality_by"]}: 20 r + 50 of the best of {record["places"]} places '
           f'at {record["size"]} pixels.' + (
               f' Alignment by {record["alignment_by"]}: (level - 1) x 25.'
               if record['alignment_by'] else ''), '',
           *markdown.table(
               ['group', 'prompts', 'without a mesh', 'quality', 'alignment', 'mean level'],
               [[group, row['prompts'], row['missing'],
                 *(number(row[name]) for name in ('quality', 'alignment', 'level'))]
                for group, row in record['groups'].items()])]
  return '\n'.join(lines) + '\n'
