// One file, large: what it is, which of its moments answer, how well, and where to go from it.

import { best, percent, place, thumb } from "/grid.js";
import { createInside } from "/inside.js";
import { extent } from "/kinds.js";
import { createPlayer } from "/player.js";

const part = (name) => document.getElementById(name ? `viewer-${name}` : "viewer");
const LENGTH = { video: "Length", sound: "Length", motion: "Length", document: "Pages" };
const NEAREST = 3; // moments that are listed where none is a match

export function createViewer({ onStep, onClose, onLike, onAdd, onUnlike }) {
  let shown = null;
  let moment = null; // the one that is shown; null for the file as a whole
  let listed = []; // those that are a press away
  const dialog = part();
  const inside = createInside(part("picture"));
  const player = createPlayer(part("film"), part("sound"), part("cannot"));
  part("shut").addEventListener("click", () => onClose());
  part("back").addEventListener("click", () => onStep(-1));
  part("on").addEventListener("click", () => onStep(1));
  part("like").addEventListener("click", () => onLike(shown));
  part("like-moment").addEventListener("click", () => onLike(shown, moment));
  part("add").addEventListener("click", () => onAdd(shown));
  part("unlike").addEventListener("click", () => onUnlike(shown));
  part("copy").addEventListener("click", () => copy(shown.path));
  part("page-back").addEventListener("click", () => turn(-1));
  part("page-on").addEventListener("click", () => turn(1));
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    onClose();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) onClose();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("audio, video")) return; // they have keys of their own
    if (event.key === "ArrowLeft") onStep(-1);
    else if (event.key === "ArrowRight") onStep(1);
    else if (event.key === "m") onLike(shown);
    else return;
    event.preventDefault();
  });

  // A moment of the file: its picture, and what its colours mean; sounds and films go there.
  function choose(next, { jump }) {
    moment = next;
    part("picture").src = thumb(shown, 1600, moment);
    part("moments").querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", String(listed[i] === moment)));
    part("like-moment").hidden = moment?.number == null;
    drawPages();
    if (jump && player.plays(shown)) player.jump(moment);
    explain();
  }

  function turn(by) {
    const number = (moment?.page ?? 1) + by;
    choose(shown.moments.find((each) => each.page === number) ?? { page: number }, { jump: false });
  }

  function drawPages() {
    const box = part("pages");
    box.hidden = shown.kind !== "document" || (shown.pages ?? 1) < 2;
    if (box.hidden) return;
    const number = moment?.page ?? 1;
    part("page").textContent = `Page ${number} of ${shown.pages}`;
    part("page-back").disabled = number <= 1;
    part("page-on").disabled = number >= shown.pages;
  }

  async function explain() {
    const legend = part("legend");
    const [mine, at] = [shown, moment];
    legend.hidden = part("told").hidden = true;
    if (["picture", "video", "document"].includes(shown.kind)) return; // they say it themselves
    const response = await fetch(`/api/shown/${shown.id}?${place(moment).slice(1)}`);
    if (!response.ok || mine !== shown || at !== moment) return;
    const told = await response.json();
    part("told").hidden = !told.said;
    part("told").textContent = told.said.charAt(0).toUpperCase() + told.said.slice(1);
    legend.hidden = told.low == null;
    legend.dataset.kind = shown.kind;
    part("low").textContent = told.low ?? "";
    part("high").textContent = told.high ?? "";
  }

  function drawMoments() {
    const list = part("moments");
    listed = shown.moments.filter((each) => each.confidence >= 0.5);
    if (!listed.length) listed = shown.moments.slice(0, NEAREST);
    part("when").hidden = !listed.length;
    list.replaceChildren(
      ...listed.map((each) => {
        const row = document.createElement("li");
        const button = document.createElement("button");
        button.type = "button";
        const share = document.createElement("span");
        share.textContent = percent(each.confidence);
        button.append(each.said, share);
        row.classList.toggle("weak", each.confidence < 0.5);
        button.addEventListener("click", () => choose(each, { jump: true }));
        row.append(button);
        return row;
      }),
    );
  }

  return {
    get file() {
      return dialog.open ? shown : null;
    },
    show(file, { first, last, asked }) {
      shown = file;
      const plays = player.plays(file);
      dialog.dataset.kind = file.kind;
      part("picture").alt = file.name;
      part("picture").hidden = file.kind === "video";
      part("name").textContent = file.name;
      part("folder").textContent = file.folder;
      part("facts").replaceChildren(...facts(file));
      part("partly").hidden = !file.said;
      part("partly").textContent = file.said ? `Read only in part: ${file.said}` : "";
      part("file").href = `/file/${file.id}`;
      part("copy").textContent = "Copy path";
      part("back").disabled = first;
      part("on").disabled = last;
      part("add").hidden = part("unlike").hidden = !asked;
      document.getElementById("inside-open").hidden = !file.looks;
      if (!file.looks) inside.shut();
      drawMoments();
      choose(best(file), { jump: false });
      if (plays) player.show(file, moment);
      else player.stop();
      if (!dialog.open) dialog.showModal();
      if (file.looks) inside.show(file);
    },
    hide() {
      inside.shut();
      player.stop();
      if (dialog.open) dialog.close();
      part("picture").removeAttribute("src");
    },
  };
}

function facts(file) {
  const rows = [];
  if (file.confidence != null) {
    rows.push(["Match", file.match ? percent(file.confidence) : `${percent(file.confidence)}, below the cut-off`]);
    rows.push(["Cosine", file.score.toFixed(3)]);
  }
  if (LENGTH[file.kind] && extent(file)) rows.push([LENGTH[file.kind], file.pages != null ? String(file.pages) : extent(file)]);
  if (file.width && file.height) rows.push(["Size", `${file.width} × ${file.height}`]);
  rows.push(["File", bytes(file.bytes)]);
  if (file.taken) rows.push(["Taken", file.taken]);
  return rows.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const what = document.createElement("dd");
    term.textContent = name;
    what.textContent = value;
    return [term, what];
  });
}

function bytes(size) {
  return size < 1e6 ? `${Math.max(1, Math.round(size / 1e3))} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

async function copy(path) {
  const button = part("copy");
  try {
    await navigator.clipboard.writeText(path);
    button.textContent = "Copied";
  } catch {
    window.prompt("The file’s path:", path); // no clipboard without https on other machines
  }
}
