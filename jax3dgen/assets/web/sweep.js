// The table and the chosen mesh of a stability sweep. Frames: +z up, the plane at z = 0, lengths in
// the units that were simulated. Quaternions are (w, x, y, z).
(() => {
  const data = JSON.parse(document.getElementById('sweep-data').textContent);
  const table = document.querySelector('.sweep-table');
  const panel = document.querySelector('.sweep-panel');
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const rotate = ([w, x, y, z], [a, b, c]) => {
    const [p, q, r] = [2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)];
    return [a + w * p + y * r - z * q, b + w * q + z * p - x * r, c + w * r + x * q - y * p];
  };
  const fromVector = (v) => {
    const angle = Math.hypot(...v), s = angle > 0 ? Math.sin(angle / 2) / angle : 0.5;
    return [Math.cos(angle / 2), v[0] * s, v[1] * s, v[2] * s];
  };
  const numbers = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  // Counter-clockwise hull of points [[x, y], ...] (monotone chain).
  const outline = (points) => {
    const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const half = (list) => list.reduce((kept, p) => {
      const left = (a, b) => (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
      while (kept.length > 1 && left(kept.at(-2), kept.at(-1)) <= 0) kept.pop();
      kept.push(p);
      return kept;
    }, []);
    const [lower, upper] = [half(sorted), half(sorted.reverse())];
    return sorted.length < 3 ? sorted : [...lower.slice(0, -1), ...upper.slice(0, -1)];
  };

  const decoded = new Map();
  const shape = (mesh) => {
    if (!decoded.has(mesh)) {
      const points = numbers(mesh.points, Int16Array), normals = numbers(mesh.normals, Int8Array);
      const hull = numbers(mesh.hull, Float32Array);
      const three = (list, i, by) => [list[3 * i] * by, list[3 * i + 1] * by, list[3 * i + 2] * by];
      const all = (list, by) => Array.from({ length: list.length / 3 }, (_, i) => three(list, i, by));
      decoded.set(mesh, { points: all(points, mesh.unit), normals: all(normals, 1 / 127), hull: all(hull, 1) });
    }
    return decoded.get(mesh);
  };

  let view = { azimuth: 0.6, elevation: 0.35 };
  const place = (canvas) => {
    const size = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const context = canvas.getContext('2d');
    context.clearRect(0, 0, size, size);
    return [context, size];
  };

  // The mesh turned by `q`, its lowest hull vertex on the plane, with support polygon and foot.
  const drawPose = (canvas, mesh, q, verdict) => {
    const [context, size] = place(canvas);
    const { points, normals, hull } = shape(mesh);
    const turned = hull.map((v) => rotate(q, v));
    const lift = -Math.min(...turned.map((v) => v[2]));
    const extent = Math.max(...hull.map((v) => Math.hypot(...v)));
    const [ca, sa, ce, se] = [Math.cos(view.azimuth), Math.sin(view.azimuth), Math.cos(view.elevation), Math.sin(view.elevation)];
    const scale = (0.4 * size) / extent;
    const seen = ([x, y, z]) => {
      const [right, toward] = [-sa * x + ca * y, ca * x + sa * y];
      return [size / 2 + scale * right, size * 0.55 - scale * (ce * (z - extent * 0.8) - se * toward), ce * toward + se * z];
    };
    const path = (list, close) => {
      context.beginPath();
      list.map(seen).forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (close) context.closePath();
    };
    context.lineWidth = devicePixelRatio;
    context.strokeStyle = color('--line');
    for (let i = -3; i <= 3; i++) {
      const a = (i / 3) * 1.5 * extent, b = 1.5 * extent;
      path([[a, -b, 0], [a, b, 0]]); context.stroke();
      path([[-b, a, 0], [b, a, 0]]); context.stroke();
    }
    const dots = points.map((p, i) => {
      const at = rotate(q, p);
      const n = rotate(q, normals[i]);
      const light = Math.max(0, 0.35 * (ca * n[0] + sa * n[1]) + 0.75 * n[2]) * 0.55 + 0.35;
      return [seen([at[0], at[1], at[2] + lift]), light, ce * (ca * n[0] + sa * n[1]) + se * n[2]];
    }).filter(([, , facing]) => facing > -0.2).sort((a, b) => a[0][2] - b[0][2]);
    const radius = Math.max(1.2 * devicePixelRatio, size / 52);
    for (const [[x, y], light] of dots) {
      context.fillStyle = `hsl(212 22% ${Math.round(100 * light)}%)`;
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.fill();
    }
    const band = 0.004 * extent;
    const feet = outline(turned.filter((v) => v[2] + lift < band).map((v) => [v[0], v[1]])).map(([x, y]) => [x, y, 0]);
    context.lineWidth = 2.5 * devicePixelRatio;
    context.strokeStyle = color(verdict ? '--good' : '--bad');
    path(feet, true);
    context.stroke();
    for (const v of feet) {
      const [x, y] = seen(v);
      context.fillStyle = context.strokeStyle;
      context.beginPath(); context.arc(x, y, 3 * devicePixelRatio, 0, 7); context.fill();
    }
    const [x, y] = seen([0, 0, 0]);
    context.strokeStyle = color('--ink');
    const arm = 6 * devicePixelRatio;
    context.beginPath();
    context.moveTo(x - arm, y); context.lineTo(x + arm, y); context.moveTo(x, y - arm); context.lineTo(x, y + arm);
    context.stroke();
  };

  // Polar map of the tilts from above, the front (+x) at the top: the direction in which the mesh
  // leans, and by how much.
  const mapPlace = (size, v) => {
    const largest = Math.max(1e-9, ...data.tilts.map((t) => Math.hypot(...t)));
    const by = (0.42 * size) / largest;
    return [size / 2 + v[0] * by, size / 2 - v[1] * by];
  };
  const drawMap = (canvas, mesh, chosen) => {
    const [context, size] = place(canvas);
    context.strokeStyle = color('--line');
    context.lineWidth = devicePixelRatio;
    for (const part of [0.25, 0.5, 0.75, 1]) {
      context.beginPath(); context.arc(size / 2, size / 2, 0.42 * size * part, 0, 7); context.stroke();
    }
    context.fillStyle = color('--soft');
    context.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    const largest = Math.max(...data.tilts.map((t) => Math.hypot(...t))) * 180 / Math.PI;
    context.fillText(`${largest.toPrecision(2)}\u00b0`, size / 2 + 0.42 * size * 0.72, size / 2 - 0.42 * size * 0.72);
    data.tilts.forEach((v, i) => {
      const [x, y] = mapPlace(size, v);
      const stands = mesh.stable[i];
      context.fillStyle = color(stands ? '--good' : '--bad');
      const r = 4.5 * devicePixelRatio;
      context.beginPath();
      if (stands) context.arc(x, y, r, 0, 7); else context.rect(x - r, y - r, 2 * r, 2 * r);
      context.fill();
      if (i === chosen) {
        context.strokeStyle = color('--ink');
        context.lineWidth = 2 * devicePixelRatio;
        context.beginPath(); context.arc(x, y, 2 * r, 0, 7); context.stroke();
      }
    });
  };

  let [current, run] = [null, 0];
  const canvases = panel ? [...panel.querySelectorAll('canvas')] : [];
  const draw = () => {
    if (current === null) return;
    const mesh = data.meshes[current];
    const start = fromVector(data.tilts[run]);
    const degrees = (x) => (x === null ? 'diverged' : `turned by ${x.toFixed(1)}\u00b0`);
    panel.querySelector('h3').textContent = mesh.name;
    const play = panel.querySelector('.sweep-play');
    play.hidden = !mesh.rollout;
    play.href = mesh.rollout ?? '';
    panel.querySelector('.start').textContent = `tilted by ${(Math.hypot(...data.tilts[run]) * 180 / Math.PI).toFixed(2)}\u00b0`;
    panel.querySelector('.rest').textContent = `${degrees(mesh.rotation[run])}: ${mesh.stable[run] ? 'stands' : 'falls'}`;
    panel.querySelector('.map').textContent = `stands in ${mesh.stable.filter(Boolean).length} of ${mesh.stable.length}; choose a run`;
    drawPose(canvases[0], mesh, start, mesh.stable[run]);
    drawPose(canvases[1], mesh, mesh.quaternion[run], mesh.stable[run]);
    drawMap(canvases[2], mesh, run);
  };
  const choose = (row) => {
    if (row.dataset.mesh === undefined) return;
    table.querySelectorAll('[aria-selected]').forEach((r) => r.removeAttribute('aria-selected'));
    row.setAttribute('aria-selected', 'true');
    current = Number(row.dataset.mesh);
    const stable = data.meshes[current].stable;
    run = Math.max(0, stable.indexOf(false));
    draw();
  };

  const body = table.tBodies[0];
  body.addEventListener('click', (event) => choose(event.target.closest('tr')));
  body.addEventListener('keydown', (event) => {
    if (event.target.closest('a')) return;
    if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); choose(event.target.closest('tr')); }
  });
  table.tHead.addEventListener('click', (event) => {
    const head = event.target.closest('th');
    const column = [...head.parentNode.children].indexOf(head);
    const rising = head.getAttribute('aria-sort') !== 'ascending';
    for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', rising ? 'ascending' : 'descending');
    const value = (row) => row.children[column]?.dataset.value ?? '';
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === '' || y === '') return (x === '') - (y === '') || 0;
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return rising ? order : -order;
    };
    [...body.rows].sort(compare).forEach((row) => body.append(row));
  });
  document.querySelector('.sweep-tools input').addEventListener('input', ({ target }) => {
    const words = target.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(words);
  });

  for (const canvas of canvases.slice(0, 2)) {
    canvas.addEventListener('pointermove', (event) => {
      if (!event.buttons) return;
      view = {
        azimuth: view.azimuth - 0.01 * event.movementX,
        elevation: Math.min(1.5, Math.max(-0.3, view.elevation + 0.01 * event.movementY)),
      };
      draw();
    });
    canvas.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!step) return;
      event.preventDefault();
      view = { azimuth: view.azimuth + step[0], elevation: Math.min(1.5, Math.max(-0.3, view.elevation + step[1])) };
      draw();
    });
  }
  canvases[2]?.addEventListener('click', (event) => {
    if (current === null) return;
    const [canvas, box] = [canvases[2], canvases[2].getBoundingClientRect()];
    const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((x) => x * canvas.width);
    const away = data.tilts.map((v) => { const [x, y] = mapPlace(canvas.width, v); return Math.hypot(x - at[0], y - at[1]); });
    run = away.indexOf(Math.min(...away));
    draw();
  });
  addEventListener('resize', draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  const first = [...body.rows].find((row) => row.dataset.mesh !== undefined && data.meshes[row.dataset.mesh].stable.includes(false))
    ?? [...body.rows].find((row) => row.dataset.mesh !== undefined);
  if (first) choose(first);
  document.body.dataset.sweep = 'ready';
})();
