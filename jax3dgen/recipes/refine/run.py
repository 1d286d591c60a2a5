"""A run in stages: a field by a distillation run, its surface, its texture.

`run(config, workdir)` is what `python -m experiments.distill` calls for a config with `stages`.
Each stage has its own folder in the workdir and resumes there; a stage that fails leaves those
before it whole. The workdir itself receives the files of a distillation run for the last stage.
"""

import pathlib
import time

from ml_collections import FrozenConfigDict

from jax3dgen.core import image, parallel
from jax3dgen.export import curves, mesh_io, turntable
from jax3dgen.recipes.distill import outputs
from jax3dgen.recipes.distill import parts as distill_parts
from jax3dgen.recipes.distill import run as distill
from jax3dgen.recipes.refine import config as settings
from jax3dgen.recipes.refine import geometry, texturing, views
from jax3dgen.train import workdir as workdirs

default_config = settings.default_config


def run(config, workdir, allow_change=False, command=''):
  """The distill.Result of the stages of `config` in `workdir`."""
  parallel.initialize()
  settings.check(config)
  began, workdir = time.monotonic(), pathlib.Path(workdir)
  configs = {stage: settings.of_stage(config, stage) for stage in config.stages}
  if len(configs) == 1:
    return distill.run(configs[settings.FIELD], workdir, allow_change=allow_change, command=command)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    figures = parallel.from_main(distill.complete_figures, workdir, config)
    if figures:
      print(f'{workdir} is finished: {figures["prompt"]!r}, {", ".join(config.stages)}.')
      return distill.Result(workdir, figures, None)
    start = distill.run(configs[settings.FIELD], workdir / settings.FIELD,
                        allow_change=allow_change)
    field = distill_parts.build_field(configs[settings.FIELD])
    mesh = sculpt(configs[settings.GEOMETRY], workdir / settings.GEOMETRY, field, start.field,
                  allow_change)
    last, params = configs[settings.GEOMETRY], start.field
    if settings.TEXTURE in configs:
      last = configs[settings.TEXTURE]
      params = paint(last, workdir / settings.TEXTURE, field, params, mesh, allow_change)
    figures = parallel.from_main(write, last, config, workdir, field, params, mesh, began, command)
  return distill.Result(workdir, figures, params)


def sculpt(config, workdir, field, field_params, allow_change):
  """The Mesh after the geometry stage in its folder, which receives mesh.glb and previews."""
  parts, capacity = geometry.build(config, field, field_params)

  def preview(parts, workdir):
    def write(step, state):
      mesh = geometry.surface_of(parts.cfg, capacity, parallel.unreplicate(state.field))
      draw = texturing.renderer(parts.cfg, field, mesh, parts.cfg.log.preview_size)
      strip(parts.cfg, draw, field_params, workdir / 'previews' / f'{step:06d}.png')
    return write
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    steps = distill.steps_of(parts)
    _, params = distill.descend(steps, workdir, config, preview, views.watchdog('geometry'))
    mesh = geometry.surface_of(parts.cfg, capacity, params)
    parallel.from_main(mesh_io.write, workdir / 'mesh.glb', mesh)
  return mesh


def paint(config, workdir, field, field_params, mesh, allow_change):
  """The field's parameters after the texture stage in its folder, which receives previews."""
  parts = texturing.build(config, field_params, mesh)

  def preview(parts, workdir):
    draw = texturing.renderer(parts.cfg, field, mesh, parts.cfg.log.preview_size)
    return lambda step, state: strip(parts.cfg, draw, parallel.unreplicate(state.field),
                                     workdir / 'previews' / f'{step:06d}.png')
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    steps = distill.steps_of(parts)
    return distill.descend(steps, workdir, config, preview, views.watchdog('texture'))[1]


def strip(cfg, draw, params, path):
  """Writes 8 views side by side, drawn by a `texturing.renderer`."""
  picture = draw(params, outputs.ring(cfg, outputs.PREVIEW_VIEWS))
  turntable.write_png(path, image.grid(picture, outputs.PREVIEW_VIEWS))


def write(last, config, workdir, field, params, mesh, began, command):
  """`outputs.write_asset` of the last stage."""
  cfg = FrozenConfigDict(last)
  asset = texturing.asset(cfg, field, params, mesh)
  strips, lines, done = [], {}, 0
  for stage in config.stages:
    strips += [(done + step, picture) for step, picture in outputs.previews(workdir / stage)]
    for name, (steps, values) in curves.read(workdir / stage / 'metrics.csv').items():
      lines[f'{stage}: {name}'] = done + steps, values
    done += settings.of_stage(config, stage).train.steps
  return outputs.write_asset(cfg, workdir, asset, config, began, command or distill.REPEAT, strips,
                             lines)
