// The question: its terms, how they stand in the address, and how they are spelt in the search field.
// A term is {kind: "text", text, weight} | {kind: "item", id, moment, name, weight} | {kind: "dropped", token, name, weight}.

export function fromAddress(search) {
  const address = new URLSearchParams(search);
  return {
    q: address.get("q") ?? "",
    like: address.getAll("like"),
    dropped: address.getAll("dropped"),
    kind: address.get("kind") ?? "",
    view: address.get("view"),
  };
}

// `kind` are the kinds of files that may answer, separated by commas; none means all.
export function toAddress(terms, { view = null, kind = "" } = {}) {
  const address = new URLSearchParams();
  const words = spell(terms.filter((term) => term.kind === "text"));
  if (words) address.set("q", words);
  for (const term of terms) {
    if (term.kind === "item") address.append("like", example(term.id, term.weight, term.moment));
    if (term.kind === "dropped") address.append("dropped", example(term.token, term.weight));
  }
  if (kind) address.set("kind", kind);
  if (view) address.set("view", view);
  return written(address);
}

// The same of what stood in an address.
export function again(asked) {
  const address = new URLSearchParams();
  if (asked.q) address.set("q", asked.q);
  asked.like.forEach((each) => address.append("like", each));
  asked.dropped.forEach((each) => address.append("dropped", each));
  if (asked.kind) address.set("kind", asked.kind);
  return written(address);
}

// An address as people can read it.
export function written(address) {
  const text = address.toString().replaceAll("%2C", ",").replaceAll("%40", "@").replaceAll("%3A", ":");
  return text ? `/?${text}` : "/";
}

export function isEmpty(asked) {
  return !asked.q.trim() && !asked.like.length && !asked.dropped.length;
}

// One positive text term of plain words is shown as plain words in the field, everything else as chips.
export function isPlain(terms) {
  return terms.length === 1 && terms[0].kind === "text" && terms[0].weight === 1;
}

// What the server's grammar reads back as these terms.
export function spell(textTerms) {
  if (isPlain(textTerms) && !/(^|\s)[-+−–](\s|$)|["“”*×:]/.test(textTerms[0].text)) return textTerms[0].text;
  return textTerms
    .map((term, position) => {
      const size = Math.abs(term.weight);
      const words = `${size === 1 ? "" : `${trim(size)}*`}"${term.text.replace(/["“”]/g, "")}"`;
      return term.weight < 0 ? `- ${words}` : position ? `+ ${words}` : words;
    })
    .join(" ");
}

// New words typed beside existing chips: "- people" takes away, anything else adds.
export function join(terms, typed) {
  const before = spell(terms.filter((term) => term.kind === "text"));
  const signed = /^[-+−–]\s/.test(typed);
  if (!before) return typed;
  return `${before} ${signed ? typed : `+ ${typed}`}`;
}

export function example(name, weight, moment = null) {
  const size = Math.abs(weight);
  return `${weight < 0 ? "-" : ""}${name}${moment == null ? "" : `@${moment}`}${size === 1 ? "" : `:${trim(size)}`}`;
}

export function trim(number) {
  return String(Math.round(number * 100) / 100);
}
