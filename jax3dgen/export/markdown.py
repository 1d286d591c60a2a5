"""Markdown tables."""


def table(header, rows):
  """The lines of a table; cells are formatted by `str`."""
  line = lambda cells: '| ' + ' | '.join(map(str, cells)) + ' |'
  return [line(header), '|---' * len(header) + '|', *map(line, rows)]


def plain(text):
  """`text` on one line, escaped for a table cell."""
  return ' '.join(text.split()).replace('|', '\\|')
