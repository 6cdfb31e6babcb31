// A term of the question as a chip: its sign turns it round, arrow keys weigh it, the cross removes it.

import { place } from "/grid.js";
import { trim } from "/question.js";

const CROSS = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="m6 6 12 12M18 6 6 18"/></svg>';

export function chip(term, { onWeight, onRemove }) {
  const box = document.createElement("li");
  const label = term.text ?? (term.at ? `${term.name}, ${term.at}` : term.name);
  const minus = term.weight < 0;
  box.className = minus ? "chip minus" : "chip";
  const sign = document.createElement("button");
  sign.type = "button";
  sign.className = "sign";
  sign.textContent = minus ? "−" : "+";
  sign.title = "Click: near or away. Arrow keys: stronger or weaker";
  sign.setAttribute("aria-label", `${label}: ${minus ? "steered away from" : "searched for"}; press to turn round, arrow keys change its weight`);
  sign.addEventListener("click", () => onWeight(-term.weight));
  sign.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 0.25, ArrowDown: -0.25 }[event.key];
    if (!by) return;
    event.preventDefault();
    const size = Math.min(Math.max(Math.abs(term.weight) + by, 0.25), 4);
    onWeight(minus ? -size : size);
  });
  box.append(sign);
  if (term.kind !== "text") {
    const image = document.createElement("img");
    image.alt = "";
    image.src = term.kind === "item" ? `/thumb/${term.id}?s=320${place(term)}` : `/dropped/${term.token}`;
    box.append(image);
  }
  const words = document.createElement("span");
  words.className = "label";
  words.textContent = label;
  box.append(words);
  if (Math.abs(term.weight) !== 1) {
    const weight = document.createElement("span");
    weight.className = "weight";
    weight.textContent = `× ${trim(Math.abs(term.weight))}`;
    box.append(weight);
  }
  const drop = document.createElement("button");
  drop.type = "button";
  drop.className = "drop-term";
  drop.innerHTML = CROSS;
  drop.setAttribute("aria-label", `Remove ${label}`);
  drop.addEventListener("click", onRemove);
  box.append(drop);
  return box;
}
