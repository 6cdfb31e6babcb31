// The pictures: rows that keep every picture's own shape, and arrow keys that walk them as the eye does.

const SHAPES = [1.5, 1, 0.75, 1.33, 1.78, 0.8, 1.5, 1.2, 1, 1.6, 0.7, 1.4];

export function tile(picture, { onOpen, onSimilar }) {
  const box = document.createElement("figure");
  box.className = picture.match === false ? "tile faint" : "tile";
  box.style.setProperty("--ratio", shape(picture));
  box.dataset.id = picture.id;

  const open = document.createElement("button");
  open.type = "button";
  open.className = "open";
  open.tabIndex = -1;
  const match = picture.confidence == null ? "" : `, ${percent(picture.confidence)}`;
  open.setAttribute("aria-label", `${picture.name}${match}`);
  open.addEventListener("click", () => onOpen(picture.id));

  const image = document.createElement("img");
  image.alt = "";
  image.loading = "lazy";
  image.decoding = "async";
  image.addEventListener("load", () => image.classList.add("here"));
  image.addEventListener("error", () => box.classList.add("gone"));
  image.sizes = `${Math.round(shape(picture) * 260)}px`;
  image.srcset = `${thumb(picture, 320)} ${width(picture, 320)}w, ${thumb(picture, 640)} ${width(picture, 640)}w`;
  image.src = thumb(picture, 320);
  open.append(image);

  const caption = document.createElement("figcaption");
  caption.className = "caption";
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = picture.name;
  caption.append(name);
  box.append(open, caption);

  if (picture.confidence != null) {
    const score = document.createElement("span");
    score.className = "score";
    score.setAttribute("aria-hidden", "true");
    score.title = `cosine ${picture.score.toFixed(3)}`;
    score.textContent = percent(picture.confidence);
    box.append(score);
  }
  const similar = document.createElement("button");
  similar.type = "button";
  similar.className = "similar";
  similar.tabIndex = -1;
  similar.textContent = "More like this";
  similar.addEventListener("click", () => onSimilar(picture));
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

export function thumb(picture, size) {
  return `/thumb/${picture.id}?s=${size}&v=${picture.version}`;
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
  let best = null;
  let least = Infinity;
  for (let i = down ? from + 1 : from - 1; i >= 0 && i < tiles.length; i += down ? 1 : -1) {
    const box = tiles[i].getBoundingClientRect();
    if (Math.abs(box.top - here.top) < 4) continue;
    if (row === null) row = box.top;
    if (Math.abs(box.top - row) > 4) break;
    const distance = Math.abs(box.left + box.width / 2 - middle);
    if (distance < least) [best, least] = [tiles[i], distance];
  }
  return best ?? undefined;
}

// Panoramas and towers are cropped a little, so that they neither vanish nor fill the row.
function shape(picture) {
  const ratio = picture.width && picture.height ? picture.width / picture.height : 1;
  return Math.round(Math.min(Math.max(ratio, 0.62), 2) * 1000) / 1000;
}

function width(picture, size) {
  const ratio = picture.width && picture.height ? picture.width / picture.height : 1;
  return Math.round(ratio >= 1 ? size : size * ratio);
}
