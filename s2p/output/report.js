"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const R = data.residues, N = R.id.length;
  let byRank, inPocket, shown;
  const $ = id => document.getElementById(id);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => $("theme").value ? $("theme").value === "dark" : dark.matches;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  function index() {
    byRank = new Map(data.pockets.map(p => [p.rank, p]));
    inPocket = new Map(data.pockets.map(p => [p.rank, new Set(p.residues)]));
    shown = new Set(data.pockets.filter(p => p.shown).map(p => p.rank));
  }
  index();
  function describe(i) {
    const pocket = data.pocket[i] ? ", pocket " + data.pocket[i] : "";
    const cryptic = R.c.length ? ", cryptic " + R.c[i].toFixed(2) : "";
    return R.id[i] + " " + R.name[i] + ": probability " + R.p[i].toFixed(2) + cryptic + pocket + (data.smoothed[i] ? " (added by smoothing)" : "");
  }
  function say(text) {
    const box = $("status");
    box.textContent = text;
    box.classList.add("on");
    clearTimeout(say.timer);
    say.timer = setTimeout(() => box.classList.remove("on"), 1800);
  }

  /* ---- 3D ---- */
  let viewer = null, atoms = [], surfaces = new Map(), marks = [], spot = null;
  const isProtein = a => a.residue !== undefined;
  const pocketSelection = p => ({ predicate: a => isProtein(a) && inPocket.get(p.rank).has(a.residue) });

  function ramp(x) {
    const steps = data.ramp, t = Math.min(Math.max(x, 0), 1) * (steps.length - 1), k = Math.min(Math.floor(t), steps.length - 2), f = t - k;
    const channel = (c, j) => parseInt(c.slice(1 + 2 * j, 3 + 2 * j), 16);
    return "#" + [0, 1, 2].map(j => Math.round(channel(steps[k], j) * (1 - f) + channel(steps[k + 1], j) * f).toString(16).padStart(2, "0")).join("");
  }
  function colorOf(i) {
    if ($("coloring").value === "probability") return ramp(R.p[i]);
    const rank = data.pocket[i];
    return rank && shown.has(rank) ? byRank.get(rank).color : data.cartoon;
  }
  function start() {
    // Surfaces are patches of a pocket's size: quicker made here than by workers, which a page opened as a file may not start.
    $3Dmol.setSyncSurface(true);
    try {
      viewer = $3Dmol.createViewer($("viewer"), { backgroundColor: ground(), antialias: true });
    } catch (error) { viewer = null; }
    if (!viewer) {
      $("viewer").innerHTML = "<p class='failed'>This browser does not support WebGL, so there is no 3D view. The rest of the page works.</p>";
      return;
    }
    const model = viewer.addModel(data.structure, data.format, { keepH: true });
    atoms = model.selectedAtoms({});
    // By position in the file: 3Dmol.js does not read the insertion codes of mmCIF.
    for (const a of atoms) {
      const owner = data.owner[a.index];
      if (owner >= 0) a.residue = owner; else a.ligand = true;
    }
    viewer.setHoverable({ predicate: isProtein }, true,
      a => { if (a.residue !== undefined) readout(a.residue); }, () => {});
    viewer.setClickable({ predicate: isProtein }, true, a => { if (a.residue !== undefined) pick(a.residue); });
    style();
    face();
    whole();
    viewer.render();
    dark.addEventListener("change", recolor);
    window.addEventListener("resize", () => { viewer.resize(); viewer.render(); });
    data.pockets.forEach(p => surface(p));
    $("viewer").dataset.ready = "1";
  }
  /* Turn the best pocket towards the reader. */
  function face() {
    if (!data.pockets.length) return;
    const own = atoms.filter(isProtein), mean = k => own.reduce((sum, a) => sum + a[k], 0) / own.length;
    const d = ["x", "y", "z"].map((k, j) => data.pockets[0].center[j] - mean(k)), length = Math.hypot(...d);
    if (length < 1e-3 || d[2] < -0.999 * length) return;
    const q = [d[1] / length, -d[0] / length, 0, 1 + d[2] / length], size = Math.hypot(...q), view = viewer.getView();
    viewer.setView([...view.slice(0, 4), ...q.map(x => x / size)]);
  }
  function turned([x, y, z], [a, b, c, w]) {
    const u = 2 * (b * z - c * y), v = 2 * (c * x - a * z), t = 2 * (a * y - b * x);
    return [x + w * u + b * t - c * v, y + w * v + c * u - a * t, z + w * t + a * v - b * u];
  }
  /* Fill the view with the body of the protein, as it is turned: one long tail would make everything else small, and so would
     the sphere around it all, which is what 3Dmol.js fits. */
  function whole() {
    const own = atoms.filter(isProtein), mean = k => own.reduce((sum, a) => sum + a[k], 0) / own.length;
    if (!own.length) return;
    const x = mean("x"), y = mean("y"), z = mean("z"), far = a => (a.x - x) ** 2 + (a.y - y) ** 2 + (a.z - z) ** 2;
    const limit = own.map(far).sort((a, b) => a - b)[Math.floor(own.length * 0.93)];
    viewer.zoomTo({ predicate: isProtein });
    const view = viewer.getView(), turn = view.slice(4), back = turn.map((q, k) => k < 3 ? -q : q);
    const points = own.filter(a => far(a) <= limit).map(a => turned([a.x, a.y, a.z], turn));
    const middle = [0, 1, 2].map(k => points.reduce(([low, high], p) => [Math.min(low, p[k]), Math.max(high, p[k])], [1e9, -1e9]))
      .map(([low, high]) => (low + high) / 2);
    const high = 0.88 * Math.tan(viewer.camera.fov * Math.PI / 360), wide = high * $("viewer").clientWidth / $("viewer").clientHeight;
    const room = points.reduce((most, p) => Math.max(most, p[2] - middle[2] + 2
      + Math.max((Math.abs(p[0] - middle[0]) + 2) / wide, (Math.abs(p[1] - middle[1]) + 2) / high)), 0);
    viewer.setView([...turned(middle, back).map(v => -v), viewer.CAMERA_Z - room, ...turn]);
  }
  function recolor() {
    if (!viewer) return;
    viewer.setBackgroundColor(ground());
    style();
    viewer.render();
  }
  function ground() { return getComputedStyle(document.documentElement).getPropertyValue("--scene").trim() || "white"; }

  function style() {
    if (!viewer) return;
    const cartoon = { colorfunc: a => a.residue === undefined ? data.cartoon : colorOf(a.residue) };
    if (data.trace) Object.assign(cartoon, { style: "trace", thickness: 0.4 });
    viewer.setStyle({}, {});
    viewer.setStyle({ predicate: isProtein }, { cartoon: cartoon });
    for (const p of data.pockets) {
      if (!shown.has(p.rank)) continue;
      const side = { predicate: a => isProtein(a) && inPocket.get(p.rank).has(a.residue) && !["N", "C", "O"].includes(a.atom) };
      viewer.addStyle(side, { stick: { radius: 0.16, colorfunc: a => a.elem === "C" ? colorOf(a.residue) : ($3Dmol.elementColors.rasmol[a.elem] || 0x999999) } });
    }
    if ($("ligands").checked) {
      const carbon = isDark() ? "#f5f5f5" : data.ligand;
      const color = a => a.elem === "C" ? carbon : ($3Dmol.elementColors.rasmol[a.elem] || 0x999999);
      viewer.addStyle({ predicate: a => a.ligand && a.bonds.length > 0 }, { stick: { radius: 0.24, colorfunc: color } });
      viewer.addStyle({ predicate: a => a.ligand && a.bonds.length === 0 }, { sphere: { scale: 0.35, colorfunc: color } });
    }
    for (const mark of marks) mark.remove();
    marks = [];
    if ($("centers").checked) {
      for (const p of data.pockets) {
        if (!shown.has(p.rank)) continue;
        const [x, y, z] = p.center;
        const label = viewer.addLabel(p.label, { position: { x, y, z }, backgroundColor: p.color, backgroundOpacity: 0.95,
          fontColor: p.ink, fontSize: 15, bold: true, inFront: true, alignment: "center", borderThickness: 0 });
        marks.push({ remove: () => viewer.removeLabel(label) });
        for (const [a, b, c] of p.sites) {
          const dot = viewer.addSphere({ center: { x: a, y: b, z: c }, radius: 0.9, color: p.color });
          marks.push({ remove: () => viewer.removeShape(dot) });
        }
      }
    }
  }
  function surface(p) {
    // A turn of the event loop for each, so that the page stays alive; whether it is still wanted is asked then.
    setTimeout(() => {
      if (!viewer || surfaces.has(p.rank) || !shown.has(p.rank) || !$("surfaces").checked) return;
      const made = viewer.addSurface($3Dmol.SurfaceType.MS, { opacity: 0.7, color: p.color, wireframe: p.net }, pocketSelection(p), { predicate: isProtein });
      surfaces.set(p.rank, made.surfid);
      made.then(() => { $("viewer").dataset.surfaces = surfaces.size; viewer.render(); });
    }, 0);
  }
  function unsurface(p) {
    if (!viewer || !surfaces.has(p.rank)) return;
    viewer.removeSurface(surfaces.get(p.rank));
    surfaces.delete(p.rank);
  }
  function zoom(selection, padding) {
    if (!viewer) return;
    viewer.zoomTo(selection, still.matches ? 0 : 500);
    if (padding) viewer.zoom(padding, still.matches ? 0 : 500);
    viewer.render();
  }
  function refresh() { style(); if (viewer) viewer.render(); draw(); }

  function choose(rank) {
    document.querySelectorAll("tr.chosen").forEach(row => row.classList.remove("chosen"));
    document.querySelectorAll("tr[data-rank='" + rank + "']").forEach(row => row.classList.add("chosen"));
  }
  function toggle(rank, on) {
    if (on) { shown.add(rank); surface(byRank.get(rank)); } else { shown.delete(rank); unsurface(byRank.get(rank)); }
    refresh();
  }
  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say(what + " selection copied");
  }
  function check() {
    document.querySelectorAll("[data-show]").forEach(box => { box.checked = shown.has(Number(box.dataset.show)); });
  }
  check();
  /* Listeners are on the tables' places, for the explorer changes what is in them. */
  $("pocket-table").addEventListener("change", event => {
    if (event.target.dataset.show) toggle(Number(event.target.dataset.show), event.target.checked);
  });
  $("pocket-table").addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.sort) { sort(button.dataset.sort); return; }
    if (button.dataset.copy) { copy(byRank.get(Number(button.dataset.rank))[button.dataset.copy], button.textContent); return; }
    const rank = Number(button.dataset.zoom);
    if (!shown.has(rank)) { toggle(rank, true); check(); }
    choose(rank);
    zoom(pocketSelection(byRank.get(rank)));
  });
  /* A pocket is two rows, which move together. */
  function sort(key) {
    const head = document.querySelector("[data-sort='" + key + "']").closest("th");
    const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : key === "rank";
    document.querySelectorAll("#pocket-table th").forEach(th => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = p => key === "size" ? p.residues.length : p[key];
    const order = [...data.pockets].sort((a, b) => (up ? 1 : -1) * (value(a) - value(b)) || a.rank - b.rank);
    for (const p of order) head.closest("table").tBodies[0].append(...document.querySelectorAll("#pocket-table tr[data-rank='" + p.rank + "']"));
  }
  $("ligand-table").addEventListener("click", event => {
    const button = event.target.closest("[data-ligand]");
    if (!button) return;
    const [x, y, z] = data.ligands[Number(button.dataset.ligand)];
    $("ligands").checked = true;
    style();
    zoom({ predicate: a => (a.x - x) ** 2 + (a.y - y) ** 2 + (a.z - z) ** 2 < 64 });
  });
  $("theme").addEventListener("change", () => {
    if ($("theme").value) document.documentElement.dataset.theme = $("theme").value;
    else delete document.documentElement.dataset.theme;
    recolor();
  });
  $("reset").addEventListener("click", () => { choose(-1); if (viewer) whole(); });
  $("coloring").addEventListener("change", () => { $("ramp").hidden = $("coloring").value !== "probability"; refresh(); });
  $("centers").addEventListener("change", refresh);
  $("ligands").addEventListener("change", refresh);
  $("surfaces").addEventListener("change", () => {
    data.pockets.forEach(p => $("surfaces").checked && shown.has(p.rank) ? surface(p) : unsurface(p));
    refresh();
  });
  document.querySelector("#ramp i").style.background = "linear-gradient(90deg," + data.ramp.join(",") + ")";

  /* ---- plot ---- */
  const H = 190, TOP = 14, BASE = 132, LEFT = 44, RIGHT = 14, GAP = 18;
  let cursor = 0, xs = [], step = 1, line = null;
  function svg(tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    return node;
  }
  const y = p => BASE - p * (BASE - TOP);
  function draw() {
    const box = $("plot"), breaks = [];
    for (let i = 1; i < N; i++) if (R.chain[i] !== R.chain[i - 1]) breaks.push(i);
    const room = box.clientWidth - LEFT - RIGHT - GAP * breaks.length;
    step = Math.min(Math.max(room / Math.max(N, 1), 0.75), 14);
    xs = new Float64Array(N);
    let x = LEFT;
    for (let i = 0; i < N; i++) { if (i && R.chain[i] !== R.chain[i - 1]) x += GAP; xs[i] = x; x += step; }
    const width = Math.max(x + RIGHT, box.clientWidth - 2);
    const root = svg("svg", { width: width, height: H, "aria-hidden": "true" });
    for (const p of [0, 0.5, 1]) {
      root.append(svg("line", { class: "axis", x1: LEFT, x2: x, y1: y(p), y2: y(p) }), svg("text", { x: LEFT - 8, y: y(p) + 4, "text-anchor": "end" }, p.toFixed(1)));
    }
    const middle = (TOP + BASE) / 2;
    root.append(svg("text", { x: 12, y: middle, transform: "rotate(-90 12 " + middle + ")", "text-anchor": "middle" }, "probability"));
    const bars = new Map(), strip = new Map();
    const add = (map, key, d) => map.set(key, (map.get(key) || "") + d);
    const w = step > 4 ? step - 1 : step;
    let dots = "";
    for (let i = 0; i < N; i++) {
      const rank = shown.has(data.pocket[i]) ? data.pocket[i] : 0;
      add(bars, rank, "M" + xs[i].toFixed(2) + " " + BASE + "h" + w.toFixed(2) + "V" + y(R.p[i]).toFixed(2) + "h-" + w.toFixed(2) + "z");
      if (data.pocket[i]) add(strip, data.pocket[i], "M" + xs[i].toFixed(2) + " " + (BASE + 8) + "h" + step.toFixed(2) + "v8h-" + step.toFixed(2) + "z");
      if (data.smoothed[i]) dots += "M" + (xs[i] + w / 2 - 1.5).toFixed(2) + " " + (BASE + 4) + "a1.5 1.5 0 1 0 3 0a1.5 1.5 0 1 0 -3 0";
    }
    for (const [rank, d] of bars) root.append(svg("path", rank ? { d: d, fill: byRank.get(rank).color } : { d: d, class: "none" }));
    for (const [rank, d] of strip) root.append(svg("path", { d: d, fill: byRank.get(rank).color }));
    if (R.c.length) {
      const steps = R.c.map((p, i) => (i && R.chain[i] === R.chain[i - 1] ? "V" : "M" + xs[i].toFixed(2) + " ") + y(p).toFixed(2) + "h" + step.toFixed(2));
      root.append(svg("path", { d: steps.join(""), class: "cryptic" }));
    }
    if (dots) root.append(svg("path", { d: dots, class: "added" }));
    if (data.threshold !== null) root.append(svg("line", { class: "limit", x1: LEFT, x2: x, y1: y(data.threshold), y2: y(data.threshold) }));
    let last = -1e9;
    const every = [1, 5, 10, 20, 25, 50, 100, 200, 500].find(k => k * step >= 34) || 1000;
    for (let i = 0; i < N; i++) {
      const first = i === 0 || R.chain[i] !== R.chain[i - 1];
      if (first) root.append(svg("text", { x: xs[i], y: BASE + 46 }, "chain " + R.chain[i]));
      if ((first || R.number[i] % every === 0) && xs[i] - last >= 30) {
        root.append(svg("text", { x: xs[i] + w / 2, y: BASE + 31, "text-anchor": "middle" }, R.number[i] + R.code[i]));
        last = xs[i];
      }
    }
    line = svg("line", { class: "cursor", y1: TOP - 6, y2: BASE + 18, visibility: "hidden" });
    root.append(line);
    box.replaceChildren(root);
  }
  function at(event) {
    const box = $("plot"), x = event.clientX - box.getBoundingClientRect().left + box.scrollLeft;
    let low = 0, high = N - 1;
    while (low < high) { const middle = (low + high + 1) >> 1; if (xs[middle] <= x) low = middle; else high = middle - 1; }
    return low;
  }
  function readout(i) {
    cursor = i;
    $("readout").textContent = describe(i);
    const x = xs[i] + step / 2, box = $("plot");
    line.setAttribute("x1", x); line.setAttribute("x2", x); line.setAttribute("visibility", "visible");
    box.setAttribute("aria-valuenow", i + 1);
    box.setAttribute("aria-valuetext", describe(i));
  }
  /* Name a residue in the 3D view; its representative atom. */
  function name(i) {
    readout(i);
    if (!viewer) return null;
    if (spot) viewer.removeLabel(spot);
    const found = atoms.filter(a => a.residue === i), ca = found.find(a => a.atom === "CA") || found[0];
    if (!ca) return null;
    spot = viewer.addLabel(R.id[i] + " " + R.name[i] + " " + R.p[i].toFixed(2), { position: { x: ca.x, y: ca.y, z: ca.z }, fontSize: 13, backgroundColor: "#222222", backgroundOpacity: 0.85, fontColor: "white", inFront: true });
    return ca;
  }
  /* A residue clicked in 3D: named there, marked in the plot and scrolled to. */
  function pick(i) {
    name(i);
    into(i);
    $("viewer").dataset.picked = R.id[i];
    if (data.pocket[i]) choose(data.pocket[i]);
    viewer.render();
  }
  /* A residue clicked in the plot: named in 3D, and the view goes there. */
  function reveal(i) {
    const ca = name(i);
    if (!ca) return;
    $("viewer").dataset.revealed = R.id[i];
    zoom({ predicate: a => isProtein(a) && (a.x - ca.x) ** 2 + (a.y - ca.y) ** 2 + (a.z - ca.z) ** 2 < 100 });
  }
  function into(i) {
    const box = $("plot");
    if (xs[i] < box.scrollLeft + LEFT || xs[i] > box.scrollLeft + box.clientWidth - RIGHT) box.scrollLeft = xs[i] - box.clientWidth / 2;
  }
  /* Other pockets of the same structure, from the explorer's kernel. */
  function apply(message) {
    data.pockets.forEach(unsurface);
    Object.assign(data, { pockets: message.pockets, pocket: message.pocket, smoothed: message.smoothed, threshold: message.threshold });
    index();
    for (const id in message.html) $(id).innerHTML = message.html[id];
    check();
    refresh();
    if (viewer) data.pockets.forEach(p => surface(p));
    document.body.dataset.updates = Number(document.body.dataset.updates || 0) + 1;
  }
  if (data.channel) {
    const channel = new BroadcastChannel(data.channel);
    channel.onmessage = event => { if (event.data.pockets) apply(event.data); };
    channel.postMessage("ready");
  }
  if (N) {
    draw();
    let width = $("plot").clientWidth;
    new ResizeObserver(() => { if ($("plot").clientWidth !== width) { width = $("plot").clientWidth; draw(); } }).observe($("plot"));
    $("plot").addEventListener("mousemove", event => readout(at(event)));
    $("plot").addEventListener("click", event => reveal(at(event)));
    $("plot").addEventListener("keydown", event => {
      const jump = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10, PageUp: 50, PageDown: -50 }[event.key];
      let next = cursor;
      if (jump) next = Math.min(Math.max(cursor + jump, 0), N - 1);
      else if (event.key === "Home") next = 0;
      else if (event.key === "End") next = N - 1;
      else if (event.key === "Enter") { reveal(cursor); return; }
      else return;
      event.preventDefault();
      readout(next);
      into(next);
    });
  }
  start();
})();
