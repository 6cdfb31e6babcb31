// The page: the address holds the question, the server answers it, the grid shows the answer.

import { createAbout } from "/about.js";
import { chip } from "/chip.js";
import { sorted, watchDrops } from "/dropping.js";
import { placeholders, tile, walk } from "/grid.js";
import { createFilter } from "/kinds.js";
import { again, fromAddress, isEmpty, isPlain, join, toAddress, written } from "/question.js";
import { createViewer } from "/viewer.js";

const at = (id) => document.getElementById(id);
const PAGE = 60;
const GUESSES = 12; // shown at first; a wall of wrong files helps nobody

let terms = []; // of the question that is answered below
let shown = []; // its files so far
let more = false;
let running = null;

const filter = createFilter(at("kinds"), () => go(terms));
const about = createAbout({ onStatus: (status) => (filter.counts = status.kinds) });

const viewer = createViewer({
  onStep: (by) => step(by),
  onClose: () => leaveView(),
  onLike: (file, moment) => go([item(file, 1, moment)]),
  onAdd: (file) => go([...terms, item(file, 1)]),
  onUnlike: (file) => go([...terms, item(file, -1)]),
});

// -- asking ------------------------------------------------------------------------------------------------------

function address(ofTerms, view = null) {
  return toAddress(ofTerms, { view, kind: filter.kind });
}

function go(next) {
  history.pushState({}, "", address(next));
  window.scrollTo(0, 0);
  load();
}

async function load() {
  const asked = fromAddress(location.search);
  filter.kind = asked.kind;
  viewer.hide();
  const answer = await fetched(isEmpty(asked) ? `/api/files${query(asked)}` : `/api/search${query(asked)}`);
  if (!answer) return;
  if (isEmpty(asked)) browse(answer);
  else render(answer);
  if (asked.view) openFile(asked.view);
}

function query(asked, offset = 0) {
  const sent = new URLSearchParams({ q: asked.q, k: PAGE, offset });
  asked.like.forEach((each) => sent.append("like", each));
  asked.dropped.forEach((each) => sent.append("dropped", each));
  if (asked.kind) sent.set("kind", asked.kind);
  return `?${sent}`;
}

// The server's answer, or null when it failed (and said so) or another question came after this one.
async function fetched(url, options = {}) {
  running?.abort();
  const mine = (running = new AbortController());
  document.body.classList.add("asking");
  if (!shown.length) at("matches").replaceChildren(...placeholders());
  try {
    const response = await fetch(url, { ...options, signal: mine.signal });
    const value = await response.json();
    if (!response.ok) throw new Error(value.error ?? value.detail ?? `the server answered ${response.status}`);
    return value;
  } catch (error) {
    if (error.name === "AbortError") return null;
    fail(error instanceof TypeError ? "The server does not answer. Is `sensorium serve` still running?" : error.message);
    return null;
  } finally {
    if (running === mine) document.body.classList.remove("asking");
  }
}

async function askWith(files, { add }) {
  const { file, beside } = sorted(files);
  if (!file) return fail("That is no file to search with.");
  const form = new FormData();
  const kept = add ? terms : [];
  const sent = new URLSearchParams(toAddress(kept).slice(2));
  const typed = add && !isPlain(terms) ? at("words").value.trim() : "";
  form.set("q", typed ? join(kept, typed) : (sent.get("q") ?? ""));
  sent.getAll("like").forEach((each) => form.append("like", each));
  sent.getAll("dropped").forEach((each) => form.append("kept", each));
  form.set("kind", filter.kind);
  form.set("k", PAGE);
  form.set("file", file);
  beside.forEach((each) => form.append("beside", each));
  const answer = await fetched("/api/search", { method: "POST", body: form });
  if (!answer) return;
  history.pushState({}, "", address(answer.terms));
  window.scrollTo(0, 0);
  render(answer);
}

// -- showing -----------------------------------------------------------------------------------------------------

function render(answer) {
  terms = answer.terms;
  more = answer.more;
  history.replaceState(history.state, "", address(terms, fromAddress(location.search).view)); // one spelling each
  drawQuestion();
  const matches = answer.hits.filter((hit) => hit.match).length;
  const upper = answer.hits.findLastIndex((hit) => hit.match) + 1;
  const enough = upper + GUESSES;
  more ||= answer.hits.length > enough;
  drawFiles(answer.hits.slice(0, enough));
  const said = at("said");
  if (!answer.hits.length) said.textContent = filter.kind ? "Nothing of this kind to search." : "The index is empty.";
  else if (matches) {
    const plus = answer.more && matches === answer.hits.length ? "+" : "";
    said.replaceChildren(strong(`${matches}${plus} ${matches === 1 ? "match" : "matches"}`), ` in ${pace(answer.seconds)}`);
  } else {
    const none = document.createElement("span");
    none.className = "none";
    none.textContent = "No good match";
    said.replaceChildren(none, "These come closest. ", about.link("What can it see?"));
  }
  const parting = at("parting");
  parting.hidden = !matches || upper === answer.hits.length;
  parting.textContent = "less likely";
  document.title = `${title()} · Sensorium`;
}

function browse(files) {
  terms = [];
  more = files.length === PAGE;
  drawQuestion();
  drawFiles(files);
  at("parting").hidden = true;
  at("said").textContent = "";
  at("empty").hidden = files.length > 0;
  if (!files.length) {
    const code = document.createElement("code");
    code.textContent = "sensorium index ~/Pictures";
    if (filter.kind) at("empty").replaceChildren(strong("Nothing of this kind"));
    else at("empty").replaceChildren(strong("Nothing here yet"), "Fill the index, then load this page again: ", code);
  }
  document.title = "Sensorium";
}

function drawFiles(files, { append = false } = {}) {
  at("empty").hidden = true;
  shown = append ? [...shown, ...files] : files;
  const handlers = { onOpen: enterView, onSimilar: (file) => go([item(file, 1)]) };
  // Up to the last match in the upper grid, the rest below the line; what comes later in pages goes on where it ended.
  const upper = files.findLastIndex((file) => file.match ?? true) + 1;
  if (!append) ["matches", "guesses"].forEach((id) => at(id).replaceChildren());
  const started = at("guesses").childElementCount > 0;
  files.forEach((file, i) => at(started || i >= upper ? "guesses" : "matches").append(tile(file, handlers)));
  at("matches").classList.toggle("few", at("matches").childElementCount < 4);
  at("more").hidden = !more;
  const first = opens()[0];
  if (first && !opens().some((open) => open.tabIndex === 0)) first.tabIndex = 0;
}

function drawQuestion() {
  const plain = isPlain(terms);
  at("chips").replaceChildren(...(plain ? [] : terms.map(chipAt)));
  at("words").value = plain ? terms[0].text : "";
  at("words").placeholder = terms.length && !plain ? "add words, or − words" : "Describe it, or drop a file here";
  at("clear").hidden = !terms.length;
}

function chipAt(term, position) {
  return chip(term, {
    onWeight: (weight) => go(terms.map((each, i) => (i === position ? { ...each, weight } : each))),
    onRemove: () => go(terms.filter((_, i) => i !== position)),
  });
}

function fail(message) {
  const bad = document.createElement("span");
  bad.className = "bad";
  bad.textContent = message.charAt(0).toUpperCase() + message.slice(1);
  at("said").replaceChildren(bad);
  at("matches").querySelectorAll(".waiting").forEach((each) => each.remove());
}

// -- one file ----------------------------------------------------------------------------------------------------

function enterView(id) {
  history.pushState({ viewing: true }, "", address(terms, id));
  openFile(id);
}

function leaveView() {
  if (history.state?.viewing) history.back();
  else {
    history.replaceState({}, "", address(terms));
    closeFile();
  }
}

async function openFile(id) {
  let file = shown.find((each) => each.id === id);
  if (!file) {
    const response = await fetch(`/api/files/${encodeURIComponent(id)}`);
    if (!response.ok) return fail("That file is not in the index.");
    file = await response.json();
  }
  const place = shown.findIndex((each) => each.id === id);
  viewer.show(file, { first: place <= 0, last: place < 0 || place === shown.length - 1, asked: terms.length > 0 });
}

function closeFile() {
  const id = viewer.file?.id;
  viewer.hide();
  const open = opens().find((each) => each.parentElement.dataset.id === id);
  if (open) focusTile(open);
}

function step(by) {
  const next = shown[shown.findIndex((each) => each.id === viewer.file.id) + by];
  if (!next) return;
  history.replaceState(history.state, "", address(terms, next.id));
  openFile(next.id);
}

// -- events ------------------------------------------------------------------------------------------------------

at("ask").addEventListener("submit", (event) => event.preventDefault());
at("words").addEventListener("keydown", (event) => {
  const typed = at("words").value.trim();
  if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    const kept = isPlain(terms) ? [] : terms;
    if (!typed) return kept.length ? undefined : go([]);
    const asked = new URLSearchParams(address(kept).slice(2));
    asked.set("q", join(kept, typed));
    history.pushState({}, "", written(asked));
    window.scrollTo(0, 0);
    load();
  } else if (event.key === "Backspace" && !at("words").value && !isPlain(terms) && terms.length) go(terms.slice(0, -1));
  else if (event.key === "Escape") at("words").blur();
  else if (event.key === "ArrowDown" && opens().length) {
    event.preventDefault();
    focusTile(opens()[0]);
  }
});
at("words").addEventListener("input", () => (at("clear").hidden = !terms.length && !at("words").value));
at("clear").addEventListener("click", () => {
  if (terms.length) go([]);
  at("words").value = "";
  at("clear").hidden = true;
  at("words").focus();
});
at("home").addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  filter.kind = "";
  go([]);
});
at("file").addEventListener("change", (event) => {
  askWith(event.target.files, { add: true });
  event.target.value = "";
});
at("more").addEventListener("click", async () => {
  const asked = fromAddress(location.search);
  const blank = isEmpty(asked);
  const answer = await fetched(`/api/${blank ? "files" : "search"}${query(asked, shown.length)}`);
  if (!answer) return;
  const files = blank ? answer : answer.hits;
  more = blank ? files.length === PAGE : answer.more;
  const before = opens().length;
  drawFiles(files, { append: true });
  if (opens()[before]) focusTile(opens()[before]);
});
window.addEventListener("popstate", () => {
  const asked = fromAddress(location.search);
  if (address(terms) === again(asked)) asked.view ? openFile(asked.view) : closeFile();
  else load();
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    at("words").focus();
    at("words").select();
    return;
  }
  const tiles = opens();
  const from = tiles.indexOf(document.activeElement);
  if (from < 0) {
    if (!typing && event.key.startsWith("Arrow") && tiles.length && document.activeElement === document.body) {
      event.preventDefault();
      focusTile(tiles[0]);
    }
    return;
  }
  if (event.key === "m") {
    const id = tiles[from].parentElement.dataset.id;
    return go([item(shown.find((file) => file.id === id), 1)]);
  }
  const next = walk(tiles, from, event.key);
  if (next) {
    event.preventDefault();
    focusTile(next);
  } else if (event.key === "ArrowUp") {
    event.preventDefault();
    at("words").focus();
  }
});

watchDrops((files, options) => {
  viewer.hide();
  askWith(files, options);
});
window.addEventListener("scroll", () => document.querySelector(".top").classList.toggle("lifted", scrollY > 4), { passive: true });

function opens() {
  return [...document.querySelectorAll(".tile .open")];
}

function focusTile(open) {
  opens().forEach((each) => (each.tabIndex = -1));
  open.tabIndex = 0;
  open.focus({ preventScroll: true });
  open.scrollIntoView({ block: "nearest" });
}

function item(file, weight, moment = null) {
  return { kind: "item", id: file.id, moment: moment?.number ?? null, name: file.name, weight };
}

function title() {
  return terms.map((term, i) => `${term.weight < 0 ? "− " : i ? "+ " : ""}${term.text ?? term.name}`).join(" ");
}

function pace(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;
}

function strong(text) {
  const box = document.createElement("strong");
  box.textContent = text;
  return box;
}

about.read();
load();
