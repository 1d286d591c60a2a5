"""Compares tunings of a multi-view prior by several preferences and seeds (docs/multiview.md).

  python -m experiments.multiview_study --config configs/multiview_study.py --workdir runs/multiview

Rows that config.table holds are not computed again. The workdir receives rows.jsonl,
multiview_study.md, pictures of views (pictures/SEED.png) and the folders of the runs, from which
the same command resumes; with --merge the new rows are added to the table.
"""

from experiments import _command, _study


def run(config, workdir, args):
  from jax3dgen.recipes.multiview import study, study_page
  _study.write('multiview_study', study.run, study_page.text, config, workdir, args)


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/multiview_study.py', flags=_study.flags)
