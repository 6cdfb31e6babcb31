// Kinds of files: what they are called, their signs, and the row that says which may answer.

export const KINDS = {
  picture: ["picture", "pictures"],
  video: ["film", "films"],
  sound: ["sound", "sounds"],
  depth: ["depth map", "depth maps"],
  thermal: ["thermal picture", "thermal pictures"],
  motion: ["motion recording", "motion recordings"],
  document: ["document", "documents"],
};

const SIGNS = {
  video: '<path d="M8 5.5v13l10.500-6.500Z"/>',
  sound: '<path d="M4 10v4M8 7v10M12 4v16M16 8v8M20 10.500v3"/>',
  depth: '<path d="m12 4 9 4.500-9 4.500-9-4.500Z"/><path d="m4 12.500 8 4 8-4M4 16.500l8 4 8-4"/>',
  thermal: '<path d="M12 3a2 2 0 0 1 2 2v8.500a4 4 0 1 1-4 0V5a2 2 0 0 1 2-2Z"/><path d="M12 10v6.500"/>',
  motion: '<path d="M3 12h3.500l2.500-7 5 14 3-9 1.500 2H21"/>',
  document: '<path d="M7 3h7l5 5v13H7Z"/><path d="M14 3v5h5M10 13h6M10 17h6"/>',
};

export function sign(kind) {
  return SIGNS[kind] ? `<svg viewBox="0 0 24 24" aria-hidden="true">${SIGNS[kind]}</svg>` : "";
}

// `12:05`, as players write it
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${two(whole % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

// How long a file is: in time, or in pages.
export function extent(file) {
  if (file.pages != null) return `${file.pages.toLocaleString("en")} ${file.pages === 1 ? "page" : "pages"}`;
  return file.seconds == null ? "" : clock(file.seconds);
}

// The row of kinds above the answer. A press chooses one kind alone, or all again; with Ctrl, Cmd or Shift, several.
export function createFilter(box, onChange) {
  let chosen = [];
  let counts = {};

  function draw() {
    const kinds = Object.keys(KINDS).filter((kind) => counts[kind]);
    box.hidden = kinds.length < 2 && !chosen.length;
    box.replaceChildren(button("", "All", Object.values(counts).reduce((sum, each) => sum + each, 0)), ...kinds.map((kind) => button(kind, KINDS[kind][1], counts[kind])));
  }

  function button(kind, name, count) {
    const made = document.createElement("button");
    made.type = "button";
    made.dataset.kind = kind;
    made.setAttribute("aria-pressed", String(kind ? chosen.includes(kind) : !chosen.length));
    made.innerHTML = sign(kind);
    const number = document.createElement("span");
    number.className = "number";
    number.textContent = count.toLocaleString("en");
    made.append(name.charAt(0).toUpperCase() + name.slice(1), " ", number);
    made.addEventListener("click", (event) => {
      const several = event.ctrlKey || event.metaKey || event.shiftKey;
      if (!kind) chosen = [];
      else if (several) chosen = chosen.includes(kind) ? chosen.filter((each) => each !== kind) : [...chosen, kind];
      else chosen = chosen.length === 1 && chosen[0] === kind ? [] : [kind];
      draw();
      onChange();
    });
    return made;
  }

  return {
    get kind() {
      return chosen.join(",");
    },
    set kind(text) {
      chosen = text ? text.split(",") : [];
      draw();
    },
    set counts(told) {
      counts = told;
      draw();
    },
  };
}
