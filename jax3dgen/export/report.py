"""The self-contained HTML report of a run, which opens offline.

All text of a user or a run is escaped; a content security policy forbids network access.
"""

import base64
import html
import json
import pathlib

import numpy as np

from jax3dgen.core import files
from jax3dgen.export import curves as curve_lib
from jax3dgen.export import figures, turntable, viewer

POLICY = ("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
          'img-src data:; media-src data:')
EMBED_LIMIT = 10_000_000  # bytes of an embedded mesh file; a larger one is linked
MAX_STRIPS = 10
SIDES = {0: 'front', 90: 'left', 180: 'back', 270: 'right'}
LIGHT, DARK = ('#20242b', '#24558f'), ('#e8e6e1', '#8db5ec')  # ink and accent of report.css
SEPARATOR = '\N{NO-BREAK SPACE}\N{MIDDLE DOT} '
TICK = '<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M1.5 6.5l3 3 6-7"/></svg>'
CROSS = '<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M2 2l8 8M10 2l-8 8"/></svg>'
COPY = '''document.querySelector('.copy').addEventListener('click', async ({ target }) => {
  const text = document.querySelector('pre');
  try {
    await navigator.clipboard.writeText(text.textContent);
    target.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(text);
    target.textContent = 'Selected: press Ctrl+C';
  }
  setTimeout(() => { target.textContent = 'Copy'; }, 2500);
});'''


def write_report(path, title, result, config, command, *, mesh=None, rest=None, fps=30.0, film=None,
                 glb=None, pictures=(), previews=(), curves=None, notes=()):
  """Writes the page of a run to `path`.

  title: the prompt. result: the figures of result.json. config: a nested dict. command: the
  command line of the run. mesh: the Mesh of the viewer, +z up; rest: its resting pose on the floor
  z = 0 as a transform [4, 4] from mesh to world, or the motion to it [T, 4, 4] at `fps` frames a
  second.
  film and glb: paths of the turntable (.mp4) and of the mesh file. pictures: (caption, picture
  [H, W, 3]) of what the run began from. previews: (step, picture [H, W, 3]) of strips of views that
  begin at the front and go counter-clockwise. curves: path of metrics.csv or {name: (steps,
  values)}. notes: sentences at the top. Parts that are None or empty are left out.
  """
  if curves is not None and not isinstance(curves, dict):
    curves = curve_lib.read(curves)
  body = ''.join([
      _header(title, result, config, notes),
      _stage(title, mesh, rest, fps, film, glb, result),
      _pictures(pictures),
      _previews(list(previews), title),
      _curves(curves or {}),
      _figures(result),
      repeat(command, config,
             'The same command on the same number of devices gives the same object.'),
  ])
  head = viewer.resources() if mesh is not None else ''
  with files.replacing(path) as beside:
    beside.write_text(page(title, body, head), encoding='utf-8')


def page(title, body, head='', script=''):
  """A complete HTML document: `title` is escaped, `body`, `head` and `script` are not."""
  return f'''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)} \N{MIDDLE DOT} jax3dgen</title>
<link rel="icon" href="data:,">
<style>{viewer.asset('report.css')}</style>
{head}
</head>
<body><div class="page">
{body}
<footer>Written by jax3dgen. This page is self-contained and needs no network.</footer>
</div><script>{COPY}{script}</script></body>
</html>
'''


def flatten(config, prefix=''):
  """A nested dict as {'a.b.c': value}, with the names of command-line overrides."""
  flat = {}
  for key, value in config.items():
    flat |= flatten(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
  return flat


def _header(title, result, config, notes):
  flat = flatten(config)
  facts = []
  if result.get('steps') is not None:
    facts.append(f'{figures.number(result["steps"])} steps')
  if result.get('seconds') is not None:
    facts.append(figures.duration(result['seconds']))
  facts += [f'{word} {flat[key]}' for word, key in (
      ('prior', 'prior.name'), ('objective', 'distill.name'), ('seed', 'seed')) if key in flat]
  marks = ''.join(f'<li>{mark(good, text)}</li>' for good, text in figures.verdicts(result))
  items = ''.join(f'<li>{html.escape(note)}</li>' for note in notes)
  return f'''<header>
<p class="over">jax3dgen run</p>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(SEPARATOR.join(facts))}</p>
{f'<ul class="marks" aria-label="Verdict">{marks}</ul>' if marks else ''}
{f'<ul class="notes" aria-label="Notes">{items}</ul>' if items else ''}
</header>'''


def _stage(title, mesh, rest, fps, film, glb, result):
  """The viewer on the left, the film on the right, and the files to save."""
  columns = []
  if mesh is not None:
    poses = [viewer.on_floor(mesh)]
    if rest is not None:
      rest = np.reshape(rest, (-1, 4, 4))
      rest = rest[np.isfinite(rest).all((1, 2))]  # a simulation that diverged ends in NaN
    dropped = rest is not None and len(rest) > 0
    if dropped:
      poses.append(viewer.Pose('After the drop', mesh, rest, fps))
    view = viewer.figure(poses, f'3D view of {title}', floor=dropped)
    columns.append(f'<h2>Mesh</h2>{view}')
  if film is not None:
    video = data('video/mp4', pathlib.Path(film).read_bytes())
    columns.append(f'''<h2>Turntable</h2><video controls loop muted playsinline src="{video}"
 aria-label="Turntable of {html.escape(title)}"></video>''')
  last = columns.pop() if columns else ''
  columns.append(f'{last}<ul class="links" aria-label="Files">{_links(glb, result)}</ul>')
  pair = ' pair' if len(columns) > 1 else ''
  return f'<div class="stage{pair}">{"".join(f"<div>{column}</div>" for column in columns)}</div>'


def _links(glb, result):
  """List items that save the mesh and the figures."""
  items = []
  if glb is not None:
    glb = pathlib.Path(glb)
    size = glb.stat().st_size
    small = size < EMBED_LIMIT
    items.append((glb.name, data('model/gltf-binary', glb.read_bytes()) if small else glb.name,
                  _size(size) if small else f'{_size(size)}, beside this page'))
  figures_json = json.dumps(result, indent=2).encode()
  items.append(('result.json', data('application/json', figures_json), _size(len(figures_json))))
  return ''.join(f'<li><a download="{html.escape(name)}" href="{html.escape(link)}">Save '
                 f'{html.escape(name)} <span>{size}</span></a></li>' for name, link, size in items)


def _strip(caption, text, picture):
  """A picture [H, W, 3] with its caption; `text` describes it."""
  return (f'<figure class="strip"><figcaption>{html.escape(caption)}</figcaption>'
          f'<img alt="{html.escape(text)}" '
          f'src="{data("image/png", turntable.png(turntable.readable(picture)))}"></figure>')


def _pictures(pictures):
  rows = ''.join(_strip(caption, caption, picture) for caption, picture in pictures)
  return f'''<section aria-labelledby="pictures"><h2 id="pictures">Pictures</h2>
<div class="strips">{rows}</div></section>''' if rows else ''


def _previews(previews, title):
  if not previews:
    return ''
  indices = np.unique(np.linspace(0, len(previews) - 1, MAX_STRIPS).round().astype(int))
  rows = ''
  for step, picture in (previews[i] for i in indices):
    text = f'{title} after {step} steps, seen from all sides'
    rows += _strip(f'step {figures.number(step)}', text, picture)
  height, width = np.shape(previews[0][1])[:2]
  views = width // height if width % height == 0 else 0
  sides = ''
  if views > 1:
    names = ''.join(f'<span>{SIDES.get(360 * i / views, "")}</span>' for i in range(views))
    sides = (f'<div class="sides" aria-hidden="true" '
             f'style="grid-template-columns:repeat({views},1fr)">{names}</div>')
  return f'''<section aria-labelledby="previews"><h2 id="previews">Previews by step</h2>
<p class="intro">Each row is one moment of the run, seen from cameras evenly round the object. A
face belongs in and beside the column of the front, nowhere else.</p>
<div class="strips">{sides}{rows}</div></section>'''


def _curves(curves):
  if not curves:
    return ''
  moving, constant = curve_lib.split(curves)
  plots = ''.join(_curve(name, *curve) for name, curve in moving.items())
  still = ', '.join(f'{html.escape(name)} {figures.number(value)}'
                    for name, value in constant.items())
  return f'''<section aria-labelledby="training"><h2 id="training">Curves</h2>
<p class="intro">Over the steps of the run: each value faint, their moving mean strong.</p>
<div class="curves">{plots}</div>
{f'<p class="aside">The same throughout: {still}.</p>' if still else ''}</section>'''


def _curve(name, steps, values):
  """A curve in the colours of the light page and of the dark page."""
  light, dark = (data('image/svg+xml', curve_lib.svg(steps, values, *pair).encode())
                 for pair in (LIGHT, DARK))
  finite = np.asarray(values)[np.isfinite(values)]
  last = f'ends at {figures.number(float(finite[-1]))}' if len(finite) else 'is never finite'
  name = html.escape(name)
  return f'''<figure class="curve"><figcaption>{name}<span>{last}</span></figcaption>
<picture><source media="screen and (prefers-color-scheme: dark)" srcset="{dark}">
<img alt="Curve of {name} over the steps; it {last}" src="{light}"></picture></figure>'''


def _figures(result):
  tables = ''
  for group, rows in figures.table(result).items():
    lines = ''
    for row in rows:
      meaning = f'<small>{html.escape(row.meaning)}</small>' if row.meaning else ''
      verdict = '' if row.good is None else mark(row.good, 'good' if row.good else 'off')
      style = ('missing' if row.value == figures.MISSING else 'long' if len(row.value) > 40 else
               'short' if len(row.value) < 20 else '')
      lines += (f'<tr><th scope="row" title="{html.escape(row.key)}">{html.escape(row.label)}'
                f'{meaning}</th><td class="{style}">{html.escape(row.value)}{verdict}</td></tr>')
    tables += f'<table><caption>{html.escape(group)}</caption>{lines}</table>'
  return f'''<section aria-labelledby="figures"><h2 id="figures">Metrics</h2>
<div class="tables">{tables}</div></section>'''


def repeat(command, config, intro):
  """The section on repeating the run: the command, and the full config."""
  rows = ''.join(
      f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>'
      for key, value in flatten(config).items())
  return f'''<section aria-labelledby="repeat"><h2 id="repeat">Repeat this run</h2>
<p class="intro">{intro}</p>
<div class="command"><pre tabindex="0">{html.escape(command)}</pre>
<button type="button" class="copy" aria-live="polite">Copy</button></div>
<details><summary>Configuration</summary><table>{rows}</table></details></section>'''


def mark(good, text):
  """A verdict by colour, symbol and text."""
  style, sign = ('good', TICK) if good else ('bad', CROSS)
  return f'<span class="mark {style}">{sign}{html.escape(text)}</span>'


def data(kind, content):
  """A data: URL of `content` (bytes) of a media type."""
  return f'data:{kind};base64,{base64.b64encode(content).decode("ascii")}'


def _size(count):
  return f'{count / 1e6:.1f} MB' if count >= 1e5 else f'{max(count / 1e3, 0.1):.1f} kB'
