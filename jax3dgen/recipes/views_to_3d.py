"""A picture of an object -> five views of it -> a field -> a mesh that stands.

`run(config, workdir)` is what `python -m experiments.views_to_3d` calls. A multi-view prior draws
the views from the picture; a distillation run (`recipes/distill`) then fits its field to them, with
its objective at low weight for what they leave open. Views may also come from elsewhere:
config.views is then their folder.
"""

import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
from PIL import Image

from jax3dgen.core import image as images
from jax3dgen.core import parallel, rng, settings
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import multiview as world
from jax3dgen.export import mesh_io, turntable
from jax3dgen.generator import pictures
from jax3dgen.prior import multiview, multiview_loading
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.distill import views as known_views
from jax3dgen.scene import zbuffer
from jax3dgen.train import workdir as workdirs

AT_LEAST = {'sampler.steps': 1, 'sampler.eta': 0, 'sampler.guidance': 0, 'seed': 0}
# Larger side of an object, of that of the picture; in `data/multiview` nearly all have .5 to .91.
SHARES = (0.50, 0.58, 0.66, 0.74, 0.82, 0.90)
SHOWN = 4  # times that a pixel of views.png is enlarged where the views are small
SIDES = 4  # views of the mesh in overview.png


def default_config():
  """A locked ConfigDict for the embedded priors; an unknown field raises."""
  c = ConfigDict()
  c.image = ''  # a picture with an alpha channel or an even background, from a side of the object
  c.views = ''  # a folder of views and cameras in place of a picture (`recipes/distill/views`)
  c.crop = True  # frame the picture by `choose`; False: it has the framing of the prior's training
  c.seed = 0  # seeds the views

  c.prior = multiview_loading.default_config()

  c.sampler = ConfigDict()
  c.sampler.steps = 20  # DDIM steps
  c.sampler.eta = 1.0  # share of the noise of an ancestral step
  c.sampler.guidance = 1.0  # toward the picture; 1: none

  c.asset = distill_config.default_config()  # the run that makes the asset of the views
  c.asset.prompt = 'a figurine'
  c.asset.train.steps = 400
  c.asset.distill.guidance = 1.0  # with more, the prompt draws the colours away from the views
  c.asset.views.color, c.asset.views.opacity = 3e5, 1e5
  # Cells of at least a pixel of the views, and densities that make edges: others are speckled.
  c.asset.field.update({'levels': 4, 'finest': 24, 'activation': 'exp'})
  return c.lock()


def check(config):
  """ConfigError for the first field with an invalid value."""
  settings.check(config, at_least=AT_LEAST)
  if bool(config.image) == bool(config.views):
    raise ConfigError('Give config.image, a picture of an object, or config.views, a folder of '
                      'views of it; one of the two.')


def run(config, workdir, allow_change=False, command=''):
  """The distill.Result of the asset in `workdir`, which receives views.png, overview.png and the
  folder views beside the files of a distillation run. ConfigError or WeightError for what cannot be
  used."""
  check(config)
  workdir = pathlib.Path(workdir)
  folder = config.views or workdir / 'views'
  if not config.views:
    parallel.from_main(make_views, config, workdir, allow_change)
  asset = config.asset.copy_and_resolve_references()
  asset.seed, asset.views.folder = config.seed, str(folder)
  result = distill.run(asset, workdir, allow_change=allow_change, command=command)
  if not config.views and not asset.result.texture:
    parallel.from_main(overview, asset, workdir)
  return result


def overview(asset, workdir):
  """Writes overview.png: views.png, then SIDES views of the mesh, counter-clockwise from its front,
  in its vertex colours."""
  with Image.open(workdir / 'views.png') as file:
    row = np.asarray(file)
  drawn = zbuffer.render(mesh_io.read(workdir / 'mesh.glb'), outputs.ring(asset, SIDES), len(row),
                        (1.0, 1.0, 1.0), samples=2)
  strip = images.grid(images.to_uint8(drawn), SIDES)
  turntable.write_png(workdir / 'overview.png', np.concatenate([row, strip], 1))


def make_views(config, workdir, allow_change):
  """Draws the views of config.image into workdir/views, unless they are there."""
  folder = workdir / 'views'
  plain = {name: value for name, value in config.to_dict().items() if name != 'asset'}
  with workdirs.lock(folder):
    workdirs.check_config(folder, ConfigDict(plain), allow_change)
    if (folder / known_views.CAMERAS).exists():
      return
    prior, params, _ = multiview_loading.load(config.prior)
    references = read(config.image, SHARES if config.crop else None,
                      multiview.pixels(prior, params))
    candidates = sample(config, prior, params, references)
    best = choose(references, candidates)
    reference, views = references[best], candidates[best]
    known_views.write(folder, views, world.SLOTS, world.AZIMUTH_DEG, world.ELEVATION_DEG,
                      world.DISTANCE, world.FOVY_DEG, True)
    strip = images.grid(np.concatenate([reference[None], views]), 1 + len(views))
    factor = SHOWN if reference.shape[0] <= world.SIZE else 1
    turntable.write_png(workdir / 'views.png', images.enlarge(strip, factor))


def read(path, shares=None, size=world.SIZE):
  """Pictures [N, S, S, 3] on white of a file, as the multi-view prior takes them, S = `size`.

  N is 1 without `shares`; with them, the object is centred and its larger side one of them, of the
  picture's.
  """
  picture = pictures.read(path)
  if shares is None:
    picture = np.asarray(picture.convert('RGB'), np.float32)[None] / 255
    return np.clip(images.resize(picture, (size, size)), 0.0, 1.0)
  rgba = np.stack([pictures.square(picture, size, 1 / share) for share in shares])
  return np.asarray(images.over(rgba, 1.0))


def choose(references, views):
  """The index of the framing whose views [N, V, S, S, 3] show the reference [N, S, S, 3] best.

  The prior tells kinds by size too: of a penguin that is too large it draws a bear, or adds a hat.
  The least square error of the references to one of the four sides, relative to the object's own
  difference from white, finds the framing. Its limit: the framings of `read` are centred, and a
  side that is drawn right does not prove the others.
  """
  error = np.square(views[:, :world.SIDES] - references[:, None]).sum((2, 3, 4)).min(1)
  return int(np.argmin(error / np.square(1.0 - references).sum((1, 2, 3))))


def sample(config, prior, params, references):
  """Views [N, V, S, S, 3] of references [N, S, S, 3], by the section config.sampler."""
  picture = prior.encode(params, jnp.asarray(multiview.check_references(references)))
  cond = prior.condition(params, picture, jnp.zeros_like(picture))

  @jax.jit
  def draw(key, params, cond):
    x0 = multiview.sample(key, prior, params, cond, config.sampler.steps, config.sampler.guidance,
                          config.sampler.eta)
    return jnp.clip(prior.decode(params, x0), 0.0, 1.0)
  views = draw(rng.stream(jax.random.key(config.seed), 'views'), params, cond)
  return np.asarray(views).reshape(len(references), -1, *views.shape[1:])
