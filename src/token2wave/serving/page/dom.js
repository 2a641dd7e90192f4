// Small things that every part of the page needs. Texts reach the page as text nodes alone, never as markup.

export function byId(id) {
  return document.getElementById(id);
}

/** Make an element; children are elements or strings. */
export function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A string that someone else wrote, so that its direction does not reach what stands around it. */
export function foreign(text) {
  return made("bdi", {}, text || "–");
}

export function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Effect in percentage points, with its sign. */
export function points(effect) {
  const shown = (100 * effect).toFixed(1);
  if (Number(shown) === 0) return "0.0";
  return effect > 0 ? `+${shown}` : shown.replace("-", "−");
}

export function shortened(text, most = 60) {
  const characters = Array.from(text.slice(0, 4 * most)); // never half of a pair of surrogates
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : characters.join("");
}

export function counted(n, one, several = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : several}`;
}

/** Indices of numbers, the largest first. */
export function ranking(numbers) {
  return Array.from(numbers, (_, i) => i).sort((a, b) => numbers[b] - numbers[a] || a - b);
}

/** Indices of the classes that a text is given, the most probable first. */
export function given(probabilities, thresholds) {
  const order = ranking(probabilities);
  return thresholds ? order.filter((i) => probabilities[i] >= thresholds[i]) : order.slice(0, 1);
}
