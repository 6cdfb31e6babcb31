// The page: the address holds the question, the server answers it, the grid shows the answer.

import { chip } from "/chip.js";
import { placeholders, tile, walk } from "/grid.js";
import { fromAddress, isEmpty, isPlain, join, toAddress } from "/question.js";
import { createViewer } from "/viewer.js";

const at = (id) => document.getElementById(id);
const PAGE = 60;
const GUESSES = 12; // shown at first; a wall of wrong pictures helps nobody

let terms = []; // of the question that is answered below
let shown = []; // its pictures so far
let more = false;
let status = null;
let running = null;

const viewer = createViewer({
  onStep: (by) => step(by),
  onClose: () => leaveView(),
  onLike: (picture) => go([item(picture, 1)]),
  onAdd: (picture) => go([...terms, item(picture, 1)]),
  onUnlike: (picture) => go([...terms, item(picture, -1)]),
});

// -- asking ------------------------------------------------------------------------------------------------------

function go(next) {
  history.pushState({}, "", toAddress(next));
  window.scrollTo(0, 0);
  load();
}

async function load() {
  const asked = fromAddress(location.search);
  viewer.hide();
  const answer = await fetched(isEmpty(asked) ? `/api/pictures?k=${PAGE}` : `/api/search${query(asked)}`);
  if (!answer) return;
  if (isEmpty(asked)) browse(answer);
  else render(answer);
  if (asked.view) openPicture(asked.view);
}

function query(asked, offset = 0) {
  const address = new URLSearchParams({ q: asked.q, k: PAGE, offset });
  asked.like.forEach((each) => address.append("like", each));
  asked.picture.forEach((each) => address.append("picture", each));
  return `?${address}`;
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

async function askWith(file, { add }) {
  if (!file || !file.type.startsWith("image/")) return fail("That is not a picture.");
  const form = new FormData();
  const kept = add ? terms : [];
  const address = new URLSearchParams(toAddress(kept).slice(2));
  const typed = add && !isPlain(terms) ? at("words").value.trim() : "";
  form.set("q", typed ? join(kept, typed) : (address.get("q") ?? ""));
  address.getAll("like").forEach((each) => form.append("like", each));
  address.getAll("picture").forEach((each) => form.append("kept", each));
  form.set("k", PAGE);
  form.set("picture", file);
  const answer = await fetched("/api/search", { method: "POST", body: form });
  if (!answer) return;
  history.pushState({}, "", toAddress(answer.terms));
  window.scrollTo(0, 0);
  render(answer);
}

// -- showing -----------------------------------------------------------------------------------------------------

function render(answer) {
  terms = answer.terms;
  more = answer.more;
  history.replaceState(history.state, "", toAddress(terms, fromAddress(location.search).view)); // one spelling each
  drawQuestion();
  const matches = answer.hits.filter((hit) => hit.match).length;
  const upper = answer.hits.findLastIndex((hit) => hit.match) + 1;
  const enough = upper + GUESSES;
  more ||= answer.hits.length > enough;
  drawPictures(answer.hits.slice(0, enough));
  const said = at("said");
  if (!answer.hits.length) said.textContent = "The index is empty.";
  else if (matches) {
    const plus = answer.more && matches === answer.hits.length ? "+" : "";
    said.replaceChildren(strong(`${matches}${plus} ${matches === 1 ? "match" : "matches"}`), ` in ${pace(answer.seconds)}`);
  } else {
    const none = document.createElement("span");
    none.className = "none";
    none.textContent = "No good match";
    said.replaceChildren(none, "These come closest. ", aboutLink("What can it see?"));
  }
  const parting = at("parting");
  parting.hidden = !matches || upper === answer.hits.length;
  parting.textContent = "less likely";
  document.title = `${title()} · Sensorium`;
}

function browse(pictures) {
  terms = [];
  more = pictures.length === PAGE;
  drawQuestion();
  drawPictures(pictures);
  at("parting").hidden = true;
  at("said").textContent = "";
  at("empty").hidden = pictures.length > 0;
  if (!pictures.length) {
    const code = document.createElement("code");
    code.textContent = "sensorium index ~/Pictures";
    at("empty").replaceChildren(strong("No pictures yet"), "Fill the index, then load this page again: ", code);
  }
  document.title = "Sensorium";
}

function drawPictures(pictures, { append = false } = {}) {
  at("empty").hidden = true;
  shown = append ? [...shown, ...pictures] : pictures;
  const handlers = { onOpen: enterView, onSimilar: (picture) => go([item(picture, 1)]) };
  // Up to the last match in the upper grid, the rest below the line; what comes later in pages goes on where it ended.
  const upper = pictures.findLastIndex((picture) => picture.match ?? true) + 1;
  if (!append) ["matches", "guesses"].forEach((id) => at(id).replaceChildren());
  const started = at("guesses").childElementCount > 0;
  pictures.forEach((picture, i) => at(started || i >= upper ? "guesses" : "matches").append(tile(picture, handlers)));
  at("matches").classList.toggle("few", at("matches").childElementCount < 4);
  at("more").hidden = !more;
  const first = opens()[0];
  if (first && !opens().some((open) => open.tabIndex === 0)) first.tabIndex = 0;
}

function drawQuestion() {
  const plain = isPlain(terms);
  at("chips").replaceChildren(...(plain ? [] : terms.map(chipAt)));
  at("words").value = plain ? terms[0].text : "";
  at("words").placeholder = terms.length && !plain ? "add words, or − words" : "Describe a picture, or drop one here";
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

// -- one picture -------------------------------------------------------------------------------------------------

function enterView(id) {
  history.pushState({ viewing: true }, "", toAddress(terms, id));
  openPicture(id);
}

function leaveView() {
  if (history.state?.viewing) history.back();
  else {
    history.replaceState({}, "", toAddress(terms));
    closePicture();
  }
}

async function openPicture(id) {
  let picture = shown.find((each) => each.id === id);
  if (!picture) {
    const response = await fetch(`/api/pictures/${encodeURIComponent(id)}`);
    if (!response.ok) return fail("That picture is not in the index.");
    picture = await response.json();
  }
  const place = shown.findIndex((each) => each.id === id);
  viewer.show(picture, { first: place <= 0, last: place < 0 || place === shown.length - 1, asked: terms.length > 0 });
}

function closePicture() {
  const id = viewer.picture?.id;
  viewer.hide();
  const open = opens().find((each) => each.parentElement.dataset.id === id);
  if (open) focusTile(open);
}

function step(by) {
  const pictures = shown;
  const next = pictures[pictures.findIndex((each) => each.id === viewer.picture.id) + by];
  if (!next) return;
  history.replaceState(history.state, "", toAddress(terms, next.id));
  openPicture(next.id);
}

// -- events ------------------------------------------------------------------------------------------------------

at("ask").addEventListener("submit", (event) => event.preventDefault());
at("words").addEventListener("keydown", (event) => {
  const typed = at("words").value.trim();
  if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    const kept = isPlain(terms) ? [] : terms;
    if (!typed) return kept.length ? undefined : go([]);
    const address = new URLSearchParams(toAddress(kept).slice(2));
    address.set("q", join(kept, typed));
    history.pushState({}, "", `/?${address}`);
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
  go([]);
});
at("file").addEventListener("change", (event) => {
  askWith(event.target.files[0], { add: true });
  event.target.value = "";
});
at("more").addEventListener("click", async () => {
  const asked = fromAddress(location.search);
  const blank = isEmpty(asked);
  const answer = await fetched(blank ? `/api/pictures?k=${PAGE}&offset=${shown.length}` : `/api/search${query(asked, shown.length)}`);
  if (!answer) return;
  const pictures = blank ? answer : answer.hits;
  more = blank ? pictures.length === PAGE : answer.more;
  const before = opens().length;
  drawPictures(pictures, { append: true });
  if (opens()[before]) focusTile(opens()[before]);
});
window.addEventListener("popstate", () => {
  const asked = fromAddress(location.search);
  if (toAddress(terms) === toAddressOf(asked)) asked.view ? openPicture(asked.view) : closePicture();
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
    return go([item(shown.find((picture) => picture.id === id), 1)]);
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

let entered = 0; // dragenter and dragleave come in pairs for every element passed over
const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
window.addEventListener("dragenter", (event) => {
  if (!carriesFile(event)) return;
  entered += 1;
  at("drop").hidden = false;
});
window.addEventListener("dragleave", (event) => {
  if (carriesFile(event) && --entered <= 0) endDrag();
});
window.addEventListener("dragover", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  at("field").classList.toggle("target", at("field").contains(event.target));
});
window.addEventListener("drop", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  const add = at("field").contains(event.target);
  endDrag();
  viewer.hide();
  askWith(event.dataTransfer.files[0], { add });
});
window.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (!file) return;
  event.preventDefault();
  askWith(file, { add: document.activeElement === at("words") });
});
window.addEventListener("scroll", () => document.querySelector(".top").classList.toggle("lifted", scrollY > 4), { passive: true });

at("about-open").addEventListener("click", openAbout);
at("about-shut").addEventListener("click", () => at("about").close());
at("about").addEventListener("click", (event) => event.target === at("about") && at("about").close());

// -- what is here ------------------------------------------------------------------------------------------------

async function readStatus() {
  const response = await fetch("/api/status");
  if (!response.ok) return;
  status = await response.json();
  at("count").textContent = `${status.pictures.toLocaleString("en")} ${status.pictures === 1 ? "picture" : "pictures"} · ${status.model}`;
  at("about-sees").textContent = status.sees;
  at("about-misses").textContent = status.misses;
  const command = document.createElement("code");
  command.textContent = status.command;
  at("about-switch").replaceChildren(status.switch, " ", command);
  at("about-switch").hidden = !status.switch;
  at("about-index").textContent = `${status.pictures.toLocaleString("en")} pictures, understood by ${status.model}, from:`;
  at("about-roots").replaceChildren(...status.roots.map(listed));
  at("about-version").textContent = `Sensorium ${status.version}`;
}

async function openAbout() {
  await readStatus();
  at("about").showModal();
  const box = at("about-unreadable");
  box.hidden = !status?.unreadable;
  if (box.hidden) return;
  box.querySelector("summary").textContent = `${status.unreadable.toLocaleString("en")} ${status.unreadable === 1 ? "file" : "files"} could not be read`;
  const rows = await (await fetch("/api/unreadable")).json();
  box.querySelector("ul").replaceChildren(...rows.map((row) => listed(`${row.path}: ${row.reason}`)));
}

function aboutLink(text) {
  const link = document.createElement("a");
  link.href = "#";
  link.textContent = text;
  link.addEventListener("click", (event) => {
    event.preventDefault();
    openAbout();
  });
  return link;
}

function opens() {
  return [...document.querySelectorAll(".tile .open")];
}

function focusTile(open) {
  opens().forEach((each) => (each.tabIndex = -1));
  open.tabIndex = 0;
  open.focus({ preventScroll: true });
  open.scrollIntoView({ block: "nearest" });
}

function endDrag() {
  entered = 0;
  at("drop").hidden = true;
  at("field").classList.remove("target");
}

function item(picture, weight) {
  return { kind: "item", id: picture.id, name: picture.name, weight };
}

function toAddressOf(asked) {
  const address = new URLSearchParams();
  if (asked.q) address.set("q", asked.q);
  asked.like.forEach((each) => address.append("like", each));
  asked.picture.forEach((each) => address.append("picture", each));
  const text = address.toString();
  return text ? `/?${text}` : "/";
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

function listed(text) {
  const box = document.createElement("li");
  box.textContent = text;
  return box;
}

readStatus();
load();
