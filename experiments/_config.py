"""Config files of the command line: load one, override its fields, explain them.

A config file is a Python file whose `get_config(variant='')` returns a ConfigDict; `path:variant`
passes the variant. `--config.train.steps=200` overrides a field by a value of its default's type.
Every fault raises ConfigError with one sentence.

ml_collections.config_flags gives the types of fields and sets them; its flags are not used: they
leave a switch on for `--config.x false`, take (1 or ('a',) for a tuple of numbers and any word for
a schedule, have no lists, and look fields up before `complete` adds those that depend on others.
"""

import ast
import contextlib
import difflib
import importlib.util
import inspect
import os
import pathlib
import re
import shlex
import traceback

from ml_collections import ConfigDict
from ml_collections.config_flags import config_path

from jax3dgen.core.errors import ConfigError, Jax3dgenError

SWITCH = {'true': True, '1': True, 'false': False, '0': False}
KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text',
         tuple: 'a tuple like its default', list: 'a list like its default',
         object: 'a number or a tuple of numbers', type(None): 'a Python literal'}
MAX_FLAG = 300  # characters of a field and its default on the help page


def split(argv):
  """argv -> (all but the overrides, [(field, text)]), from `--config.a.b=1`, `--config.a.b 1`, and
  for switches `--config.a.b` (text None) and `--noconfig.a.b`."""
  rest, overrides, words = [], [], list(argv)
  while words:
    flag, equals, text = words.pop(0).partition('=')
    if flag.startswith('--noconfig.') and not equals:
      overrides.append((flag.removeprefix('--noconfig.'), 'false'))
    elif flag.startswith('--config.'):
      if not equals:
        text = words.pop(0) if words and not words[0].startswith('--') else None
      overrides.append((flag.removeprefix('--config.'), text))
    else:
      rest.append(flag + equals + text)
  return rest, overrides


def load(spec):
  """'path.py' or 'path.py:variant' -> (the module, its ConfigDict)."""
  stem, suffix, variant = spec.partition('.py:')
  path = pathlib.Path(f'{stem}.py' if suffix else stem)
  if not path.is_file():
    stems = difflib.get_close_matches(path.stem, [p.stem for p in path.parent.glob('[!_]*.py')])
    near = [str(path.with_name(f'{stem}.py')) for stem in stems]
    raise ConfigError(f'--config={spec}: there is no file {path}{did_you_mean(near)}.')
  if path.suffix != '.py':
    raise ConfigError(f'--config={spec}: a config is a Python file (.py) with get_config().')
  module_spec = importlib.util.spec_from_file_location(f'_config_{path.stem}', path)
  module = importlib.util.module_from_spec(module_spec)
  try:
    module_spec.loader.exec_module(module)
    get_config = getattr(module, 'get_config', None)
    if not callable(get_config):
      raise ConfigError(f'{path} has no get_config() function.')
    if variant and not inspect.signature(get_config).parameters:
      raise ConfigError(f'{path} has no variants; leave out ":{variant}".')
    config = get_config(variant) if variant else get_config()
  except Jax3dgenError:
    raise
  except Exception as e:
    raise ConfigError(f'--config={spec}: {blame(e, path)}') from e
  if not isinstance(config, ConfigDict):
    raise ConfigError(f'{path}: get_config() returned {type(config).__name__}, not a ConfigDict.')
  return module, config


def blame(error, path):
  """'line 3: NameError: ...' for an exception raised while the config file at `path` ran."""
  lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
  line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
  text = ' '.join(str(error.args[0] if error.args else error).split())
  kind = '' if isinstance(error, ValueError) else f'{type(error).__name__}: '
  return f'{f"line {line}: " if line else ""}{kind}{text.rstrip(".")}.'


def did_you_mean(names):
  """'; did you mean a or b', or '' for no names."""
  return f'; did you mean {" or ".join(names)}' if names else ''


def leaves(config, prefix=''):
  """(dotted name, value) of every field below `config`, sections left out."""
  for name in config:
    if isinstance(config[name], ConfigDict):
      yield from leaves(config[name], f'{prefix}{name}.')
    else:
      yield prefix + name, config[name]


def override(config, overrides, complete=None):
  """Sets the overrides [(field, text)] in `config` and returns it locked. `complete(config)` adds
  the fields that depend on other values (the settings of an objective); they are set after it. Then
  `home` expands the texts."""
  fields = dict(leaves(config))
  for late in (False, True):
    if late and complete:
      config = complete(config)
    for field, text in overrides:
      if (field not in fields) == late:
        assign(config, field, text)
  for field, value in leaves(config):
    if home(value) != value:
      config_path.set_value(field, config, home(value))
  return config.lock()


def home(value):
  """A text with a `~` at its start as the home folder, and lists of texts alike."""
  if isinstance(value, (tuple, list)):
    return type(value)(map(home, value))
  return os.path.expanduser(value) if isinstance(value, str) else value


def assign(config, field, text):
  """Sets one field of `config` to the value of `text` (None: the flag has no value)."""
  fields = dict(leaves(config))
  if field not in fields:
    raise ConfigError(f'config.{field}{no_field(config, field, fields)}.')
  default, kind = fields[field], config_path.get_type(field, config)
  try:
    value = parse('true' if text is None and kind is bool else text, default, kind)
  except (ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError):
    fault = 'stands without a value' if text is None else f'cannot be {text!r}'
    raise ConfigError(f'config.{field} {fault}: it takes {KINDS.get(kind, kind.__name__)}, and its '
                      f'default is {default!r}.') from None
  config_path.set_value(field, config, value)


def no_field(config, field, fields):
  """Why `field` is none of the `fields` of `config`."""
  below = [f'config.{name}' for name in fields if name.startswith(f'{field}.')]
  if below:
    return f' is a section; set one of its fields: {", ".join(below)}'
  last = lambda name: name.rpartition('.')[2]
  close = lambda a, b: difflib.SequenceMatcher(None, a, b).ratio() >= 0.75
  near = [name for name in fields if close(field, name) or close(last(field), last(name))]
  near = [f'config.{name}' for name in difflib.get_close_matches(field, near, 3, 0.0)]
  hint = did_you_mean(near) or f'; the top level has {", ".join(sorted(config))}'
  return f': there is no such field{hint}'


def parse(text, default, kind):
  """`text` as a value of type `kind`, or an error; type `object`, a number or a schedule, takes any
  Python literal but a string."""
  if kind is str and text is not None:
    return text
  if kind is bool:
    return SWITCH[text.lower()]
  if kind in (int, float):
    return None if default is None and text == 'None' else kind(text)
  value = ast.literal_eval(text)
  if kind in (tuple, list):
    return kind(elements(value, default))
  if kind is object and isinstance(value, str):
    raise TypeError(kind)
  return value


def elements(values, default):
  """A tuple or list of the types that the elements of `default` have; integers become floats."""
  kinds = {type(value) for value in default}
  if kinds == {float}:
    values = [float(value) if type(value) is int else value for value in values]
  if not isinstance(values, (tuple, list)) or kinds and not {type(v) for v in values} <= kinds:
    raise TypeError(kinds)
  return values


def comments(text):
  """{'train.steps': 'optimisation steps'} from `c.train.steps = 200  # optimisation steps`, whose
  value may go on in deeper indentation, and from the items of DEFAULTS."""
  fields = re.findall(r'^( *)\w+\.([\w.]+) = .*?(?:\n\1 +.*?)*? # (.+)$', text, re.M)
  defaults = text.partition('\nDEFAULTS = ')[2].partition('\n\n')[0]
  items = re.findall(r"'(\w+)': .*? # (.+)$", defaults, re.M)
  return {name: comment for _, name, comment in reversed(fields)} | {
      f'distill.{name}': comment for name, comment in items}


def objective_files(config):
  """The files of the objective config.distill.name and of those whose DEFAULTS it takes over."""
  names, files = [config.distill.name] if 'distill' in config else [], []
  for name in names:  # which grows
    spec = _find_spec(f'jax3dgen.distill.{name}') or _find_spec(name)
    if spec and spec.origin:
      files.append(pathlib.Path(spec.origin))
      bases = re.findall(r'(\w+)\.DEFAULTS\b', files[-1].read_text('utf-8'))
      names += [base for base in bases if base not in names]
  return files


def _find_spec(name):
  with contextlib.suppress(ModuleNotFoundError, ValueError):
    return importlib.util.find_spec(name)


def sources(module):
  """The files of a config module, and of all modules with a default_config() or get_config() that
  it imports, directly or by one of these."""
  files = [module.__file__]
  for value in list(vars(module).values()):
    function = getattr(value, 'default_config', value)
    if getattr(function, '__name__', '') == 'default_config':
      value = inspect.getmodule(function)
    if inspect.ismodule(value) and value is not module and (
        hasattr(value, 'default_config') or hasattr(value, 'get_config')):
      files += sources(value)
  return files


def explanations(module, config):
  """{field: comment behind it}, from the objective, the config file and all that it builds on."""
  meanings = {}
  for file in [*objective_files(config), *sources(module)]:
    meanings = comments(pathlib.Path(file).read_text('utf-8')) | meanings
  for name, _ in leaves(config):  # of a whole config that is a section of another one
    within = name
    while within and within not in meanings:
      within = within.partition('.')[2]
    if within:
      meanings[name] = meanings[within]
  return meanings


def describe(spec, overrides=(), complete=None):
  """Lines of help: every field of the config `spec`, its value and the comment behind it."""
  module, config = load(spec)
  config = override(config, overrides, complete)
  meanings = explanations(module, config)
  lines = ['', f'fields of {spec} and their defaults:']
  for name, value in leaves(config):
    flag = f'--config.{name}={shlex.quote(value if isinstance(value, str) else repr(value))}'
    flag = flag if len(flag) <= MAX_FLAG else f'{flag[:MAX_FLAG]}...'
    lines.append(f'  {flag:<44}  {meanings.get(name, "")}'.rstrip())
  return lines
