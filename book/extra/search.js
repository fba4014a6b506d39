// On the page of the search: OIPs and maps that are named stand first, and code that is folded isn't quoted.
"use strict";
(() => {
  // From a folder a browser lets no page read another one: results come without a quotation.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  const whole = Search.htmlToText;
  Search.htmlToText = (text, anchor) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    for (const folded of page.querySelectorAll("details.hide")) folded.remove();
    return whole(page.documentElement.outerHTML, anchor);
  };

  const data = window.OIPS, query = (new URLSearchParams(location.search).get("q") || "").trim();
  if (data && query) document.addEventListener("DOMContentLoaded", () => show(found()));

  // Of each hit its title, where it leads, and a few words.
  function found() {
    const { oips, layers } = data, home = layers[data.home];
    const numbers = (pattern) => [...query.matchAll(pattern)].map((found) => Number(found[1]));
    const bare = /^#?\d{1,9}$/.test(query) ? [Number(query.replace("#", ""))] : [];
    const isIn = (text, n) => text.split(",").some((part) => {
      const [low, high] = part.split("-").map(Number);
      return part !== "" && low <= n && n <= (high ?? low);
    });
    const pageOf = (map) => `maps/map-${String(map).padStart(3, "0")}.html`;
    const words = (text) => text.replaceAll("-", " to ").replaceAll(",", ", ");
    const chosen = (layer, more) => "explore.html#" + new URLSearchParams({ network: layer.network, layer: layer.layer, ...more });
    const hits = [];

    for (const id of new Set([...numbers(/\boips?\s*#?(\d{1,9})\b/gi), ...bare])) {
      const i = oips.id.indexOf(id);
      if (i < 0) continue;
      const layer = layers[oips.layer[i]];
      const name = oips.map[i] === null ? oips.objective[i] : `map ${oips.map[i]} of ${layer.layer}`;
      hits.push([`OIP ${id}`, `explore.html#oip-${id}`, `of ${name}, network ${layer.name}: loss ${oips.loss[i].toPrecision(4)}`]);
    }
    for (const map of new Set([...numbers(/\bmaps?\s*#?(\d{1,9})\b/gi), ...bare])) {
      if (isIn(data.pages, map)) hits.push([`Map ${map}`, pageOf(map), `of ${home.layer}: its page`]);
      const n = oips.map.filter((own) => own === map).length;
      if (n) hits.push([`OIPs of every map ${map}`, `explore.html#view=table&maps=${map}`, `${n.toLocaleString("en")} in all layers and networks`]);
    }
    if (/\b(dead|silent|without)\b/i.test(query) && /\b(maps?|filters?|neurons?|units?|oips?)\b/i.test(query)) {
      if (data.dead) hits.push(["Dead maps", chosen(home, { view: "table", maps: data.dead }), `respond to no image of the data set: ${words(data.dead)} of ${home.layer}`]);
      else if (data.dead !== null) hits.push(["No dead map", chosen(home, {}), `each map of ${home.layer} responds to some image of the data set`]);
      for (const layer of layers) {
        if (layer.silent) hits.push(["Maps without an OIP", chosen(layer, {}), `${words(layer.silent)} of ${layer.layer}, network ${layer.name}`]);
      }
    }
    return hits;
  }

  function show(hits) {
    const results = document.getElementById("search-results");
    if (!results || !hits.length) return;
    document.body.removeAttribute("data-bs-spy");  // it would take their addresses for those of headings
    const list = document.createElement("ul");
    list.className = "search";
    for (const [title, address, text] of hits) {
      const link = document.createElement("a"), item = document.createElement("li");
      link.href = address;
      link.textContent = title;
      item.append(link, " " + text);
      list.append(item);
    }
    const section = document.createElement("section"), heading = document.createElement("h2");
    section.id = "oip-hits";
    heading.textContent = "OIPs and maps";
    section.append(heading, list);
    results.before(section);
  }
})();
