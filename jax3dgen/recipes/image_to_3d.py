"""A picture of an object -> occupancy -> a closed, coloured mesh, and whether it stands.

`run(config, workdir)` is what `python -m experiments.image_to_3d` calls. The colours are those of
the picture, projected onto the mesh: sides that it does not show have those of the nearest part
that it does.
"""

import hashlib
import json
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import camera as cameras
from jax3dgen.core import files, image, paths, rng, settings
from jax3dgen.core.errors import ConfigError, Jax3dgenError
from jax3dgen.export import mesh_io, report, turntable
from jax3dgen.generator import flow, loading, pictures
from jax3dgen.physics import native
from jax3dgen.prior import words
from jax3dgen.recipes.distill import outputs
from jax3dgen.scene import mesh as meshes
from jax3dgen.scene import projection, voxels, zbuffer
from jax3dgen.train import workdir as workdirs

VIEWS = 4  # of views.png
ROOM = 1.25  # distance of the turntable's cameras over that of the picture's: the mesh is all in it
AT_LEAST = {'count': 1, 'sampler.steps': 1, 'result.turntable_frames': 1,
            'result.turntable_size': 16, 'result.drop_seconds': 0}


def default_config():
  """A locked ConfigDict for the embedded generator."""
  c = ConfigDict()
  c.image = ''  # a picture with an alpha channel or a plain background; a folder or pattern of them
  c.seed = 0  # seeds the noise of the samples
  c.count = 1  # samples of each picture; the first that stands uncut is the result, else the first

  c.generator = loading.default_config()

  c.sampler = ConfigDict()
  c.sampler.steps = 12  # Euler steps
  c.sampler.rescale_t = 3.0  # spends more of the steps on high noise levels
  c.sampler.guidance = 1.0  # w of (1 + w) v(image) - w v(null)
  c.sampler.interval = (0.5, 1.0)  # noise levels at which guidance acts

  c.camera = ConfigDict()  # candidates for the camera of the picture, for the colours
  c.camera.azimuth_deg = (-35.0, 35.0)  # range around the object's front
  c.camera.elevation_deg = (0.0, 25.0)  # range, positive from above
  c.camera.step_deg = 5.0  # between candidates
  c.camera.fovy_deg = 40.0  # field of view
  c.camera.distance = 1.475  # from the centre of the object, in units of the generator's cube

  c.result = ConfigDict()
  c.result.turntable_frames = 48  # of one turn
  c.result.turntable_size = 256  # pixels per side of a frame
  c.result.flat_cut = 0.1  # largest share of the height that may be cut off below to make it stand
  c.result.drop_seconds = 10.0  # simulated seconds of the drop
  c.result.stable_deg = 20.0  # rotation from which on it counts as fallen
  return c.lock()


def check(config):
  """ConfigError for the first field with an invalid value."""
  settings.check(config, at_least=AT_LEAST, positive=('camera.step_deg',))
  for name in ('azimuth_deg', 'elevation_deg'):
    low, high = config.camera[name]
    if low > high:
      raise ConfigError(f'config.camera.{name}={config.camera[name]!r} is not a range.')
  if not config.image:
    raise ConfigError('config.image is missing: a picture, or a folder of them.')


def run(config, workdir, allow_change=False, command=lambda folder, image: ''):
  """[figures] of each picture that config.image names, None for one that could not be used.

  A single picture's results are in the workdir, those of several in folders named after them: the
  files of `write`. ConfigError where there is no picture, WeightError for weights.
  """
  check(config)
  sources = paths.find(config.image, pictures.SUFFIXES)
  if not sources:
    raise ConfigError(f'config.image={config.image!r} names no picture '
                      f'({", ".join(pictures.SUFFIXES)}).')
  workdir = pathlib.Path(workdir)
  generator, params = loading.load(config.generator)
  compiled = generator._replace(velocity=jax.jit(generator.velocity),
                                decode=jax.jit(generator.decode), embed=jax.jit(generator.embed))
  results = []
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    for path in sources:
      folder = workdir / words.slug(path.stem) if len(sources) > 1 else workdir
      try:
        results.append(one(config, folder, path, compiled, params,
                           command(folder, str(path))))
      except Jax3dgenError as error:
        if len(sources) == 1:
          raise
        print(f'{path} is left out: {error}', file=sys.stderr)
        results.append(None)
  return results


def sample(config, generator, params, picture):
  """Logits [N, R, R, R] (host) of config.count samples for a picture [S, S, 4]."""
  cond = generator.embed(params, jnp.asarray(picture)[None])
  rows = jax.tree.map(lambda x: jnp.repeat(x, config.count, 0), cond)
  latents = flow.sample(rng.stream(jax.random.key(config.seed), 'noise'), generator, params, rows,
                        jax.tree.map(jnp.zeros_like, rows), **config.sampler)
  return np.concatenate([np.asarray(generator.decode(params, x[None]), np.float32)
                         for x in latents])


def one(config, folder, path, generator, params, command):
  """The figures of one picture's result in `folder`, which is made unless it is there already."""
  began, digest = time.monotonic(), outputs.config_digest(config)
  picture = pictures.square(pictures.read(path))
  content = hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
  try:
    figures = json.loads((folder / 'result.json').read_text(encoding='utf-8'))
    if (figures['config_digest'], figures['picture_digest']) == (digest, content):
      print(f'{folder} is finished: {path}.')
      return figures
  except (FileNotFoundError, ValueError, KeyError):
    pass
  samples, faults = [], []
  for logits in sample(config, generator, params, picture):
    try:
      occupancy = voxels.occupancy(logits)
      surface = voxels.surface(occupancy)
      samples.append((surface, outputs.drop(config, surface), voxels.count(occupancy)))
    except Jax3dgenError as error:
      faults.append(str(error))
  if not samples:
    raise ConfigError(f'{path}: no sample has a surface ({faults[0]}); another picture or '
                      'config.seed may help.')
  surface, before, parts = next((x for x in samples if x[1][1]['stable']), samples[0])
  figures = {'samples': config.count, 'samples_without_surface': len(faults),
             'samples_stable': sum(bool(drop[1]['stable']) for _, drop, _ in samples),
             'parts': parts, 'seed': config.seed}
  return write(config, folder, path, picture, surface, before, figures | {
      'config_digest': digest, 'picture_digest': content}, began, command)


def write(config, folder, path, picture, surface, before, figures, began, command):
  """Writes mesh.glb, turntable.mp4, views.png, report.html and, last, result.json; returns the
  figures.

  views.png is the picture and VIEWS views of the mesh, counter-clockwise from its front. picture
  [S, S, 4] shows the object, cropped; `before` is the drop of the uncut `surface`.
  """
  surface, flat_cut, (fall, stability) = outputs.cut_to_stand(config, surface, before)
  grid = lambda name: np.deg2rad(np.arange(
      config.camera[name][0], config.camera[name][1] + 1e-6, config.camera.step_deg))
  mask = picture[..., 3] > 0.5
  fitted = projection.fit(surface, mask, grid('azimuth_deg'), grid('elevation_deg'),
                          config.camera.distance, np.deg2rad(config.camera.fovy_deg))
  surface = projection.colored(surface, picture[..., :3], mask, fitted)
  draw = lambda camera: zbuffer.render(surface, camera, config.result.turntable_size,
                                      (1.0, 1.0, 1.0), samples=2)
  elevation = float(fitted.camera.elevation[0])
  lens = ROOM * config.camera.distance, np.deg2rad(config.camera.fovy_deg)
  mesh_io.write(folder / 'mesh.glb', surface)
  turntable.write_video(folder / 'turntable.mp4', draw(
      cameras.ring(config.result.turntable_frames, elevation, *lens)))
  side = config.result.turntable_size
  shown = np.asarray(image.resize(image.over(picture, 1.0)[None], (side, side)))
  ring = cameras.ring(VIEWS, elevation, *lens)
  turntable.write_png(folder / 'views.png', image.grid(
      np.concatenate([shown, draw(ring)]), VIEWS + 1))
  figures = figures | {
      **stability, 'flat_cut': flat_cut, 'stable_uncut': before[1]['stable'],
      'rotation_deg_uncut': before[1]['rotation_deg'], 'camera_overlap': round(fitted.overlap, 4),
      'camera_azimuth_deg': round(float(np.rad2deg(fitted.camera.azimuth[0])), 1),
      'camera_elevation_deg': round(float(np.rad2deg(elevation)), 1),
      'vertices': len(surface.vertices), 'faces': len(surface.faces),
      'watertight': meshes.is_watertight(surface.faces),
      'seconds': round(time.monotonic() - began, 1)}
  report.write_report(
      folder / 'report.html', path.name, figures, config.to_dict(), command, mesh=surface,
      rest=native.path(fall.motion) if fall and not fall.diverged else None,
      fps=outputs.MOTION_FPS, film=folder / 'turntable.mp4', glb=folder / 'mesh.glb',
      pictures=[('the input, and the mesh from its camera', image.grid(
          np.concatenate([shown, draw(fitted.camera)]), 2))])
  with files.replacing(folder / 'result.json') as beside:
    beside.write_text(json.dumps(figures, indent=2) + '\n', encoding='utf-8')
  return figures
