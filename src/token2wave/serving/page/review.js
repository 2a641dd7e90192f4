// Review: a person goes through the suspicious rows of an audit, and keeps, changes or drops each.

import { byId, download, foreign, make, percent, plural, shorten } from "./dom.js";
import { joinCells, readText } from "./table.js";

const STATES = { keep: "kept", change: "changed", drop: "dropped" };
const MARKS = { keep: "✓", change: "✎", drop: "✕" };
const DIGITS = "4567890"; // keys of the labels, if there are no more of them
const MIN_SCALE = 0.5; // log-odds; so that weak effects get weak colours
const STRONG = 0.3; // of the strongest effect; underlined, so that colour is not the only sign
const LABEL_CHARACTERS = 32;
const SNIPPET_CHARACTERS = 120;
const SPOKEN_CHARACTERS = 300;
const MAX_FIELD_CHARACTERS = 200;

/** Read an audit; the message of an error says what is wrong with it. */
export function readAudit(text, name) {
  const check = (isRight, problem) => {
    if (!isRight) throw new Error(`${name} ${problem}`);
  };
  let audit = null;
  try {
    audit = JSON.parse(text);
  } catch {} // the next line says it
  const hint = "open the audit.json that token2wave audit writes";
  check(audit?.format === "token2wave-audit", `is not an audit; ${hint}`);
  check(audit.version === 1, `has version ${JSON.stringify(audit.version)}, and this page reads version 1; audit again`);
  check(isLabel(audit.labels) && Array.isArray(audit.labels), "has no list of labels; audit again");
  check(Array.isArray(audit.suspicious), "has no list of suspicious rows; audit again");
  audit.suspicious.forEach((row, i) => {
    const isRight =
      Number.isSafeInteger(row?.row) &&
      typeof row.text === "string" &&
      [row.label, row.proposed].every((label) => isLabel(label) && Array.isArray(label) === Boolean(audit.multi_label)) &&
      /^[0-9a-f]{8}$/.test(row.fingerprint);
    check(isRight, `is damaged: suspicious row ${i + 1} needs row, text, label, proposed and fingerprint; audit again`);
  });
  return audit;
}

/** Whether a value is a label, or the list of labels of a multi-label text. */
function isLabel(value) {
  return typeof value === "string" || (Array.isArray(value) && value.every((label) => typeof label === "string"));
}

function labelName(label) {
  return (Array.isArray(label) ? label.join(", ") || "none" : label) || "–";
}

function shortLabel(label) {
  return foreign(shorten(labelName(label), LABEL_CHARACTERS));
}

function isSameLabel(a, b) {
  return JSON.stringify([a].flat().sort()) === JSON.stringify([b].flat().sort());
}

/** Where the decisions about an audit are stored: a checksum of its rows. */
function storageKey(audit) {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  const rows = audit.suspicious.map(({ row, split, fingerprint, label, proposed }) => [row, split, fingerprint, label, proposed]);
  for (const character of JSON.stringify([audit.data, rows])) {
    a = Math.imul(a ^ character.codePointAt(0), 0x01000193);
    b = Math.imul(b ^ character.codePointAt(0), 0x85ebca6b);
  }
  return `token2wave-review-${[a, b].map((sum) => (sum >>> 0).toString(16).padStart(8, "0")).join("")}`;
}

export class Review {
  constructor() {
    this.root = byId("review");
    this.list = byId("review-list");
    byId("review-file").addEventListener("change", ({ target }) => this.openFile(target.files[0]));
    for (const type of ["dragover", "drop"]) {
      document.addEventListener(type, (event) => {
        if (!this.isVisible) return;
        event.preventDefault();
        if (type === "drop") this.openFile(event.dataTransfer.files[0]);
      });
    }
    document.addEventListener("keydown", (event) => this.press(event));
    addEventListener("beforeunload", (event) => {
      if (this.unsaved) event.preventDefault();
    });
    this.actions = {
      next: () => this.move(1),
      previous: () => this.move(-1),
      keep: () => this.decide("keep"),
      change: () => this.choose(this.row.proposed),
      drop: () => this.decide("drop"),
      other: () => this.openPicker(),
      undo: () => this.undo(),
      save: () => this.save(),
      help: () => byId("review-keys").showModal(),
    };
    for (const [name, act] of Object.entries(this.actions)) byId(`review-${name}`).addEventListener("click", act);
    for (const id of ["pair", "show"]) byId(`review-${id}`).addEventListener("change", () => this.filter());
    this.list.addEventListener("click", ({ target }) => this.show(this.items.indexOf(target.closest("li"))));
    for (const button of this.root.querySelectorAll(".close")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    this.addPicker();
  }

  async openFile(file) {
    if (!file) return;
    byId("review-problem").hidden = true;
    try {
      this.open(readAudit(await readText(file), file.name));
      byId("review-save").before(byId("review-file").parentElement); // to open another one
      this.list.focus();
    } catch (error) {
      byId("review-open").hidden = false;
      byId("review-problem").textContent = error.message;
      byId("review-problem").hidden = false;
    }
    byId("review-file").value = ""; // so that the same file can be opened again
  }

  /** @param audit as readAudit returns it. */
  open(audit) {
    Object.assign(this, { audit, rows: audit.suspicious, key: storageKey(audit), history: [], unsaved: false });
    this.decisions = this.load();
    const title = ["Suspicious labels of ", foreign(audit.data)];
    byId("review-title").replaceChildren(...title);
    byId("review-open").hidden = true;
    byId("review-body").hidden = false;
    byId("review-note").textContent = this.decisions.size ? "Your decisions of last time are here again." : "";
    this.addFilters();
    this.digitLabels = audit.multi_label || audit.labels.length > DIGITS.length ? [] : audit.labels;
    byId("review-digits").hidden = this.digitLabels.length < 3; // else the buttons above have all labels
    this.items = this.rows.map((row, i) => this.item(row, i));
    this.list.replaceChildren(...this.items);
    this.rows.forEach((_, i) => this.showState(i));
    this.current = this.rows.findIndex((_, i) => !this.decisions.has(i));
    this.filter();
  }

  get isVisible() {
    return this.root.getClientRects().length > 0;
  }

  get row() {
    return this.rows[this.current];
  }

  item({ text, label, proposed, probability }, i) {
    return make(
      "li",
      { role: "option", id: `review-item-${i}`, "aria-selected": "false" },
      make("span", { class: "state", "aria-hidden": "true" }),
      make("span", { class: "snippet" }, foreign(shorten(text, SNIPPET_CHARACTERS))),
      make("small", { class: "pair" }, shortLabel(label), " → ", shortLabel(proposed), ` ${fraction(probability)}`),
      make("span", { class: "hidden" }),
    );
  }

  addFilters() {
    this.pairs = this.rows.map(({ label, proposed }) => `${labelName(label)} → ${labelName(proposed)}`);
    const counts = new Map();
    for (const pair of this.pairs) counts.set(pair, (counts.get(pair) ?? 0) + 1);
    const options = [...counts].sort(([, a], [, b]) => b - a);
    byId("review-pair").replaceChildren(
      make("option", { value: "" }, `all (${this.rows.length.toLocaleString("en")})`),
      ...options.map(([pair, n]) => make("option", { value: pair }, `${shorten(pair, 60)} (${n.toLocaleString("en")})`)),
    );
    byId("review-show").value = "all";
  }

  /** Show the rows that pass the filters. */
  filter() {
    const [pair, show] = [byId("review-pair").value, byId("review-show").value];
    const passes = (i) => (!pair || pair === this.pairs[i]) && (show === "all" || this.decisions.has(i) === (show === "decided"));
    this.view = [...this.rows.keys()].filter(passes);
    this.items.forEach((item, i) => {
      item.hidden = !passes(i);
    });
    const current = this.view.find((i) => i >= this.current) ?? this.view.at(-1) ?? -1;
    this.showProgress();
    this.show(current);
  }

  showProgress() {
    const counts = { keep: 0, change: 0, drop: 0 };
    for (const { decision } of this.decisions.values()) counts[decision]++;
    const parts = Object.entries(counts).map(([decision, n]) => `${n.toLocaleString("en")} ${STATES[decision]}`);
    const [n, total] = [this.decisions.size, this.rows.length];
    byId("review-status").textContent = `${n.toLocaleString("en")} of ${plural(total, "row")} decided: ${parts.join(", ")}`;
    byId("review-progress").max = total || 1;
    byId("review-progress").value = n;
    byId("review-undo").disabled = !this.history.length;
    byId("review-save").disabled = !n;
  }

  showState(i) {
    const decision = this.decisions.get(i)?.decision;
    this.items[i].className = decision ?? "";
    this.items[i].firstChild.textContent = MARKS[decision] ?? "";
    this.items[i].lastChild.textContent = decision ? `, ${STATES[decision]}` : "";
  }

  /** Show one row; -1 if there is none. */
  show(i) {
    this.items[this.current]?.setAttribute("aria-selected", "false");
    this.current = i;
    byId("review-row").hidden = i < 0;
    byId("review-empty").hidden = i >= 0;
    this.list.hidden = !this.rows.length;
    byId("review-empty").textContent = this.rows.length ? "No row passes the filters." : "No label looks wrong.";
    if (i < 0) return this.list.removeAttribute("aria-activedescendant");
    const { row, label, proposed, probability, label_probability, suspicion, fields } = this.row;
    this.items[i].setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", this.items[i].id);
    this.scrollTo(this.items[i]);
    const place = `${(this.view.indexOf(i) + 1).toLocaleString("en")} of ${this.view.length.toLocaleString("en")}`;
    const split = this.row.split && this.row.split !== "train" ? `, ${this.row.split}` : "";
    const score = typeof suspicion === "number" ? `, suspicion ${suspicion.toFixed(3)}` : "";
    const details = ` row ${row.toLocaleString("en")}${split}${score}`;
    byId("review-place").replaceChildren(place, make("small", { class: "muted" }, details));
    byId("review-labels").replaceChildren(
      ...this.bar("Label", label, label_probability, "against"),
      ...this.bar("Proposed", proposed, probability, "for"),
    );
    this.showText();
    const entries = Object.entries(fields ?? {}).filter(([, value]) => value !== null && value !== "");
    const shown = entries.map(([name, value]) => [name, shorten(String(value), MAX_FIELD_CHARACTERS)]);
    const cells = shown.map(([name, value]) => make("div", {}, make("dt", {}, foreign(name)), make("dd", {}, foreign(value))));
    byId("review-fields").replaceChildren(...cells);
    this.showButtons();
  }

  /** Scroll the list, not the page, to an item; and the page to the row if its beginning is above. */
  scrollTo({ offsetTop, offsetHeight }) {
    const { scrollTop, clientHeight } = this.list;
    this.list.scrollTop = Math.max(Math.min(scrollTop, offsetTop), offsetTop + offsetHeight - clientHeight);
    const row = byId("review-row");
    if (row.getBoundingClientRect().top < 0) row.scrollIntoView({ block: "start" });
  }

  bar(title, label, probability, style) {
    const fill = make("span", { class: style });
    fill.style.width = `${100 * (probability ?? 0)}%`;
    const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
    const value = make("dd", {}, make("strong", {}, foreign(labelName(label))), track, make("span", { class: "number" }, fraction(probability)));
    return [make("dt", {}, title), value];
  }

  showText() {
    const { text, words, label, proposed } = this.row;
    const pieces = [];
    let end = 0;
    const scale = (words ?? []).reduce((max, [, effect]) => Math.max(max, Math.abs(effect)), MIN_SCALE);
    for (const [word, effect] of words ?? []) {
      const start = text.indexOf(word, end);
      if (start < 0) continue;
      const span = make("span", { class: effect > 0 ? "for" : "against" }, word);
      span.classList.toggle("strong", Math.abs(effect) > STRONG * scale);
      span.style.setProperty("--strength", (Math.abs(effect) / scale).toFixed(2));
      pieces.push(text.slice(end, start), span);
      end = start + word.length;
    }
    byId("review-text").replaceChildren(...pieces, text.slice(end));
    byId("review-text").scrollTop = 0;
    byId("review-key").hidden = !words?.length;
    byId("review-key").replaceChildren(
      make("span", { class: "for" }, "speaks for ", foreign(labelName(proposed))),
      make("span", { class: "against" }, "speaks for ", foreign(labelName(label))),
    );
  }

  showButtons() {
    const { label, proposed } = this.row;
    const own = this.decisions.get(this.current);
    byId("review-keep").replaceChildren("Keep ", shortLabel(label), make("kbd", {}, "1"));
    byId("review-change").replaceChildren("Change to ", shortLabel(proposed), make("kbd", {}, "2"));
    byId("review-change").disabled = isSameLabel(label, proposed);
    const press = (id, isPressed) => byId(id).setAttribute("aria-pressed", String(isPressed));
    press("review-keep", own?.decision === "keep");
    press("review-change", own?.decision === "change" && isSameLabel(own.label, proposed));
    press("review-drop", own?.decision === "drop");
    press("review-other", own?.decision === "change" && !isSameLabel(own.label, proposed));
    const chosen = own?.decision === "keep" ? label : own?.label;
    const buttons = this.digitLabels.map((each, i) => {
      const isPressed = chosen !== undefined && isSameLabel(each, chosen);
      const button = make("button", { type: "button", "aria-pressed": isPressed }, shortLabel(each), make("kbd", {}, DIGITS[i]));
      button.addEventListener("click", () => this.choose(each));
      return button;
    });
    byId("review-digits").replaceChildren(...buttons);
  }

  move(step) {
    const place = this.view.indexOf(this.current) + step;
    if (place >= 0 && place < this.view.length) this.show(this.view[place]);
    this.announce("");
  }

  /** Give a row a label. */
  choose(label) {
    if (isSameLabel(label, this.row.label)) this.decide("keep");
    else this.decide("change", label);
  }

  /** Decide about the row, and go on to the next one that is undecided. */
  decide(decision, label) {
    if (this.current < 0) return;
    const i = this.current;
    this.history.push([i, this.decisions.get(i)]);
    this.decisions.set(i, { decision, label });
    const open = this.view.filter((each) => !this.decisions.has(each));
    const next = open.find((each) => each > i) ?? open[0];
    this.update(i, next ?? i);
    const isDone = this.decisions.size === this.rows.length;
    byId("review-note").textContent = isDone ? "Every row is decided. Download the decisions." : "";
    this.announce(`Row ${this.rows[i].row} ${STATES[decision]}${label ? ` to ${labelName(label)}` : ""}. `);
  }

  undo() {
    const [i, decision] = this.history.pop() ?? [];
    if (i === undefined) return;
    if (decision) this.decisions.set(i, decision);
    else this.decisions.delete(i);
    this.update(i, i);
    if (this.current !== i) { // the filters hide it
      byId("review-pair").value = "";
      byId("review-show").value = "all";
      this.current = i;
      this.filter();
    }
    byId("review-note").textContent = "";
    this.announce("Undone. ");
  }

  /** Store the decisions after one about row i, and show another row. */
  update(i, next) {
    this.store();
    this.showState(i);
    this.items[this.current]?.setAttribute("aria-selected", "false");
    this.current = next;
    const hadFocus = this.root.contains(document.activeElement);
    this.filter();
    if (hadFocus && !this.root.contains(document.activeElement)) this.list.focus();
  }

  /** Let a screen reader say what happened, and the row unless the list, which has the focus, says it. */
  announce(event) {
    const { row, text, label, proposed, probability } = this.row ?? {};
    const labels = `${labelName(label)}, proposed ${labelName(proposed)}, ${fraction(probability)}`;
    const hasRow = this.row && document.activeElement !== this.list;
    byId("review-live").textContent = event + (hasRow ? `Row ${row}: ${labels}. ${shorten(text, SPOKEN_CHARACTERS)}` : "");
  }

  press(event) {
    const { target } = event;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!this.audit || !this.isVisible || target.closest("input, select, textarea, dialog")) return;
    const isInside = this.root.contains(target);
    const isScrolling = key.startsWith("Arrow") && target.scrollHeight > target.clientHeight && target !== this.list;
    if ((key === "Enter" && target.closest("button, a, summary")) || (isInside && isScrolling)) return;
    const name = { j: "next", k: "previous", ArrowDown: "next", ArrowUp: "previous", 1: "keep", Enter: "keep", 2: "change",
      c: "change", 3: "drop", d: "drop", o: "other", u: "undo", s: "save", "?": "help" }[key];
    const label = this.digitLabels[key.length === 1 ? DIGITS.indexOf(key) : -1];
    if (!isInside && key !== "j" && key !== "k") return;
    if (name === undefined && label === undefined) return;
    event.preventDefault();
    if (!isInside) return this.list.focus();
    const isMove = name === "next" || name === "previous";
    if ((event.repeat && !isMove) || (this.current < 0 && !["undo", "save", "help"].includes(name))) return;
    if (label === undefined) this.actions[name]();
    else this.choose(label);
  }

  // ---- any other label ----

  addPicker() {
    const typed = byId("review-typed");
    typed.addEventListener("input", () => this.filterChoices());
    byId("review-use").addEventListener("click", () => this.useChoices());
    byId("review-picker").addEventListener("keydown", (event) => {
      const stops = [typed, ...this.visibleChoices()];
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        stops[Math.min(Math.max(stops.indexOf(document.activeElement) + step, 0), stops.length - 1)].focus();
      } else if (event.key === "Enter" && event.target === typed) {
        event.preventDefault();
        if (this.audit.multi_label && !typed.value) return this.useChoices();
        stops[1]?.click();
      }
    });
  }

  openPicker() {
    const multiLabel = this.audit.multi_label;
    const labels = this.decisions.get(this.current)?.label ?? this.row.proposed;
    const buttons = this.audit.labels.map((label) => {
      const button = make("button", { type: "button", class: "quiet", value: label }, foreign(label));
      if (multiLabel) button.setAttribute("aria-pressed", labels.includes(label));
      button.addEventListener("click", () => {
        if (!multiLabel) return this.useChoices(label);
        button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
        byId("review-typed").value = "";
        this.filterChoices();
      });
      return button;
    });
    byId("review-choices").replaceChildren(...buttons);
    byId("review-use").hidden = !multiLabel;
    byId("review-typed").value = "";
    this.filterChoices();
    byId("review-picker").showModal();
    byId("review-typed").focus();
  }

  visibleChoices() {
    return [...byId("review-choices").children].filter((button) => !button.hidden);
  }

  filterChoices() {
    const typed = byId("review-typed").value.trim().toLowerCase();
    for (const button of byId("review-choices").children) button.hidden = !button.value.toLowerCase().includes(typed);
  }

  useChoices(label) {
    const pressed = [...byId("review-choices").children].filter((button) => button.getAttribute("aria-pressed") === "true");
    byId("review-picker").close();
    this.choose(label ?? pressed.map(({ value }) => value));
  }

  // ---- decisions on the disk ----

  save() {
    if (!this.decisions.size) return;
    const lines = [["row", "decision", "label", "fingerprint"]];
    for (const [i, { decision, label }] of [...this.decisions].sort(([a], [b]) => a - b)) {
      const { row, fingerprint } = this.rows[i];
      const cell = Array.isArray(label) ? JSON.stringify(label) : (label ?? "");
      lines.push([String(row), decision, cell, fingerprint]);
    }
    download("decisions.csv", lines.map(joinCells), "text/csv");
    this.unsaved = false;
    const data = /^[\w./-]+$/.test(this.audit.data) ? this.audit.data : "DATA";
    const command = `token2wave audit ${data} --apply decisions.csv --out cleaned`;
    byId("review-note").replaceChildren("Downloaded decisions.csv. To write a cleaned copy: ", make("code", {}, command));
  }

  store() {
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.decisions]));
    } catch {
      this.unsaved = true; // the browser refuses: warn before the page is closed
    }
  }

  load() {
    try {
      const entries = JSON.parse(localStorage.getItem(this.key)) ?? [];
      const isRight = ([i, { decision, label }]) => i in this.rows && decision in STATES && (decision !== "change" || isLabel(label));
      return new Map(entries.filter(isRight));
    } catch {
      return new Map(); // refused, or damaged
    }
  }
}

function fraction(probability) {
  return typeof probability === "number" ? percent(probability, 0) : "";
}
