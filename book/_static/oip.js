/* What scrolls within a page can be reached by the keyboard: a table that is wider than the page
   becomes a stop of the tab key, with a name, for as long as it is wider. */
(function () {
  "use strict";
  const MAY_SCROLL = "pre, table, .cell_output, .output, .oip-scroll, .oip-figure," +
    " .pst-scrollable-table-container, .bd-article dt.sig, .bd-article .math";

  function name(element) {
    if (element.matches("pre, .highlight")) return "Code";
    if (element.matches("table") || element.querySelector("table")) return "Table";
    return element.querySelector("img, svg") ? "Figure" : "Text";
  }

  function mark(element) {
    const overflow = getComputedStyle(element).overflowX;
    const scrolls = element.scrollWidth > element.clientWidth + 1 &&
      (overflow === "auto" || overflow === "scroll");
    if (scrolls === element.hasAttribute("data-oip-scrolls")) return;
    element.toggleAttribute("data-oip-scrolls", scrolls);
    if (scrolls) {
      element.tabIndex = 0;
      // A table keeps its own role, which says how many rows it has.
      if (!element.matches("table, dt")) element.setAttribute("role", "group");
      element.setAttribute("aria-label", `${name(element)}, scrolls sideways`);
    } else {
      for (const attribute of ["tabindex", "role", "aria-label"]) element.removeAttribute(attribute);
    }
  }

  function markAll() {
    document.querySelectorAll(MAY_SCROLL).forEach((element) => {
      if (element.closest("[data-oip-own-keys]")) return;
      if (!element.hasAttribute("tabindex") || element.hasAttribute("data-oip-scrolls")) mark(element);
    });
  }

  function begin() {
    markAll();
    const article = document.querySelector(".bd-article");
    if (!article) return;
    new ResizeObserver(markAll).observe(article);
    document.addEventListener("toggle", markAll, true); // a part that was unfolded
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
