"""The configuration of a comparison: a distillation's, and what is compared.

The comment behind a field is its help text.
"""

from ml_collections import ConfigDict

from jax3dgen.recipes.distill import config as distill_config


def default_config():
  """An unlocked ConfigDict: that of a distillation with the section `compare`."""
  c = distill_config.default_config().unlock()
  c.compare = ConfigDict()
  c.compare.methods = ('sds', 'sds_rectified', 'vsd', 'usd')  # by name
  c.compare.prompts = ('a red bear',)  # each is made by each method
  c.compare.prompts_file = ''  # text file with a prompt in each line, in place of them
  c.compare.seeds = 10  # of each method and prompt; 0: only count the cells that are there
  c.compare.first_seed = 0  # of them
  c.compare.cells = ''  # folder of finished cells; '': in the workdir
  c.compare.together = 0  # runs of a method at a time in one program, no meshes; 0: whole runs
  c.compare.keep_runs = False  # keep checkpoints, meshes and pages of the runs, too
  return c
