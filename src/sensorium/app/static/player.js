// Sound and film in the viewer: played as they are where the browser can, else stretch by stretch as the server encodes them.

import { thumb } from "/grid.js";

const STRETCH = 30; // seconds that are encoded at once
const LEAD = 0.5; // seconds before a moment that an encoded stretch begins with

export function createPlayer(film, sound, said) {
  let file = null;
  let medium = null; // the element that plays
  let offset = 0; // of the stretch that is loaded, in seconds; 0 where the file itself plays
  let whole = true;
  let asked = 0;

  // One encoded stretch goes on into the next.
  for (const each of [film, sound]) {
    each.addEventListener("ended", () => {
      const end = offset + each.duration;
      if (each === medium && !whole && end < (file.seconds ?? 0) - LEAD) start({ begin: end }, { play: true });
    });
  }

  // Play from a moment; without one, from the beginning, when the reader says so.
  function start(moment, { play }) {
    const begin = moment?.begin ?? 0;
    if (whole) return load(`/file/${file.id}?v=${file.version}`, 0, begin, play);
    const from = Math.max(0, begin - LEAD);
    const until = Math.min(from + STRETCH, Math.max(file.seconds ?? Infinity, from + 1));
    load(`/stretch/${file.id}?begin=${from.toFixed(2)}&end=${until.toFixed(2)}`, from, begin, play);
    said.hidden = false;
    said.textContent = `This browser does not play the file itself: it is encoded anew, ${STRETCH} seconds at a time.`;
  }

  function load(address, from, begin, play) {
    const mine = ++asked;
    const go = () => {
      if (mine !== asked) return;
      if (Math.abs(medium.currentTime - (begin - offset)) > 0.05) medium.currentTime = begin - offset;
      if (play) medium.play().catch(() => {}); // where the browser wants a press first, its own button is there
    };
    if (medium.dataset.address === address && medium.readyState >= 1) return go();
    offset = from;
    medium.dataset.address = address;
    medium.src = address;
    medium.addEventListener("loadedmetadata", () => {
      if (mine !== asked) return;
      if (medium === film && whole && !film.videoWidth) return fall(begin, play); // its sound is known, its pictures are not
      go();
    }, { once: true });
    medium.addEventListener("error", () => mine === asked && fall(begin, play), { once: true });
  }

  // The browser cannot play it: the server encodes; where that cannot either, the reason is said.
  async function fall(begin, play) {
    if (whole) {
      whole = false;
      return start({ begin }, { play });
    }
    const mine = asked;
    let reason = "the browser cannot play it";
    try {
      const response = await fetch(medium.dataset.address);
      if (!response.ok) {
        const told = await response.json();
        reason = told.error ?? told.detail ?? reason;
      }
    } catch {
      reason = "the server does not answer";
    }
    if (mine !== asked) return;
    said.hidden = false;
    said.textContent = `It cannot be played: ${reason}.`;
  }

  return {
    plays: (shown) => shown.kind === "video" || shown.kind === "sound",
    show(shown, moment) {
      this.stop();
      file = shown;
      whole = shown.plays;
      medium = shown.kind === "video" ? film : sound;
      medium.hidden = false;
      if (medium === film) film.poster = thumb(shown, 1600, moment);
      start(moment, { play: false });
    },
    jump(moment) {
      if (medium) start(moment, { play: true });
    },
    stop() {
      asked += 1;
      said.hidden = true;
      for (const each of [film, sound]) {
        each.pause();
        each.hidden = true;
        each.removeAttribute("src");
        each.removeAttribute("poster");
        delete each.dataset.address;
        each.load();
      }
      medium = null;
    },
    get at() {
      return medium ? medium.currentTime + offset : 0;
    },
  };
}

