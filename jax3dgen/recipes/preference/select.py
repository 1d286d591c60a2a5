"""The step of a tuning run that is its result."""

from jax3dgen.core import parallel
from jax3dgen.recipes.preference import evaluate
from jax3dgen.recipes.preference import problem as problems


def choose(problem, base, model, adapters, cfg, folder):
  """(step, [figures of a step]) of {step: adapters} by the section config.select.

  'last' is the last step. 'validation' is the last whose samples of the validation images, one
  each, keep the mean volume and the mean Chamfer distance within config.select.volume and .chamfer
  times those of the Model `base` on the same noise; step 0, no tuning, where none does. The figures
  are those of every step, the base's first; there are none for 'last'.
  """
  if cfg.select.by == 'last':
    return max(adapters), []
  judge = lambda model, step: evaluate.run(
      problem, model, problem.validation, 1, cfg.select.points, cfg, folder / f'{step:06d}',
      f'validation of step {step}')
  reference = judge(base, 0)
  figures = [{'step': 0} | evaluate.compared(reference, reference, cfg.watch.volume)]
  for step, change in adapters.items():
    rows = judge(problems.tuned(model, change, cfg.lora.scale), step)
    figures.append({'step': step} | evaluate.compared(rows, reference, cfg.watch.volume))
  step = max((row['step'] for row in figures[1:] if within(row, figures[0], cfg.select)), default=0)
  if parallel.is_main():
    print(f'Step {step} of {max(adapters)} is selected on validation images.' if step else
          'No step keeps volume and shape within the bounds of config.select: the model stays as '
          'it was.')
  return step, figures


def within(row, base, cfg):
  """Whether the figures of a step keep the bounds relative to those of the base."""
  if row['volume'] > cfg.volume * base['volume']:
    return False
  if base['chamfer'] is None:  # the true shapes are unknown
    return True
  return row['chamfer'] is not None and row['chamfer'] <= cfg.chamfer * base['chamfer']
