/* Meshes that turn under the hand: the controls of one viewer; painter.js draws. */
'use strict';
window.jax3dgenViewer ??= (() => {
  const HOME = { azimuth: 0, elevation: 10, zoom: 1 };  // degrees
  const STEP = 10, EASE = 0.25, REDUCED = matchMedia('(prefers-reduced-motion: reduce)');
  const { connect, unpack, extent, paint } = window.jax3dgenPainter;

  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  const place = (m, p) => [0, 4, 8].map((r) => m[r] * p[0] + m[r + 1] * p[1] + m[r + 2] * p[2] + m[r + 3]);

  function heading(azimuth) {
    const a = ((Math.round(azimuth) % 360) + 360) % 360;
    const words = ['front', 'front left', 'left', 'back left', 'back', 'back right', 'right', 'front right'];
    return `${words[Math.round(a / 45) % 8]} \u00b7 ${a}\u00b0`;
  }

  function mount(figure) {
    const canvas = figure.querySelector('canvas'), context = canvas.getContext('2d');
    const scene = JSON.parse(figure.querySelector('script').textContent);
    const message = figure.querySelector('.viewer-message'), label = figure.querySelector('output');
    if (!connect(wake)) {
      figure.dataset.state = 'failed';
      message.textContent = 'This browser offers no WebGL: the 3D view stays empty.';
      return;
    }
    let waiting = false;
    const meshes = scene.meshes.map(unpack);
    const extents = meshes.map(extent);
    const middle = (pose, moment) => place(pose.frames[moment], extents[pose.mesh].middle);
    const colored = scene.meshes.some((mesh) => mesh.colors);
    const viewer = {
      meshes, floor: scene.floor, surface: colored ? 1 : 2, pose: scene.poses[0], moment: 0,
      middle: middle(scene.poses[0], 0), radius: Math.max(...extents.map((e) => e.radius)),
      goal: { ...HOME, middle: middle(scene.poses[0], 0) }, shown: { ...HOME }, started: null,
    };

    function press(name, value) {
      for (const button of figure.querySelectorAll(`[data-${name}]`)) {
        button.setAttribute('aria-pressed', String(button.dataset[name] === String(value)));
      }
    }

    /* One picture: move towards the goal, draw, and come again while anything still moves. */
    function tick(now) {
      waiting = false;
      const { goal, shown, pose } = viewer;
      const pace = REDUCED.matches ? 1 : EASE;
      let moving = false;
      const approach = (from, to, scale) => {
        if (Math.abs(to - from) < 1e-3 * scale) return to;
        moving = true;
        return from + pace * (to - from);
      };
      if (viewer.started !== null) {
        const last = pose.frames.length - 1;
        viewer.moment = REDUCED.matches ? last : clamp(Math.floor((now - viewer.started) / 1000 * pose.fps), 0, last);
        if (viewer.moment < last) moving = true; else viewer.started = null;
        goal.middle = middle(pose, viewer.moment);
      }
      for (const name of ['azimuth', 'elevation']) shown[name] = approach(shown[name], goal[name], 90);
      shown.zoom = approach(shown.zoom, goal.zoom, 1);
      viewer.middle = viewer.middle.map((x, k) => approach(x, goal.middle[k], viewer.radius));
      draw();
      if (moving) wake();
    }

    function draw() {
      const scale = Math.min(window.devicePixelRatio || 1, 2);
      const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
      if (!width || !height) return;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const ink = getComputedStyle(canvas).color.match(/[\d.]+/g).slice(0, 3).map((x) => x / 255);
      if (!paint(viewer, context, width, height, ink)) return;
      label.textContent = heading(viewer.shown.azimuth);
      figure.dataset.state = 'ready';
    }

    function wake() {
      if (!waiting) requestAnimationFrame(tick);
      waiting = true;
    }

    function turn(azimuth, elevation) {
      viewer.goal.azimuth += azimuth;
      viewer.goal.elevation = clamp(viewer.goal.elevation + elevation, -89, 89);
      press('azimuth', null);
      wake();
    }

    function zoom(factor) {
      viewer.goal.zoom = clamp(viewer.goal.zoom * factor, 0.4, 6);
      wake();
    }

    /* Turn the short way to `azimuth` degrees. */
    function face(azimuth) {
      const { goal } = viewer;
      goal.azimuth += ((azimuth - goal.azimuth) % 360 + 540) % 360 - 180;
      Object.assign(goal, { elevation: HOME.elevation, zoom: HOME.zoom });
      press('azimuth', azimuth);
      wake();
    }

    function choose(index) {
      viewer.pose = scene.poses[index];
      viewer.moment = 0;
      viewer.started = performance.now();
      press('pose', index);
      wake();
    }

    figure.addEventListener('click', ({ target }) => {
      const { pose, azimuth, surface } = target.dataset;
      if (pose !== undefined) choose(Number(pose));
      if (azimuth !== undefined) face(Number(azimuth));
      if (surface !== undefined) {
        viewer.surface = ['plain', 'shaded', 'clay'].indexOf(surface);
        press('surface', surface);
        wake();
      }
    });

    const fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener('pointermove', (event) => {
      const finger = fingers.get(event.pointerId);
      if (!finger) return;
      const before = fingers.size === 2 ? spread() : 0;
      const dx = event.clientX - finger.x, dy = event.clientY - finger.y;
      Object.assign(finger, { x: event.clientX, y: event.clientY });
      if (fingers.size === 1) turn(-0.45 * dx, 0.45 * dy);
      if (fingers.size === 2 && before > 0) zoom(spread() / before);
    });
    for (const name of ['pointerup', 'pointercancel']) {
      canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }
    canvas.addEventListener('wheel', (event) => { /* the page scrolls until the viewer is clicked */
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-clamp(event.deltaY, -100, 100) * 0.002));
    }, { passive: false });
    canvas.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        ArrowLeft: () => turn(-STEP, 0), ArrowRight: () => turn(STEP, 0),
        ArrowUp: () => turn(0, STEP), ArrowDown: () => turn(0, -STEP),
        '+': () => zoom(1.2), '=': () => zoom(1.2), '-': () => zoom(1 / 1.2),
        0: () => face(HOME.azimuth), Home: () => face(HOME.azimuth),
      };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });

    new ResizeObserver(wake).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', wake);
    window.addEventListener('beforeprint', draw);
    press('pose', 0);
    press('azimuth', HOME.azimuth);
    press('surface', 'shaded');
    draw();
  }

  return { mount };
})();
