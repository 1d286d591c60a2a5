"""Five views of an object from one picture of it: Stable Diffusion 2.1 or XL with two passes.

The record is that of `prior/multiview`, on a published U-Net from a folder in the layout of
diffusers (`prior/latent`): reference attention and attention of all views to one another need no
parameters beside the published ones but a vector for each view and the reference, 0 at first. What
the published weights do not know is trained: a second folder holds the trained leaves, with the
digest of the U-Net that they belong to. `params` is {'denoiser', 'vae', 'captions'}: the captions
are embedded once, and the text encoders are not kept.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub, tree
from jax3dgen.core import weights as weight_files
from jax3dgen.core.errors import WeightError
from jax3dgen.core.types import Cond
from jax3dgen.prior import clip_tokens, latent, multiview, schedule

VIEWS = multiview.VIEWS
# Noise level of the reference in units of that of the views (1: zero123++'s); levels of the U-Net
# whose self-attention covers all views of an object: all but the finest, on which the joint
# attention of SD 2.1 costs nearly as much as the rest of the net.
NET = {'share': 1.0, 'joint': (1, 2, 3)}
# The leaves that training leaves as they are: all but self-attention and the vectors of the views.
FROZEN = '^(?!denoiser/(.*/attn1/|slot$))'


def make(configs, net=None, dtype='float32', size=None, tile=None, remat=False):
  """The MultiviewPrior of the nets that `configs` describes, without weights.

  net: the settings NET. The other arguments are those of `prior.latent.make`; with `remat` the pass
  over the views recomputes its blocks in the backward pass, too.
  """
  net = NET | (net or {})
  plain = latent.make(configs, dtype, size, tile, remat)
  levels, output = latent.noise(configs['scheduler'])
  denoiser = latent.denoiser(configs, dtype, remat, views=VIEWS, slots=VIEWS + 1,
                             joint=tuple(net['joint']))
  alone = denoiser.clone(views=1)

  def init(key):
    params = plain.init(key)
    ids = jnp.zeros((VIEWS + 1, len(params['text']), clip_tokens.LENGTH), jnp.int32)
    return with_captions(params, plain.embed(params, ids))

  def network(module, params, x_t, t, cond, slot, **options):
    level = schedule.index(t, len(levels)).astype(jnp.float32)
    return module.apply({'params': params['denoiser']}, x_t, level, cond.tokens, cond.extra,
                        slot=slot, **options)

  def write(params, cond, t):
    rows, y_t, level = multiview.noised_references(plain.schedule, net['share'], cond, t)
    slot = jnp.full(len(y_t), VIEWS)
    return network(alone, params, y_t, level, rows.reference, slot, write=True)[1]

  def views(params, x_t, t, cond, memory):
    slot = jnp.arange(len(x_t)) % VIEWS
    return network(denoiser, params, x_t, t, cond.view, slot, read=memory, keep=cond.keep[::VIEWS])

  condition = lambda params, picture, noise: multiview.spread(
      Cond(**params['captions']), picture, noise)
  return multiview.of_passes(init, plain, output, condition, views, write)


def with_captions(params, captions):
  """The parameters of `prior.latent` as those of this prior: the Cond of V + 1 captions in place of
  the text encoders, and zeros for the vectors of the views."""
  bias = params['denoiser']['time_embedding']['linear_2']['bias']
  slot = jnp.zeros((VIEWS + 1, *bias.shape), bias.dtype)
  rows = {'tokens': captions.tokens, 'extra': captions.extra}
  return {'denoiser': params['denoiser'] | {'slot': slot}, 'vae': params['vae'],
          'captions': {name: x for name, x in rows.items() if x is not None}}


def load(weights, trained=None, dtype='float32', size=None, tile=None, remat=False):
  """(MultiviewPrior, params, condition) of a folder in the layout of diffusers, or of a hub id.

  trained: a folder of trained leaves, which are float32 whatever the dtype; None or '': the
  published weights, which know nothing of views. The other arguments are those of `make`.
  WeightError where a part is missing, damaged, of another network or of other weights.
  """
  folder = latent.locate(weights)
  net = settings(trained, folder) if trained else NET
  plain, params, tokenize = latent.load(folder, dtype, size, tile, remat)
  captions = jax.jit(plain.embed)({'text': params['text']}, tokenize(multiview.CAPTIONS))
  params = with_captions(params, captions)
  prior = make(latent.read(folder), net, dtype, size, tile, remat)
  if trained:
    path = hub.resolve(trained) / multiview.WEIGHTS
    params = tree.join(params, weight_files.load_tree(path, tree.partition(
        params, net['frozen'])[1]))
  return prior, params, prior.condition


def settings(trained, folder):
  """The settings `make` needs, and 'frozen', of the config.json of a folder of trained leaves.

  WeightError where it is damaged, or not of leaves of the U-Net in `folder`.
  """
  path = hub.resolve(trained)
  weight_files.check_seal(path, (multiview.WEIGHTS, *multiview.BESIDE))
  record = hub.read_json(path / 'config.json').get('net')
  if not isinstance(record, dict) or not {*NET, 'frozen', 'prior'} <= record.keys():
    raise WeightError(f'{path / "config.json"} does not describe trained leaves of a published '
                      'U-Net.')
  if record['prior'] != digest(folder):
    raise WeightError(f'{path} was trained from another U-Net (sha256 {record["prior"][:12]}) than '
                      f'that of {folder} ({digest(folder)[:12]}).')
  return {name: record[name] for name in (*NET, 'frozen')}


def digest(folder):
  """sha256 (hex) of the digests of the files of the U-Net in a folder."""
  _, paths = weight_files.find(latent.locate(folder) / 'unet')
  return hashlib.sha256(' '.join(map(weight_files.digest, paths)).encode()).hexdigest()


def is_published(weights):
  """Whether `weights` is a folder in the layout of diffusers, or may be a hub id 'owner/name'."""
  if not weights:
    return False
  folder = hub.resolve(weights)
  if folder.exists():
    return any((folder / latent.CONFIGS[part]).is_file() for part in ('index', 'unet'))
  return not folder.is_absolute() and len(folder.parts) == 2


def start(params, frozen=FROZEN):
  """(leaves that stay as they are, those to train as float32) of `load`'s parameters."""
  still, trained = tree.partition(params, frozen)
  return still, jax.tree.map(lambda x: jnp.asarray(x, np.float32), trained)
