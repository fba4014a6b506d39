// The page "Try it": a board to draw on, what the network says, the maps that light up, and an
// ascent to watch. The arithmetic is in try-network.js.
"use strict";
(() => {
  const data = window.NETWORK, drawing = document.getElementById("try-draw"), growing = document.getElementById("try-grow");
  if (!data || !drawing || !growing) return;

  function element(name, attributes, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null) made.setAttribute(key, value);
    }
    made.append(...inside);
    return made;
  }

  if (data.unknown) {
    const word = element("p", {}, `This network doesn't run in a browser: it ${data.unknown}. The other pages show what was found.`);
    document.getElementById("try-unknown").append(word);
    document.getElementById("try-unknown").hidden = false;
    for (const place of [drawing, growing]) place.append(element("p", {}, "Left out, as the network doesn't run here."));
    return;
  }

  const { Network, Ascent, bytes, floats, standardize, resized } = window.OipNetwork;
  const network = new Network(data);
  const [height, width, channels] = data.image, n_pixels = height * width;
  const page = (map) => data.pages[map];
  const round = (value) => (value === 0 ? "0" : Number(value.toPrecision(3)).toString());
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  // --- pictures ---

  // Paints grey values in [0, 1], or colours where there are three channels, one pixel each.
  function paint(canvas, values, [rows, columns, n] = [height, width, channels]) {
    const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) {
      for (let c = 0; c < 3; c++) {
        let value = 0;
        if (n === 3) value = values[i * 3 + c];
        else for (let k = 0; k < n; k++) value += values[i * n + k] / n;
        image.data[4 * i + c] = 255 * Math.min(Math.max(value, 0), 1);
      }
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  // An image as computed or with enhanced contrast, as oiplib.pictures shows it.
  function shown(image, enhanced) {
    let values;
    if (data.limits) {
      values = Array.from(image, (value, i) => (value - network.low[i % channels]) / (network.high[i % channels] - network.low[i % channels]));
    } else {
      let far = 0;
      for (const value of image) far = Math.max(far, Math.abs(value));
      values = Array.from(image, (value) => 0.5 + value / Math.max(2 * far, 1e-12));
    }
    if (!enhanced) return values;
    const distances = values.map((value) => Math.abs(value - 0.5)).sort((a, b) => a - b);
    const gain = 0.5 / Math.max(distances[Math.floor(0.96 * (distances.length - 1))], 1e-6);
    return values.map((value) => 0.5 + gain * (value - 0.5));
  }

  function picture(kind, label, rows = height, columns = width) {
    return element("canvas", { class: kind, width: columns, height: rows, ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }) });
  }

  function oipPicture(map) {
    const oip = data.oips.of[map];
    if (!oip) return element("span", { class: "try-none" }, "no OIP");
    const [rows, columns] = data.oips.size;
    const canvas = picture("try-oip", `OIP ${oip.id}, the best of map ${map}`, rows, columns);
    paint(canvas, Array.from(bytes(oip.pixels), (value) => value / 255), [rows, columns, 1]);
    return canvas;
  }

  // --- the board ---

  const GRAIN = Math.max(1, Math.round(280 / Math.max(height, width))); // board pixels per image pixel
  const board = element("canvas", {
    id: "try-board", class: "try-board", width: width * GRAIN, height: height * GRAIN, tabindex: "0", role: "application",
    "aria-label": "Drawing board. Arrow keys move the pen, space puts it down or lifts it, Delete clears.",
    "aria-describedby": "try-pen",
  });
  const ink = board.getContext("2d", { willReadFrequently: true });
  const cursor = element("span", { class: "try-cursor", hidden: "" });
  const penWord = element("p", { id: "try-pen", class: "try-word", "aria-live": "polite" }, "Draw with the mouse, a finger, or the arrow keys: the space bar puts the pen down.");
  const fits = element("input", { type: "checkbox", id: "try-fit", onchange: () => { example = null; look(); } });
  fits.checked = Boolean(data.box);
  const PEN = 2.2 * GRAIN * (height / 28);
  const pen = { x: board.width / 2, y: board.height / 2, down: false, pointer: null };
  let example = null, drawn = new Float32Array(n_pixels * channels), waiting = false;

  function clear() {
    example = null;
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, board.width, board.height);
    look();
  }

  function stroke(x, y, from = null) {
    example = null;
    ink.strokeStyle = ink.fillStyle = "#fff";
    ink.lineWidth = PEN;
    ink.lineCap = ink.lineJoin = "round";
    ink.beginPath();
    ink.moveTo(from ? from.x : x, from ? from.y : y);
    ink.lineTo(x, y + 0.01);
    ink.stroke();
    look();
  }

  function place(event) {
    const box = board.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * board.width, y: ((event.clientY - box.top) / box.height) * board.height };
  }

  board.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    board.focus({ preventScroll: true });
    cursor.hidden = true;
    board.setPointerCapture(event.pointerId);
    pen.pointer = place(event);
    stroke(pen.pointer.x, pen.pointer.y);
  });
  board.addEventListener("pointermove", (event) => {
    if (!pen.pointer) return;
    for (const each of event.getCoalescedEvents ? [...event.getCoalescedEvents(), event] : [event]) {
      const next = place(each);
      stroke(next.x, next.y, pen.pointer);
      pen.pointer = next;
    }
  });
  for (const ended of ["pointerup", "pointercancel"]) board.addEventListener(ended, () => { pen.pointer = null; });

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  board.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (ARROWS[event.key]) {
      const from = { x: pen.x, y: pen.y }, step = GRAIN * (event.shiftKey ? 3 : 1);
      pen.x = Math.min(Math.max(pen.x + step * ARROWS[event.key][0], 0), board.width);
      pen.y = Math.min(Math.max(pen.y + step * ARROWS[event.key][1], 0), board.height);
      if (pen.down) stroke(pen.x, pen.y, from);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) stroke(pen.x, pen.y);
      penWord.textContent = pen.down ? "The pen is down: arrow keys draw." : "The pen is up: arrow keys move it.";
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else {
      return;
    }
    event.preventDefault();
    point();
  });
  function point() {
    cursor.hidden = document.activeElement !== board || pen.pointer !== null;
    cursor.style.left = `${(100 * pen.x) / board.width}%`;
    cursor.style.top = `${(100 * pen.y) / board.height}%`;
    cursor.classList.toggle("try-down", pen.down);
  }
  board.addEventListener("focus", () => { if (board.matches(":focus-visible")) point(); });
  board.addEventListener("blur", () => { pen.down = false; cursor.hidden = true; });

  // How much of each of `n` equal parts of [from, from + length) each board pixel covers.
  function shares(n, from, length) {
    return Array.from({ length: n }, (_, t) => {
      const low = from + (t * length) / n, high = from + ((t + 1) * length) / n, parts = [];
      for (let i = Math.floor(low); i < high; i++) parts.push([i, (Math.min(high, i + 1) - Math.max(low, i)) / (high - low)]);
      return parts;
    });
  }

  // The board in few pixels, in [0, 1]: a part of it as `rows` x `columns`.
  function reduced(grey, [top, left, tall, wide], rows, columns) {
    const out = new Float32Array(rows * columns), across = shares(columns, left, wide);
    shares(rows, top, tall).forEach((parts, y) => {
      for (let x = 0; x < columns; x++) {
        for (const [i, part] of parts) {
          if (i < 0 || i >= board.height) continue;
          for (const [j, share] of across[x]) if (j >= 0 && j < board.width) out[y * columns + x] += part * share * grey[i * board.width + j];
        }
      }
    });
    return out;
  }

  // What is on the board as an image's grey values: scaled into the box of the data set's images
  // and centred by its mass, as they are, if that is asked for.
  function onBoard() {
    const pixels = ink.getImageData(0, 0, board.width, board.height).data;
    const grey = Float32Array.from({ length: board.width * board.height }, (_, i) => pixels[4 * i] / 255);
    let top = Infinity, bottom = -1, left = Infinity, right = -1;
    for (let i = 0; i < grey.length; i++) {
      if (grey[i] < 0.1) continue;
      const y = Math.floor(i / board.width), x = i % board.width;
      top = Math.min(top, y), bottom = Math.max(bottom, y), left = Math.min(left, x), right = Math.max(right, x);
    }
    if (bottom < 0) return null;
    if (!data.box || !fits.checked) return reduced(grey, [0, 0, board.height, board.width], height, width);
    const tall = bottom - top + 1, wide = right - left + 1, scale = data.box / Math.max(tall, wide);
    const rows = Math.max(1, Math.round(tall * scale)), columns = Math.max(1, Math.round(wide * scale));
    const small = reduced(grey, [top, left, tall, wide], rows, columns), out = new Float32Array(n_pixels);
    let mass = 0, y = 0, x = 0;
    small.forEach((value, i) => {
      mass += value;
      y += value * (Math.floor(i / columns) + 0.5);
      x += value * ((i % columns) + 0.5);
    });
    const down = Math.round(height / 2 - y / mass), aside = Math.round(width / 2 - x / mass);
    small.forEach((value, i) => {
      const row = Math.floor(i / columns) + down, column = (i % columns) + aside;
      if (row >= 0 && row < height && column >= 0 && column < width) out[row * width + column] = value;
    });
    return out;
  }

  function show(one) {
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, board.width, board.height);
    const values = Array.from(bytes(one.pixels), (value) => value / 255);
    for (let i = 0; i < n_pixels; i++) {
      const colour = [0, 1, 2].map((c) => Math.round(255 * values[i * channels + (channels === 3 ? c : 0)]));
      ink.fillStyle = `rgb(${colour.join()})`;
      ink.fillRect((i % width) * GRAIN, Math.floor(i / width) * GRAIN, GRAIN, GRAIN);
    }
    example = Float32Array.from(values);
    look();
  }

  // --- what the network says ---

  const seen = picture("try-seen", "What the network sees: your picture in few pixels");
  const verdict = element("p", { id: "try-verdict", class: "try-verdict", "aria-live": "polite" });
  const bars = element("ul", { class: "try-bars", "aria-label": "Probabilities" });
  const last = data.operations[data.operations.length - 1] || {};
  const n_says = (last.shape || []).length === 1 ? last.shape[0] : 0;
  const is_softmax = last.kind === "softmax", tells = n_says > 1 && (is_softmax || n_says === data.classes.length);
  const classes = Array.from({ length: tells ? n_says : 0 }, (_, c) => (data.classes.length === n_says ? data.classes[c] : String(c)));
  const rows = classes.map((name) => {
    const bar = element("span", { class: "try-bar" }), share = element("span", { class: "try-share" });
    bars.append(element("li", {}, element("span", { class: "try-class" }, name), element("span", { class: "try-rail" }, bar), share));
    return { bar, share };
  });

  function probabilities(says) {
    if (is_softmax) return says;
    const largest = Math.max(...says), powers = Array.from(says, (value) => Math.exp(value - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((value) => value / sum);
  }

  // --- the maps ---

  const MOST_TILES = 512, n_tiles = Math.min(data.maps, MOST_TILES);
  const mapShape = data.after > 0 ? data.operations[data.after - 1].shape : data.image;
  const [mapRows, mapColumns] = mapShape.length === 3 ? mapShape : [1, 1];
  const grid = element("div", { class: "try-maps", role: "group", "aria-label": "Maps. Arrow keys move between them; Enter chooses one to grow." });
  const mapWord = element("p", { class: "try-word", "aria-live": "polite" }, "All maps: point at one to see its number, choose it to grow its OIP.");
  const strongWord = element("p", { class: "try-word" });
  const strongest = element("ol", { class: "try-strongest", "aria-label": "The maps that respond most" });
  let responses = new Float64Array(data.maps);
  const tiles = Array.from({ length: n_tiles }, (_, map) => {
    const canvas = picture("try-map", "", mapRows, mapColumns);
    const tile = element("button", { type: "button", tabindex: map ? "-1" : "0", "aria-label": `map ${map}`, "data-map": map }, canvas);
    grid.append(tile);
    return { tile, canvas };
  });
  const named = (event) => {
    const tile = event.target.closest("button");
    if (!tile) return;
    const map = Number(tile.dataset.map);
    mapWord.replaceChildren(...told(map));
  };
  const told = (map) => [`Map ${map}: response ${round(responses[map])}. `, ...(page(map) ? [element("a", { href: page(map) }, "Its page")] : [])];
  grid.addEventListener("pointerover", named);
  grid.addEventListener("focusin", named);
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest("button");
    if (tile) choose(Number(tile.dataset.map), true);
  });
  grid.addEventListener("keydown", (event) => {
    const at = Number(event.target.dataset.map);
    const across = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - across, ArrowDown: at + across, Home: 0, End: n_tiles - 1 }[event.key];
    if (to === undefined || !tiles[to]) return;
    event.preventDefault();
    tiles[at].tile.tabIndex = -1;
    tiles[to].tile.tabIndex = 0;
    tiles[to].tile.focus();
  });

  function light(maps) {
    let most = 0;
    for (const value of maps) most = Math.max(most, Math.abs(value));
    tiles.forEach(({ tile, canvas }, map) => {
      const context = canvas.getContext("2d"), image = context.createImageData(mapColumns, mapRows);
      for (let i = 0; i < mapRows * mapColumns; i++) {
        const value = most ? maps[i * data.maps + map] / most : 0;
        image.data.set([244, 150, 30, 255 * Math.min(Math.max(value, 0), 1)], 4 * i);
      }
      context.putImageData(image, 0, 0);
      tile.setAttribute("aria-label", `map ${map}, response ${round(responses[map])}`);
    });
    const order = Array.from(responses.keys()).sort((a, b) => responses[b] - responses[a]).slice(0, 5).filter((map) => responses[map] > 0);
    strongest.replaceChildren(...order.map((map) => element("li", {},
      oipPicture(map),
      page(map) ? element("a", { href: page(map) }, `Map ${map}`) : element("span", {}, `Map ${map}`),
      element("span", { class: "try-number" }, `response ${round(responses[map])}`),
      element("button", { type: "button", onclick: () => choose(map, true), "aria-label": `Grow an OIP of map ${map}` }, "grow"))));
    strongWord.textContent = order.length ? "These maps respond most. Each picture is the one that we grew for the map." : "No map responds yet.";
    strongest.hidden = !order.length;
  }

  function look() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const grey = example || onBoard();
      const is_empty = !grey;
      const pixels = new Float32Array(n_pixels * channels);
      if (grey) for (let i = 0; i < pixels.length; i++) pixels[i] = example ? grey[i] : grey[Math.floor(i / channels)];
      drawn = network.taken(pixels);
      paint(seen, pixels);
      drawing.classList.toggle("try-empty", is_empty);
      const { says, maps, responses: all } = network.see(drawn);
      responses = is_empty ? new Float64Array(data.maps) : all;
      const shares = tells ? probabilities(says) : [];
      const best = shares.indexOf ? Array.from(shares).indexOf(Math.max(...shares)) : -1;
      rows.forEach(({ bar, share }, c) => {
        bar.style.width = is_empty ? "0" : `${100 * shares[c]}%`;
        share.textContent = is_empty ? "" : `${(100 * shares[c]).toFixed(shares[c] > 0.995 || shares[c] < 0.0005 ? 0 : 1)} %`;
        bar.closest("li").classList.toggle("try-best", !is_empty && c === best);
      });
      if (tells) verdict.textContent = is_empty ? "Draw something, or choose a picture below." : `The network says: ${classes[best]}.`;
      light(is_empty ? new Float32Array(maps.length) : maps);
      if (ascent && startChoice.value === "drawing" && !ascent.steps) begin();
    });
  }

  const noun = data.noun;
  const examples = element("div", { class: "try-examples", role: "group", "aria-label": `Some of the data set's ${noun}s` },
    ...data.examples.map((one) => {
      const canvas = picture("try-example", "");
      paint(canvas, Array.from(bytes(one.pixels), (value) => value / 255));
      const name = one.label >= 0 ? data.classes[one.label] ?? String(one.label) : "";
      return element("button", { type: "button", "aria-label": `Show the network this ${noun}${name && `: ${name}`}`, title: name, onclick: () => show(one) }, canvas);
    }));
  const can_draw = channels === 1 || channels === 3;
  drawing.append(
    element("div", { class: "try-row" },
      element("div", { class: "try-left" },
        element("div", { class: "try-frame" }, board, cursor),
        element("div", { class: "try-buttons" },
          element("button", { type: "button", onclick: clear, id: "try-clear" }, "Clear"),
          ...(data.box ? [element("label", { for: "try-fit" }, fits, ` Fit it as the ${noun}s were`)] : [])),
        penWord),
      element("div", { class: "try-right" }, verdict,
        ...(tells ? [bars] : [element("p", {}, "The network names no classes, so there are only its maps to see.")]),
        element("figure", { class: "try-figure" }, seen, element("figcaption", {}, `What the network sees: ${width} x ${height} pixels`)))),
    ...(data.examples.length ? [element("p", { class: "try-word" }, `Or show it one of the data set's ${noun}s:`), examples] : []),
    strongWord, strongest, mapWord, grid,
    ...(data.maps > n_tiles ? [element("p", {}, `The first ${n_tiles} of ${data.maps} maps.`)] : []));
  if (!can_draw) drawing.querySelector(".try-left").replaceChildren(element("p", {}, `Images with ${channels} channels can't be drawn here.`));

  // --- growing ---

  const RANDOM = () => (crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32);
  const PRIORS = {
    none: ["none: the strongest response", {}],
    smooth: ["smooth: coarse structure first (1/f)", { smooth: 1 }],
    jitter: ["jitter: moved by a pixel at each step", { jitter: 1 }],
    "smooth+jitter": ["smooth and jitter", { smooth: 1, jitter: 1 }],
  };
  const PAUSE_AT = 300;
  let ascent = null, playing = false, stored = null, start = null, cells = [];

  const option = ([value, text]) => element("option", { value }, text);
  const mapInput = element("input", { type: "number", id: "try-map", min: "0", max: String(data.maps - 1), step: "1", onchange: () => choose(Number(mapInput.value)) });
  const startChoice = element("select", { id: "try-start", onchange: () => fresh() },
    ...[["random", "a random image"], ["pattern", "a coarse pattern"], ["drawing", "your picture above"], ["stored", "a stored OIP's start"]].map(option));
  const another = element("button", { type: "button", id: "try-another", onclick: () => fresh() }, "Another");
  const oipChoice = element("select", { id: "try-oip", onchange: () => begin() });
  const oipLabel = element("label", { for: "try-oip" }, "OIP", oipChoice);
  const stepInput = element("input", { type: "range", id: "try-step", min: "-2", max: "0", step: "0.05", value: "-1", oninput: () => { tellStep(); write(); } });
  const stepWord = element("output", { for: "try-step" });
  const priorChoice = element("select", { id: "try-prior", onchange: () => write() }, ...Object.entries(PRIORS).map(([value, [text]]) => option([value, text])));
  const revive = element("input", { type: "checkbox", id: "try-revive" });
  revive.checked = true;
  const enhance = element("input", { type: "checkbox", id: "try-enhance", onchange: () => draw() });
  enhance.checked = true;
  const playButton = element("button", { type: "button", id: "try-play", class: "try-primary", onclick: () => (playing ? pause() : play()) }, "▶ Grow");
  const stepButton = element("button", { type: "button", id: "try-one", onclick: () => { pause(); advance(); draw(); } }, "One step");
  const backButton = element("button", { type: "button", id: "try-back", onclick: () => begin() }, "Back to the start");
  const canvas = picture("try-big", "The image as it grows");
  const word = element("p", { id: "try-status", class: "try-status" });
  const outcome = element("p", { id: "try-outcome", class: "try-word", "aria-live": "polite" });
  const mapLink = element("p", { class: "try-word" });
  const patternGrid = element("div", { class: "try-cells", role: "group", "aria-label": "Cells of the pattern" });
  const [patternRows, patternColumns] = data.pattern.sides;
  patternGrid.style.gridTemplateColumns = `repeat(${patternColumns}, 1.6rem)`;
  const SVG = "http://www.w3.org/2000/svg";
  const shape = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const chart = shape("svg", { class: "try-chart", viewBox: "0 0 480 280", role: "img", "aria-label": "The loss at each step" });

  function tellStep() {
    stepWord.textContent = round(10 ** Number(stepInput.value));
    stepInput.setAttribute("aria-valuetext", stepWord.textContent);
  }

  // Uniform random values on grids of some sizes, resized and added, as in article IX.
  function fluctuation() {
    const sum = new Float64Array(n_pixels * channels);
    for (const grid of data.fluctuation) {
      for (let c = 0; c < channels; c++) {
        const values = Array.from({ length: grid.sides[0] * grid.sides[1] }, RANDOM);
        resized(grid, values, [height, width]).forEach((value, i) => { sum[i * channels + c] += grid.factor * value; });
      }
    }
    return network.fromStandard(standardize(sum));
  }

  function patternImage() {
    const { values } = data.pattern, flat = resized(data.pattern, cells.map((cell) => values[cell]), [height, width]);
    const image = standardize(Float64Array.from({ length: n_pixels * channels }, (_, i) => flat[Math.floor(i / channels)]));
    // Equal pixels meet exact ties in poolings; a little noise removes them, as in our searches.
    return network.fromStandard(standardize(image.map((value) => value + 0.003 * (RANDOM() + RANDOM() + RANDOM() - 1.5) * 2)));
  }

  function cellButtons() {
    const { values } = data.pattern;
    patternGrid.replaceChildren(...cells.map((_, i) => {
      const tell = (button) => {
        const grey = Math.round(255 * values[cells[i]]);
        button.style.background = `rgb(${grey},${grey},${grey})`;
        button.setAttribute("aria-label", `row ${Math.floor(i / patternColumns) + 1}, column ${(i % patternColumns) + 1}: grey ${values[cells[i]]}`);
      };
      const button = element("button", { type: "button", onclick: () => {
        cells[i] = (cells[i] + 1) % values.length;
        tell(button);
        start = patternImage();
        begin();
      } });
      tell(button);
      return button;
    }));
  }

  const ofMap = (map) => (window.STARTS || []).filter((one) => one.map === map);

  // The starts are a large file, loaded when they are first asked for.
  let asked = null;
  function loadStarts() {
    asked = asked || new Promise((done) => {
      document.head.append(element("script", { src: "try-starts.js", onload: done, onerror: done }));
    });
    return asked;
  }

  // A new start of the chosen kind.
  async function fresh(id = null) {
    pause();
    const kind = startChoice.value;
    if (kind === "stored") {
      await loadStarts();
      if (startChoice.value !== kind) return;
      const oips = ofMap(map());
      oipChoice.replaceChildren(...oips.map((one) => option([one.id, `${one.id}${one.prior === "none" ? "" : `, ${one.prior}`}: loss ${round(one.trace[one.trace.length - 1])}`])));
      if (id !== null && oips.some((one) => one.id === id)) oipChoice.value = String(id);
    } else if (kind === "pattern") {
      const n = patternRows * patternColumns, { values } = data.pattern;
      do cells = Array.from({ length: n }, () => Math.floor(RANDOM() * values.length)); while (n > 1 && cells.every((cell) => cell === cells[0]));
      cellButtons();
      start = patternImage();
    } else if (kind === "random") {
      start = fluctuation();
    }
    begin();
  }

  const map = () => Math.min(Math.max(Math.round(Number(mapInput.value)) || 0, 0), data.maps - 1);

  // Back to the start, with what is chosen.
  function begin() {
    pause();
    const kind = startChoice.value;
    stored = kind === "stored" ? ofMap(map()).find((one) => String(one.id) === oipChoice.value) || null : null;
    const has_start = kind !== "stored" || stored;
    oipLabel.hidden = kind !== "stored" || !stored;
    another.hidden = !["random", "pattern"].includes(kind);
    patternGrid.hidden = kind !== "pattern";
    for (const input of [stepInput, priorChoice, revive]) input.closest("label").hidden = kind === "stored";
    for (const button of [playButton, stepButton, backButton]) button.disabled = !has_start;
    outcome.textContent = has_start ? "" : `No start of map ${map()} is stored here: choose another map, or another start.`;
    if (stored) outcome.textContent = `OIP ${stored.id} grew from ${stored.text}. The page takes its ${stored.trace.length - 1} steps, with its step sizes${stored.prior === "none" ? "" : ` and its prior ${stored.prior}`}.`;
    mapLink.replaceChildren(...(page(map()) ? [element("a", { href: page(map()) }, `The page of map ${map()}`)] : []));
    ascent = null;
    if (has_start) {
      const image = stored ? floats(stored.image) : kind === "drawing" ? drawn : start;
      const rule = () => ({ epsilon: 10 ** Number(stepInput.value), revive: revive.checked, ...PRIORS[priorChoice.value][1] });
      const seed = stored ? stored.seed : String(Math.floor(RANDOM() * 2 ** 32));
      ascent = new Ascent(network, image, map(), { stages: stored && stored.stages, rule, seed });
    }
    draw();
    write();
  }

  function advance() {
    if (!ascent) return false;
    const moved = ascent.step();
    if (ascent.ended) pause();
    if (ascent.ended === "silent") outcome.textContent = `Map ${map()} doesn't respond to this image at all, so no pixel leads upwards. Choose another start, or let the page lead the image to the map.`;
    if (ascent.ended === "done" && stored) {
      const ours = stored.trace[stored.trace.length - 1], here = ascent.trace[ascent.steps];
      const apart = Math.abs(here - ours) / Math.abs(ours);
      outcome.textContent = `OIP ${stored.id} has the loss ${ours}; here it is ${Number(here.toPrecision(7))}. ` +
        (apart < 1e-3 ? "They are the same within a thousandth." : `They differ by ${(100 * apart).toPrecision(2)} %: rounding led the image another way.`);
    }
    return moved;
  }

  let painted = 0;
  function frame(now) {
    if (!playing) return;
    const went = advance();
    // With less motion, the picture changes now and then.
    if (!still.matches || now - painted > 500 || !went) {
      painted = now;
      draw();
    }
    if (playing && ascent.steps % PAUSE_AT === 0) {
      pause();
      draw();
      outcome.textContent = `Paused after ${ascent.steps} steps, with a loss of ${round(ascent.trace[ascent.steps])}. Grow again to go on.`;
    }
    if (playing) requestAnimationFrame(frame);
  }

  function play() {
    if (!ascent) return;
    if (ascent.ended) begin();
    playing = true;
    outcome.textContent = "";
    playButton.textContent = "❚❚ Pause";
    requestAnimationFrame(frame);
  }

  function pause() {
    playing = false;
    playButton.textContent = "▶ Grow";
  }

  function draw() {
    if (!ascent) {
      canvas.getContext("2d").clearRect(0, 0, width, height);
      chart.replaceChildren();
      word.textContent = "";
      return;
    }
    paint(canvas, shown(ascent.image, enhance.checked));
    const loss = ascent.trace[ascent.steps], best = data.oips.of[map()];
    word.textContent = `Step ${ascent.steps}: loss ${round(loss)}` + (best ? ` (the best OIP of map ${map()}: ${round(best.loss)})` : "");
    drawChart(ascent.trace, stored ? stored.trace : null, best ? best.loss : null);
  }

  function drawChart(trace, other, best) {
    const [left, right, top, bottom] = [52, 468, 14, 240];
    const all = [...trace, ...(other || []), ...(best === null ? [] : [best])];
    const steps = Math.max(50, trace.length - 1, other ? other.length - 1 : 0);
    const high = Math.max(...all) * 1.05 || 1, low = Math.min(0, ...all);
    const x = (step) => left + ((right - left) * step) / steps;
    const y = (loss) => bottom - ((bottom - top) * (loss - low)) / (high - low);
    const path = (values) => values.map((loss, step) => `${step ? "L" : "M"}${x(step).toFixed(1)} ${y(loss).toFixed(1)}`).join("");
    const unit = 10 ** Math.floor(Math.log10(high - low)), by = [1, 2, 5, 10].map((k) => (k * unit) / 5).find((k) => (high - low) / k <= 6);
    const made = [];
    for (let tick = Math.ceil(low / by) * by; tick <= high; tick += by) {
      made.push(shape("line", { class: "try-tick", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
        shape("text", { x: left - 8, y: y(tick) + 5, "text-anchor": "end" }, round(tick)));
    }
    for (const step of [0, steps / 2, steps]) made.push(shape("text", { x: x(step), y: bottom + 20, "text-anchor": step ? (step === steps ? "end" : "middle") : "start" }, String(Math.round(step))));
    made.push(shape("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, "step"));
    if (best !== null) {
      made.push(shape("line", { class: "try-record", x1: left, x2: right, y1: y(best), y2: y(best) }),
        shape("text", { x: left + 6, y: y(best) + 16 }, "its best OIP"));
    }
    made.push(shape("path", { class: "try-curve", d: path(trace) }));
    if (other) made.push(shape("path", { class: "try-stored", d: path(other) }));
    made.push(shape("circle", { class: "try-dot", cx: x(trace.length - 1), cy: y(trace[trace.length - 1]), r: 5 }));
    chart.replaceChildren(...made);
    chart.setAttribute("aria-label", `The loss: ${round(trace[0])} at the start, ${round(trace[trace.length - 1])} after ${trace.length - 1} steps`);
  }

  function choose(chosen, scrolls = false) {
    mapInput.value = String(Math.min(Math.max(Math.round(chosen) || 0, 0), data.maps - 1));
    if (startChoice.value === "stored") fresh(); else begin();
    if (!scrolls) return;
    growing.scrollIntoView({ behavior: still.matches ? "auto" : "smooth", block: "nearest" });
    playButton.focus({ preventScroll: true });
  }

  // --- the address carries what is chosen ---

  let reading = false;
  function write() {
    if (reading) return;
    const told = new URLSearchParams({ map: String(map()), start: startChoice.value });
    if (stored) told.set("oip", String(stored.id));
    else told.set("step", stepWord.textContent);
    if (!stored && priorChoice.value !== "none") told.set("prior", priorChoice.value);
    history.replaceState(null, "", `#${told}`);
  }

  async function read() {
    reading = true;
    const hash = location.hash.slice(1), linked = hash.match(/^oip-(\d+)$/);
    const told = new URLSearchParams(linked ? `start=stored&oip=${linked[1]}` : hash);
    const has = (select, value) => [...select.options].some((each) => each.value === value);
    if (has(startChoice, told.get("start"))) startChoice.value = told.get("start");
    if (has(priorChoice, told.get("prior"))) priorChoice.value = told.get("prior");
    if (Number(told.get("step")) > 0) stepInput.value = String(Math.log10(Number(told.get("step"))));
    tellStep();
    const numbers = Object.keys(data.oips.of).map(Number);
    mapInput.value = told.has("map") ? String(Number(told.get("map")) || 0) : String(numbers.length ? numbers[Math.floor(RANDOM() * numbers.length)] : 0);
    mapInput.value = String(map());
    const id = Number(told.get("oip"));
    if (told.has("oip")) {
      await loadStarts();
      const of = (window.STARTS || []).find((one) => one.id === id);
      if (of) mapInput.value = String(of.map);
    }
    await fresh(told.has("oip") ? id : null);
    reading = false;
  }

  growing.append(
    element("div", { class: "try-controls" },
      element("label", { for: "try-map" }, `Map, 0 to ${data.maps - 1}`, mapInput),
      element("label", { for: "try-start" }, "Start from", startChoice), oipLabel, patternGrid, another,
      element("label", { for: "try-prior" }, "Prior", priorChoice),
      element("label", { for: "try-step" }, element("span", {}, "Step size ", stepWord), stepInput)),
    element("div", { class: "try-buttons" }, playButton, stepButton, backButton,
      element("label", { for: "try-enhance" }, enhance, " enhance contrast"),
      element("label", { for: "try-revive" }, revive, " lead the image where the map doesn't respond")),
    element("div", { class: "try-row" }, canvas, element("div", { class: "try-curves" }, chart)),
    word, outcome, mapLink);

  // Not when a heading's link is followed.
  window.addEventListener("hashchange", () => { if (/^#(oip-\d|.*=)/.test(location.hash)) read(); });
  clear();
  read();
  // For tests, and for those who like the console.
  window.OipTry = { network, ascent: () => ascent, drawn: () => drawn };
})();
