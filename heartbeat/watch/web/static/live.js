// Follows /api/events, and says what to look at again. Comes back by itself, also from where EventSource gives up.

const AGAIN = 10_000; // ms until a refused connection (too many follow, a password) is tried again

/**
 * @param {{changed: (parts: string[]) => void, failed: (failure: object) => void, status: (live: boolean) => void}} page
 */
export function follow(page) {
  const source = new EventSource(new URL("api/events", location.origin + location.pathname));
  let before = false; // it was open, and lost: something may have been missed
  source.addEventListener("open", () => {
    page.status(true);
    if (before) page.changed(["strip", "peer", "failures", "peers"]);
    before = true;
  });
  source.addEventListener("peer", () => page.changed(["strip", "peer", "peers"]));
  source.addEventListener("failure", (event) => {
    page.failed(JSON.parse(event.data));
    page.changed(["strip", "peer", "failures", "peers"]);
  });
  source.addEventListener("gap", () => page.changed(["strip", "peer", "failures", "peers"]));
  source.addEventListener("error", () => {
    page.status(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(page), AGAIN);
  });
}
