"""Config files of the command line: load one, override its fields, explain them.

A config file is a Python file whose `get_config(variant='')` returns a ConfigDict; `path:variant`
passes the variant. An override is `--config.train.steps=200`; the value must be of the type of the
field's default. Everything that is wrong raises ConfigError with one sentence.
"""

import ast
import difflib
import importlib.util
import inspect
import io
import pathlib
import shlex
import tokenize
import traceback

from ml_collections import ConfigDict

from jax3dgen.core.errors import ConfigError, Jax3dgenError

WORDS = {'true': True, '1': True, 'false': False, '0': False}
KINDS = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text',
         tuple: 'a tuple like its default', list: 'a list like its default',
         object: 'a number or a tuple of numbers', type(None): 'a value'}


def split(argv):
  """argv -> (what is no override, [(field, text)]) in the order given.

  `--config.a.b=1`, `--config.a.b 1`, and for switches `--config.a.b` and `--noconfig.a.b`.
  """
  rest, overrides = [], []
  words = iter([*argv, None])
  word = next(words)
  while word is not None:
    name, equals, text = word.partition('=')
    following = next(words)
    if name.startswith('--noconfig.') and not equals:
      overrides.append((name.removeprefix('--noconfig.'), 'false'))
    elif not name.startswith('--config.'):
      rest.append(word)
    elif not equals and following is not None and not following.startswith('--'):
      overrides.append((name.removeprefix('--config.'), following))
      following = next(words)
    else:
      overrides.append((name.removeprefix('--config.'), text if equals else None))
    word = following
  return rest, overrides


def load(spec):
  """'path.py' or 'path.py:variant' -> (the module, its ConfigDict)."""
  name, found, variant = spec.partition('.py:')
  path = pathlib.Path(name + '.py' if found else name)
  if not path.is_file():
    others = [p.stem for p in path.parent.glob('[!_]*.py')]
    near = [str(path.with_name(n + '.py')) for n in difflib.get_close_matches(path.stem, others)]
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
  where = f'line {line}: ' if line else ''
  return f'{where}{text}' if isinstance(error, ValueError) else (
      f'{where}{type(error).__name__}: {text}.')


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


def close_fields(config, field):
  """Up to three fields of `config` that `field` may have meant."""
  names = [name for name, _ in leaves(config)]
  last = {name: name.rpartition('.')[2] for name in names}
  wanted = field.rpartition('.')[2]
  alike = difflib.get_close_matches(field, names, 3, 0.75)
  alike += [n for n in names if difflib.SequenceMatcher(None, wanted, last[n]).ratio() >= 0.75]
  return list(dict.fromkeys(alike))[:3]


def section_of(config, field):
  """(section, last name) of a dotted field, or (None, '') if there is no such field."""
  *path, last = field.split('.')
  for name in path:
    config = config[name] if isinstance(config, ConfigDict) and name in config else None
  found = isinstance(config, ConfigDict) and last in config
  return (config, last) if found else (None, '')


def override(config, overrides, complete=None):
  """Sets the overrides [(field, text)] in `config` and returns it locked.

  `complete(config)`, where given, adds the fields that the choices made so far bring along (a
  distillation objective's own settings); fields unknown before are looked for once more after it.
  """
  late = [(f, t) for f, t in overrides if section_of(config, f)[0] is None]
  apply(config, [o for o in overrides if o not in late])
  if complete:
    config = complete(config)
  apply(config, late)
  return config.lock()


def apply(config, overrides):
  """Sets the fields of `config` that the overrides [(field, text)] name."""
  for field, text in overrides:
    section, last = section_of(config, field)
    if section is None:
      near = [f'config.{n}' for n in close_fields(config, field)]
      hint = did_you_mean(near) if near else (
          f'; the top level has {", ".join(sorted(config))}')
      raise ConfigError(f'config.{field}: there is no such field{hint}.')
    if isinstance(section[last], ConfigDict):
      raise ConfigError(f'config.{field} is a section; set one of its fields: '
                        f'{", ".join(f"config.{field}.{n}" for n in section[last])}.')
    section[last] = parse(field, text, section[last], section.get_type(last))


def parse(field, text, default, kind):
  """The value that `text` (None: the flag stood alone) gives a field whose type is `kind`."""
  if text is None and kind is bool:
    return True
  try:
    if text is None:
      raise TypeError(kind)
    return convert(text, default, kind)
  except (ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError):
    given = 'stands without a value' if text is None else f'cannot be {text!r}'
    raise ConfigError(f'config.{field} {given}: it takes {KINDS.get(kind, kind.__name__)}, and its '
                      f'default is {default!r}.') from None


def convert(text, default, kind):
  """`text` as a value of type `kind`; raises where it is none.

  A field of type `object` (a number or a schedule) takes any Python literal but text, one whose
  default is a bare None any literal, or else text.
  """
  if kind is str:
    return text
  if kind is bool:
    return WORDS[text.lower()]
  if kind in (int, float):
    return None if default is None and text == 'None' else kind(text)
  if kind is type(None):
    try:
      return ast.literal_eval(text)
    except (ValueError, SyntaxError):
      return text
  value = ast.literal_eval(text)
  if kind is object and not isinstance(value, str):
    return value
  if kind in (tuple, list) and isinstance(value, (tuple, list)):
    return kind(alike(value, default))
  raise TypeError(kind)


def alike(values, default):
  """`values` with elements of the kinds that `default` has; whole numbers may stand for floats."""
  kinds = {type(v) for v in default}
  if not kinds or {type(v) for v in values} <= kinds:
    return values
  if float in kinds and kinds <= {int, float} and {type(v) for v in values} <= {int, float}:
    return values if int in kinds else [float(v) for v in values]
  raise TypeError(kinds)


def comments(text):
  """{'train.steps': 'optimisation steps'} from lines such as `c.train.steps = 200  # ...`."""
  remarks = {token.start[0]: token.string.lstrip('#').strip()
             for token in tokenize.generate_tokens(io.StringIO(text).readline)
             if token.type == tokenize.COMMENT}
  found = {}
  for node in ast.walk(ast.parse(text)):
    if not isinstance(node, ast.Assign):
      continue
    if ast.unparse(node.targets[0]) == 'DEFAULTS':
      found |= {f'distill.{key.value}': remarks[key.lineno] for part in ast.walk(node.value)
                if isinstance(part, ast.Dict) for key in part.keys if key.lineno in remarks}
    if not isinstance(node.targets[0], ast.Attribute):
      continue
    name = ast.unparse(node.targets[0]).partition('.')[2]
    remark = remarks.get(node.end_lineno) or remarks.get(node.lineno)
    if remark and name:
      found.setdefault(name, remark)
  return found


def objective_files(config):
  """The file of the objective that config.distill.name names, and those of the objectives of
  jax3dgen.distill whose DEFAULTS it takes over."""
  if 'distill' not in config:
    return []
  for name in (f'jax3dgen.distill.{config.distill.name}', config.distill.name):
    try:
      spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):
      continue
    if spec and spec.origin:
      return _with_inherited(pathlib.Path(spec.origin))
  return []


def _with_inherited(path):
  from jax3dgen import distill
  names = [ast.unparse(part.value) for node in ast.walk(ast.parse(path.read_text('utf-8')))
           if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'DEFAULTS'
           for part in ast.walk(node.value)
           if isinstance(part, ast.Attribute) and part.attr == 'DEFAULTS']
  others = [pathlib.Path(distill.__path__[0]) / f'{name}.py' for name in names]
  return [path, *(file for other in others for file in _with_inherited(other))]


def sources(module):
  """The files of a config file, of the functions `default_config` that it builds on, of the config
  files that it imports, and of what these build on in turn."""
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
  """{field: what it means} from the objective, and from the config file and all that it builds on.
  """
  found = {}
  for file in dict.fromkeys([*objective_files(config), *sources(module)]):
    for name, remark in comments(pathlib.Path(file).read_text(encoding='utf-8')).items():
      found.setdefault(name, remark)
  return found


def describe(module, config):
  """Lines of help: every field with its default and what it means, section by section."""
  meanings = explanations(module, config)
  lines = []
  for name, value in leaves(config):
    flag = f'--config.{name}={shlex.quote(value if isinstance(value, str) else repr(value))}'
    lines.append(f'  {flag:<44}  {meanings.get(name, "")}'.rstrip())
  return lines
