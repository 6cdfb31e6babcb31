// How the model sees the picture in the viewer: a map over it. A click, or an arrow key, asks what is like that place.

const part = (name) => document.getElementById(`inside-${name}`);
const HINTS = { cosine: "Click anywhere in the picture." };

export function createInside(image) {
  const panel = document.getElementById("inside");
  const field = part("field");
  const buttons = [...part("looks").querySelectorAll("button")];
  let looks = null; // what the server can show of its model
  let shown = null; // the picture
  let look = null; // what is looked at; null while nothing is
  let at = [0.5, 0.5]; // where, as fractions of the sides
  let grid = null; // rows and columns of the map that is there
  let asked = 0;

  part("open").addEventListener("click", () => (look ? shut() : open()));
  buttons.forEach((button) => button.addEventListener("click", () => choose(button.dataset.look)));
  field.addEventListener("click", (event) => {
    if (look !== "cosine") return;
    const box = field.getBoundingClientRect();
    ask([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  });
  field.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!by || look !== "cosine" || !grid) return;
    event.preventDefault();
    event.stopPropagation(); // arrows turn pages elsewhere in the viewer
    ask([at[0] + by[0] / grid.columns, at[1] + by[1] / grid.rows]);
  });
  image.addEventListener("load", place);
  new ResizeObserver(place).observe(image.parentElement);

  async function open() {
    try {
      looks ??= await (await fetch("/api/looks")).json();
    } catch {
      return say("The server does not answer. Is `sensorium serve` still running?", true);
    }
    part("model").textContent = looks.model;
    panel.hidden = false;
    part("open").setAttribute("aria-pressed", "true");
    part("open").textContent = "Stop looking inside";
    for (const button of buttons) {
      button.disabled = !looks.can.includes(button.dataset.look);
    }
    part("looks").hidden = !looks.can.length;
    const reasons = [...new Set(Object.values(looks.cannot))];
    part("cannot").hidden = !reasons.length;
    part("cannot").textContent = reasons.length ? `Not here: ${reasons.join("; ")}.` : "";
    if (looks.can.length) choose(looks.can[0]);
    else {
      look = "none";
      say("");
    }
  }

  function choose(what) {
    look = what;
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.look === what)));
    ask(at);
  }

  async function ask([x, y]) {
    at = [x, y].map((each) => Math.min(Math.max(each, 0), 1));
    const mine = ++asked;
    panel.classList.add("asking");
    try {
      const question = new URLSearchParams({ what: look, x: at[0].toFixed(5), y: at[1].toFixed(5) });
      const response = await fetch(`/api/looks/${shown.id}?${question}`);
      const answer = await response.json();
      if (mine !== asked || !look) return;
      if (!response.ok) throw new Error(answer.error ?? answer.detail);
      part("map").src = answer.picture;
      await part("map").decode(); // what is said below holds for what is seen
      if (mine === asked && look) draw(answer);
    } catch (error) {
      if (mine !== asked || !look) return;
      field.hidden = true;
      say(error instanceof TypeError ? "The server does not answer. Is `sensorium serve` still running?" : error.message, true);
    } finally {
      if (mine === asked) panel.classList.remove("asking");
    }
  }

  function draw(answer) {
    grid = answer;
    field.dataset.look = look;
    field.dataset.place = answer.place ?? "";
    field.hidden = false;
    field.setAttribute("aria-label", `${look} of ${shown.name}: ${answer.said}`);
    part("ring").hidden = !answer.place;
    if (answer.place) {
      at = [(answer.place[1] + 0.5) / answer.columns, (answer.place[0] + 0.5) / answer.rows];
      part("ring").style.left = `${100 * at[0]}%`;
      part("ring").style.top = `${100 * at[1]}%`;
    }
    say(`${answer.said}. ${HINTS[look] ?? ""}`);
    part("scale").hidden = answer.low == null;
    if (answer.low != null) {
      part("low").textContent = number(answer.low);
      part("high").textContent = number(answer.high);
    }
    place();
  }

  // The map lies exactly on the picture, which is as large as its stage allows.
  function place() {
    if (field.hidden || !image.naturalWidth) return;
    const stage = image.parentElement;
    const scale = Math.min(stage.clientWidth / image.naturalWidth, stage.clientHeight / image.naturalHeight);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    field.style.left = `${(stage.clientWidth - width) / 2}px`;
    field.style.top = `${(stage.clientHeight - height) / 2}px`;
    field.style.width = `${width}px`;
    field.style.height = `${height}px`;
  }

  function say(words, bad = false) {
    part("said").textContent = words.charAt(0).toUpperCase() + words.slice(1);
    part("said").classList.toggle("bad", bad);
    if (bad) panel.hidden = false;
  }

  function shut() {
    look = grid = null;
    asked += 1;
    at = [0.5, 0.5];
    field.hidden = panel.hidden = true;
    part("open").setAttribute("aria-pressed", "false");
    part("open").textContent = "Look inside";
  }

  return {
    shut,
    // Another picture in the viewer is looked at as the one before.
    show(picture) {
      const other = shown?.id !== picture.id;
      shown = picture;
      if (!look || !other) return;
      field.hidden = true;
      at = [0.5, 0.5];
      if (look !== "none") choose(look);
    },
  };
}

function number(value) {
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toFixed(size < 0.0995 && size > 0 ? 4 : 2);
}
