// Shows times in the browser's time zone, and keeps the region marked `data-live` up to date.
// Without this script every page works, but the user has to reload it.
(() => {
  "use strict";

  const POLL_MS = 2000;
  const TRANSFER_POLL_MS = 1000;
  const RETRY_MS = 5000;
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  let isLeaving = false;

  function showLocalTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      time.textContent = format.format(new Date(time.dateTime));
      time.title = time.dateTime;
    }
  }

  // Regions of the same version have the same structure; only their progress differs.
  function copyProgress(region, fresh) {
    const current = region.querySelectorAll(".progress");
    fresh.querySelectorAll(".progress").forEach((update, index) => {
      const bar = update.querySelector("progress");
      if (bar.hasAttribute("value")) current[index].querySelector("progress").value = bar.value;
      current[index].querySelector("span").textContent = update.querySelector("span").textContent;
    });
  }

  function replace(region, fresh) {
    for (const open of region.querySelectorAll("details[open][id]")) {
      const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const href = focused?.getAttribute("href");
    const details = focused?.closest("details[id]");
    showLocalTimes(fresh);
    region.replaceWith(document.adoptNode(fresh));
    if (href) fresh.querySelector(`[href="${CSS.escape(href)}"]`)?.focus();
    else if (details) fresh.querySelector(`#${CSS.escape(details.id)} summary`)?.focus();
    document.getElementById("announcement").textContent = fresh.dataset.live;
  }

  const isPlaying = (region) =>
    [...region.querySelectorAll("video, audio")].some((player) => !player.paused && !player.ended);

  // The server is the only renderer: the script fetches the page again and takes its live region.
  async function poll() {
    if (isLeaving) return;
    let delay = POLL_MS;
    try {
      if (!document.hidden) {
        const response = await fetch(location.href, { headers: { accept: "text/html" } });
        if (!response.ok) throw new Error(response.statusText);
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const fresh = page.querySelector("[data-live]");
        if (!fresh) return location.reload(); // The session has ended.
        const region = document.querySelector("[data-live]");
        if (fresh.dataset.version === region.dataset.version) copyProgress(region, fresh);
        else if (!isPlaying(region)) replace(region, fresh);
        if (fresh.querySelector("progress")) delay = TRANSFER_POLL_MS;
      }
    } catch {
      delay = RETRY_MS;
    }
    setTimeout(poll, delay);
  }

  showLocalTimes(document);
  // A poll after this would consume the message for the next page.
  addEventListener("submit", () => (isLeaving = true));
  if (document.querySelector("[data-live]")) setTimeout(poll, TRANSFER_POLL_MS);
})();
