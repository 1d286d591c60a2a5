"""The page of an evaluation: the same figures as evaluate.json, as Markdown tables."""

import numpy as np

from jax3dgen.export import markdown

# Figures of one object: name -> (heading, format).
COLUMNS = {
    'face_count': ('faces', 'd'), 'front_fraction': ('front', '.3f'), 'view_kl': ('KL', '.4f'),
    'winding': ('winding', '.2f'), 'reject_rate': ('rejected', '.2f'), 'pent': ('pEnt', '.3f'),
    'cent': ('cEnt', '.3f'), 'text_distance': ('text distance', '.3f'),
    'kind_correct': ('kind', ''), 'color_correct': ('colour', ''), 'seconds': ('seconds', '.1f'),
    'peak_memory_gib': ('GiB', '.2f')}
OF_GROUP = {'objects': ('objects', 'd'), 'one_face': ('one face', '.0%'), 'fid': ('FID', '.2f'),
            'ufid': ('uFID', '.2f'), 'generated': ('views', 'd'),
            **{name: (title, '.3f' if form in ('', 'd') else form)
               for name, (title, form) in COLUMNS.items()}}
OF_PROMPT = {'objects': ('objects', 'd'), 'views': ('views', 'd'), 'iv': ('IV', '.3f'),
             'iv_by_view': ('IV by view', '.3f'), 'iq': ('IQ', '.3f'), 'bound': ('ln K', '.3f'),
             'cosine': ('cosine', '.3f')}


def means(rows):
  """{figure: its mean over the objects that have it}, and the share of one face."""
  values = lambda name: [float(row[name]) for row in rows if row[name] is not None]
  figures = {name: float(np.mean(values(name))) if values(name) else None for name in COLUMNS}
  return {'objects': len(rows), **figures,
          'one_face': float(np.mean([row['face_count'] == 1 for row in rows]))}


def cell(value, form):
  """A value as text; None is empty."""
  if value is None:
    return ''
  return str(value) if isinstance(value, (bool, str)) or not form else f'{value:{form}}'


def figures_table(heading, columns, rows):
  """Lines of a table: `rows` are (name, figures), `columns` name -> (heading, format)."""
  return markdown.table([heading, *(title for title, _ in columns.values())], [
      [markdown.plain(name), *(cell(row[key], form) for key, (_, form) in columns.items())]
      for name, row in rows])


def text(record):
  """The page of a record (see `recipes.evaluate.run.run`)."""
  source = record['reference']
  poses = ', '.join(map(str, source['poses']))
  lines = ['# Evaluation', '']
  lines += [f'`{record["command"]}`', ''] if record['command'] else []
  lines += [
      f'FID and uFID are against {source["pictures"]} pictures '
      f'({markdown.plain(source["source"])}), whose poses front, back, left and right are {poses}. '
      'They depend on the number of views on either side. Entropies are in nats and higher is '
      'better; of the distances, lower is.', '',
      'Judged by:', '',
      *(f'- {figures}: {name}' for figures, name in record['judges'].items()), '',
      *figures_table('group', OF_GROUP, record['groups'].items()), '',
      *figures_table('object', COLUMNS, [(f'{row["name"]}: {row["prompt"]}', row)
                                         for row in record['objects']])]
  if record['prompts']:
    lines += ['', '## Objects of one group and prompt', '',
              *figures_table('prompt', OF_PROMPT, [(f'{row["group"]}: {row["prompt"]}', row)
                                                   for row in record['prompts']])]
  if record['left_out']:
    lines += ['', '## Left out', '',
              *(f'- {markdown.plain(row["name"])}: {markdown.plain(row["why"])}'
                for row in record['left_out'])]
  return '\n'.join(lines) + '\n'
