"""Checks of single fields of a config."""

import math

from jax3dgen.core.errors import ConfigError


def value(config, field):
  """The value of a dotted field such as 'optim.rate'."""
  for name in field.split('.'):
    config = config[name]
  return config


def check(config, choices=(), at_least=(), positive=()):
  """ConfigError for the first invalid field of those named by dotted names.

  choices: {field: values that it may have}; at_least: {field: least finite value}; positive: fields
  that are above 0 and finite.
  """
  for field, values in dict(choices).items():
    if value(config, field) not in values:
      raise ConfigError(f'config.{field}={value(config, field)!r}: it is one of '
                        f'{", ".join(values)}.')
  for field, least in dict(at_least).items():
    if not least <= value(config, field) < math.inf:
      raise ConfigError(f'config.{field}={value(config, field)!r} is not {least} or more.')
  for field in positive:
    if not 0 < value(config, field) < math.inf:
      raise ConfigError(f'config.{field}={value(config, field)!r} must be positive.')
