// Shows the values under the pointer. The page says everything without it.
"use strict";
for (const chart of document.querySelectorAll(".chart[data-lines]")) {
  const lines = JSON.parse(chart.dataset.lines);
  const svg = chart.querySelector("svg");
  const cursor = chart.querySelector(".cursor");
  const tip = document.createElement("div");
  tip.className = "tip";
  chart.append(tip);
  const width = svg.viewBox.baseVal.width;
  const hide = () => { tip.style.visibility = cursor.style.visibility = "hidden"; };
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * width;
    let best = null;
    for (const line of lines) {
      for (const point of line.points) {
        if (!best || Math.abs(point[0] - x) < Math.abs(best - x)) best = point[0];
      }
    }
    if (best === null) return hide();
    const said = [];
    for (const line of lines) {
      let near = null;
      for (const point of line.points) {
        if (!near || Math.abs(point[0] - best) < Math.abs(near[0] - best)) near = point;
      }
      if (near && Math.abs(near[0] - best) < 8) {
        if (!said.length) said.push(near[1]);
        said.push(line.name + "  " + near[2]);
      }
    }
    cursor.setAttribute("x1", best);
    cursor.setAttribute("x2", best);
    cursor.style.visibility = tip.style.visibility = "visible";
    tip.textContent = said.join("\n");
    const left = best / width * box.width;
    tip.style.left = (left > box.width / 2 ? left - tip.offsetWidth - 10 : left + 10) + "px";
    tip.style.top = "24px";
  });
}
document.body.dataset.script = "ran";
