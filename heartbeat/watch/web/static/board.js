// Keeps the page up to date. The server makes all of its HTML; here sections are asked for again and put in place:
// when an event says so, every other second what moves all the time, and when a link or the form changes the view.

import { follow } from "./live.js";
import { morph } from "./morph.js";
import { setClock, tick } from "./times.js";

const EVERYTHING = ["strip", "filters", "peer", "failures", "peers"];
const MOVING = ["strip", "peer", "peers"];
const OFTEN = 2000; // ms between two looks at what moves all the time
const SELDOM = 15; // of these looks until everything is looked at again
const GAP = 400; // ms between two requests at least, however many events come
const TYPING = 400; // ms after the last key until a search begins

const wanted = new Set();
let busy = false;
let looks = 0;
let failures = []; // that were not announced yet
let live = false; // the events come
let silent = false; // the last request had no answer

/** Ask for some sections again, soon. */
function look(parts) {
  // Of a tab that nobody sees only the title matters.
  for (const part of parts) if (part === "strip" || !document.hidden) wanted.add(part);
  if (wanted.size && !busy) answer();
}

async function answer() {
  busy = true;
  while (wanted.size) {
    const parts = EVERYTHING.filter((part) => wanted.has(part));
    wanted.clear();
    try {
      await replace(parts, true);
      silent = false;
    } catch {
      silent = true;
    }
    sayHowItGoes();
    await new Promise((done) => setTimeout(done, GAP));
  }
  busy = false;
}

async function replace(parts, fresh) {
  const at = location.search;
  const search = new URLSearchParams(at);
  search.set("part", parts.join(","));
  // From the origin: an address with a password in it (http://name:word@host/) must not be fetched from.
  const response = await fetch(`${location.origin}${location.pathname}?${search}`);
  if (!response.ok) throw new Error(response.statusText);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (location.search !== at) return; // the view has changed meanwhile, and is asked for by itself
  for (const section of page.querySelectorAll("body > section")) {
    const here = document.getElementById(section.id);
    if (here && !(section.id === "filters" && here.contains(document.activeElement))) morph(here, section, fresh);
  }
  const strip = document.getElementById("strip");
  if (parts.includes("strip")) setClock(Number(strip.dataset.now));
  if (strip.dataset.title) document.title = strip.dataset.title;
  tick();
}

/** Show another view: what the address says now. */
async function show(focus) {
  try {
    await replace(EVERYTHING, false);
  } catch {
    location.reload(); // without us it works, too, or says what is wrong
    return;
  }
  const failure = new URLSearchParams(location.search).get("failure");
  const entry = failure && document.querySelector(`.failures > [data-key="${CSS.escape(failure)}"] > details`);
  if (entry) entry.open = true;
  const target = entry ? entry.querySelector("summary") : focus && document.getElementById(focus);
  if (target) {
    target.scrollIntoView({ block: "nearest" });
    if (!entry) target.setAttribute("tabindex", "-1");
    target.focus({ preventScroll: true });
  }
}

function go(search, focus) {
  if (`?${search}` !== location.search) history.pushState(null, "", `?${search}`);
  show(focus);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?']");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const href = link.getAttribute("href").slice(1);
  const within = link.closest("section")?.id;
  const peer = new URLSearchParams(href).get("peer");
  const other = peer !== new URLSearchParams(location.search).get("peer");
  go(href, other ? (peer === null ? "peers-h" : "peer") : link.closest(".paging") ? `${within}-h` : null);
});

let typing = 0;
const filters = () => document.querySelector("#filters form");

function search() {
  clearTimeout(typing);
  const values = [...new FormData(filters())].filter(([, value]) => value !== "");
  go(new URLSearchParams(values).toString(), null);
}

document.addEventListener("submit", (event) => {
  if (event.target !== filters()) return;
  event.preventDefault();
  search();
});
document.addEventListener("change", (event) => {
  if (event.target.closest("#filters")) search();
});
document.addEventListener("input", (event) => {
  clearTimeout(typing);
  if (event.target.closest("#filters input")) typing = setTimeout(search, TYPING);
});
window.addEventListener("popstate", () => show(null));
document.addEventListener("visibilitychange", () => look(EVERYTHING));

/** Say something in one of the places for it, if it is not said already. */
function say(id, text, good) {
  const place = document.getElementById(id);
  const said = document.createElement("span");
  said.className = good ? "on" : "off";
  said.textContent = text;
  if (place.textContent !== text) place.replaceChildren(said);
}

function sayHowItGoes() {
  const text = silent ? "no answer from the server" : live ? "live" : "connection lost, trying again";
  say("live", text, live && !silent);
}

// Read out at most every five seconds, however many die at once.
setInterval(() => {
  const [first, ...others] = failures;
  failures = [];
  if (!first) return;
  const more = others.length ? `, and ${others.length} more failures` : "";
  say("said", `${first.peer} failed: ${first.failure_reason.replaceAll("_", " ")}${more}`, true);
}, 5000);

setInterval(tick, 1000);
setInterval(() => document.hidden || look(looks++ % SELDOM ? MOVING : EVERYTHING), OFTEN);
setClock(Number(document.getElementById("strip").dataset.now));
follow({
  changed: look,
  failed: (failure) => failures.push(failure),
  status: (open) => {
    live = open;
    sayHowItGoes();
  },
});
document.documentElement.classList.add("scripted");
