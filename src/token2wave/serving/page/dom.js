// Helpers for all parts of the page. Texts enter the page only as text nodes, never as markup.

export function byId(id) {
  return document.getElementById(id);
}

/** Make an element; children are elements or strings. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** An element for a string from outside; its writing direction does not affect the text around it. */
export function foreign(text) {
  return make("bdi", {}, text || "–");
}

/** The name of a class, which may break after a mark between two words. */
export function breakable(name) {
  const pieces = (name || "–").split(/(?<=[\p{L}\p{N}][_:/.|-]+)(?=[\p{L}\p{N}])/u);
  return make("bdi", {}, ...pieces.flatMap((piece, i) => (i ? [make("wbr"), piece] : [piece])));
}

/** Let the browser save bytes or text, or a list of these, as a file. */
export function download(name, content, type = "") {
  const url = URL.createObjectURL(new Blob([content].flat(), { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export function percent(fraction, digits = 1) {
  return `${(100 * fraction).toFixed(digits)}%`;
}

/** An effect in percentage points, with its sign. */
export function points(effect) {
  const text = (100 * effect).toFixed(1);
  if (Number(text) === 0) return "0.0";
  return effect > 0 ? `+${text}` : text.replace("-", "−");
}

export function shorten(text, maxCharacters) {
  const characters = Array.from(text.slice(0, 4 * maxCharacters)); // never half of a surrogate pair
  if (characters.length > maxCharacters) characters.splice(maxCharacters - 1, Infinity, "…");
  return characters.join("");
}

export function plural(n, singular, plural = `${singular}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? singular : plural}`;
}

/** Indices of numbers, the largest first. */
export function ranking(numbers) {
  return Array.from(numbers, (_, i) => i).sort((a, b) => numbers[b] - numbers[a] || a - b);
}

/** Indices of the predicted classes, the most probable first. */
export function predictedClasses(probabilities, thresholds) {
  const order = ranking(probabilities);
  return thresholds ? order.filter((i) => probabilities[i] >= thresholds[i]) : order.slice(0, 1);
}

/** Let clicks and arrow keys choose one of the tabs. */
export function addTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab, i) => {
    const name = (each) => each.id.replace("tab-", "");
    tab.addEventListener("click", () => selectTab(name(tab)));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowLeft: tabs.length - 1, ArrowRight: 1 }[key];
      if (!step) return;
      const next = tabs[(i + step) % tabs.length];
      selectTab(name(next));
      next.focus();
    });
  });
}

export function selectTab(selected) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isSelected = tab.id === `tab-${selected}`;
    tab.setAttribute("aria-selected", String(isSelected));
    tab.tabIndex = isSelected ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !isSelected;
  }
}
