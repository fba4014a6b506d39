// The wall of all maps: their OIPs grow from their starts; the address carries what was chosen.
"use strict";
(() => {
  const root = document.getElementById("oip-wall"), data = window.WALL;
  if (!root || !data) return;
  const KINDS = Object.keys(data.sheets);
  if (!KINDS.length) {
    root.textContent = "No map has an OIP yet: there is nothing to show.";
    return;
  }
  const FOUND = {
    fluctuation: ["a random image", "Random images reach this map."],
    pattern: ["a coarse pattern only", "Random images didn't reach this map; coarse patterns do."],
    revival: ["a revived start only", "No start excited this map at first: one had to be led to it."],
  };
  const PACE = 430; // milliseconds from frame to frame
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const narrow = matchMedia("(max-width: 767px)");
  const USUAL = { frame: "", look: "enhanced", kind: KINDS[0], order: "number", from: "", map: "" };
  const state = { ...USUAL };
  const byMap = new Map(data.maps.map((row) => [String(row.map), row]));
  const sheets = {}; // kind -> its loaded image
  let moment = 0; // which frame is shown; between two while they grow
  let playing = 0; // the running animation, 0 for none

  const frames = () => data.sheets[state.kind].frames;
  const last = () => frames() - 1;

  // The theme's contents are put away at first, which its button undoes: the wall is as wide as the page.
  const contents = document.getElementById("pst-primary-sidebar-checkbox");
  if (contents && matchMedia("(min-width: 992px)").matches) contents.checked = true;

  // The address

  function read() {
    const told = new URLSearchParams(location.hash.slice(1));
    const allowed = {
      frame: (value) => /^\d{1,4}$/.test(value),
      look: (value) => ["enhanced", "computed"].includes(value),
      kind: (value) => KINDS.includes(value),
      order: (value) => ["number", "loss", "similarity"].includes(value),
      from: (value) => value in FOUND,
      map: (value) => byMap.has(value),
    };
    Object.assign(state, USUAL);
    for (const [name, value] of told) if (allowed[name]?.(value)) state[name] = value;
    moment = state.frame === "" ? last() : Math.min(+state.frame, last());
  }

  let writing = 0;
  function write() {
    clearTimeout(writing);
    writing = setTimeout(writeNow, 120); // browsers refuse too many changes in a row
  }
  function writeNow() {
    clearTimeout(writing);
    const told = new URLSearchParams();
    for (const name in USUAL) if (state[name] !== USUAL[name]) told.set(name, state[name]);
    if (playing) told.delete("frame"); // where it stops is kept, not where it passes
    const hash = String(told);
    if (hash === location.hash.slice(1)) return;
    history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  }

  // Parts of the page

  function element(name, attributes, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value);
    }
    made.append(...inside);
    return made;
  }

  function choice(name, legend, options) {
    const inputs = Object.entries(options).map(([value, label]) => {
      const input = element("input", { type: "radio", name: "oip-wall-" + name, value,
        onchange: () => change({ [name]: value }) });
      return [input, element("label", {}, input, element("span", {}, label))];
    });
    const set = element("fieldset", { class: "wall-choice" },
      element("legend", { class: "wall-hidden" }, legend), ...inputs.map(([, label]) => label));
    set.fill = () => inputs.forEach(([input]) => { input.checked = input.value === state[name]; });
    return set;
  }

  function list(name, label, options) {
    const select = element("select", { id: "oip-wall-" + name, onchange: () => change({ [name]: select.value }) },
      ...Object.entries(options).map(([value, text]) => element("option", { value }, text)));
    const whole = element("label", { class: "wall-list" }, element("span", {}, label), select);
    whole.fill = () => { select.value = state[name]; };
    return whole;
  }

  const grow = element("button", { type: "button", class: "wall-grow", onclick: () => (playing ? stop() : play()) });
  const slider = element("input", { type: "range", class: "wall-slider", min: "0", step: "1",
    "aria-label": "How far the images have grown", oninput: () => { stop(); goTo(+slider.value); write(); } });
  const step = element("output", { class: "wall-step" });
  const ways = Object.keys(FOUND).filter((way) => data.maps.some((row) => row.found === way));
  const controls = [
    choice("look", "Contrast", { enhanced: "enhanced", computed: "as computed" }),
    ...(KINDS.length > 1 ? [choice("kind", "Which image of each map", { strongest: "strongest", legible: "legible" })] : []),
    list("order", "order", { number: "by number", loss: "by loss", similarity: "by similarity" }),
    ...(ways.length > 1 ? [list("from", "reached by",
      Object.fromEntries([["", "anything"], ...ways.map((way) => [way, FOUND[way][0]])]))] : []),
  ];
  const said = element("p", { class: "wall-said", "aria-live": "polite" });
  const grid = element("div", { class: "wall-grid", role: "group", "aria-label": "All maps; the arrow keys move between them" });
  const lens = element("div", { class: "wall-lens", role: "group", "aria-label": "The map pointed at" });
  root.replaceChildren(
    element("div", { class: "wall-controls" },
      element("div", { class: "wall-time" }, grow, slider, step), ...controls),
    said, element("div", { class: "wall-body" }, grid, lens));

  // One picture for each map

  const tiles = data.maps.map((row, place) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const tile = element("a", { class: "wall-map", tabindex: "-1", "data-map": row.map, ...(row.page ? { href: row.page } : {}) }, canvas);
    Object.assign(tile, { row, place, canvas });
    return tile;
  });
  const tileOf = (map) => tiles.find((tile) => String(tile.row.map) === String(map));

  function paint(canvas, row, place) {
    const oip = row.oips[state.kind], sheet = sheets[state.kind];
    const { size: [width, height] } = data.sheets[state.kind];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    canvas.style.filter = oip && state.look === "enhanced" ? `contrast(${oip.gain})` : "";
    if (!oip || !sheet) return;
    const rows = Math.ceil(data.maps.length / data.across);
    const x = (place % data.across) * width, y = Math.floor(place / data.across) * height;
    const put = (frame, alpha) => {
      context.globalAlpha = alpha;
      context.drawImage(sheet, x, y + frame * rows * height, width, height, 0, 0, width, height);
    };
    const frame = Math.floor(moment), rest = moment - frame;
    put(frame, 1);
    if (rest > 0) put(frame + 1, rest); // two frames melt into one another
  }

  function draw() {
    for (const tile of tiles) paint(tile.canvas, tile.row, tile.place);
    if (named) paint(named.picture, named.row, named.place);
  }

  function load(kind) {
    if (sheets[kind]) return Promise.resolve();
    return new Promise((done) => {
      const image = new Image();
      image.onload = () => { sheets[kind] = image; done(); };
      image.onerror = () => { say("The pictures couldn't be loaded."); };
      image.src = data.sheets[kind].file;
    });
  }

  // Growing

  function stepText(frame) {
    const steps = new Set(), ends = new Set();
    for (const row of data.maps) {
      const oip = row.oips[state.kind];
      if (oip) { steps.add(oip.steps[frame]); ends.add(oip.steps[oip.steps.length - 1]); }
    }
    return steps.size === 1 && ends.size === 1 ? `step ${[...steps][0]} of ${[...ends][0]}` : `frame ${frame + 1} of ${frames()}`;
  }

  function goTo(to) {
    moment = to;
    const frame = Math.round(moment);
    state.frame = frame === last() ? "" : String(frame);
    slider.max = String(last());
    slider.value = String(frame);
    step.textContent = stepText(frame);
    slider.setAttribute("aria-valuetext", step.textContent);
    draw();
    nameLoss();
  }

  function play() {
    const from = moment >= last() ? 0 : moment, began = performance.now();
    function tick(now) {
      const whole = Math.max(0, from + (now - began) / PACE), rest = whole % 1;
      // Each frame stays for a while; for those who want no motion it is replaced at once.
      const melted = calm.matches ? 0 : Math.max(0, (rest - 0.4) / 0.6);
      goTo(Math.min(last(), Math.floor(whole) + melted));
      if (moment < last()) playing = requestAnimationFrame(tick);
      else { stop(); write(); }
    }
    stop();
    goTo(from);
    playing = requestAnimationFrame(tick);
    label();
  }

  function stop() {
    cancelAnimationFrame(playing);
    if (playing && moment < last()) goTo(Math.round(moment));
    playing = 0;
    label();
    write();
  }

  function label() {
    grow.textContent = playing ? "\u275a\u275a Pause" : "\u25b6\ufe0e Grow";
  }

  // Order and filter

  function ordered() {
    const loss = (tile) => tile.row.oips[state.kind]?.loss ?? -Infinity;
    if (state.order === "loss") return [...tiles].sort((a, b) => loss(b) - loss(a) || a.place - b.place);
    if (state.order === "similarity") {
      const across = String(columns());
      return (data.similar[across] || Object.values(data.similar)[0]).map((place) => tiles[place]);
    }
    return tiles;
  }

  const columns = () => (narrow.matches ? 8 : 16);

  function arrange() {
    const order = ordered();
    if ([...grid.children].every((child, i) => child === order[i]) && grid.children.length) return;
    const before = new Map(tiles.map((tile) => [tile, tile.isConnected && tile.getBoundingClientRect()]));
    const focused = grid.contains(document.activeElement) ? document.activeElement : null;
    grid.replaceChildren(...order);
    if (focused) focused.focus();
    if (calm.matches) return;
    for (const [tile, old] of before) {
      const now = tile.getBoundingClientRect();
      if (old && (old.x !== now.x || old.y !== now.y)) {
        tile.animate([{ transform: `translate(${old.x - now.x}px, ${old.y - now.y}px)` }, { transform: "none" }],
          { duration: 600, easing: "ease-in-out" });
      }
    }
  }

  function say(text) {
    if (said.textContent !== text) said.textContent = text;
  }

  function tell() {
    const inFilter = (row) => !state.from || row.found === state.from;
    for (const tile of tiles) {
      const { row } = tile, oip = row.oips[state.kind];
      tile.classList.toggle("is-dim", !inFilter(row));
      tile.classList.toggle("is-empty", !oip);
      tile.classList.toggle("is-chosen", String(row.map) === state.map);
      tile.setAttribute("aria-label", `Map ${row.map}, ` + (oip ? `loss ${short(oip.loss)}` : "no OIP"));
      if (!row.page) tile.setAttribute("role", "img");
    }
    const n = data.maps.filter(inFilter).length;
    const all = data.maps.length < data.n_maps ? `${data.maps.length} of the ${data.n_maps} maps` : `${n < data.n_maps ? `${n} of ` : ""}${data.n_maps} maps`;
    say(`${all} of ${data.layer}. ` + (narrow.matches ? "Tap a picture to see it large." :
      "Point at a picture to see it large; click it to open its page."));
  }

  // The map that is pointed at

  const short = (value) => (value >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3)));
  let named = null;

  function grewFrom(oip) {
    const steps = `in ${oip.steps[oip.steps.length - 1]} steps`;
    if (oip.origin === "fluctuation") return `grown ${steps} from a random image`;
    const from = `from coarse pattern no. ${oip.number.toLocaleString("en")}`;
    return `grown ${steps} ${from}` + (oip.origin === "revival" ? ", which the map at first did not respond to" : "");
  }

  function name(tile) {
    const { row, place } = tile, oip = row.oips[state.kind];
    if (named?.row === row && named.kind === state.kind) return;
    const picture = element("canvas", { role: "img", "aria-label": `The OIP of map ${row.map}`, class: oip ? "" : "is-empty" });
    const loss = element("p", { class: "wall-loss" });
    const title = row.page ? element("a", { href: row.page }, `Map ${row.map}`) : `Map ${row.map}`;
    named = { row, place, picture, loss, kind: state.kind };
    lens.replaceChildren(
      element("div", { class: "wall-picture" }, picture),
      element("div", { class: "wall-text" },
        element("p", { class: "wall-title" }, title), loss,
        element("p", {}, oip ? `OIP ${oip.id}, ${grewFrom(oip)}.` : "No OIP was found for this map."),
        element("p", {}, row.found ? FOUND[row.found][1] : ""),
        ...(row.page ? [element("p", { class: "wall-open" }, element("a", { href: row.page }, `All about map ${row.map}`))] : [])),
      element("button", { type: "button", class: "wall-close", "aria-label": "Close", onclick: () => {
        lens.classList.remove("is-open");
        change({ map: "" });
      } }, "\u00d7"));
    paint(picture, row, place);
    nameLoss();
  }

  function nameLoss() {
    const oip = named?.row.oips[state.kind];
    if (!named) return;
    const frame = Math.round(moment);
    named.loss.textContent = !oip ? "" : frame === last() ? `Loss ${short(oip.loss)}` :
      `Loss ${short(oip.losses[frame])} at step ${oip.steps[frame]}, ${short(oip.loss)} at the end`;
  }

  function choose(tile) {
    state.map = String(tile.row.map);
    for (const other of tiles) {
      other.tabIndex = other === tile ? 0 : -1;
      other.classList.toggle("is-chosen", other === tile);
    }
    lens.classList.add("is-open");
    name(tile);
    write();
  }

  const tileAt = (event) => event.target.closest?.(".wall-map");
  let touched = false, before = "";
  grid.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch"; before = state.map; });
  grid.addEventListener("pointerover", (event) => { if (event.pointerType !== "touch" && tileAt(event)) name(tileAt(event)); });
  grid.addEventListener("pointerleave", () => { if (state.map) name(tileOf(state.map)); });
  grid.addEventListener("focusin", (event) => { if (tileAt(event)) choose(tileAt(event)); });
  grid.addEventListener("click", (event) => {
    const tile = tileAt(event);
    if (!tile) return;
    // The first tap shows a map, the second one opens its page.
    if (touched && before !== String(tile.row.map)) event.preventDefault();
    if (touched || !tile.row.page) choose(tile);
  });
  grid.addEventListener("keydown", (event) => {
    touched = false;
    const order = [...grid.children], at = order.indexOf(tileAt(event));
    const across = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - across, ArrowDown: at + across, Home: 0, End: order.length - 1 }[event.key];
    if (to === undefined || at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    order[to]?.focus();
  });

  // All together

  async function show() {
    for (const control of controls) control.fill();
    goTo(moment);
    arrange();
    tell();
    const tile = tileOf(state.map) || (named && tileOf(named.row.map)) || strongest();
    tiles.forEach((other) => { other.tabIndex = other === tile ? 0 : -1; });
    lens.classList.toggle("is-open", Boolean(state.map));
    name(tile);
    const { kind } = state;
    if (!sheets[kind]) delete grid.dataset.shown;
    await load(kind);
    if (kind !== state.kind) return;
    draw();
    grid.dataset.shown = kind;
  }

  function strongest() {
    const loss = (tile) => tile.row.oips[state.kind]?.loss ?? -1;
    return tiles.reduce((best, tile) => (loss(tile) > loss(best) ? tile : best));
  }

  function change(values) {
    const share = last() ? moment / last() : 1;
    Object.assign(state, values);
    moment = playing ? Math.min(moment, last()) : Math.round(share * last());
    write();
    return show();
  }

  function firstVisit() {
    try {
      if (sessionStorage.getItem("oip-wall")) return false;
      sessionStorage.setItem("oip-wall", "grown");
      return true;
    } catch {
      return false; // a browser that keeps nothing
    }
  }

  addEventListener("hashchange", () => {
    const told = [...new URLSearchParams(location.hash.slice(1)).keys()];
    if (!location.hash || told.some((name) => name in USUAL)) { stop(); read(); show(); }
  });
  addEventListener("pagehide", writeNow);
  narrow.addEventListener("change", show);
  read();
  label();
  const isPlain = !location.hash;
  show().then(() => { if (isPlain && !calm.matches && firstVisit()) play(); });
})();
