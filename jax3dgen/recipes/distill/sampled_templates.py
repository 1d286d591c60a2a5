"""Pose templates that a run samples from its own prior: config.distill.templates='prior'.

WORKDIR/templates receives a PNG for each pose, as `perception.templates` reads them, choice.json,
and below samples/ all pictures and sheet.png, which shows them with the chosen ones marked. Where
it has a picture of each pose, the pictures are used as they are: a person may exchange them, and
the same command goes on with the new ones.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import files, parallel, rng
from jax3dgen.core import tree as trees
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import prompts
from jax3dgen.export import contact_sheet, turntable
from jax3dgen.perception import pose_choice, templates
from jax3dgen.prior import sampler
from jax3dgen.train import log
from jax3dgen.train import workdir as workdirs

FOLDER = 'templates'  # below the workdir
STEPS = 30  # of the sampler
GUIDANCE = 7.5  # largest guidance scale: higher ones saturate pictures
CHUNK = 2  # pictures sampled together: they need less memory than a training step
WEAK = 0.5  # agreement below which a person should look


def wanted(distill):
  """Whether a config's section distill asks for sampled templates."""
  return distill.get('classifier') == 'templates' and distill.templates == templates.SAMPLED


def provider(cfg, prior, params, tokenize, blank, attention=None):
  """(workdir) -> the Classifier of the templates in the workdir, sampled where it has none.

  `prior`, `params` and `tokenize` are those of `parts.open_prior`, `blank` is the Classifier with
  zeros for templates. ConfigError for too few pictures to choose from, or a pose whose template was
  removed.
  """
  if cfg.distill.samples < 2:
    raise ConfigError(f'config.distill.samples={cfg.distill.samples} is not 2 or more.')
  poses = tuple(name for group in templates.groups(cfg.distill.poses, templates.POSES, 'the prior')
                for name in group)

  def provide(workdir):
    folder, built = workdir / FOLDER, []

    def build():
      missing = missing_poses(folder, poses)
      if missing and (folder / 'choice.json').exists():
        raise ConfigError(f'{folder} has no {missing[0]}.png: put a picture there, or remove the '
                          'folder to sample all of them again.')
      if missing:
        pictures = sample(cfg, prior, params, tokenize, poses)
        with workdirs.writing(folder):
          write(folder, poses, pictures, cfg, blank)
      else:
        print(f'The pose templates are the pictures in {folder}.', flush=True)
      built.append(templates.from_folder(blank.extract, blank.params, folder, cfg.distill,
                                         attention).templates)
    parallel.from_main(build)
    return blank.replace(templates=parallel.tree_from_main(built[0] if built else None,
                                                           blank.templates))
  return provide


def missing_poses(folder, poses):
  """The `poses` of which a folder has no picture."""
  return [name for name in poses
          if not any(True for pattern in ('', '-*') for _ in folder.glob(f'{name}{pattern}.png'))]


def sample(cfg, prior, params, tokenize, poses):
  """cfg.distill.samples pictures [P, N, H, W, 3] uint8 of each phrase of the poses."""
  phrases, texts = pose_choice.phrases_of(poses), prompts.view_prompts(cfg.prompt)
  rows = prior.embed(params, tokenize([texts[name] for name in (*phrases, 'null')]))
  weights = jax.device_put({k: v for k, v in params.items() if k != 'text'},
                           jax.local_devices()[0])
  guidance, clip = min(cfg.distill.guidance, GUIDANCE), 1.0 if cfg.distill.get('clip') else None

  @jax.jit
  def draw(key, params, rows, i):
    pick = lambda i: jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[i], (CHUNK, *leaf.shape[1:])), rows)
    return sampler.pictures(sampler.ddim, key, prior, params, pick(i), pick(-1), STEPS, guidance,
                            clip=clip)
  count = cfg.distill.samples
  calls = -(-count // CHUNK)
  result = []
  with log.Progress(0, len(phrases) * calls, 'Pose templates') as progress:
    for i, name in enumerate(phrases):
      parts = []
      for k in range(calls):
        key = jax.random.fold_in(rng.stream(jax.random.key(cfg.seed), f'templates/{name}'), k)
        parts.append(turntable.pixels(draw(key, weights, rows, i)))
        progress.advance()
      progress.show((i + 1) * calls, {'pictures': count * (i + 1)})
      result.append(np.concatenate(parts)[:count])
  return np.stack(result)


def write(folder, poses, pictures, cfg, blank):
  """Chooses the templates of `poses` out of pictures [P, N, H, W, 3] uint8, and writes all."""
  phrases, (_, count, *shape) = pose_choice.phrases_of(poses), pictures.shape
  both = np.stack([pictures, pictures[:, :, :, ::-1]], 1).reshape(-1, *shape)
  extract = jax.jit(blank.extract)
  parts = [extract(blank.params, np.float32(both[i:i + CHUNK]) / 255)
           for i in range(0, len(both), CHUNK)]
  features = [np.concatenate(x) for x in zip(*parts, strict=True)]
  choice = pose_choice.choose(*(x.reshape(len(phrases), 2, count, *x.shape[1:]) for x in features),
                              poses, cfg.distill.temperature)
  label = lambda phrase, i: f'{phrase}-{i:02d}'
  chosen = {label(phrase, i) for phrase, i, _ in choice.pictures.values()}
  rows = [[(picture, label(phrase, i), label(phrase, i) in chosen)
           for i, picture in enumerate(row)] for phrase, row in zip(phrases, pictures, strict=True)]
  for row in rows:
    for picture, name, _ in row:
      turntable.write_png(folder / 'samples' / f'{name}.png', picture)
  turntable.write_png(folder / 'samples' / 'sheet.png', contact_sheet.sheet(rows))
  for name, (phrase, i, mirrored) in choice.pictures.items():
    picture = pictures[phrases.index(phrase), i]
    turntable.write_png(folder / f'{name}.png', picture[:, ::-1] if mirrored else picture)
  record = {'prompt': cfg.prompt, 'seed': cfg.seed, 'agreement': choice.agreement,
            'margin': choice.margin, 'poses': {
                name: {'picture': f'samples/{label(phrase, i)}.png', 'mirrored': mirrored}
                for name, (phrase, i, mirrored) in choice.pictures.items()}}
  with files.replacing(folder / 'choice.json') as beside:
    beside.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
  figures = ', '.join(f'{name} {choice.agreement[name]:.0%} (margin {choice.margin[name]:.2f})'
                      for name in phrases)
  print(f'Pose templates of {cfg.prompt!r} are in {folder}; of the other pictures their classifier '
        f'recognises the view phrase: {figures}.', flush=True)
  if cfg.prior.name != 'embedded' and not cfg.distill.features:
    print('Its features are those of the shipped network, which was trained on small pictures of '
          'figurines; config.distill.features names the folder of a DINOv2.', flush=True)
  for name in phrases:
    if choice.agreement[name] < WEAK:
      print(f'Few pictures of the {name} view differ from those of other views: look at '
            f'{folder / "samples" / "sheet.png"} and exchange templates that show another pose.',
            flush=True)


def note_change(workdir, size, starts):
  """Records the digest of the templates, read with `size` pixels, with which a run starts; says
  where a resumed run has others."""
  folder = workdir / FOLDER
  path = folder / 'digest'
  digest = trees.digest(dict(zip(*templates.read(folder, size), strict=True)))
  if starts or not path.exists():
    with workdirs.writing(path), files.replacing(path) as beside:
      beside.write_text(digest + '\n')
  elif path.read_text().strip() != digest:
    print(f'The pose templates in {folder} are not those with which this run started; it goes on '
          'with the new ones.', flush=True)
