// The page of a map: its OIP grows along the slider, a dot on the curve goes with it; keys lead to
// the maps before and after.
(function () {
  "use strict";

  const PACE = 450; // milliseconds for each image

  function live(growth) {
    const versions = [...growth.querySelectorAll(".oip-growth-version")].map((element) => ({
      element: element,
      image: element.querySelector("img"),
      dot: element.querySelector(".oip-curve-dot"),
      curve: element.querySelector(".oip-curve"),
      ...JSON.parse(element.dataset.growth),
    }));
    const controls = growth.querySelector(".oip-growth-controls");
    const slider = controls.querySelector("input[type=range]");
    const said = controls.querySelector("output");
    const button = controls.querySelector(".oip-growth-play");
    let shown = versions[0];
    let timer = null;

    function draw() {
      const last = shown.steps.length - 1;
      const at = Math.min(Number(slider.value), last);
      shown.image.style.objectPosition = (last ? (100 * at) / last : 0) + "% 0";
      shown.dot.setAttribute("cx", shown.places[at][0]);
      shown.dot.setAttribute("cy", shown.places[at][1]);
      const text = "step " + shown.steps[at] + ", loss " + shown.losses[at];
      said.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }

    function choose(number) {
      const wasAtEnd = Number(slider.value) === shown.steps.length - 1;
      shown = versions[number];
      for (const version of versions) version.element.hidden = version !== shown;
      slider.max = shown.steps.length - 1;
      if (wasAtEnd) slider.value = slider.max;
      slider.disabled = button.disabled = shown.steps.length < 2;
      draw();
    }

    function stop() {
      clearInterval(timer);
      timer = null;
      button.textContent = "Grow";
    }

    function grow() {
      if (timer !== null) return stop();
      if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
      draw();
      button.textContent = "Pause";
      timer = setInterval(function () {
        slider.value = Number(slider.value) + 1;
        draw();
        if (Number(slider.value) >= Number(slider.max)) stop();
      }, PACE);
    }

    // The image nearest to where the curve is clicked.
    function jump(version, event) {
      const box = version.curve.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * version.curve.viewBox.baseVal.width;
      const far = version.places.map((place) => Math.abs(place[0] - x));
      stop();
      slider.value = far.indexOf(Math.min(...far));
      draw();
    }

    slider.addEventListener("input", function () {
      stop();
      draw();
    });
    button.addEventListener("click", grow);
    controls.addEventListener("change", function (event) {
      if (event.target.name === "oip-version") choose(Number(event.target.value));
      if (event.target.name === "oip-contrast") {
        growth.classList.toggle("oip-growth-plain", event.target.value === "plain");
      }
    });
    for (const version of versions) {
      version.curve.addEventListener("click", (event) => jump(version, event));
    }
    // A browser may have kept what was chosen before the page was loaded again.
    for (const radio of controls.querySelectorAll("input[type=radio]")) {
      radio.checked = radio.defaultChecked;
    }
    slider.value = slider.max = versions[0].steps.length - 1;
    controls.hidden = false;
    choose(0);
  }

  function leads(event) {
    const link = { ArrowLeft: "a[rel=prev]", ArrowRight: "a[rel=next]", g: "a[data-explore]" }[event.key];
    const busy = event.target.closest && event.target.closest("input, select, textarea, button, [contenteditable], pre, dialog");
    if (!link || busy || event.defaultPrevented) return;
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const target = document.querySelector(".oip-neighbours " + link);
    if (target) window.location.href = target.href;
  }

  for (const growth of document.querySelectorAll(".oip-growth")) live(growth);
  document.addEventListener("keydown", leads);
})();
