"use strict";
// Draws the charts that stand as JSON in this file, in the colours of the reader's system, and lists
// the sampled records of a region that is selected in one of them.
(function () {
  const read = (id) => {
    const element = document.getElementById(id);
    return element === null ? null : JSON.parse(element.textContent);
  };
  const charts = read("charts") || [];
  const sample = read("sample"); // {columns: {name: [...]}, labels: [...], fates: [...], ...}
  const MOST = 50;

  // Colours are the page's by their names: drawings follow it into the dark, and onto paper.
  function theme() {
    const colour = (name) => "var(" + name + ")";
    const soft = colour("--soft");
    return {
      background: null,
      aria: false, // the element around a chart says what it is, and a table has its numbers
      font: "system-ui, sans-serif",
      axis: { labelFontSize: 12, titleFontSize: 12, labelSeparation: 6, titleLimit: 300, labelColor: soft, titleColor: soft, gridColor: colour("--line"), gridOpacity: 0.6, domainColor: soft, tickColor: soft, titleFontWeight: "normal" },
      legend: { labelFontSize: 12, labelColor: soft, titleColor: soft, titleFontWeight: "normal" },
      header: { labelFontSize: 12, labelColor: soft, titleColor: soft },
      title: { color: colour("--text") },
      view: { stroke: colour("--line") },
      range: { category: [colour("--kept-fill"), colour("--lost-fill")] },
      rule: { color: colour("--text") },
      text: { color: colour("--text") },
      style: { edge: { color: colour("--text") } },
      selection: { interval: { mark: { fill: soft, fillOpacity: 0.15, stroke: soft } } },
    };
  }

  async function draw(chart) {
    const element = document.getElementById(chart.id);
    // Facets do not take their width from the element around them, as other charts do.
    if (chart.spec.facet) chart.spec.spec.width = Math.max(200, element.clientWidth - 48);
    const result = await vegaEmbed(element, chart.spec, {
      ast: true, // no code is made from text: the page's policy forbids it
      actions: false,
      renderer: "svg",
      defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
      config: theme(),
      loader: { http: {}, sanitize: () => Promise.reject(new Error("nothing is fetched")) },
    });
    const drawing = element.querySelector("svg");
    if (drawing) drawing.setAttribute("aria-hidden", "true");
    if (chart.pick) follow(chart, result.view);
    element.dataset.drawn = "yes";
  }

  function follow(chart, view) {
    let waiting = 0;
    view.addSignalListener("region", (_, value) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const ranges = chart.pick.map((axis) => value[axis.field] || null);
        if (ranges.every((range) => range !== null)) {
          fill(chart, ranges);
          list(chart, ranges);
        }
      }, 120);
    });
  }

  const form = (chart) => document.getElementById("pick-" + chart.id);

  function fill(chart, ranges) {
    ranges.forEach(([low, high], index) => {
      form(chart).elements["low" + index].value = Number(low.toPrecision(4));
      form(chart).elements["high" + index].value = Number(high.toPrecision(4));
    });
  }

  function list(chart, ranges) {
    const place = document.getElementById("picked-" + chart.id);
    const found = [];
    for (let row = 0; row < sample.labels.length; row++) {
      const inside = chart.pick.every((axis, index) => {
        const value = sample.columns[axis.column][row];
        return value !== null && value >= ranges[index][0] && value <= ranges[index][1];
      });
      if (inside) found.push(row);
    }
    place.replaceChildren(say(chart, ranges, found), ...(found.length ? [table(chart, found)] : []));
  }

  function say(chart, ranges, found) {
    const rounded = (bound) => Number(bound.toPrecision(4));
    const where = chart.pick
      .map((axis, index) => {
        const [low, high] = ranges[index];
        const from = low === -Infinity ? "" : " from " + rounded(low);
        return axis.title + (from + (high === Infinity ? "" : " to " + rounded(high)) || " of any value");
      })
      .join(", ");
    const more = found.length > MOST ? "; the first " + MOST + " are listed" : "";
    return text("p", found.length + " of the " + sample.labels.length + " sampled records have " + where + more + ".");
  }

  function text(tag, content, className) {
    const element = document.createElement(tag);
    element.textContent = content; // never as markup: it may come from a record
    if (className) element.className = className;
    return element;
  }

  function table(chart, found) {
    const made = document.createElement("table");
    const head = made.createTHead().insertRow();
    for (const title of ["record", ...chart.pick.map((axis) => axis.title), "outcome", "query"]) {
      const cell = text("th", title);
      cell.scope = "col";
      head.append(cell);
    }
    const body = made.createTBody();
    for (const row of found.slice(0, MOST)) {
      const line = body.insertRow();
      const first = line.insertCell();
      first.className = "text";
      if (document.getElementById("record-" + sample.rows[row])) {
        const link = text("a", sample.labels[row], "id");
        link.href = "#record-" + sample.rows[row];
        first.append(link);
      } else {
        first.append(text("span", sample.labels[row], "id"));
      }
      for (const axis of chart.pick) {
        const cell = text("td", String(Number(sample.columns[axis.column][row].toPrecision(4))), "number");
        line.append(cell);
      }
      const fate = sample.fates[sample.fate[row]];
      line.append(text("td", fate, fate === "kept" ? "kept" : "lost"));
      line.append(text("td", sample.queries[row], "text"));
    }
    const around = document.createElement("div");
    around.className = "scroll";
    around.tabIndex = 0;
    around.setAttribute("role", "region");
    around.setAttribute("aria-label", "sampled records in the selected region");
    around.append(made);
    return around;
  }

  // A link to a record opens it, wherever it is folded away.
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  }

  window.addEventListener("hashchange", unfold);
  // A link to where the reader already is changes no address, and the record may be folded again.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) unfold();
  });
  unfold();
  for (const chart of charts.filter((chart) => chart.pick)) {
    form(chart).addEventListener("submit", (event) => {
      event.preventDefault();
      const fields = form(chart).elements;
      const bound = (name, otherwise) => (fields[name].value === "" ? otherwise : Number(fields[name].value));
      list(chart, chart.pick.map((_, index) => [bound("low" + index, -Infinity), bound("high" + index, Infinity)]));
    });
  }
  async function drawAll() {
    for (const chart of charts) await draw(chart);
    document.documentElement.dataset.drawn = "yes";
  }
  // Not from a promise of ours that nobody hears: what fails is to be seen in the console.
  drawAll().catch((error) => { console.error(error); throw error; });
})();
