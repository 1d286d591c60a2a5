"""Compares ways to make a 3D generator's samples stand (docs/dso.md).

  python -m experiments.dso_study --config configs/dso_study.py:main --workdir runs/dso

Rows that config.table holds are not computed again. The workdir receives rows.jsonl, dso_study.md,
pictures of samples (pictures/RUN-SEED.png) and of the losses (losses.png, DSO Figure 8), and the
folders of the runs, from which the same command resumes; with --merge the new rows are added to the
table. Parts of the study may share a workdir, and then share samples, labels and runs.
"""

from experiments import _command, _study


def run(config, workdir, args):
  from jax3dgen.core import files
  from jax3dgen.recipes.preference import study, study_page, study_pictures
  _study.write('dso_study', study.run, study_page.text, config, workdir, args)
  with files.replacing(workdir / 'losses.png') as beside:
    beside.write_bytes(study_pictures.losses())


if __name__ == '__main__':
  _command.main(run, __doc__, config='configs/dso_study.py', flags=_study.flags)
