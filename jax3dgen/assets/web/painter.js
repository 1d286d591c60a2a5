/* Draws meshes with vertex colours.

   One hidden WebGL2 canvas draws for all viewers of the page (browsers allow few contexts); each
   viewer copies the picture into its own 2D canvas. World frame: +z up, the front of the object
   looks along +x, azimuth grows counter-clockwise seen from above. Matrices are column-major. */
'use strict';
window.jax3dgenPainter ??= (() => {
  const HALF_FOV = 16 * Math.PI / 180;

  const MESH_VERTEX = `#version 300 es
    uniform mat4 camera, model; uniform vec3 low, size; uniform float flatten;
    in vec3 position, normal, color; out vec3 n, c, world;
    const vec3 sun = vec3(-0.22, 0.18, -1.0);
    void main() {
      world = (model * vec4(low + position * size, 1.0)).xyz;
      if (flatten > 0.5) world += sun * world.z;
      n = mat3(model) * normal; c = color;
      gl_Position = camera * vec4(world, 1.0);
    }`;
  const MESH_FRAGMENT = `#version 300 es
    precision highp float;
    uniform vec3 eye; uniform int surface; uniform vec4 shadow;
    in vec3 n, c, world; out vec4 pixel;
    vec3 decode(vec3 s) { return mix(s / 12.92, pow((s + 0.055) / 1.055, vec3(2.4)), step(0.04045, s)); }
    vec3 encode(vec3 l) { return mix(l * 12.92, 1.055 * pow(l, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, l)); }
    void main() {
      if (shadow.a > 0.0) { pixel = vec4(shadow.rgb * shadow.a, shadow.a); return; }
      if (surface == 0) { pixel = vec4(c, 1.0); return; }
      vec3 m = normalize(gl_FrontFacing ? n : -n), view = normalize(eye - world);
      vec3 side = normalize(cross(vec3(0.0, 0.0, 1.0), view));
      vec3 key = normalize(view + 0.55 * vec3(0.0, 0.0, 1.0) - 0.45 * side);
      float sky = 0.5 + 0.5 * m.z, lit = max(dot(m, key), 0.0), head = max(dot(m, view), 0.0);
      float light = surface == 1 ? 0.54 + 0.28 * lit + 0.16 * head + 0.08 * sky
                                 : 0.10 + 0.66 * lit + 0.08 * head + 0.18 * sky;
      vec3 base = surface == 1 ? decode(c) : vec3(0.62, 0.60, 0.57);
      pixel = vec4(encode(clamp(base * light, 0.0, 1.0)), 1.0);
    }`;
  const FLOOR_VERTEX = `#version 300 es
    uniform mat4 camera; uniform vec3 middle; uniform float reach;
    in vec2 corner; out vec2 place;
    void main() {
      place = middle.xy + reach * corner;
      gl_Position = camera * vec4(place, 0.0, 1.0);
    }`;
  const FLOOR_FRAGMENT = `#version 300 es
    precision highp float;
    uniform vec3 middle, ink; uniform float reach, cell;
    in vec2 place; out vec4 pixel;
    float lines(vec2 p) {
      vec2 d = abs(fract(p - 0.5) - 0.5) / max(fwidth(p), 1e-6);
      return 1.0 - min(min(d.x, d.y), 1.0);
    }
    void main() {
      float fade = 1.0 - smoothstep(0.25, 1.0, length(place - middle.xy) / reach);
      float a = fade * max(0.10 * lines(place / cell), 0.2 * lines(place / (4.0 * cell))) + 0.03 * fade;
      pixel = vec4(ink * a, a);
    }`;

  const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) =>
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const unit = (a) => { const n = Math.hypot(...a) || 1; return a.map((x) => x / n); };

  /* Projection times view of a camera at `eye` that looks at `target`. */
  function cameraMatrix(eye, target, aspect, near, far) {
    const back = unit(sub(eye, target)), right = unit(cross([0, 0, 1], back)), up = cross(back, right);
    const f = 1 / (Math.tan(HALF_FOV) * Math.max(1, 1 / aspect)), k = (near + far) / (near - far);
    const row = (axis, s) => [...axis.map((x) => x * s), -dot(axis, eye) * s];
    const x = row(right, f / aspect), y = row(up, f), z = row(back, k), w = row(back, -1);
    z[3] += 2 * near * far / (near - far);
    return new Float32Array([0, 1, 2, 3].flatMap((i) => [x[i], y[i], z[i], w[i]]));
  }

  const modelMatrix = (m) => new Float32Array(
    [m[0], m[4], m[8], 0, m[1], m[5], m[9], 0, m[2], m[6], m[10], 0, m[3], m[7], m[11], 1]);

  function bytes(text) {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  }

  function unpack(mesh) {
    const positions = new Uint16Array(bytes(mesh.positions)), raw = bytes(mesh.faces);
    const faces = mesh.wide ? new Uint32Array(raw) : new Uint16Array(raw);
    const at = (i) => [0, 1, 2].map((k) => positions[3 * i + k] / 65535 * mesh.size[k]);
    const normals = new Float32Array(positions.length);
    for (let f = 0; f < faces.length; f += 3) {
      const a = at(faces[f]), n = cross(sub(at(faces[f + 1]), a), sub(at(faces[f + 2]), a));
      for (let i = f; i < f + 3; i++) for (let k = 0; k < 3; k++) normals[3 * faces[i] + k] += n[k];
    }
    for (let i = 0; i < normals.length; i += 3) {
      normals.set(unit([normals[i], normals[i + 1], normals[i + 2]]), i);
    }
    const colors = mesh.colors ? new Uint8Array(bytes(mesh.colors))
      : new Uint8Array(positions.length).fill(190);
    return { ...mesh, positions, faces, normals, colors };
  }

  /* Centre of the bounding box of a mesh in its own frame, and the radius of the ball round it. */
  function extent(mesh) {
    const middle = mesh.low.map((x, k) => x + mesh.size[k] / 2);
    let radius = 1e-9;
    for (let i = 0; i < mesh.positions.length; i += 3) {
      const offset = [0, 1, 2].map((k) => (mesh.positions[i + k] / 65535 - 0.5) * mesh.size[k]);
      radius = Math.max(radius, Math.hypot(...offset));
    }
    return { middle, radius };
  }

  let gl, programs, uploaded = new WeakMap();
  const watchers = [];

  function compile(vertex, fragment) {
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    ['position', 'normal', 'color'].forEach((name, i) => gl.bindAttribLocation(program, i, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`The shaders do not link: ${gl.getProgramInfoLog(program)}`);
    }
    const at = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      at[name] = gl.getUniformLocation(program, name);
    }
    return { program, at };
  }

  function attribute(index, values, width, type, normalized) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(index);
    gl.vertexAttribPointer(index, width, type, normalized, 0, 0);
  }

  function prepare() {
    programs = { mesh: compile(MESH_VERTEX, MESH_FRAGMENT), floor: compile(FLOOR_VERTEX, FLOOR_FRAGMENT) };
    programs.quad = gl.createVertexArray();
    gl.bindVertexArray(programs.quad);
    attribute(gl.getAttribLocation(programs.floor.program, 'corner'),
      new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), 2, gl.FLOAT, false);
  }

  /* Whether this browser can draw; `wake` is called when what was drawn has been lost. */
  function connect(wake) {
    watchers.push(wake);
    if (gl !== undefined) return Boolean(gl);
    const canvas = document.createElement('canvas');
    gl = canvas.getContext('webgl2', { antialias: true, stencil: true, premultipliedAlpha: true });
    if (!gl) return false;
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => {
      uploaded = new WeakMap();
      prepare();
      watchers.forEach((watcher) => watcher());
    });
    prepare();
    return true;
  }

  function bind(mesh) {
    if (uploaded.has(mesh)) {
      gl.bindVertexArray(uploaded.get(mesh));
      return;
    }
    uploaded.set(mesh, gl.createVertexArray());
    gl.bindVertexArray(uploaded.get(mesh));
    attribute(0, mesh.positions, 3, gl.UNSIGNED_SHORT, true);
    attribute(1, mesh.normals, 3, gl.FLOAT, false);
    attribute(2, mesh.colors, 3, gl.UNSIGNED_BYTE, true);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.faces, gl.STATIC_DRAW);
  }

  function drawFloor({ camera, middle, radius, ink }) {
    const { program, at } = programs.floor;
    gl.useProgram(program);
    gl.bindVertexArray(programs.quad);
    gl.uniformMatrix4fv(at.camera, false, camera);
    gl.uniform3fv(at.middle, middle);
    gl.uniform3fv(at.ink, ink);
    gl.uniform1f(at.reach, 5 * radius);
    gl.uniform1f(at.cell, 2 ** Math.round(Math.log2(radius)) / 4);
    gl.depthMask(false);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.depthMask(true);
  }

  function drawMesh(mesh, model, { camera, eye, surface }, shadow) {
    const { program, at } = programs.mesh;
    gl.useProgram(program);
    bind(mesh);
    gl.uniformMatrix4fv(at.camera, false, camera);
    gl.uniformMatrix4fv(at.model, false, model);
    gl.uniform3fv(at.low, mesh.low);
    gl.uniform3fv(at.size, mesh.size);
    gl.uniform3fv(at.eye, eye);
    gl.uniform1i(at.surface, surface);
    gl.uniform1f(at.flatten, shadow ? 1 : 0);
    gl.uniform4fv(at.shadow, shadow || [0, 0, 0, 0]);
    if (shadow) { /* each pixel of the floor is darkened once, however many faces lie above it */
      gl.enable(gl.STENCIL_TEST);
      gl.stencilFunc(gl.EQUAL, 0, 255);
      gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
      gl.disable(gl.DEPTH_TEST);
    }
    gl.drawElements(gl.TRIANGLES, mesh.faces.length, mesh.wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, 0);
    gl.disable(gl.STENCIL_TEST);
    gl.enable(gl.DEPTH_TEST);
  }

  /* Draws `viewer` into the 2D `context`, whose canvas is width x height; false if it cannot now. */
  function paint(viewer, context, width, height, ink) {
    if (gl.isContextLost()) return false;
    const canvas = gl.canvas, { azimuth, elevation, zoom } = viewer.shown;
    if (canvas.width < width) canvas.width = width;
    if (canvas.height < height) canvas.height = height;
    const az = azimuth * Math.PI / 180, el = elevation * Math.PI / 180, { middle, radius } = viewer;
    const distance = 1.08 * radius / Math.sin(HALF_FOV) / zoom;
    const eye = [Math.cos(el) * Math.cos(az), Math.cos(el) * Math.sin(az), Math.sin(el)]
      .map((x, k) => middle[k] + distance * x);
    const near = Math.max(distance - 2 * radius, 0.02 * distance);
    const camera = cameraMatrix(eye, middle, width / height, near, distance + 8 * radius);
    const mesh = viewer.meshes[viewer.pose.mesh], model = modelMatrix(viewer.pose.frames[viewer.moment]);
    const scene = { camera, eye, middle, radius, ink, surface: viewer.surface };
    gl.viewport(0, canvas.height - height, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    if (viewer.floor) drawFloor(scene);
    if (viewer.floor && eye[2] > 0) drawMesh(mesh, model, scene, [0, 0, 0, 0.16]);
    drawMesh(mesh, model, scene, null);
    context.clearRect(0, 0, width, height);
    context.drawImage(canvas, 0, 0, width, height, 0, 0, width, height);
    return true;
  }

  return { connect, unpack, extent, paint };
})();
