"""The training loop: steps, metrics, checkpoints, hooks, and early ends of a run.

Steps are dispatched ahead of the devices; metrics are fetched only where they are needed.
"""

import collections
import contextlib
import time

import jax

from jax3dgen.core import errors, parallel
from jax3dgen.core import tree as trees
from jax3dgen.train import cost as costs
from jax3dgen.train import log, memory
from jax3dgen.train import stop as stops

IN_FLIGHT = 2  # steps queued on the devices: enough to hide dispatch, few enough to stop quickly


def run(step, state, *, start, steps, writer, checkpoints, log_every, checkpoint_every,
        describe='', hooks=(), guard=stops.DEFAULT, flop=0.0):
  """Runs `step` until `steps` steps are done, `start` of them before; returns the replicated state.

  step: (state) -> (state, metrics {name: replicated scalar}), compiled, state donated.
  hooks: pairs (every, function(step, state)), also called after the last step (with 0, only then),
  by process 0 alone.
  flop: floating-point operations of the remaining steps on each device; 0 if unknown.
  Figures are written every `log_every` steps and after the first and the last one. SIGTERM saves
  and raises SystemExit(143). A run that diverges raises DivergenceError; no checkpoint holds a
  non-finite number or a state that the watchdog refuses.
  """
  progress = log.Progress(start, steps, describe)
  pending = collections.deque()
  with stops.Preemption() as preemption, memory.memory_errors(), progress:
    began = time.monotonic()
    for i in range(start + 1, steps + 1):
      state, metrics = step(state)
      if i == start + 1:
        progress.say(f'The first step took {time.monotonic() - began:.1f} s.')
      pending.append(metrics)
      if len(pending) > IN_FLIGHT:
        jax.block_until_ready(pending.popleft())
      progress.advance()

      stop, last = preemption.requested(i), i == steps
      write = last or i == 1 or due(i, log_every)
      save = last or stop or due(i, checkpoint_every)
      if write or save:
        figures = {name: float(x) for name, x in parallel.unreplicate(metrics).items()}
        _check(i, figures, state, checkpoints, guard)
      if write:
        parallel.from_main(writer.write, i, figures)
        progress.show(i, figures)
      for every, function in hooks:
        if last or due(i, every):
          parallel.from_main(function, i, state)
      if save:
        _save(i, state, checkpoints)
      if stop and not last:
        checkpoints.wait()
        progress.say(f'Stopped by a signal after step {i}, which is saved; the same command '
                     'resumes.')
        raise SystemExit(preemption.status)
    checkpoints.wait()
    progress.say(f'Peak memory {memory.peak() / memory.GIB:.2f} GiB.')
    if flop:
      progress.say(costs.speed(flop, time.monotonic() - began))
  return state


def optimise(cfg, workdir, programs, start, state, checkpoints, describe, fixed=(),
             hooks=lambda writer: (), watchdog=stops.DEFAULT.watchdog):
  """Runs the steps from `start` to cfg.train.steps; returns the final host state.

  programs: the mapped step (state, *fixed) -> (state, metrics) of each of these steps, in order;
  most or all of them are the same one.
  hooks: (writer of the run's figures) -> the hooks of `run`.
  """
  replicated = parallel.replicate(state)
  began = time.monotonic()
  by_program = {program: parallel.cost(program, replicated, *fixed)
                for program in dict.fromkeys(programs)}
  if parallel.is_main():
    print(f'Compiled the step in {time.monotonic() - began:.1f} s.')
  memory.check_memory(max(by_program.values(), key=lambda cost: cost.beside))
  turns = iter(programs)
  with contextlib.closing(log.Writer(workdir, start)) as writer:
    final = run(
        lambda state: next(turns)(state, *fixed), replicated, start=start, steps=cfg.train.steps,
        writer=writer, checkpoints=checkpoints, log_every=cfg.log.every,
        checkpoint_every=cfg.checkpoint.every, describe=describe, hooks=hooks(writer),
        guard=stops.Guard(watchdog, cfg.train.max_skipped),
        flop=sum(by_program[program].flop for program in programs))
  return parallel.unreplicate(final)


def due(step, every):
  """Whether `step` is a multiple of `every`; never with 0."""
  return every > 0 and step % every == 0


def _check(step, figures, state, checkpoints, guard):
  """Raises DivergenceError where too many steps were skipped or the watchdog reports a collapse."""
  if figures.get('skipped', 0) >= guard.max_skipped:
    _save(step, state, checkpoints)
    checkpoints.wait()
    raise errors.DivergenceError(
        f'Stopped at step {step}: the gradients of the last {figures["skipped"]:.0f} steps were '
        'not finite, and their updates were skipped; the last good state is saved.')
  collapse = guard.watchdog(step, figures)
  if collapse:
    raise errors.DivergenceError(f'Stopped at step {step}: {collapse}. The checkpoint before it '
                                 'is kept.')


def _save(step, state, checkpoints):
  host = parallel.unreplicate(state)
  bad = trees.nonfinite(host)
  if bad:
    checkpoints.wait()
    raise errors.DivergenceError(
        f'Stopped at step {step}: the state is not finite in {", ".join(bad[:3])}. The checkpoint '
        'before it is kept.')
  checkpoints.save(step, host)
