"""The page of `recipes/particles/attributes`: how often each class of an attribute was made."""

from jax3dgen.core import files
from jax3dgen.export import markdown as md
from jax3dgen.metrics import intervals

VIEWS = {'judge': 'What the judge sees', 'classifier': 'What the rectifier\'s own classifier sees'}


def write(workdir, found, command):
  """attributes.md of the figures `found`."""
  with files.replacing(workdir / 'attributes.md') as beside:
    beside.write_text('\n'.join(markdown(found, command)) + '\n', encoding='utf-8')


def markdown(found, command):
  """Lines of the page; the runs of an objective are counted together."""
  rows, accuracy = found['rows'], found['judge_accuracy']
  seeds = sorted({row['seed'] for row in rows})
  judge = ('the referee\'s colours' if accuracy is None else 'a linear probe on the referee\'s '
           f'features, right on {accuracy:.1%} of {found["held_out"]:,} held-out figurines')
  lines = [f'# {found["prompt"]}: {found["attribute"]}', '', f'`{command}`', '',
           f'Seeds {seeds[0]} to {seeds[-1]}, {found["particles"]} particles each, '
           f'{found["steps"]} steps; in brackets 95 % intervals (Wilson). The judge is {judge}; '
           'the rectifier asks a text-image model.']
  by = {name: [row for row in rows if row['objective'] == name]
        for name in dict.fromkeys(row['objective'] for row in rows)}
  total = lambda some, name: [sum(counts) for counts in zip(*(row[name] for row in some),
                                                          strict=True)]
  for view, heading in VIEWS.items():
    body = []
    for name, some in by.items():
      counts = total(some, view)
      body.append([name, *(intervals.share(hits, sum(counts)) for hits in counts)])
    lines += ['', f'## {heading}', '', *md.table(['objective', *found['classes']], body)]
  lines += ['', '## Run by run', '', *md.table(
      ['objective', 'seed', f'judge: {", ".join(found["classes"])}', 'classifier', 'right kind'],
      [[row['objective'], row['seed'], *(', '.join(map(str, row[view])) for view in VIEWS),
        row['right_kind']] for row in rows])]
  return [*lines, '', '![The particles at the end, a row for each run](attributes.png)']
