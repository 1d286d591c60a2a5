"""What every experiment's command line does alike.

Its flags and its config, one clear sentence and exit status 2 where the user can mend something,
the environment of `core/launch`, and a help page that explains every field of the config. Exit
status: 0 done, 2 refused or stopped, 3 some items of a batch could not be judged, 130 interrupted,
143 saved after SIGTERM.
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
REFUSED = 2
# What the machine, not the program, refuses: said in one sentence as well.
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
           errno.EISDIR, errno.ENAMETOOLONG}


class Parser(argparse.ArgumentParser):
  """argparse that raises ConfigError instead of printing its usage and leaving."""

  def error(self, message):
    raise ConfigError(f'{message}; --help explains the options.')


def parser(doc, config, workdir, flags):
  """The parser of a command: its own flags (added by `flags(parser)`) beside the common ones."""
  p = Parser(prog=program(), description=doc, add_help=False, allow_abbrev=False,
             formatter_class=argparse.RawDescriptionHelpFormatter, usage=usage(config, workdir))
  p.add_argument('--help', '-h', action='store_true', help='show this page and leave')
  if config:
    p.add_argument('--config', metavar='FILE[:VARIANT]', default=shown(ROOT / config),
                   help='the config file (default: %(default)s)')
  if workdir:
    p.add_argument('--workdir', metavar='FOLDER', help='receives the results; the same command '
                   'again resumes what is there')
    p.add_argument('--allow_change', action='store_true',
                   help='go on in a workdir that was begun with another config or device count')
  if flags:
    flags(p)
  return p


def program():
  """'python -m experiments.distill' as the user typed it."""
  return f'python -m experiments.{pathlib.Path(sys.argv[0]).stem}'


def usage(config, workdir):
  """The one-line form of the command."""
  configs = '[--config FILE[:VARIANT]] [--config.FIELD=VALUE ...] ' if config else ''
  return f'{program()} {configs}{"--workdir FOLDER " if workdir else ""}[options]'


def shown(path):
  """`path` relative to the current folder where it lies below it."""
  return os.path.relpath(path) if path.is_relative_to(pathlib.Path.cwd()) else str(path)


def parse(p, argv):
  """argv -> (namespace, overrides); ConfigError for an unknown flag, with its close spellings."""
  rest, overrides = _config.split(argv)
  args, unknown = p.parse_known_args(rest)
  if not hasattr(args, 'config') and overrides:
    unknown += [f'--config.{overrides[0][0]}']
  if unknown and not args.help:
    word = unknown[0].partition('=')[0]
    near = difflib.get_close_matches(word, p._option_string_actions, 2, 0.6)
    kind = 'option' if word.startswith('-') else 'argument'
    raise ConfigError(f'unknown {kind} {word}{_config.did_you_mean(near)}; --help explains the '
                      'options.')
  return args, overrides


def help_page(p, args, complete):
  """The command's docstring, its flags, and every field of the config that was chosen."""
  lines = [p.format_help().rstrip()]
  if hasattr(args, 'config'):
    module, config = _config.load(args.config)
    config = complete(config) if complete else config
    lines += ['', f'fields of {args.config} and their defaults:', *_config.describe(module, config)]
  return '\n'.join(lines)


def execute(run, doc, config, workdir, flags, complete, argv):
  """Parses `argv` and calls `run`; returns the exit status, Jax3dgenErrors pass through."""
  p = parser(doc, config, workdir, flags)
  args, overrides = parse(p, argv)
  if args.help:
    print(help_page(p, args, complete))
    return 0
  if workdir and not args.workdir:
    raise ConfigError('--workdir=FOLDER is missing: it receives the results.')
  launch.reexecute()
  chosen = _config.override(_config.load(args.config)[1], overrides, complete) if config else None
  return run(chosen, pathlib.Path(args.workdir) if workdir else None, args) or 0


def call(run, doc, config=None, workdir=True, flags=None, complete=None, argv=None):
  """`execute` with the error policy: an exit status, and no traceback for what a user can mend."""
  argv = sys.argv[1:] if argv is None else argv
  try:
    return execute(run, doc, config, workdir, flags, complete, argv)
  except Jax3dgenError as e:
    print(f'{program()}: {e}', file=sys.stderr)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    return 130
  except BrokenPipeError:  # whoever read the output, `head` perhaps, has seen enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE
  except OSError as e:
    if e.errno not in MACHINE:
      raise
    print(f'{program()}: {e.strerror}' + (f': {e.filename}' if e.filename else ''), file=sys.stderr)
  return REFUSED


def again(name, args, workdir, **fields):
  """The command of experiments/NAME that repeats one run of a batch: this one's config and
  overrides, with `fields` of the config set, into `workdir`."""
  overrides = _config.split(sys.argv[1:])[1] + [(k, str(v)) for k, v in fields.items()]
  return shlex.join(['python', '-m', f'experiments.{name}', '--config', args.config,
                     *(f'--config.{field}={"true" if text is None else text}'
                       for field, text in overrides), '--workdir', str(workdir)])


def main(run, doc, **kwargs):
  """Runs a command and leaves with its exit status.

  `run(config, workdir, args)` does the work and may return a status; `doc` is the experiment's
  docstring, shown by --help. Keywords: `config`, the default config file below the project's root
  (none: the command has no config); `workdir`, whether it needs one; `flags(parser)` adds the
  experiment's own flags; `complete(config)` adds the fields that a choice in the config brings
  along. Mains import what is heavy inside `run`: help and refusals then answer at once.
  """
  # The training loop saves first; anywhere else there is nothing to save.
  signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
  for stream in (sys.stdout, sys.stderr):  # a prompt may hold what the locale cannot print
    stream.reconfigure(errors='backslashreplace')
  status = call(run, doc, **kwargs)
  if 'jax' in sys.modules:
    from jax3dgen.core import parallel
    parallel.leave(status)
  sys.exit(status)
