"""The multi-view prior on a published U-Net: supervised training of chosen leaves (L_simple-MV).

It begins with a folder in the layout of diffusers and writes the trained leaves alone, which
`prior.multiview_latent.load` reads beside that folder. The latents of all views are encoded once
and kept in the workdir. Axes: N objects, V views.
"""

import hashlib
import json
import pathlib

import jax
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import parallel, tree
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.data import view_folder
from jax3dgen.feedback import multiview as sft
from jax3dgen.metrics import multiview as metrics
from jax3dgen.prior import latent, multiview, multiview_latent, multiview_loading
from jax3dgen.recipes.nets import multiview as multiview_net
from jax3dgen.recipes.nets import ship

CARD = """# Leaves of a multi-view prior

Five views of an object (front, right, back, left, top) from a picture of one side. {count:,}
parameters were trained and are in the file, float16 of their moving average; all others are those
of the published folder whose U-Net has the digest {digest}
(`jax3dgen.prior.multiview_latent.load(FOLDER, THIS_FOLDER)`), and of its licence. The leaves that
were not trained: `{frozen}`.

- data: {data}; one reference of four sides, left out in {dropout:.0%} of the examples
- {steps} steps of {batch} objects, seed {seed}; the config is in config.json
- {test} held-out objects, {ddim} DDIM steps, eta {eta:g}, guidance {guidance:g}: PSNR
  {psnr[mean]:.2f} +- {psnr[half]:.2f} dB, SSIM {ssim[mean]:.3f} +- {ssim[half]:.3f}, without the
  reference's own view
"""


def default_config():
  """A locked ConfigDict; the settings are this project's own."""
  c = ship.default_config()
  c.name = 'multiview_latent'
  c.prior = multiview_loading.default_config()
  c.prior.remat = True

  c.net = ConfigDict()
  c.net.share = multiview_latent.NET['share']  # noise level of the reference, of that of the views
  c.net.joint = multiview_latent.NET['joint']  # levels with attention of all views
  c.net.frozen = multiview_latent.FROZEN  # leaves that keep their values, a regular expression

  c.data = ConfigDict()
  c.data.folder = ''  # with train/OBJECT and test/OBJECT (`data/view_folder`); '': figurines
  c.data.count = 4000  # objects, at most
  c.data.size = 512  # pixels per side at which those of a folder are read

  c.loss = ConfigDict()
  c.loss.dropout = 0.1  # share of the objects without a reference, for guidance

  c.optim.rate = 1e-5
  c.optim.b2 = 0.999
  c.optim.decay = 0.01  # weight decay
  c.optim.ema = 0.999

  c.train.steps = 10_000
  c.train.batch = 4  # objects per step, over all devices together

  c.sample = ConfigDict()
  c.sample.steps = 50  # DDIM steps of the measured samples
  c.sample.guidance = 1.0  # their guidance toward the reference
  c.sample.eta = 1.0  # their noise: 1 ancestral, 0 none

  c.test = ConfigDict()
  c.test.objects = 40  # held-out objects
  return c.lock()


def build(cfg):
  """The MultiviewPrior of the config, without weights."""
  if not multiview_latent.is_published(cfg.prior.weights):
    raise ConfigError(f'config.prior.weights={cfg.prior.weights!r} is no folder in the layout of '
                      'diffusers; configs/nets/multiview.py trains the embedded prior.')
  c = cfg.prior
  return multiview_latent.make(latent.read(latent.locate(c.weights)), cfg.net.to_dict(), c.dtype,
                               c.size or None, c.tile or None, c.remat)


def load(cfg):
  """(leaves that stay as they are, those to train) before training."""
  return multiview_latent.start(multiview_loading.load(cfg.prior)[1], cfg.net.frozen)


def init(cfg):
  """The trained leaves before training."""
  return load(cfg)[1]


def objects(cfg, split, count):
  """(true views [N, V, S, S, 3] uint8 or floating, slots [N] of references) of a split.

  ConfigError where an object of a folder lacks a view.
  """
  if not cfg.data.folder:
    return multiview_net.pictures(split, count), np.arange(count) % world.SIDES
  slot, _, views = view_folder.read(cfg.data.folder, split, count, cfg.data.size,
                                    'config.data.folder')
  if views is None:
    raise ConfigError(f'An object of {cfg.data.folder}/{split} lacks one of the views '
                      f'{", ".join(world.SLOTS)}, which training needs.')
  return views, slot


def data(cfg, workdir):
  """{'x0' [N, V, h, w, c], 'frozen': the leaves that a step needs}; x0 from the workdir if it lies
  there."""
  prior, frozen = build(cfg), load(cfg)[0]
  record = json.dumps([cfg.data.to_dict(), cfg.prior.size, cfg.prior.dtype, multiview_latent.digest(
      cfg.prior.weights)])
  path = pathlib.Path(workdir) / f'x0_{hashlib.sha256(record.encode()).hexdigest()[:12]}'
  path = path.with_suffix('.safetensors')

  def encode():
    if path.is_file():
      return
    views, _ = objects(cfg, 'train', cfg.data.count)
    scale = np.float32(255 if views.dtype == np.uint8 else 1)
    print(f'Encoding {len(views):,} objects.', flush=True)
    encoded = jax.jit(lambda rows: prior.encode(frozen, rows))
    x0 = ship.in_chunks(lambda rows: encoded(rows / scale), views.reshape(-1, *views.shape[2:]),
                        views.shape[1])
    weight_files.save(path, {'x0': x0.reshape(*views.shape[:2], *x0.shape[1:])})
  parallel.from_main(encode)
  still = {name: leaves for name, leaves in frozen.items() if name != 'vae'}
  return {'x0': np.array(weight_files.Tensors(path)['x0']), 'frozen': still}


def loss(cfg, count, axis_name=None):
  """The loss of random objects on one of `count` devices (see `ship.Net`)."""
  prior, batch = build(cfg), cfg.train.batch // count

  def of_objects(params, key, everything):
    rows = jax.random.randint(jax.random.fold_in(key, 0), (batch,), 0, len(everything['x0']))
    whole = tree.join(everything['frozen'], params)
    return sft.of_latents(prior, whole, key, everything['x0'][rows], cfg.loss.dropout), {}
  return of_objects


def measure(params, cfg):
  """{'psnr', 'ssim'} of samples for held-out objects, `metrics.mean`."""
  prior, (frozen, _) = build(cfg), load(cfg)
  true, slot = objects(cfg, 'test', cfg.test.objects)
  true = true / np.float32(255 if true.dtype == np.uint8 else 1)
  views = multiview_net.samples(prior, tree.join(frozen, params),
                                true[np.arange(len(slot)), slot], cfg.sample, 1)
  psnr, ssim = metrics.likeness(views, true, slot)
  return {'psnr': metrics.mean(psnr), 'ssim': metrics.mean(ssim)}


def files(result):
  """config.json with the settings that `prior.multiview_latent.load` reads."""
  c = result.config
  net = c.net.to_dict() | {'prior': multiview_latent.digest(c.prior.weights)}
  return {'config.json': ship.json_text({'net': net, 'config': c.to_dict(),
                                         'measured': result.figures})}


def card(result):
  """The text of the card."""
  c = result.config
  return CARD.format(
      count=tree.count(result.params), digest=multiview_latent.digest(c.prior.weights)[:12],
      frozen=c.net.frozen, data="the user's own" if c.data.folder else 'figurines of '
      '`jax3dgen.data.multiview`', dropout=c.loss.dropout, steps=c.train.steps,
      batch=c.train.batch, seed=c.seed, test=c.test.objects, ddim=c.sample.steps,
      eta=c.sample.eta, guidance=c.sample.guidance, **result.figures)


NET = ship.Net('multi-view leaves', default_config, init, loss, measure, card, ship.adamw, files,
               sealed=multiview.BESIDE, data=data)
