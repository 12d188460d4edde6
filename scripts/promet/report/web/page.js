"use strict";
// Sorting, filtering and asking about points. Everything is on the page without it.
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const number = text => parseFloat(text.replace("−", "-").replace(/[<*\s]/g, ""));
const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1; // what has no value comes last
  return x - y || a.localeCompare(b, undefined, {numeric: true});
};

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = make("button", {type: "button", title: "Sort"}, ...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    };
  });
}

// A field that hides what does not hold its words; says how many are left.
const filter = (place, things, what, also = () => true) => {
  const field = make("input", {type: "search", placeholder: "Filter"});
  field.setAttribute("aria-label", `Filter ${what}`);
  const left = make("output");
  const apply = () => {
    const words = field.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const thing of things) {
      const text = thing.textContent.toLowerCase();
      thing.hidden = !(words.every(word => text.includes(word)) && also(thing));
      shown += !thing.hidden;
    }
    left.textContent = shown < things.length ? `${shown} of ${things.length} ${what}` : "";
  };
  field.oninput = apply;
  const bar = make("div", {className: "tools"}, field, left);
  place.before(bar);
  return {bar, apply};
};
for (const table of document.querySelectorAll("table.filtered")) {
  filter(table.closest(".scroll"), [...table.tBodies[0].rows], "rows");
}
for (const list of document.querySelectorAll(".waterfalls")) filter(list, [...list.children], "patients");

for (const list of document.querySelectorAll(".gallery[data-sorts]")) {
  const things = [...list.children];
  const warned = make("input", {type: "checkbox"});
  const {bar, apply} = filter(list, things, "patients", thing => !warned.checked || thing.dataset.warnings !== "0");
  warned.onchange = apply;
  const names = {patient: "pseudonym", part: "part", warnings: "number of warnings", ...JSON.parse(list.dataset.sorts)};
  const select = make("select", {}, ...Object.entries(names).map(([value, text]) => make("option", {value}, text)));
  const down = make("input", {type: "checkbox"});
  select.onchange = down.onchange = () => {
    const key = thing => String(thing.dataset[select.value] ?? JSON.parse(thing.dataset.values)[select.value] ?? "");
    list.append(...things.sort((a, b) => compare(key(a), key(b)) * (down.checked ? -1 : 1)));
  };
  bar.append(
    make("label", {}, "Sort by ", select), make("label", {}, down, " highest first"),
    make("label", {}, warned, " only with a warning"),
  );
}

// On a small screen a figure is wider than its frame: the keyboard must be able to scroll it.
for (const card of document.querySelectorAll("figure[id] .card")) if (card.scrollWidth > card.clientWidth + 1) card.tabIndex = 0;

// Points of a figure: the nearest to the pointer, or one after the other by the two buttons.
for (const source of document.querySelectorAll("figure > script[type='application/json']")) {
  const points = JSON.parse(source.textContent), card = source.parentNode.querySelector(".card");
  const image = card.querySelector("img");
  const mark = make("span", {className: "mark", hidden: true});
  const said = make("output", {className: "said"});
  const before = make("button", {type: "button", textContent: "‹ back", title: "Point before"});
  const after = make("button", {type: "button", textContent: "next ›", title: "Next point"});
  const hint = `Point at the figure, or step through its ${points.length} points.`;
  said.textContent = hint;
  let current = -1;
  const show = index => {
    current = index;
    mark.hidden = index < 0;
    said.textContent = index < 0 ? hint : points[index][2];
    if (index < 0) return;
    mark.style.left = `${image.offsetLeft + points[index][0] * image.offsetWidth}px`;
    mark.style.top = `${image.offsetTop + points[index][1] * image.offsetHeight}px`;
  };
  card.onpointermove = event => {
    const box = image.getBoundingClientRect();
    let best = -1, near = 20 ** 2;
    points.forEach(([x, y], index) => {
      const far = (box.left + x * box.width - event.clientX) ** 2 + (box.top + y * box.height - event.clientY) ** 2;
      if (far < near) [best, near] = [index, far];
    });
    if (best >= 0 && best !== current) show(best);
  };
  card.onpointerleave = () => show(-1);
  before.onclick = () => show((current <= 0 ? points.length : current) - 1);
  after.onclick = () => show((current + 1) % points.length);
  card.append(mark);
  card.after(make("div", {className: "tools"}, before, after, said));
}
