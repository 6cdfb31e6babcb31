// What is here: the count at the top, and the dialogue that says what the model can and cannot take in.

const at = (id) => document.getElementById(id);

export function createAbout({ onStatus }) {
  let status = null;
  at("about-open").addEventListener("click", open);
  at("about-shut").addEventListener("click", () => at("about").close());
  at("about").addEventListener("click", (event) => event.target === at("about") && at("about").close());

  async function read() {
    const response = await fetch("/api/status");
    if (!response.ok) return;
    status = await response.json();
    const mixed = Object.keys(status.kinds).length > 1;
    const files = `${status.files.toLocaleString("en")} ${status.files === 1 ? "file" : "files"}`;
    at("count").textContent = `${mixed ? files : status.tally} · ${status.model}`;
    at("about-sees").textContent = status.sees;
    at("about-misses").textContent = status.misses;
    at("about-lacks").replaceChildren(...status.lacks.map(listed));
    at("about-lacks").hidden = !status.lacks.length;
    const command = document.createElement("code");
    command.textContent = status.command;
    at("about-switch").replaceChildren(status.switch, " ", command);
    at("about-switch").hidden = !status.switch;
    at("about-index").textContent = `${status.tally}, understood by ${status.model}, from:`;
    at("about-roots").replaceChildren(...status.roots.map(listed));
    at("about-version").textContent = `Sensorium ${status.version}`;
    onStatus(status);
  }

  async function open() {
    await read();
    at("about").showModal();
    const box = at("about-unreadable");
    box.hidden = !status?.unreadable;
    if (box.hidden) return;
    box.querySelector("summary").textContent = `${status.unreadable.toLocaleString("en")} ${status.unreadable === 1 ? "file" : "files"} could not be read`;
    const rows = await (await fetch("/api/unreadable")).json();
    box.querySelector("ul").replaceChildren(...rows.map((row) => listed(`${row.path}: ${row.reason}`)));
  }

  function link(text) {
    const made = document.createElement("a");
    made.href = "#";
    made.textContent = text;
    made.addEventListener("click", (event) => {
      event.preventDefault();
      open();
    });
    return made;
  }

  return { read, link };
}

function listed(text) {
  const box = document.createElement("li");
  box.textContent = text;
  return box;
}
