"""Markdown text of pages."""


def table(header, rows):
  """The lines of a table; cells are written by `str`."""
  line = lambda cells: '| ' + ' | '.join(map(str, cells)) + ' |'
  return [line(header), '|---' * len(header) + '|', *map(line, rows)]


def plain(text):
  """`text` on one line, fit for a cell of a table."""
  return ' '.join(text.split()).replace('|', '\\|')
