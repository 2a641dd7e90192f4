// The waves: phases of all words as a field, and one word's waves as arrows of magnitude and phase.

import { byId, foreign, made, shortened } from "./dom.js";

const ROW = 24; // pixels; page.css has the same
const TOP = 48; // for the bars of the magnitudes
const RADIUS = 96;
const SVG = "http://www.w3.org/2000/svg";

export class WavesView {
  /** @param ask called with the variant when another is wanted. */
  constructor(ask) {
    this.words = byId("wave-words");
    this.canvas = byId("wave-field");
    this.chosen = 0;
    this.variant = 0;
    for (const input of document.querySelectorAll("input[name=variant]")) {
      input.addEventListener("change", () => {
        this.variant = Number(input.value);
        ask();
      });
    }
    this.words.addEventListener("keydown", (event) => this.move(event));
    this.words.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.choose(Array.from(this.words.children).indexOf(option), true);
    });
    this.canvas.addEventListener("click", (event) => this.choose(Math.floor((event.offsetY - TOP) / ROW), false));
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  show(text, waves) {
    Object.assign(this, { text, waves });
    byId("waves").hidden = !waves?.tokens.length;
    if (!waves?.tokens.length) return;
    const hadFocus = this.words.contains(document.activeElement);
    const options = waves.tokens.map(({ start, end }) =>
      made("div", { role: "option" }, foreign(shortened(text.slice(start, end), 24))),
    );
    this.words.replaceChildren(...options);
    this.choose(Math.min(this.chosen, options.length - 1), hadFocus);
    this.draw();
  }

  redraw() {
    if (!this.waves?.tokens.length) return;
    this.draw();
    this.drawDial();
  }

  choose(i, focus) {
    if (!this.waves || i < 0 || i >= this.waves.tokens.length) return;
    this.chosen = i;
    Array.from(this.words.children).forEach((option, at) => {
      option.setAttribute("aria-selected", String(at === i));
      option.tabIndex = at === i ? 0 : -1;
    });
    if (focus) this.words.children[i].focus();
    this.drawDial();
  }

  move(event) {
    const last = this.words.children.length - 1;
    const places = { ArrowDown: this.chosen + 1, ArrowUp: this.chosen - 1, Home: 0, End: last };
    if (!(event.key in places)) return;
    event.preventDefault();
    this.choose(Math.min(Math.max(places[event.key], 0), last), true);
  }

  /** Phases of all words: a row each, a column for each dimension. */
  draw() {
    if (!this.waves?.tokens.length) return;
    const { magnitudes, tokens } = this.waves;
    const width = this.canvas.clientWidth;
    const height = TOP + ROW * tokens.length;
    const scale = devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    this.canvas.style.height = `${height}px`;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const colour = palette();
    const step = width / magnitudes.length;
    const gap = step > 5 ? 1 : 0;
    const most = magnitudes[0] || 1;
    context.fillStyle = colour.bar;
    magnitudes.forEach((magnitude, k) => {
      const size = (TOP - 10) * (magnitude / most);
      context.fillRect(k * step, TOP - 6 - size, step - gap, size);
    });
    tokens.forEach(({ phases }, i) => {
      phases.forEach((phase, k) => {
        context.fillStyle = colour.ofPhase(phase);
        context.fillRect(k * step, TOP + i * ROW + 1, step - gap, ROW - 2);
      });
    });
  }

  /** One word's waves as arrows: as long as the magnitude, at the angle of the phase. */
  drawDial() {
    const { magnitudes, tokens } = this.waves;
    const { start, end, phases } = tokens[this.chosen];
    const colour = palette();
    const most = magnitudes[0] || 1;
    const parts = [
      drawn("path", { class: "arc", d: `M${-RADIUS} 0A${RADIUS} ${RADIUS} 0 0 1 ${RADIUS} 0Z` }),
      drawn("path", { class: "arc", d: `M${-RADIUS / 2} 0A${RADIUS / 2} ${RADIUS / 2} 0 0 1 ${RADIUS / 2} 0` }),
      drawn("path", { class: "axis", d: `M0 0V${-RADIUS}` }),
      drawn("text", { x: RADIUS, y: 12, "text-anchor": "middle" }, "0°"),
      drawn("text", { x: 0, y: -RADIUS - 4, "text-anchor": "middle" }, "90°"),
      drawn("text", { x: -RADIUS, y: 12, "text-anchor": "middle" }, "180°"),
    ];
    phases.forEach((phase, k) => {
      const size = (RADIUS * magnitudes[k]) / most;
      const [x, y] = [size * Math.cos(phase), -size * Math.sin(phase)];
      const stroke = colour.ofPhase(phase, colour.plain);
      parts.push(drawn("line", { class: "stem", x1: 0, y1: 0, x2: x, y2: y, stroke }));
      parts.push(drawn("circle", { cx: x, cy: y, r: 2.6, fill: stroke }));
    });
    byId("dial").replaceChildren(...parts);
    const turned = phases.map((phase) => Math.abs(Math.cos(phase)));
    const strongest = turned.indexOf(Math.max(...turned));
    const degrees = Math.round((phases[strongest] * 180) / Math.PI);
    const share = Math.round(100 * turned[strongest] ** 2);
    byId("dial-caption").replaceChildren(
      made("strong", {}, foreign(shortened(this.text.slice(start, end), 40))),
      ": each arrow is one dimension, as long as its magnitude and turned by the word's phase. ",
      `This word turns furthest to ${degrees}°, where it brings ${share} % of the energy.`,
    );
  }
}

function drawn(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** Colours of the page as it is, light or dark. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const numbers = (name) => of(name).split(/\s+/).map(Number);
  const [plus, none, minus] = [numbers("--phase-plus"), numbers("--phase-none"), numbers("--phase-minus")];
  const ofPhase = (phase, middle = none) => {
    const turned = Math.cos(phase);
    const end = turned > 0 ? plus : minus;
    const share = Math.abs(turned) ** 0.6; // so that small turns are seen
    return `rgb(${middle.map((value, i) => Math.round(value + (end[i] - value) * share)).join(" ")})`;
  };
  return { bar: of("--bar"), plain: [150, 160, 172], ofPhase };
}
