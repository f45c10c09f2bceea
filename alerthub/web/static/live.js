// SPDX-License-Identifier: Apache-2.0
// Keeps an open page true. The hub says that something has changed; the page is loaded again as it is then, and what is marked
// data-live is changed in place: what stays the same is not touched, so focus, ticks, open folds and the place in the page are
// kept. Nothing moves under a pointer or a focus: rows stay where they are, and a bar says what waits. Without this script the
// page is the same, as of when it was loaded. A region marked "room" shows also what is no news of an incident, such as who is on
// call: it is loaded with every beat, and moves only while somebody looks at the top of the page.
"use strict";
(() => {
  const SILENT = 40_000;      // milliseconds; the hub is heard every 15 s
  const APART = 1_500;        // between two loads
  const AGAIN = 10_000;       // until a connection that was refused is tried again
  const regions = () => [...document.querySelectorAll("[data-live]")];
  if (!window.EventSource || !regions().length) return;

  const made = (tag, name, words) => Object.assign(document.createElement(tag), { className: name, textContent: words });
  const sign = document.querySelector("body > header").appendChild(made("p", "live", "live"));
  sign.setAttribute("role", "status");
  const bar = made("button", "news primary", "");
  bar.type = "button";
  const clock = () => new Date().toISOString().slice(11, 16);
  let heard = clock();
  let known = Date.now();

  // -- what is shown of it

  function isLive(yes) {
    if (yes) {
      heard = clock();
      known = Date.now();
    }
    const words = yes ? "live" : `Not live since ${heard} UTC`;
    if (sign.textContent !== words) sign.textContent = words;
    sign.classList.toggle("away", !yes);
  }

  function announce(count) {
    const words = count === 1 ? "1 change, show" : `${count} changes, show`;
    if (!count) bar.remove();
    else if (bar.textContent !== words || !bar.isConnected) {
      bar.textContent = words;
      document.body.append(bar);
      sign.textContent = `live, ${words.replace(", show", "")}`;
    }
  }

  // -- changing one tree into another, touching only what differs

  const keyOf = (node) => (node.nodeType === 1 && node.id) || "";
  const own = new Set(["open", "checked", "value"]);      // the person's, not the hub's

  function morph(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) return from.replaceWith(to);
    if (from.nodeType !== 1) {
      if (from.data !== to.data) from.data = to.data;
      return undefined;
    }
    const isTheirs = (name) => own.has(name) && from.type !== "hidden";
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !isTheirs(name)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) {
      if (from.getAttribute(name) !== value && !isTheirs(name)) from.setAttribute(name, value);
    }
    return children(from, [...to.childNodes]);
  }

  function children(from, wanted) {
    const byKey = new Map([...from.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
    const named = new Set(wanted.map(keyOf).filter(Boolean));
    let place = from.firstChild;
    for (const node of wanted) {
      while (place && keyOf(place) && !named.has(keyOf(place))) {      // gone
        const next = place.nextSibling;
        place.remove();
        place = next;
      }
      const key = keyOf(node);
      const match = key ? byKey.get(key) : place && !keyOf(place) && place.nodeName === node.nodeName ? place : null;
      if (!match) from.insertBefore(node, place);
      else {
        if (match === place) place = place.nextSibling;
        else from.insertBefore(match, place);
        morph(match, node);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  // -- what may not move now

  const isTyping = () => Boolean(document.activeElement?.matches("input:not([type=checkbox]), textarea, select"));
  const holds = (region) => region.matches(":hover") || region.contains(document.activeElement) || Boolean(String(getSelection()));

  // Rows are changed where they stand; new ones wait, and those that are gone are marked. How many changes wait.
  function keepPlaces(list, fresh) {
    let waiting = 0;
    const wanted = new Map([...fresh.children].map((row) => [row.id, row]));
    for (const row of [...list.children]) {
      const now = wanted.get(row.id);
      wanted.delete(row.id);
      row.classList.remove("gone");
      if (now) morph(row, now);
      else {
        row.classList.add("gone");
        waiting += 1;
      }
    }
    return waiting + wanted.size;
  }

  const shapeOf = (region) => {
    const copy = region.cloneNode(true);
    for (const node of copy.querySelectorAll("input[type=hidden], time")) node.remove();
    for (const node of copy.querySelectorAll("details")) node.removeAttribute("open");
    return copy.textContent.replace(/\s+/g, " ");
  };

  let waiting = null;      // the page as it is now, while some of it is not shown

  function show(page, isAsked) {
    let count = 0;
    for (const region of regions()) {
      const fresh = page.getElementById(region.id);
      if (!fresh) continue;
      const rows = region.querySelector("[data-rows]");
      const isLong = rows || region.dataset.live === "room";
      const isHeld = !isAsked && (holds(region) || (isLong && (window.scrollY > 60 || isTyping())));
      if (isHeld && rows) count += keepPlaces(rows, fresh.querySelector("[data-rows]").cloneNode(true));
      else if (isHeld) count += shapeOf(region) === shapeOf(fresh) ? 0 : 1;
      else morph(region, fresh.cloneNode(true));
    }
    waiting = count ? page : null;
    announce(count);
  }

  bar.addEventListener("click", () => {
    const page = waiting;
    window.scrollTo({ top: 0 });
    if (page) show(page, true);
    load();
  });
  // What had to wait comes when the pointer or the focus has left, unless the person reads further down.
  const settle = () => setTimeout(() => waiting && show(waiting, false), 0);
  document.addEventListener("mouseout", (event) => event.target.closest?.("[data-live]") && settle());
  document.addEventListener("focusout", settle);

  // -- loading

  let timer = 0;
  let last = -APART;
  let loading = false;

  function load() {
    if (timer || document.hidden) return;
    timer = setTimeout(async () => {
      if (loading) {
        timer = 0;
        return load();
      }
      loading = true;
      last = performance.now();
      timer = 0;
      try {
        const answer = await fetch(location.pathname + location.search, { headers: { "x-live": "1" }, redirect: "error" });
        if (!answer.ok) throw new Error(String(answer.status));
        show(new DOMParser().parseFromString(await answer.text(), "text/html"), false);
      } catch {
        isLive(false);
      } finally {
        loading = false;
      }
      return undefined;
    }, Math.max(0, last + APART - performance.now()));
  }

  const mine = document.querySelector("[data-incident]")?.dataset.incident;
  const concerns = (ids) => !mine || !ids.length || ids.includes(mine);

  let source;
  function listen() {
    source = new EventSource("/live");
    const on = (kind, act) => source.addEventListener(kind, (event) => act(event));
    on("hello", () => { isLive(true); load(); });       // what changed while nobody listened
    on("beat", () => { isLive(true); if (document.querySelector("[data-live=room]")) load(); });
    on("changed", (event) => { isLive(true); if (concerns(JSON.parse(event.data))) load(); });
    on("away", () => isLive(false));
    on("error", () => {
      isLive(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
    });
  }
  requestAnimationFrame(() => requestAnimationFrame(listen));      // the page itself is painted first
  setInterval(() => {
    if (Date.now() - known < SILENT) return;
    isLive(false);
    source?.close();
    known = Date.now();
    listen();
  }, AGAIN);
  document.addEventListener("visibilitychange", () => document.hidden || load());
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && listen());

  // -- how long ago, at a glance

  const ago = (seconds) => (seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min`
    : seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`);
  setInterval(() => {
    for (const time of document.querySelectorAll("[data-rows] time")) {
      const words = ago(Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000)));
      if (time.textContent !== words) time.textContent = words;
    }
  }, 15_000);
})();
