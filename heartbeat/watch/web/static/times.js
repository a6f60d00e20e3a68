// Lets times tick: <time data-at="unix seconds"> says how long ago that is, by the server's clock.

let ahead = 0; // seconds by which the server's clock is ahead of ours
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

/** @param {number} now the server's time when it answered, Unix seconds */
export function setClock(now) {
  if (Number.isFinite(now)) ahead = now - Date.now() / 1000;
}

/** Bring all times on the page up to date. */
export function tick() {
  const now = Date.now() / 1000 + ahead;
  for (const time of document.querySelectorAll("time[data-at]")) {
    const text = span(Math.max(0, now - Number(time.dataset.at))) + (time.dataset.suffix ?? " ago");
    if (time.textContent !== text) time.textContent = text;
  }
}

function span(seconds) {
  for (const [size, unit] of UNITS) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}
