"""The configuration of an evaluation: every field, its default and what it means.

The comment behind a field is its help text. The numbers of views are those of the papers.
"""

from ml_collections import ConfigDict


def default_config():
  """A locked ConfigDict; an unknown field raises."""
  c = ConfigDict()
  c.runs = ''  # a workdir of experiments.distill, a folder of them, or a folder of PNG pictures
  c.prompt = ''  # prompt of a folder of pictures; runs have their own
  c.source = 'auto'  # of a run: mesh, field or previews; auto: the first that exists

  c.views = ConfigDict()
  c.views.fid = 5  # views of each object that are compared with the reference (RecDreamer)
  c.views.entropy = 10  # views of the entropies and of the distance from the text (RecDreamer)
  c.views.diversity = 120  # views of IV, IQ and the cosine (DiverseDream, JSD)
  c.views.janus = 24  # views of the referee's face count, winding and divergence
  c.views.elevation_deg = 15.0  # of all of them
  c.views.size = 32  # pixels per side

  c.reference = ConfigDict()
  c.reference.folder = ''  # PNG pictures to compare with; empty: samples of the prior
  c.reference.prior = 'embedded'  # module of jax3dgen/prior, or a module on the path, with load()
  c.reference.weights = ''  # folder of its weights; empty: the ones shipped with the package
  c.reference.count = 60  # samples for each prompt
  c.reference.seed = 0  # of the samples
  c.reference.steps = 24  # DDIM steps of a sample
  c.reference.guidance = 4.0  # their guidance scale
  c.reference.clip = 1.0  # bound of the clean estimate while sampling; 0: none, for latents
  c.reference.size = 32  # pixels per side of a sample

  c.judge = ConfigDict()
  c.judge.features = ''  # FID, cosine: Inception folder or 'module:function' -> [B, D]; '': referee
  c.judge.classes = ''  # IV, IQ: Inception folder or 'module:function' -> p [B, K]; '': referee
  c.judge.poses = ''  # 'module:function', images -> p [B, 4] as camera.VIEWS; empty: referee's
  c.judge.text_image = ''  # folder of a CLIP, or 'module:function' -> Model; empty: shipped
  c.judge.batch = 40  # pictures per batch
  return c.lock()
