// SPDX-License-Identifier: Apache-2.0
// Keys for whoever has no hand free for the mouse: j k a x r n / ? Enter Esc. Never while typing, never with a modifier. Each does
// what a link or a button of the page does; there is nothing that only a key can do.
"use strict";
(() => {
  const KEYS = [["j  k", "next and previous incident"], ["Enter", "open it"], ["a", "acknowledge it, or those that are ticked"],
    ["x", "tick it"], ["r", "resolve it; asks first"], ["n", "show what is new"], ["/", "search"], ["Esc", "leave a field, close this, back to the list"],
    ["?", "these keys"]];
  const find = (what) => document.querySelector(what);
  const rows = () => [...document.querySelectorAll("[data-rows] > li")];
  const current = () => document.activeElement?.closest?.("[data-rows] > li");
  const made = (tag, words = "") => Object.assign(document.createElement(tag), { textContent: words });

  // The page that is on top of the list shows which entry of the navigation it is.
  find("body > header nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  function move(step) {
    const all = rows();
    if (!all.length) return false;
    const at = all.indexOf(current());
    const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
    next.querySelector("a.title").focus();
    next.scrollIntoView({ block: "nearest" });
    return true;
  }

  function tick() {
    const box = current()?.querySelector("input[type=checkbox]");
    if (box) box.checked = !box.checked;
    return Boolean(box);
  }

  function acknowledge() {
    const button = find("[data-verb=acknowledge] button");
    if (button) return pressed(button);
    const form = find("#listed");
    if (!form) return false;
    if (!form.querySelector("input[type=checkbox]:checked") && !tick()) return false;
    form.requestSubmit();
    return true;
  }

  function pressed(button) {
    button.click();
    return true;
  }

  // -- questions, in a dialog of the browser: it takes the focus and gives it back, and Esc closes it

  function dialog(...parts) {
    const box = made("dialog");
    box.append(...parts);
    box.addEventListener("close", () => box.remove());
    document.body.append(box);
    box.showModal();
    return box;
  }

  function row(...buttons) {
    const line = made("div");
    line.className = "actions-row";
    line.append(...buttons);
    return line;
  }

  function resolve() {
    const button = find("[data-verb=resolve] button");
    if (!button) {
      const link = current()?.querySelector("a.title");
      if (link) location.assign(`${link.getAttribute("href")}?ask=resolve`);      // there it is asked
      return Boolean(link);
    }
    const yes = made("button", "Resolve");
    const no = made("button", "Leave it open");
    yes.className = "primary";
    const box = dialog(made("p", `Resolve ${find("h1").textContent.trim().replace(/\s+/g, " ")}?`), row(yes, no));
    yes.addEventListener("click", () => { box.close(); button.click(); });
    no.addEventListener("click", () => box.close());
    return true;
  }

  function explain() {
    const list = made("dl");
    for (const [key, words] of KEYS) {
      const term = made("dt");
      term.append(made("kbd", key));
      list.append(term, made("dd", words));
    }
    const close = made("button", "Close");
    const box = dialog(made("h2", "Keys"), list, row(close));
    close.addEventListener("click", () => box.close());
    return true;
  }

  function news() {
    const bar = find(".news");
    return Boolean(bar) && pressed(bar);
  }

  function search() {
    const field = find("#search");
    if (field) {
      field.focus();
      field.select();
    } else location.assign("/");
    return true;
  }

  function leave() {
    if (document.activeElement !== document.body) {
      document.activeElement.blur();
      return true;
    }
    if (!find("[data-incident]")) return false;
    location.assign("/");
    return true;
  }

  const DOES = { j: () => move(1), k: () => move(-1), a: acknowledge, x: tick, r: resolve, n: news,
    "/": search, "?": explain, Escape: leave };
  const isTyping = (node) => Boolean(node?.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]"));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented || find("dialog[open]")) return;
    if (event.repeat && !"jk".includes(event.key)) return;
    if (isTyping(event.target) && event.key !== "Escape") return;
    const does = Object.hasOwn(DOES, event.key) ? DOES[event.key] : null;
    if (does && does()) event.preventDefault();
  });
})();
