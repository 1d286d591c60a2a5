"""The HTML page of a stability sweep: table, plots, and a viewer of each mesh.

One self-contained file, like `export/report`. Frames: +z up, the plane at z = 0; lengths in the
viewer are those of the simulation. M meshes, P tilts.
"""

import base64
import html
import io
import json

import matplotlib
from matplotlib.figure import Figure
import numpy as np

from jax3dgen.core import files
from jax3dgen.export import curves, figures, report, viewer

MAX_DETAILS = 400  # meshes in the viewer; the table has all of them
BINS = np.linspace(0, 180, 37)  # of the histogram of rotations, in degrees
STYLES = ('-', '--', '-.', ':')
COLUMNS = (  # of the table: key of the row, heading
    ('stable_rate', 'Stands'), ('rotation_deg_mean', 'Turned, mean'),
    ('rotation_deg_max', 'Turned, most'), ('margin_deg', 'Margin'), ('volume', 'Volume'),
    ('body', 'Solid'))


def write_page(path, items, rows, tilts, results, rates, config, command, rollouts=None):
  """Writes the page of a sweep to `path`.

  items: [Item] of all meshes in order. rows: {engine: [row of results.csv] in the order of items}.
  tilts [P, 3]. results: {engine: sweep.Result} of the M items without an error. rates: {engine:
  {maximum tilt in radians: stable rate}}. config: a nested dict; command: the command line.
  rollouts: {index into items: address of the page with its drop}. The viewer shows the first
  engine.
  """
  rollouts = rollouts or {}
  engine = next(iter(rows))
  valid = [i for i, item in enumerate(items) if not item.error]
  details = [(k, i) for k, i in enumerate(valid) if not rows[engine][i]['error']][:MAX_DETAILS]
  data = {'tilts': np.round(tilts, 6).tolist(),
          'meshes': [_detail(items[i], results[engine], k) | {'rollout': rollouts.get(i)}
                     for k, i in details]}
  body = ''.join([
      _header(items, rows, engine, len(tilts), config),
      _table(items, rows, {i: k for k, (_, i) in enumerate(details)}, rollouts),
      _panel(engine) if details else '',
      _plots(results, rates) if valid else '',
      report.repeat(command, config, 'The same command gives the same tables.'),
  ])
  script = viewer.asset('sweep.js')
  text = json.dumps(data, separators=(',', ':')).replace('<', '\\u003c')
  page = report.page('Stability sweep', body + f'<script type="application/json" id="sweep-data">'
                     f'{text}</script>', head=f'<style>{viewer.asset("sweep.css")}</style>',
                     script=script)
  with files.replacing(path) as beside:
    beside.write_text(page, encoding='utf-8')


def _header(items, rows, engine, tilts, config):
  valid = [row for row in rows[engine] if not row['error']]
  stand = np.mean([row['stable_rate'] for row in valid]) if valid else None
  faults = len(items) - len(valid)
  marks = []
  if valid:
    marks.append((stand >= 0.5, f'{stand:.1%} of {len(valid) * tilts:,} releases stand'))
  if faults:
    marks.append((False, f'{faults} meshes could not be judged'))
  verdicts = ''.join(f'<li>{report.mark(good, text)}</li>' for good, text in marks)
  lead = report.SEPARATOR.join([
      f'{len(items)} meshes', f'{tilts} tilts up to {config["tilts"]["max_deg"]:g} degrees'
      if config['tilts']['n'] else 'released upright', ', '.join(rows)])
  return f'''<header><p class="over">jax3dgen stability sweep</p>
<h1>Which ones stand?</h1><p class="lead">{html.escape(lead)}</p>
<ul class="marks" aria-label="Verdict">{verdicts}</ul></header>'''


def _table(items, rows, place, rollouts):
  engines = list(rows)
  others = ''.join(f'<th scope="col"><button type="button">Stands ({html.escape(name)})</button>'
                   '</th>' for name in engines[1:])
  heads = ''.join(f'<th scope="col"><button type="button">{name}</button></th>'
                  for name in ('Mesh', *(title for _, title in COLUMNS)))
  lines = []
  for i, item in enumerate(items):
    row = rows[engines[0]][i]
    name = html.escape(item.name)
    image = f'<img alt="" src="{report.data("image/png", item.picture)}">' if item.picture else ''
    play = f'<a href="{html.escape(rollouts[i])}">Play</a>' if i in rollouts else ''
    cells = f'<th scope="row" data-value="{name}"><div class="sweep-name">{image}<span ' \
            f'title="{name}">{name}</span>{play}</div></th>'
    if row['error']:
      cells += f'<td class="fault" colspan="{len(COLUMNS)}">{html.escape(row["error"])}</td>'
    else:
      cells += ''.join(_cell(row[key], key) for key, _ in COLUMNS)
    cells += ''.join(_cell(rows[name][i]['stable_rate'], 'stable_rate') for name in engines[1:])
    attributes = f' data-mesh="{place[i]}" tabindex="0"' if i in place else ''
    lines.append(f'<tr{attributes}>{cells}</tr>')
  return f'''<section aria-labelledby="table"><h2 id="table">Meshes</h2>
<div class="sweep-tools"><input type="search" placeholder="Part of a name"
 aria-label="Show meshes whose row holds"></div>
<div class="sweep-scroll"><table class="sweep-table"><thead><tr>{heads}{others}</tr></thead>
<tbody>{''.join(lines)}</tbody></table></div></section>'''


def _cell(value, key):
  if isinstance(value, str):
    return f'<td data-value="{html.escape(value)}">{html.escape(value)}</td>'
  if value is None or not np.isfinite(value):
    return f'<td class="missing">{figures.MISSING}</td>'
  text = (f'{value:.0%}' if key == 'stable_rate' else
          f'{value:.1f}\N{DEGREE SIGN}' if '_deg' in key else figures.number(value))
  return f'<td data-value="{value!r}">{text}</td>'


def _panel(engine):
  turns = ('Drag or use the arrow keys to turn. Outline: support polygon; cross: foot of the '
           'centre of mass.')
  figure = lambda kind, title, use, label: f'''<figure><figcaption>{title}<span class="{kind}">
</span></figcaption><canvas class="{use}" tabindex="0" role="img" aria-label="{label}"></canvas>
</figure>'''
  return f'''<section aria-labelledby="chosen" class="sweep-panel">
<h2 id="chosen">The chosen mesh</h2><p class="intro">Choose a row above. Engine:
{html.escape(engine)}. {turns}</p><h3></h3>
<a class="sweep-play" hidden>Play its drop in C MuJoCo</a><div class="sweep-views">
{figure('start', 'Released', 'turns', 'The mesh as it was released')}
{figure('rest', 'At the end', 'turns', 'The mesh at the end')}
{figure('map', 'Tilts', 'picks', 'Which tilts it survives')}</div>
<p class="aside">Tilts from above, the front at the top: the direction in which the mesh leans and
by how much. Green discs stand, red squares fall.</p></section>'''


def _plots(results, rates):
  plots = [('How far they turned', 'all releases; the log scale counts them',
            lambda *colors: histogram(results, *colors))]
  if any(len(rate) > 1 for rate in rates.values()):
    plots.append(('Stability against the largest tilt', 'share of the releases that stand',
                  lambda *colors: rate_plot(rates, *colors)))
  content = ''
  for title, meaning, draw in plots:
    light, dark = (report.data('image/svg+xml', draw(*pair).encode())
                   for pair in (report.LIGHT, report.DARK))
    content += f'''<figure><figcaption>{title}<span>{meaning}</span></figcaption><picture><source
 media="screen and (prefers-color-scheme: dark)" srcset="{dark}"><img alt="{title}" src="{light}">
</picture></figure>'''
  return f'''<section aria-labelledby="plots"><h2 id="plots">All of them</h2>
<div class="sweep-plots">{content}</div></section>'''


def histogram(results, ink, accent):
  """Rotations in degrees of all releases, one line for each engine, as SVG."""
  def draw(axes):
    for style, (engine, result) in zip(STYLES * 2, results.items(), strict=False):
      angle = result.rotation_deg[np.isfinite(result.rotation_deg)]
      axes.stairs(np.histogram(angle, BINS)[0], BINS, color=accent, linestyle=style, label=engine,
                  fill=len(results) == 1, alpha=0.8)
    axes.set_yscale('symlog', linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(0, 181, 45))
    axes.set_xlabel('degrees', color=ink)
  return _svg(draw, ink, len(results) > 1)


def rate_plot(rates, ink, accent):
  """{engine: {maximum tilt in radians: rate}} as SVG."""
  def draw(axes):
    for style, (engine, rate) in zip(STYLES * 2, rates.items(), strict=False):
      axes.plot(list(rate), list(rate.values()), color=accent, linestyle=style, marker='o',
                label=engine)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel('largest tilt in radians', color=ink)
  return _svg(draw, ink, len(rates) > 1)


def _svg(draw, ink, legend):
  with matplotlib.rc_context(curves.STYLE):
    figure = Figure((4.4, 2.5), layout='constrained')
    axes = figure.add_subplot()
    draw(axes)
    axes.grid(axis='y', color=ink, alpha=0.15, linewidth=0.7)
    axes.tick_params(which='both', colors=ink, labelsize=9, length=0)
    axes.spines[:].set_visible(False)
    if legend:
      axes.legend(frameon=False, labelcolor=ink, fontsize=8)
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None})
  return buffer.getvalue()


def _detail(item, result, k):
  """The data of one mesh for the script: points as 16-bit, normals as 8-bit integers."""
  pack = lambda x, kind: base64.b64encode(np.ascontiguousarray(x, kind).tobytes()).decode()
  unit = max(float(np.abs(item.points).max()), 1e-30) / 32767
  rotation = [None if not np.isfinite(r) else round(float(r), 2) for r in result.rotation_deg[k]]
  return {
      'name': item.name, 'unit': unit, 'points': pack(np.round(item.points / unit), '<i2'),
      'normals': pack(np.round(127 * item.normals), 'i1'),
      'hull': pack(item.hull, '<f4'), 'rotation': rotation,
      'quaternion': np.round(np.nan_to_num(result.quaternion[k]), 5).tolist(),
      'stable': result.stable[k].tolist()}
