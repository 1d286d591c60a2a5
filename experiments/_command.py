"""The command line that all experiments share.

Flags by argparse, a config by `_config`, the environment of `core/launch`, and a help page that
explains every field of the config. A fault that the user can correct is one sentence and status 2.
Exit status: 0 done, 2 invalid input or stopped, 3 items of a batch failed, 130 interrupted, 143
saved after SIGTERM.
"""

import argparse
import difflib
import errno
import os
import pathlib
import shlex
import signal
import sys

from experiments import _config
from jax3dgen.core import launch
from jax3dgen.core.errors import ConfigError, Jax3dgenError

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPEAT = 0.5  # seconds until a SIGTERM without effect counts again
# Errors of the machine, not of the program.
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
           errno.EISDIR, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}


class Parser(argparse.ArgumentParser):
  """argparse that raises ConfigError where it would print its usage and exit."""

  def error(self, message):
    raise ConfigError(f'{message}; --help explains the options.')


def program():
  """'python -m experiments.distill' as the user typed it."""
  return f'python -m experiments.{pathlib.Path(sys.argv[0]).stem}'


def parser(doc, config, workdir, flags):
  """The parser of a command: its own flags (added by `flags(parser)`) after the common ones."""
  usage = ('[--config FILE[:VARIANT]] [--config.FIELD=VALUE ...] ' if config else '') + (
      '--workdir FOLDER ' if workdir else '')
  p = Parser(usage=f'{program()} {usage}[options]', description=doc, add_help=False,
             allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument('--help', '-h', action='store_true', help='show this page and exit')
  if config:
    path = ROOT / config
    path = os.path.relpath(path) if path.is_relative_to(pathlib.Path.cwd()) else str(path)
    p.add_argument('--config', metavar='FILE[:VARIANT]', default=path,
                   help='the config file (default: %(default)s)')
  if workdir:
    p.add_argument('--workdir', metavar='FOLDER',
                   help='receives the results; the same command again resumes')
    p.add_argument('--allow_change', action='store_true',
                   help='continue in a workdir of another config or device count')
  if flags:
    flags(p)
  return p


def call(run, doc, config=None, workdir=True, flags=None, complete=None, argv=None):
  """Parses `argv`, calls `run` and returns the exit status; `main` explains the arguments."""
  try:
    p = parser(doc, config, workdir, flags)
    argv = sys.argv[1:] if argv is None else argv
    rest, overrides = _config.split(argv) if config else (argv, [])
    args, unknown = p.parse_known_args(rest)
    vars(args).update({name: _config.home(value) for name, value in vars(args).items()})
    if args.help:
      fields = _config.describe(args.config, overrides, complete) if config else []
      print(p.format_help().rstrip(), *fields, sep='\n')
      return 0
    if unknown:
      flag = unknown[0].partition('=')[0]
      near = difflib.get_close_matches(flag, p._option_string_actions, 2)
      p.error(f'unknown argument {flag}{_config.did_you_mean(near)}')
    if workdir and not args.workdir:
      raise ConfigError('--workdir=FOLDER is missing: it receives the results.')
    launch.reexecute()
    values = _config.override(_config.load(args.config)[1], overrides, complete) if config else None
    return run(values, pathlib.Path(args.workdir) if workdir else None, args) or 0
  except Jax3dgenError as e:
    print(f'{program()}: {e}', file=sys.stderr)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    return 130
  except BrokenPipeError:  # the reader of stdout, such as `head`, has exited
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE
  except OSError as e:
    if e.errno not in MACHINE:
      raise
    print(f'{program()}: {e.strerror}' + (f': {e.filename}' if e.filename else ''), file=sys.stderr)
  return 2


def again(name, args, workdir, **fields):
  """The command of experiments/NAME that repeats one run of a batch in `workdir`: the config and
  overrides of this command, with `fields` of the config set."""
  overrides = _config.split(sys.argv[1:])[1] + [(k, str(v)) for k, v in fields.items()]
  return shlex.join(['python', '-m', f'experiments.{name}', '--config', args.config,
                     *(f'--config.{field}={"true" if text is None else text}'
                       for field, text in overrides), '--workdir', str(workdir)])


def main(run, doc, **kwargs):
  """Runs a command and exits with its status.

  `run(config, workdir, args)` does the work and may return a status; `doc` is the docstring of the
  experiment, shown by --help. Keywords: `config`, the default config file below the project's root
  (None: a command without config); `workdir`, whether the command takes one; `flags(parser)` adds
  flags; `complete(config)` adds the fields that depend on values of others. Mains import heavy
  modules inside `run`, so that help and errors appear at once.
  """
  for number in (signal.SIGTERM, signal.SIGALRM):
    signal.signal(number, _terminate)
  for stream in (sys.stdout, sys.stderr):  # of characters that the locale cannot print
    stream.reconfigure(errors='backslashreplace')
  try:
    status = call(run, doc, **kwargs)
  except Exception:
    if not signal.getitimer(signal.ITIMER_REAL)[0]:
      raise
    status = 128 + signal.SIGTERM  # some libraries raise another error after that of `_terminate`
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
  if 'jax' in sys.modules:
    from jax3dgen.core import parallel
    parallel.leave(status)
  sys.exit(status)


def _terminate(number, frame):
  """Ends a command at SIGTERM; the training loop saves first, other commands have nothing to save.

  Finalizers, and libraries that guard their imports, can drop the exception: a timer repeats it.
  """
  signal.setitimer(signal.ITIMER_REAL, REPEAT)
  sys.exit(128 + signal.SIGTERM)
