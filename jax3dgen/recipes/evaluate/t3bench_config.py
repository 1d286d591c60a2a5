"""The configuration of a T3Bench run: every field, its default and what it means.

The comment behind a field is its help text. The defaults are the protocol's.
"""

from ml_collections import ConfigDict


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.prompts = ()  # text files of prompts, one in each line; a file is a group, named after it
  c.meshes = 'runs/{slug}/mesh.glb'  # path of a prompt's mesh; {slug} as experiments.distill names
  c.up = 'auto'  # the axis that is up in the meshes: y, z, or auto (y for GLB and GLTF, else z)
  c.size = 512  # pixels per side of a picture
  c.samples = 1  # rays per side of a pixel
  c.subdivisions = 2  # of the icosphere of cameras: 2 are 162 places, 1 are 42, 0 are 12
  c.batch = 18  # pictures per call of the scorer

  c.quality = ConfigDict()
  c.quality.scorer = ''  # 'module:function', (images, prompt) -> rewards [B]; empty: built in
  c.quality.text_image = ''  # folder of a CLIP, the built-in scorer; empty: the shipped model

  c.alignment = ConfigDict()
  c.alignment.captioner = ''  # 'module:function', images -> list of captions; empty: no alignment
  c.alignment.judge = ''  # 'module:function', (prompt, captions) -> level 1 to 5
  return c.lock()
