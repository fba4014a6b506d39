// All OIPs as a wall, an atlas or a table. The address carries what is chosen, and which OIP is open.
"use strict";
(() => {
  const root = document.getElementById("oip-explore");
  const data = window.OIPS;
  if (!root || !data) return;
  document.body.removeAttribute("data-bs-spy");  // it would take our addresses for those of headings
  const { oips, layers, sheets, across } = data, texts = oips.texts, home = layers[data.home];
  const N = oips.id.length;
  const IN_TABLE = 50, IN_WALL = 512, IN_ATLAS = 2048, MOST_NAMED = 60;

  const VIEWS = { wall: "Wall", atlas: "Atlas", table: "Table" };
  const CONTRASTS = { computed: "As computed", enhanced: "Enhanced" };
  const KINDS = { fluctuation: "random image", pattern: "coarse pattern", revival: "coarse pattern without response" };
  const PRIORS = { none: "none (strongest)", "smooth(1)": "smooth(1) (legible)",
    "smooth(1) + jitter(1)": "smooth(1) + jitter(1) (steady)" };
  const ENDS = { n_epochs: "all steps done", converged: "converged", silent: "response lost" };
  const ORDERS = { map: "by number", "-loss": "largest loss first", loss: "smallest loss first", "-id": "newest first" };
  const FILTERS = ["maps", "network", "layer", "prior", "origin", "status", "objective", "least", "largest"];
  const NAMES = ["view", ...FILTERS, "sort", "page", "contrast"];
  // What all OIPs have in common needs no filter.
  const several = {
    network: new Set(layers.map((layer) => layer.network)).size > 1,
    layer: new Set(layers.map((layer) => layer.layer)).size > 1,
    prior: texts.prior.some((prior) => prior !== "none"),
    origin: texts.origin.length > 1,
    status: texts.status.length > 1,
    objective: Object.keys(oips.objective).length > 0,
  };

  // --- One OIP, by its place in the lists ----------------------------------------------------------

  const placeOf = new Map();
  oips.id.forEach((id, i) => placeOf.set(id, i));
  const layerOf = (i) => layers[oips.layer[i]];
  const textOf = (name, i) => texts[name][oips[name][i]];
  const hasMap = (i) => oips.map[i] !== null;
  const nameOf = (i) => hasMap(i) ? "map " + oips.map[i] : oips.objective[i];
  const objectiveOf = (i) => hasMap(i) ? `${layerOf(i).layer}:${oips.map[i]}` : oips.objective[i];
  const lossOf = (i) => oips.loss[i].toPrecision(4);

  // "0-7,120" as pairs of bounds; null where it names nothing.
  function ranges(text) {
    const pairs = [];
    for (const part of (text || "").split(",")) {
      const found = part.match(/^\s*(\d{1,6})\s*(?:-\s*(\d{1,6}))?\s*$/);
      if (found) pairs.push([Number(found[1]), Number(found[2] || found[1])]);
    }
    return pairs.length ? pairs : null;
  }

  const within = (pairs, n) => pairs.some(([low, high]) => low <= n && n <= high);
  const pages = ranges(data.pages) || [];

  function pageOf(layer, map) {
    const has = layer === home && map !== null && within(pages, map);
    return has ? `maps/map-${String(map).padStart(3, "0")}.html` : "";
  }

  function startOf(i) {
    const origin = textOf("origin", i);
    return `${origin === "fluctuation" ? "random image" : "coarse pattern"} no. ${oips.start[i]}` +
      (origin === "revival" ? ", no response at first" : "");
  }

  function grown(i) {
    const origin = textOf("origin", i), family = textOf("family", i);
    if (origin === "fluctuation") return `Grown from random image no. ${oips.start[i]} (${family}).`;
    const revived = `, which ${hasMap(i) ? "the map" : "it"} at first did not respond to`;
    return `Grown from coarse pattern no. ${oips.start[i]}${origin === "revival" ? revived : ""} (${family}).`;
  }

  function endOf(i) {
    const n = oips.steps[i].toLocaleString("en"), status = textOf("status", i);
    const known = { n_epochs: `all ${n} steps done`, converged: `converged after ${n} steps`,
      silent: `lost its response after ${n} steps` };
    return known[status] || `${status}, after ${n} steps`;
  }

  function rankOf(i) {
    let n = 0, better = 0;
    for (let k = 0; k < N; k++) {
      if (oips.layer[k] !== oips.layer[i] || oips.map[k] !== oips.map[i] || oips.objective[k] !== oips.objective[i]) continue;
      n++;
      if (oips.loss[k] > oips.loss[i]) better++;
    }
    const whose = hasMap(i) ? "this map" : "this objective";
    return n === 1 ? `the only OIP of ${whose}` : `${better ? `no. ${better + 1}` : "the strongest"} of ${n.toLocaleString("en")} of ${whose}`;
  }

  // The OIPs of a sheet follow one another; those behind the last sheet have no picture.
  const firsts = [];
  let pictured = 0;
  for (const [n] of sheets) {
    firsts.push(pictured);
    pictured += n;
  }

  function sheetOf(i) {
    let sheet = i < pictured ? sheets.length - 1 : -1;
    while (sheet >= 0 && firsts[sheet] > i) sheet--;
    return sheet;
  }

  function sprite(i) {
    const span = element("span", { class: "oip-sprite" }), sheet = sheetOf(i);
    if (sheet < 0) {
      span.classList.add("oip-missing");
      span.title = "There is no picture of it here";
      return span;
    }
    const [n, width, height] = sheets[sheet], at = i - firsts[sheet];
    const pixels = (count) => `calc(var(--zoom) * ${count}px)`;
    Object.assign(span.style, {
      width: pixels(width),
      height: pixels(height),
      backgroundImage: `url("explore-${sheet}.png")`,
      backgroundSize: `${pixels(width * across)} ${pixels(height * Math.ceil(n / across))}`,
      backgroundPosition: `${pixels(-(at % across) * width)} ${pixels(-Math.floor(at / across) * height)}`,
    });
    span.style.setProperty("--gain", oips.gain[i]);
    return span;
  }

  // --- What is chosen, and the address that says it --------------------------------------------------

  let state = {}, open = null;

  // "#oip-608&view=table&maps=0-7"; what the page for finding had in its address is understood, too.
  function read() {
    const text = location.hash.slice(1);
    if (text && !text.includes("=") && !/^oip-\d+$/.test(text)) return;  // that of a heading
    state = {};
    open = null;
    const said = new URLSearchParams(text);
    for (const name of said.keys()) if (/^oip-\d{1,15}$/.test(name)) open = Number(name.slice(4));
    for (const name of NAMES) if (said.get(name)) state[name] = said.get(name);
    if (said.get("map")) state.maps = said.get("map");
    if (said.get("down") && state.sort) state.sort = "-" + state.sort;
    if (!VIEWS[state.view]) delete state.view;
  }

  function address(values) {
    const next = { ...state, open, ...values }, said = new URLSearchParams();
    for (const name of NAMES) if (next[name]) said.set(name, next[name]);
    return "#" + [next.open === null ? "" : "oip-" + next.open, String(said)].filter(Boolean).join("&");
  }

  const remember = () => history.replaceState(null, "", address({}));

  // What a view shows where nothing is chosen: the table all, the others the studied layer.
  function usual(name) {
    const isTable = view() === "table";
    if (name === "view") return "wall";
    if (name === "sort") return "map";
    if (name === "contrast") return "computed";
    if (name === "network") return isTable ? "all" : String(home.network);
    if (name === "prior") return isTable || !texts.prior.includes("none") ? "all" : "none";
    if (name === "layer" && !isTable) {
      const of = (network) => layers.filter((layer) => String(layer.network) === network).map((layer) => layer.layer);
      const there = value("network") === "all" ? [] : of(value("network"));
      return !there.length || there.includes(home.layer) ? home.layer : there[there.length - 1];
    }
    return ["layer", "origin", "status"].includes(name) ? "all" : "";
  }

  const view = () => state.view || "wall";
  const value = (name) => state[name] || usual(name);

  function change(values) {
    Object.assign(state, { page: "" }, values);
    for (const name of ["page", ...Object.keys(values)])
      if (!state[name] || state[name] === usual(name)) delete state[name];
    remember();
    fill();
    show();
  }

  // --- Which OIPs, in which order -----------------------------------------------------------------------

  function chosen() {
    const maps = ranges(state.maps), objective = (state.objective || "").toLowerCase();
    const bound = (name, or) => state[name] && isFinite(state[name]) ? Number(state[name]) : or;
    const least = bound("least", -Infinity), largest = bound("largest", Infinity);
    const isShown = layers.map((_, at) => shows(at));
    const codes = ["prior", "origin", "status"].filter((name) => value(name) !== "all")
      .map((name) => [oips[name], texts[name].indexOf(value(name))]);
    const rows = [];
    for (let i = 0; i < N; i++) {
      if (!isShown[oips.layer[i]] || oips.loss[i] < least || oips.loss[i] > largest) continue;
      if (maps && !(hasMap(i) && within(maps, oips.map[i]))) continue;
      if (codes.some(([column, code]) => column[i] !== code)) continue;
      if (objective && !objectiveOf(i).toLowerCase().includes(objective)) continue;
      rows.push(i);
    }
    return rows;
  }

  // Whether the filters let a layer through.
  function shows(at) {
    const is = (name, own) => [own, "all"].includes(value(name));
    return is("network", String(layers[at].network)) && is("layer", layers[at].layer);
  }

  const KEYS = {
    id: (i) => oips.id[i],
    map: (i) => oips.map[i] ?? Number.MAX_SAFE_INTEGER,  // other objectives stand behind the maps
    layer: (i) => oips.layer[i],
    network: (i) => layerOf(i).network,
    loss: (i) => oips.loss[i],
    origin: (i) => oips.origin[i] * 1e12 + Number(oips.start[i]),
    prior: (i) => oips.prior[i],
    status: (i) => oips.status[i] * 1e9 + oips.steps[i],
  };

  function sorted(rows) {
    const sort = value("sort"), sign = sort.startsWith("-") ? -1 : 1;
    const key = KEYS[sort.replace("-", "")] || KEYS.map, keys = new Map(rows.map((i) => [i, sign * key(i)]));
    return rows.sort((a, b) => keys.get(a) - keys.get(b) || oips.layer[a] - oips.layer[b] ||
      KEYS.map(a) - KEYS.map(b) || oips.loss[b] - oips.loss[a] || oips.id[a] - oips.id[b]);
  }

  // Of each map, or other objective, the OIP with the largest loss.
  function strongest(rows) {
    const best = new Map();
    for (const i of rows) {
      const subject = oips.layer[i] + " " + nameOf(i), other = best.get(subject);
      if (other === undefined || oips.loss[i] > oips.loss[other]) best.set(subject, i);
    }
    return [...best.values()];
  }

  function byLayer(rows) {
    const groups = new Map();
    for (const i of rows) {
      if (!groups.has(oips.layer[i])) groups.set(oips.layer[i], []);
      groups.get(oips.layer[i]).push(i);
    }
    return [...groups].sort((a, b) => a[0] - b[0]);
  }

  // --- Elements ---------------------------------------------------------------------------------------------

  function element(name, attributes, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(key, value);
      else if (value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...inside);
    return made;
  }

  const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

  // Buttons of which one is pressed.
  function switches(name, title, choices, choose) {
    return element("div", { class: "oip-switch", role: "group", "aria-label": title, "data-name": name },
      ...Object.entries(choices).map(([choice, text]) =>
        element("button", { type: "button", "data-value": choice, click: () => choose(choice) }, text)));
  }

  function press() {
    for (const group of root.querySelectorAll(".oip-switch")) {
      for (const button of group.children)
        button.setAttribute("aria-pressed", String(button.dataset.value === value(group.dataset.name)));
    }
    root.classList.toggle("oip-enhanced", value("contrast") === "enhanced");
  }

  function contrasts() {
    return switches("contrast", "Contrast", CONTRASTS, (choice) => {
      state.contrast = choice;
      if (choice === usual("contrast")) delete state.contrast;
      remember();
      press();
    });
  }

  function typed(name, title, attributes) {
    const id = "oip-" + name;
    return element("label", { for: id }, title, element("input", { id, autocomplete: "off", ...attributes,
      input: (event) => change({ [name]: event.target.value.trim() }) }));
  }

  function select(name, title, options) {
    const id = "oip-" + name;
    return element("label", { for: id }, title, element("select", { id, change: (event) => change({ [name]: event.target.value }) },
      ...options.map(([choice, text]) => element("option", { value: choice }, text))));
  }

  const networks = new Map(layers.map((layer) => [String(layer.network), `${layer.network}: ${layer.name}`]));
  const some = (name, words) => [["all", "all"], ...texts[name].map((text) => [text, words[text] || text])];
  const layerNames = [...new Set(layers.map((layer) => layer.layer))];
  const ordering = select("sort", "Order", Object.entries(ORDERS));
  const summary = element("summary", {}, "Filters");
  const filters = element("details", { class: "oip-filters" }, summary, element("div", { class: "oip-fields" },
    typed("maps", "Maps", { placeholder: "0-7,120" }),
    ...(several.network ? [select("network", "Network", [["all", "all"], ...networks])] : []),
    ...(several.layer ? [select("layer", "Layer", [["all", "all"], ...layerNames.map((name) => [name, name])])] : []),
    ...(several.prior ? [select("prior", "Prior", some("prior", PRIORS))] : []),
    ...(several.origin ? [select("origin", "Grown from", some("origin", KINDS))] : []),
    ...(several.status ? [select("status", "Ended", some("status", ENDS))] : []),
    ...(several.objective ? [typed("objective", "Objective contains", {})] : []),
    element("span", { class: "oip-bounds" }, typed("least", "Loss from", { inputmode: "decimal" }),
      typed("largest", "Loss to", { inputmode: "decimal" })),
    element("button", { type: "button", click: () => {
      for (const name of [...FILTERS, "sort"]) delete state[name];
      change({});
    } }, "Reset filters")));
  const count = element("p", { class: "oip-count", "aria-live": "polite" });
  const body = element("div", { class: "oip-body" });
  const pager = element("nav", { class: "oip-pages", "aria-label": "Pages" });
  const dialog = element("dialog", { class: "oip-large", "aria-labelledby": "oip-title" });
  const viewing = switches("view", "View", VIEWS, (choice) => change({ view: choice }));
  root.append(element("div", { class: "oip-bar" }, viewing, contrasts(), ordering), filters, count, body, pager, dialog);

  function fill() {
    for (const name of [...FILTERS, "sort"]) {
      const control = document.getElementById("oip-" + name);
      if (!control || (control === document.activeElement && control.localName === "input")) continue;
      control.value = value(name);
      // What an address names, and isn't there, is shown as it is.
      if (control.localName === "select" && control.selectedIndex < 0) {
        control.append(element("option", { value: value(name) }, name === "sort" ? "as in the table" : value(name)));
        control.value = value(name);
      }
    }
  }

  // --- The three views ------------------------------------------------------------------------------------------

  function link(i, ...inside) {
    return element("a", { href: address({ open: oips.id[i] }), "data-oip": oips.id[i] }, ...inside);
  }

  function cell(i) {
    const made = link(i, sprite(i), element("span", { class: "oip-name" }, hasMap(i) ? String(oips.map[i]) : nameOf(i)));
    made.className = "oip-cell";
    made.title = `OIP ${oips.id[i]} of ${nameOf(i)}, loss ${lossOf(i)}`;
    made.setAttribute("aria-label", made.title);
    return made;
  }

  function heading(at, n) {
    const layer = layers[at];
    return element("h2", {}, `${layer.layer} of ${layer.name} `, element("small", {}, counted(n, "picture")));
  }

  // Maps that have no OIP: named if they were searched, else counted.
  function without(at) {
    const layer = layers[at], parts = [];
    const maps = (ranges(layer.silent) || []).flatMap(([low, high]) => Array.from({ length: high - low + 1 }, (_, k) => low + k));
    if (maps.length) {
      parts.push(`Searched without finding an OIP: ${layer.layer}, ${maps.length === 1 ? "map" : "maps"} `);
      maps.slice(0, MOST_NAMED).forEach((map, k) => {
        const page = pageOf(layer, map);
        parts.push(k ? ", " : "", page ? element("a", { href: page }, String(map)) : String(map));
      });
      parts.push(maps.length > MOST_NAMED ? ` and ${(maps.length - MOST_NAMED).toLocaleString("en")} more. ` : ". ");
    }
    if (layer.unsearched)
      parts.push(`${counted(layer.unsearched, "map")} of the ${layer.maps.toLocaleString("en")} weren't searched.`);
    return parts.length ? [element("p", { class: "oip-without" }, ...parts)] : [];
  }

  function wall(rows) {
    const all = byLayer(sorted(strongest(rows))).flatMap(([, group]) => group);
    const groups = byLayer(paged(all, IN_WALL));
    const absent = layers.map((_, at) => at).filter((at) => shows(at) && !all.some((i) => oips.layer[i] === at));
    body.replaceChildren(
      ...groups.flatMap(([at, group]) => [
        ...(groups.length > 1 ? [heading(at, group.length)] : []),
        element("div", { class: "oip-wall", role: "group", "aria-label": "Pictures; arrow keys move" }, ...group.map(cell)),
        ...without(at)]),
      ...absent.flatMap(without));
    tell(all, rows);
    return all;
  }

  function atlas(rows) {
    const best = strongest(rows), shown = [], parts = [];
    paged([], 1);
    for (const [at, group] of byLayer(best)) {
      if (shown.length + group.length > IN_ATLAS) {
        parts.push(element("p", {}, "There is more than fits here: choose one network and one layer."));
        break;
      }
      const laid = data.atlas.find((one) => one.layer === at && one.prior === value("prior")) ||
        data.atlas.find((one) => one.layer === at && one.prior === "none");
      const note = group.length < 2 ? "A single picture has no neighbours." : "Their similarity wasn't computed; the wall shows them.";
      parts.push(heading(at, group.length), ...(laid ? laidOut(laid, group, shown) : [element("p", {}, note)]), ...without(at));
    }
    body.replaceChildren(...parts);
    tell(best, rows);
    return shown;
  }

  function laidOut(laid, group, shown) {
    const ofMap = new Map(group.map((i) => [oips.map[i], i]));
    const cells = laid.maps.map((map) => ofMap.has(map) ? cell(ofMap.get(map)) : element("span", { class: "oip-gap" }));
    shown.push(...laid.maps.filter((map) => ofMap.has(map)).map((map) => ofMap.get(map)));
    const grid = element("div", { class: "oip-grid", role: "group", "aria-label": "Pictures; arrow keys move" }, ...cells);
    grid.style.setProperty("--columns", laid.columns);
    const pairs = laid.pairs.map(([first, second, alike]) => element("div", { class: "oip-pair" },
      cell(placeOf.get(first)), cell(placeOf.get(second)), element("span", {}, alike.toFixed(2))));
    return [
      element("p", {}, "Neighbours are alike, wherever in the image their patterns stand."),
      element("div", { class: "oip-beside" },
        element("div", { class: "oip-scroll", tabindex: "0", role: "region", "aria-label": "Atlas" }, grid),
        element("div", { class: "oip-alike" }, element("h3", {}, "The most alike pairs"),
          element("div", { class: "oip-pairs" }, ...pairs),
          element("p", {}, `Below each pair stands its similarity; 1 would be equal. Of all pairs the median is ${laid.median.toFixed(2)}.`)))];
  }

  const COLUMNS = {
    id: ["OIP", (i) => link(i, String(oips.id[i]))],
    map: [several.objective ? "Map or objective" : "Map", (i) => {
      const page = pageOf(layerOf(i), oips.map[i]), name = hasMap(i) ? String(oips.map[i]) : nameOf(i);
      return page ? element("a", { href: page }, name) : name;
    }],
    ...(several.layer ? { layer: ["Layer", (i) => layerOf(i).layer] } : {}),
    ...(several.network ? { network: ["Network", (i) => networks.get(String(layerOf(i).network))] } : {}),
    loss: ["Loss", lossOf],
    origin: ["Grown from", startOf],
    ...(several.prior ? { prior: ["Prior", (i) => textOf("prior", i)] } : {}),
    status: ["Ended", endOf],
  };

  function table(rows) {
    const all = sorted(rows);
    const head = Object.entries(COLUMNS).map(([name, [title]]) => headOf(name, title));
    const lines = paged(all, IN_TABLE).map((i) => {
      // The number beside it leads there, too, and needs no second stop of the keyboard.
      const picture = link(i, sprite(i));
      picture.tabIndex = -1;
      picture.setAttribute("aria-hidden", "true");
      return element("tr", {}, element("td", {}, picture), ...Object.entries(COLUMNS).map(([name, [, cellOf]]) =>
        element("td", { "data-column": name }, cellOf(i))));
    });
    body.replaceChildren(element("div", { class: "oip-scroll", tabindex: "0", role: "region", "aria-label": "Table of OIPs" },
      element("table", { class: "oip-table" }, element("thead", {}, element("tr", {}, element("td", {}), ...head)),
        element("tbody", {}, ...lines))));
    count.textContent = `${all.length.toLocaleString("en")} of ${counted(N, "OIP")}`;
    return all;
  }

  function headOf(name, title) {
    const sort = value("sort"), by = sort.replace("-", ""), down = sort.startsWith("-");
    const next = by === name ? (down ? name : "-" + name) : name === "loss" ? "-loss" : name;
    const now = by === name ? (down ? "descending" : "ascending") : "none";
    return element("th", { scope: "col", "data-column": name, "aria-sort": now }, element("button", { type: "button", click: () => {
      change({ sort: next });
      body.querySelector(`th[data-column="${name}"] button`).focus();
    } }, title));
  }

  function tell(best, rows) {
    const noun = best.every(hasMap) ? "map" : "objective";
    count.textContent = `The strongest OIP of ${best.length === 1 ? "one " + noun : `each of ${counted(best.length, noun)}`}, ` +
      `out of ${rows.length.toLocaleString("en")}. The table has all ${N.toLocaleString("en")}.`;
  }

  // The part of some OIPs that is shown, and buttons that lead to the others.
  function paged(rows, size) {
    const n = Math.max(1, Math.ceil(rows.length / size)), page = Math.min(n, Math.max(1, parseInt(state.page) || 1));
    const turn = (to, name) => {
      state.page = to > 1 ? String(to) : "";
      remember();
      show();
      root.scrollIntoView();
      const again = pager.querySelector(`[data-turn="${name}"]:enabled`) || pager.querySelector("input");
      again.focus({ preventScroll: true });
    };
    const button = (to, name) =>
      element("button", { type: "button", "data-turn": name, disabled: to < 1 || to > n, click: () => turn(to, name) }, name);
    const number = element("input", { id: "oip-page", type: "number", min: "1", max: String(n), value: String(page),
      change: (event) => turn(Math.min(n, Math.max(1, parseInt(event.target.value) || 1)), "") });
    pager.hidden = n === 1;
    pager.replaceChildren(button(page - 1, "Previous"), element("label", { for: "oip-page" }, "Page ", number,
      ` of ${n.toLocaleString("en")}`), button(page + 1, "Next"));
    return rows.slice((page - 1) * size, page * size);
  }

  // One stop of the keyboard for all pictures of a group; arrow keys go from one to the next.
  function rove() {
    for (const group of body.querySelectorAll(".oip-wall, .oip-grid"))
      group.querySelectorAll(".oip-cell").forEach((made, k) => { made.tabIndex = k ? -1 : 0; });
  }

  body.addEventListener("focusin", (event) => {
    const group = event.target.closest(".oip-wall, .oip-grid");
    if (!group || !event.target.matches(".oip-cell")) return;
    for (const made of group.querySelectorAll(".oip-cell[tabindex='0']")) made.tabIndex = -1;
    event.target.tabIndex = 0;
  });

  body.addEventListener("keydown", (event) => {
    const group = event.target.closest(".oip-wall, .oip-grid"), step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!group || !step || event.altKey || event.ctrlKey || event.metaKey) return;
    const cells = [...group.querySelectorAll(".oip-cell")], at = cells.indexOf(event.target);
    const isBelow = event.key === "ArrowUp" || event.key === "ArrowDown";
    let to = at + step;
    while (isBelow && cells[to] && cells[to].offsetLeft !== event.target.offsetLeft) to += step;
    event.preventDefault();
    if (cells[to]) cells[to].focus();
  });

  // --- One OIP, large ---------------------------------------------------------------------------------------------

  let around = [];

  // Those among which one goes on: what is chosen, or all of its network where it isn't among them.
  function neighbours(i) {
    if (around.includes(i)) return around;
    const own = layerOf(i).network;
    return Array.from(oips.id.keys()).filter((k) => layerOf(k).network === own).sort((a, b) => oips.id[a] - oips.id[b]);
  }

  function go(step, name) {
    const i = placeOf.get(open);
    if (i === undefined) return;
    const among = neighbours(i), to = among[among.indexOf(i) + step];
    if (to === undefined) return;
    open = oips.id[to];
    remember();
    large();
    const again = dialog.querySelector(`[data-turn="${name}"]:enabled`);
    if (again) again.focus();
    else dialog.querySelector(".oip-close").focus();
  }

  function large() {
    const i = placeOf.get(open);
    const title = element("h2", { id: "oip-title" }, `OIP ${open} `);
    const close = element("button", { type: "button", class: "oip-close", "aria-label": "Close", click: () => dialog.close() }, "\u00d7");
    const top = element("div", { class: "oip-top" }, title, close);
    if (i === undefined) {
      dialog.replaceChildren(top, element("p", {}, "There is no OIP of this number here."));
      return;
    }
    title.append(element("small", {}, `of ${nameOf(i)}`));
    const among = neighbours(i), at = among.indexOf(i);
    const turn = (step, name) => element("button", { type: "button", "data-turn": name,
      disabled: among[at + step] === undefined, click: () => go(step, name) }, name);
    dialog.replaceChildren(top,
      element("div", { class: "oip-sides" }, element("div", {}, enlarged(i), contrasts()), element("div", {}, ...described(i))),
      element("div", { class: "oip-turn" }, turn(-1, "Previous"),
        element("span", { "aria-live": "polite" }, `${(at + 1).toLocaleString("en")} of ${among.length.toLocaleString("en")}`),
        turn(1, "Next")));
    press();
  }

  function enlarged(i) {
    const picture = sprite(i), sheet = sheetOf(i), side = sheet < 0 ? 1 : Math.max(sheets[sheet][1], sheets[sheet][2]);
    picture.style.setProperty("--zoom", Math.max(1, Math.floor(Math.min(336, window.innerWidth - 72) / side)));
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `OIP ${oips.id[i]} of ${nameOf(i)}, enlarged`);
    return picture;
  }

  function described(i) {
    const layer = layerOf(i), map = oips.map[i], page = pageOf(layer, map), prior = textOf("prior", i);
    const facts = { Loss: `${lossOf(i)}, ${rankOf(i)}`, Layer: layer.layer, Network: layer.name,
      ...(several.prior ? { Prior: PRIORS[prior] || prior } : {}), Ended: endOf(i) };
    const others = Object.fromEntries(["open", "page", "sort", ...FILTERS].map((name) => [name, name === "open" ? null : ""]));
    const itsOips = address({ ...others, view: "table", network: String(layer.network), layer: layer.layer, maps: String(map) });
    return [
      element("p", {}, grown(i)),
      element("dl", {}, ...Object.entries(facts).flatMap(([name, told]) => [element("dt", {}, name), element("dd", {}, told)])),
      element("p", { class: "oip-links" },
        ...(page ? [element("a", { href: page }, `The page of map ${map}`)] : []),
        ...(hasMap(i) ? [element("a", { href: itsOips }, `All OIPs of map ${map}`)] : [])),
      element("pre", { tabindex: "0", role: "region", "aria-label": "Commands that show it and make it again" },
        `oip show ${oips.id[i]}\noip replay ${oips.id[i]}`)];
  }

  dialog.addEventListener("close", () => {
    const last = open;
    open = null;
    remember();
    const from = body.querySelector(`a[data-oip="${last}"]:not([aria-hidden])`);
    if (from) from.focus();
  });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !event.altKey && !event.ctrlKey && !event.metaKey) go(step, step < 0 ? "Previous" : "Next");
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();  // beside it
  });

  // --- All of it -------------------------------------------------------------------------------------------------------

  // Whole numbers, so that each pixel of a picture is a square of the same size.
  function scale() {
    const side = Math.max(1, ...sheets.map(([, width, height]) => Math.max(width, height)));
    const room = body.clientWidth, zoomFor = (pixels) => Math.max(1, Math.round(pixels / side));
    body.style.setProperty("--zoom", zoomFor(view() === "wall" && room > 1400 ? 84 : 56));
    for (const grid of body.querySelectorAll(".oip-grid")) {
      const fitting = Math.floor((room / Number(grid.style.getPropertyValue("--columns")) - 5) / side);
      grid.style.setProperty("--zoom", Math.max(1, Math.min(zoomFor(84), fitting)));
    }
  }

  function show() {
    const rows = chosen();
    around = { wall, atlas, table }[view()](rows);
    if (!N) body.prepend(element("p", {}, "This database has no OIPs yet."));
    else if (!rows.length) body.prepend(element("p", {}, "No OIP is like that."));
    const set = FILTERS.filter((name) => state[name]).length;
    summary.textContent = set ? `Filters (${set} set)` : "Filters";
    ordering.hidden = view() !== "wall";
    press();
    rove();
    scale();
  }

  function follow() {
    const before = address({ open: null });
    read();
    if (before !== address({ open: null })) {
      fill();
      show();
    }
    if (open === null) dialog.close();
    else {
      large();
      if (!dialog.open) dialog.showModal();
    }
  }

  window.addEventListener("hashchange", follow);
  window.addEventListener("resize", scale);
  read();
  filters.open = window.innerWidth >= 768 || FILTERS.some((name) => state[name]);
  fill();
  show();
  if (open !== null) follow();
})();
