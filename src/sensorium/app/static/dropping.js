// Files that are dropped or pasted anywhere on the page become the question, or a part of it.

const at = (id) => document.getElementById(id);
const FACTS = ["depth.json", "thermal.json", "motion.json"]; // what a folder says of its files: they may come along

export function watchDrops(ask) {
  let entered = 0; // dragenter and dragleave come in pairs for every element passed over
  const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  function end() {
    entered = 0;
    at("drop").hidden = true;
    at("field").classList.remove("target");
  }

  window.addEventListener("dragenter", (event) => {
    if (!carriesFile(event)) return;
    entered += 1;
    at("drop").hidden = false;
  });
  window.addEventListener("dragleave", (event) => {
    if (carriesFile(event) && --entered <= 0) end();
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
    end();
    ask(event.dataTransfer.files, { add });
  });
  window.addEventListener("paste", (event) => {
    if (!event.clipboardData?.files.length) return;
    event.preventDefault();
    ask(event.clipboardData.files, { add: document.activeElement === at("words") });
  });
}

// The file that is asked with, and what lies beside it.
export function sorted(files) {
  const all = [...(files ?? [])];
  const beside = all.filter((file) => FACTS.includes(file.name));
  return { file: all.find((file) => !beside.includes(file)) ?? null, beside };
}
