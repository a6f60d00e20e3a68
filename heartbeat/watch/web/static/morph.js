// Makes one tree of nodes like another, with as few changes as that takes: what is the same stays, with its focus, its
// selection and its open details. Nodes with a data-key are known again wherever they move.

/**
 * @param {Node} from what is on the page
 * @param {Node} to what it is to be like; is used up
 * @param {boolean} fresh mark what is new by a key with the class "fresh"
 */
export function morph(from, to, fresh = false) {
  if (from.isEqualNode(to)) return;
  if (from.nodeName !== to.nodeName || keyOf(from) !== keyOf(to)) {
    from.replaceWith(document.importNode(to, true));
  } else if (from.nodeType !== Node.ELEMENT_NODE) {
    from.nodeValue = to.nodeValue;
  } else {
    attributes(from, to);
    children(from, to, fresh);
  }
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function attributes(from, to) {
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    // Whether details are open is up to who reads them.
    if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
  }
}

function children(from, to, fresh) {
  const known = new Map();
  for (const child of from.children) {
    if (keyOf(child) !== null) known.set(keyOf(child), child);
  }
  const wanted = [...to.childNodes];
  const kept = new Set(wanted.map(keyOf));
  let here = skipGone(from.firstChild, kept);
  for (const node of wanted) {
    const key = keyOf(node);
    const same = key === null ? (here && keyOf(here) === null ? here : null) : known.get(key) ?? null;
    if (same === null) {
      const added = document.importNode(node, true);
      if (fresh && key !== null) added.classList.add("fresh");
      from.insertBefore(added, here);
      continue;
    }
    if (same === here) here = skipGone(here.nextSibling, kept);
    else from.insertBefore(same, here);
    morph(same, node, fresh);
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}

// Those that are gone make room first: else everything behind them would have to move.
function skipGone(node, kept) {
  while (node && keyOf(node) !== null && !kept.has(keyOf(node))) {
    const next = node.nextSibling;
    node.remove();
    node = next;
  }
  return node;
}
