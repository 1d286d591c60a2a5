/* Works the controls of a report as a reader would, and notes what each leaves in the middle of the
   canvas in <html data-seen>. */
addEventListener('load', async () => {
  const seen = {};
  try {
    await look(seen);
  } catch (error) {
    window.faults.push(String(error.stack));
  }
  seen.broken = window.broken ?? null;
  seen.faults = window.faults;
  document.documentElement.dataset.seen = JSON.stringify(seen);
});

async function look(seen) {
  const figure = document.querySelector('.viewer'), canvas = figure.querySelector('canvas');
  const context = canvas.getContext('2d');

  async function settled() {
    for (let i = 0; i < 4; i++) await new Promise(requestAnimationFrame);
  }

  function at(x, y) {
    return [...context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data];
  }

  async function press(choice) {
    figure.querySelector(`[data-${choice}]`).click();
    await settled();
    return at(0.5, 0.5);
  }

  async function key(name, times) {
    for (let i = 0; i < times; i++) {
      canvas.dispatchEvent(new KeyboardEvent('keydown', { key: name, cancelable: true }));
    }
    await settled();
    return at(0.5, 0.5);
  }

  async function drag(dx, dy) {
    canvas.setPointerCapture = () => {}; /* there is no such pointer to capture */
    const steps = [['pointerdown', 0, 0], ['pointermove', dx, dy], ['pointerup', dx, dy]];
    for (const [name, x, y] of steps) {
      canvas.dispatchEvent(new PointerEvent(name, { pointerId: 1, clientX: 300 + x, clientY: 300 + y }));
    }
    await settled();
    return at(0.5, 0.5);
  }

  function drawn() {
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 3; i < data.length; i += 4) count += data[i] > 250;
    return count / (canvas.width * canvas.height);
  }

  await settled();
  seen.state = figure.dataset.state;
  seen.drawn = drawn();
  seen.shaded = at(0.5, 0.5);
  seen.clay = await press('surface="clay"');
  await press('surface="plain"');
  for (const side of [90, 180, 270, 0]) seen[side] = await press(`azimuth="${side}"`);
  seen.above = at(0.5, 0.15);
  seen.key = await key('ArrowRight', 9);
  seen.home = await key('0', 1);
  seen.up = await key('ArrowUp', 8);
  await key('0', 1);
  seen.drag = await drag(200, 0);
  await key('0', 1);
  const before = drawn();
  await key('-', 2);
  seen.smaller = drawn() / before;
  await key('0', 1);
  const reset = window.webgl.getExtension('WEBGL_lose_context'); /* as when a laptop sleeps */
  reset.loseContext();
  await settled();
  reset.restoreContext();
  await settled();
  seen.restored = await press('azimuth="90"');
  await key('0', 1);
  seen.fallen = await press('pose="1"');
  seen.heading = figure.querySelector('output').textContent;
  seen.fetched = performance.getEntriesByType('resource').map((entry) => entry.name.slice(0, 5));
  seen.pictures = [...document.images].every((picture) => picture.naturalWidth > 0);
  seen.wide = document.documentElement.scrollWidth - innerWidth;
}
