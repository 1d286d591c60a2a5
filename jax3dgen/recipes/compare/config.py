"""The configuration of a comparison: that of a distillation, with the section `compare`.

The comment behind a field is its help text.
"""

from ml_collections import ConfigDict

from jax3dgen.recipes.distill import config as distill_config


def default_config():
  """An unlocked ConfigDict: that of a distillation with the section `compare`."""
  c = distill_config.default_config().unlock()
  c.compare = ConfigDict()
  c.compare.methods = ('sds', 'sds_rectified', 'vsd', 'usd')  # names in `changes`, or objectives
  c.compare.changes = ()  # (method, ((dotted field, value), ...)) of each that is no objective
  c.compare.prompts = ('a red bear',)  # each is made by each method
  c.compare.prompts_file = ''  # text file with a prompt in each line, in place of them
  c.compare.seeds = 10  # of each method and prompt; 0: only count the finished runs
  c.compare.first_seed = 0  # of them
  c.compare.table = ''  # JSON lines file of finished runs, which are not repeated; '': none
  c.compare.study = ''  # whose rows of the table count; all runs of a method share its settings
  c.compare.batched = 0  # runs of a method at a time in one program, no meshes; 0: whole runs
  c.compare.keep_runs = False  # keep checkpoints, meshes and pages of the runs, too
  return c
