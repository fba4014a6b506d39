// The table of all OIPs: filters, sorts and pages in the browser; the address carries the choice.
"use strict";
(() => {
  const root = document.getElementById("oip-find");
  const data = window.OIPS;
  if (!root || !data) return;
  const PAGE = 50;
  // Priors have a column where there are any.
  const led = data.rows.some((row) => row.prior);
  for (const row of data.rows) row.prior = row.prior || "none";
  const COLUMNS = ["id", "map", "layer", "loss", "origin", ...(led ? ["prior"] : []), "status", "steps", "start"];
  const NUMBERS = new Set(["id", "map", "loss", "steps"]);
  const CHOICES = ["layer", "origin", ...(led ? ["prior"] : []), "status"];
  const FILTERS = ["map", ...CHOICES, "least", "largest"];
  const state = { sort: "map", down: "", page: "1" };

  function read() {
    for (const name of FILTERS) delete state[name];
    Object.assign(state, { sort: "map", down: "", page: "1" });
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      if (FILTERS.includes(name) || ["down", "page"].includes(name)) state[name] = value;
      if (name === "sort" && COLUMNS.includes(value)) state.sort = value;
    }
  }

  function write() {
    const told = new URLSearchParams();
    for (const name of [...FILTERS, "sort", "down", "page"]) {
      const usual = { sort: "map", page: "1" }[name] || "";
      if (state[name] && state[name] !== usual) told.set(name, state[name]);
    }
    history.replaceState(null, "", "#" + told);
  }

  // "0-7,120" as the maps it names; null where nothing is asked for.
  function ranges(text) {
    if (!text || !text.trim()) return null;
    const named = new Set();
    for (const part of text.split(",")) {
      const found = part.match(/^\s*(\d{1,6})\s*(?:-\s*(\d{1,6}))?\s*$/);
      if (found) for (let i = +found[1]; i <= Math.min(+(found[2] || found[1]), +found[1] + 1e4); i++) named.add(i);
    }
    return named;
  }

  function chosen() {
    const maps = ranges(state.map);
    const bound = (name, or) => (state[name] && isFinite(state[name]) ? +state[name] : or);
    const least = bound("least", -Infinity), largest = bound("largest", Infinity);
    const rows = data.rows.filter((row) =>
      (!maps || maps.has(row.map)) && row.loss >= least && row.loss <= largest &&
      CHOICES.every((name) => !state[name] || row[name] === state[name]));
    const sign = state.down ? -1 : 1, by = state.sort;
    // What excites no map stands behind the maps.
    const number = (row) => row[by] ?? Number.MAX_SAFE_INTEGER;
    const order = (a, b) => NUMBERS.has(by) ? number(a) - number(b) : a[by].localeCompare(b[by]);
    return rows.sort((a, b) => sign * order(a, b) || b.loss - a.loss || a.id - b.id);
  }

  function element(name, attributes, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key, value);
    }
    made.append(...inside);
    return made;
  }

  function change(values) {
    Object.assign(state, { page: "1" }, values);
    write();
    show();
  }

  function control(name, label) {
    const id = "oip-" + name;
    let input;
    if (CHOICES.includes(name)) {
      const values = [...new Set(data.rows.map((row) => row[name]))].sort();
      input = element("select", { id, onchange: (e) => change({ [name]: e.target.value }) },
        element("option", { value: "" }, "all"),
        ...values.map((value) => element("option", { value }, value)));
    } else {
      const hint = name === "map" ? "0-7,120" : "";
      input = element("input", { id, placeholder: hint, inputmode: name === "map" ? "text" : "decimal",
        oninput: (e) => change({ [name]: e.target.value.trim() }) });
    }
    return element("label", { for: id }, label, input);
  }

  function picture(row) {
    const [width, height] = data.size, across = data.across;
    const x = (row.place % across) * width, y = Math.floor(row.place / across) * height;
    const zoom = Math.max(1, Math.round(56 / Math.max(width, height)));
    const style = `width:${zoom * width}px;height:${zoom * height}px;background-image:url(oips.png);` +
      `background-position:-${zoom * x}px -${zoom * y}px;background-size:${zoom * width * across}px auto`;
    return element("span", { role: "img", class: "oip-picture", "aria-label": `OIP ${row.id} of ${row.objective || "map " + row.map}`, style });
  }

  const controls = element("div", { class: "oip-controls" },
    control("map", "maps"), control("layer", "layer"), control("origin", "found by"),
    ...(led ? [control("prior", "prior")] : []), control("status", "ended by"), control("least", "loss from"), control("largest", "to"),
    element("button", { type: "button", onclick: () => {
      for (const name of FILTERS) delete state[name];
      change({ sort: "map", down: "" });
      fill();
    } }, "all"));
  const count = element("p", { class: "oip-count", "aria-live": "polite" });
  const head = element("tr", {}, element("th", {}, ""));
  const body = element("tbody");
  const pages = element("p", { class: "oip-pages" });
  const TITLES = { id: "OIP", origin: "found by", status: "ended by" };
  for (const name of COLUMNS) {
    head.append(element("th", { "data-column": name }, element("button", { type: "button",
      onclick: () => change({ sort: name, down: state.sort === name ? (state.down ? "" : "1") : name === "loss" ? "1" : "" }),
    }, TITLES[name] || name)));
  }
  root.append(controls, count, element("div", { class: "oip-scroll" },
    element("table", { class: "oip-table" }, element("thead", {}, head), body)), pages);

  function fill() {
    for (const name of FILTERS) document.getElementById("oip-" + name).value = state[name] || "";
  }

  function show() {
    const rows = chosen(), n = Math.max(1, Math.ceil(rows.length / PAGE));
    const page = Math.min(n, Math.max(1, parseInt(state.page) || 1));
    count.textContent = `${rows.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} OIPs`;
    for (const cell of head.children) {
      const on = cell.dataset.column === state.sort;
      cell.setAttribute("aria-sort", on ? (state.down ? "descending" : "ascending") : "none");
    }
    body.replaceChildren(...rows.slice((page - 1) * PAGE, page * PAGE).map((row) => {
      const name = row.objective || String(row.map);
      const map = row.page ? element("a", { href: row.page }, name) : name;
      const told = { ...row, map, loss: row.loss.toPrecision(4) };
      return element("tr", {}, element("td", {}, picture(row)),
        ...COLUMNS.map((name) => element("td", {}, told[name] instanceof Node ? told[name] : String(told[name]))));
    }));
    const turn = (to, label) => element("button", { type: "button", onclick: () => { state.page = String(to); write(); show(); },
      ...(to < 1 || to > n ? { disabled: "" } : {}) }, label);
    pages.replaceChildren(turn(page - 1, "before"), ` page ${page} of ${n} `, turn(page + 1, "next"));
  }

  window.addEventListener("hashchange", () => { read(); fill(); show(); });
  read();
  fill();
  show();
})();
