// The files: rows that keep every picture's own shape, and arrow keys that walk them as the eye does.

import { extent, sign } from "/kinds.js";

const SHAPES = [1.5, 1, 0.75, 1.33, 1.78, 0.8, 1.5, 1.2, 1, 1.6, 0.7, 1.4];
const DRAWN = { sound: 2, motion: 1.667, document: 0.75, video: 1.778 }; // where the sides are not known, or are not the file's

export function tile(file, { onOpen, onSimilar }) {
  const box = document.createElement("figure");
  box.className = file.match === false ? "tile faint" : "tile";
  box.style.setProperty("--ratio", shape(file));
  box.dataset.id = file.id;
  box.dataset.kind = file.kind;

  const moment = best(file);
  const open = document.createElement("button");
  open.type = "button";
  open.className = "open";
  open.tabIndex = -1;
  const match = file.confidence == null ? "" : `, ${percent(file.confidence)}`;
  open.setAttribute("aria-label", `${file.name}${moment ? `, ${moment.said}` : ""}${match}`);
  open.addEventListener("click", () => onOpen(file.id));

  const image = document.createElement("img");
  image.alt = "";
  image.loading = "lazy";
  image.decoding = "async";
  image.addEventListener("load", () => image.classList.add("here"));
  image.addEventListener("error", () => box.classList.add("gone"));
  image.sizes = `${Math.round(shape(file) * 260)}px`;
  image.srcset = `${thumb(file, 320, moment)} ${width(file, 320)}w, ${thumb(file, 640, moment)} ${width(file, 640)}w`;
  image.src = thumb(file, 320, moment);
  open.append(image);

  const caption = document.createElement("figcaption");
  caption.className = "caption";
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = file.name;
  caption.append(name);
  box.append(open, caption);
  if (file.kind !== "picture") {
    const badge = document.createElement("span");
    badge.className = "badge";
    badge.setAttribute("aria-hidden", "true");
    badge.innerHTML = sign(file.kind);
    badge.append(moment?.said ?? extent(file));
    box.append(badge);
  }
  if (file.confidence != null) {
    const score = document.createElement("span");
    score.className = "score";
    score.setAttribute("aria-hidden", "true");
    score.title = `cosine ${file.score.toFixed(3)}`;
    score.textContent = percent(file.confidence);
    box.append(score);
  }
  const similar = document.createElement("button");
  similar.type = "button";
  similar.className = "similar";
  similar.tabIndex = -1;
  similar.textContent = "More like this";
  similar.addEventListener("click", () => onSimilar(file));
  box.append(similar);
  return box;
}

export function placeholders(count = 12) {
  return Array.from({ length: count }, (_, i) => {
    const box = document.createElement("div");
    box.className = "tile waiting";
    box.style.setProperty("--ratio", SHAPES[i % SHAPES.length]);
    return box;
  });
}

// The moment that a tile stands for: the best that answers; none where there is no question.
export function best(file) {
  return file.moments?.[0] ?? null;
}

export function thumb(file, size, moment = null) {
  return `/thumb/${file.id}?s=${size}&v=${file.version}${place(moment)}`;
}

// A moment as parameters of an address.
export function place(moment) {
  if (moment?.page != null) return `&page=${moment.page}`;
  if (moment?.begin == null) return "";
  return `&at=${moment.begin.toFixed(3)}${moment.end == null ? "" : `&until=${moment.end.toFixed(3)}`}`;
}

export function percent(share) {
  return `${Math.round(share * 100)}%`;
}

// One tile is in the tab order; arrows move on from it. `tiles` lists the open buttons of all grids in reading order.
export function walk(tiles, from, key) {
  if (key === "ArrowRight") return tiles[from + 1];
  if (key === "ArrowLeft") return tiles[from - 1];
  if (key === "Home") return tiles[0];
  if (key === "End") return tiles.at(-1);
  if (key !== "ArrowDown" && key !== "ArrowUp") return undefined;
  const here = tiles[from].getBoundingClientRect();
  const middle = here.left + here.width / 2;
  const down = key === "ArrowDown";
  let row = null;
  let nearest = null;
  let least = Infinity;
  for (let i = down ? from + 1 : from - 1; i >= 0 && i < tiles.length; i += down ? 1 : -1) {
    const box = tiles[i].getBoundingClientRect();
    if (Math.abs(box.top - here.top) < 4) continue;
    if (row === null) row = box.top;
    if (Math.abs(box.top - row) > 4) break;
    const distance = Math.abs(box.left + box.width / 2 - middle);
    if (distance < least) [nearest, least] = [tiles[i], distance];
  }
  return nearest ?? undefined;
}

function sides(file) {
  if (file.kind === "sound" || file.kind === "motion") return DRAWN[file.kind];
  return file.width && file.height ? file.width / file.height : (DRAWN[file.kind] ?? 1);
}

// Panoramas and towers are cropped a little, so that they neither vanish nor fill the row.
function shape(file) {
  return Math.round(Math.min(Math.max(sides(file), 0.62), 2) * 1000) / 1000;
}

function width(file, size) {
  const ratio = sides(file);
  return Math.round(ratio >= 1 ? size : size * ratio);
}
