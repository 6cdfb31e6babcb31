// One picture, large: what it is, how well it fits, and where to go from it.

import { percent, thumb } from "/grid.js";
import { createInside } from "/inside.js";

const part = (name) => document.getElementById(name ? `viewer-${name}` : "viewer");

export function createViewer({ onStep, onClose, onLike, onAdd, onUnlike }) {
  let shown = null;
  const dialog = part();
  const inside = createInside(part("picture"));
  part("shut").addEventListener("click", () => onClose());
  part("back").addEventListener("click", () => onStep(-1));
  part("on").addEventListener("click", () => onStep(1));
  part("like").addEventListener("click", () => onLike(shown));
  part("add").addEventListener("click", () => onAdd(shown));
  part("unlike").addEventListener("click", () => onUnlike(shown));
  part("copy").addEventListener("click", () => copy(shown.path));
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    onClose();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) onClose();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") onStep(-1);
    else if (event.key === "ArrowRight") onStep(1);
    else if (event.key === "m") onLike(shown);
    else return;
    event.preventDefault();
  });

  return {
    get picture() {
      return dialog.open ? shown : null;
    },
    show(picture, { first, last, asked }) {
      shown = picture;
      const image = part("picture");
      image.src = thumb(picture, 1600);
      image.alt = picture.name;
      part("name").textContent = picture.name;
      part("folder").textContent = picture.folder;
      part("facts").replaceChildren(...facts(picture));
      part("file").href = `/file/${picture.id}`;
      part("copy").textContent = "Copy path";
      part("back").disabled = first;
      part("on").disabled = last;
      part("add").hidden = part("unlike").hidden = !asked;
      if (!dialog.open) dialog.showModal();
      inside.show(picture);
    },
    hide() {
      inside.shut();
      if (dialog.open) dialog.close();
      part("picture").removeAttribute("src");
    },
  };
}

function facts(picture) {
  const rows = [];
  if (picture.confidence != null) {
    rows.push(["Match", picture.match ? percent(picture.confidence) : `${percent(picture.confidence)}, below the cut-off`]);
    rows.push(["Cosine", picture.score.toFixed(3)]);
  }
  rows.push(["Size", `${picture.width} × ${picture.height}`], ["File", bytes(picture.bytes)]);
  if (picture.taken) rows.push(["Taken", picture.taken]);
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
