"""The page of `recipes/particles/attributes`: shares of the classes of an attribute."""

from jax3dgen.core import files
from jax3dgen.export import markdown
from jax3dgen.metrics import intervals

VIEWS = {'judge': 'What the judge sees', 'classifier': 'What the rectifier\'s own classifier sees'}


def write_page(workdir, record, command):
  """Writes attributes.md of the record of attributes.json."""
  with files.replacing(workdir / 'attributes.md') as beside:
    beside.write_text(text(record, command), encoding='utf-8')


def text(record, command):
  """The page; the runs of an objective are counted together."""
  rows, accuracy = record['rows'], record['judge_accuracy']
  seeds = sorted({row['seed'] for row in rows})
  judge = ('the referee\'s colours' if accuracy is None else 'a linear probe on the referee\'s '
           f'features, right on {accuracy:.1%} of {record["held_out"]:,} held-out figurines')
  lines = [f'# {record["prompt"]}: {record["attribute"]}', '', f'`{command}`', '',
           f'Seeds {seeds[0]} to {seeds[-1]}, {record["particles"]} particles each, '
           f'{record["steps"]} steps; in brackets 95 % intervals (Wilson). The judge is {judge}; '
           'the rectifier asks a text-image model.']
  by = {name: [row for row in rows if row['objective'] == name]
        for name in dict.fromkeys(row['objective'] for row in rows)}
  total = lambda runs, name: [sum(counts) for counts in zip(*(row[name] for row in runs),
                                                          strict=True)]
  for view, heading in VIEWS.items():
    body = []
    for name, runs in by.items():
      counts = total(runs, view)
      body.append([name, *(intervals.share(hits, sum(counts)) for hits in counts)])
    lines += ['', f'## {heading}', '', *markdown.table(['objective', *record['classes']], body)]
  lines += ['', '## Run by run', '', *markdown.table(
      ['objective', 'seed', f'judge: {", ".join(record["classes"])}', 'classifier', 'right kind'],
      [[row['objective'], row['seed'], *(', '.join(map(str, row[view])) for view in VIEWS),
        row['right_kind']] for row in rows])]
  lines += ['', '![The particles at the end, a row for each run](attributes.png)']
  return '\n'.join(lines) + '\n'
