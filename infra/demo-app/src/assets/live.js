// Keeps the part of a page marked `data-live` up to date. Without this script every page still works;
// it just has to be reloaded.
(() => {
  "use strict";

  const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  function localTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      time.textContent = date.format(new Date(time.dateTime));
      time.title = time.dateTime;
    }
  }

  // As the server writes sizes.
  function size(bytes) {
    if (bytes < 1000) return `${bytes} B`;
    let value = bytes / 1000;
    let unit = 0;
    while (value >= 999.95 && unit < 3) {
      value /= 1000;
      unit += 1;
    }
    return `${value.toFixed(1)} ${["kB", "MB", "GB", "TB"][unit]}`;
  }

  const moving = (item) => item.status === "transferring" || item.status === "queued";

  function moveBars(region, recordings) {
    const known = new Map();
    for (const recording of recordings) {
      known.set(recording.id, recording);
      for (const file of recording.files) known.set(`${recording.id}/${file.id}`, file);
    }
    for (const bar of region.querySelectorAll("[data-bar]")) {
      const item = known.get(bar.dataset.bar);
      if (item && item.size) bar.value = Math.min(item.bytes_stored, item.size);
    }
    for (const label of region.querySelectorAll("[data-bytes]")) {
      const item = known.get(label.dataset.bytes);
      if (item) label.textContent = size(item.bytes_stored) + (item.size ? ` of ${size(item.size)}` : "");
    }
  }

  // The server renders the page once more and this takes the live part of it, so that there is one
  // rendering only.
  async function redraw(region) {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-live]");
    if (!fresh) return;
    for (const open of region.querySelectorAll("details[open][id]")) {
      const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const path = focused && focused.getAttribute("href");
    const inside = focused && focused.closest("details[id]");
    localTimes(fresh);
    region.replaceWith(document.adoptNode(fresh));
    if (path) fresh.querySelector(`[href="${CSS.escape(path)}"]`)?.focus();
    else if (inside) fresh.querySelector(`#${CSS.escape(inside.id)} summary`)?.focus();
    document.getElementById("announce").textContent = fresh.dataset.summary ?? "";
  }

  const playing = (region) =>
    [...region.querySelectorAll("video, audio")].some((player) => !player.paused && !player.ended);

  async function tick() {
    const region = document.querySelector("[data-live]");
    let pause = 2000;
    try {
      if (!document.hidden) {
        const answer = await fetch(region.dataset.live, { headers: { accept: "application/json" } });
        if (answer.status === 401) return location.reload();
        if (!answer.ok) throw new Error(answer.statusText);
        const state = await answer.json();
        const recordings = state.recordings ?? [];
        if (recordings.some((recording) => moving(recording) || recording.files.some(moving))) pause = 1000;
        if (state.version === region.dataset.version) moveBars(region, recordings);
        else if (!playing(region)) await redraw(region);
      }
    } catch {
      pause = 5000;
    }
    setTimeout(tick, pause);
  }

  localTimes(document);
  if (document.querySelector("[data-live]")) setTimeout(tick, 1000);
})();
