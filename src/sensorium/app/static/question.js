// The question: its terms, how they stand in the address, and how they are spelt in the search field.
// A term is {kind: "text", text, weight} | {kind: "item", id, name, weight} | {kind: "picture", token, name, weight}.

export function fromAddress(search) {
  const address = new URLSearchParams(search);
  return { q: address.get("q") ?? "", like: address.getAll("like"), picture: address.getAll("picture"), view: address.get("view") };
}

export function toAddress(terms, view = null) {
  const address = new URLSearchParams();
  const words = spell(terms.filter((term) => term.kind === "text"));
  if (words) address.set("q", words);
  for (const term of terms) {
    if (term.kind === "item") address.append("like", example(term.id, term.weight));
    if (term.kind === "picture") address.append("picture", example(term.token, term.weight));
  }
  if (view) address.set("view", view);
  const text = address.toString();
  return text ? `/?${text}` : "/";
}

export function isEmpty(asked) {
  return !asked.q.trim() && !asked.like.length && !asked.picture.length;
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

export function example(name, weight) {
  const size = Math.abs(weight);
  return `${weight < 0 ? "-" : ""}${name}${size === 1 ? "" : `:${trim(size)}`}`;
}

export function trim(number) {
  return String(Math.round(number * 100) / 100);
}
